/**
 * A workbook → its records, read in a thread of its own (spreadsheet-thread.ts, workbook.ts): a long sheet takes seconds in one
 * piece, and the process sells meanwhile. The thread has a bounded memory: a workbook that passes the scales and is too much all
 * the same ends the thread, not the process. Records come over in portions, each asked for, so that none is long to take in and
 * only two are here at once.
 */
import { Worker } from 'node:worker_threads';
import type { FileRecord } from '#core/catalog/formats/index.ts';
import { Problem } from './api/problem.ts';
import type { FromThread, SpreadsheetTask } from './spreadsheet-thread.ts';

const maxHeapMb = 1_536;

/** The header first, each with its row in the sheet; empty rows are left out. Throws Problem import.unreadable or api.too_large. */
export async function* readSpreadsheet(
  content: Buffer,
  maxRows: number,
  maxColumns: number,
): AsyncGenerator<readonly FileRecord[]> {
  const task: SpreadsheetTask = { content, maxRows, maxColumns };
  const thread = new Worker(new URL('./spreadsheet-thread.ts', import.meta.url), {
    workerData: task,
    resourceLimits: { maxOldGenerationSizeMb: maxHeapMb },
  });
  let answer = Promise.withResolvers<FromThread>();
  const refuse = (error: unknown) => {
    answer.reject(error);
    // It may come while nobody asks; whoever asks next hears of it.
    answer.promise.catch(() => undefined);
  };
  thread.on('message', (message: FromThread) => answer.resolve(message));
  thread.on('error', (error: NodeJS.ErrnoException) =>
    refuse(
      error.code === 'ERR_WORKER_OUT_OF_MEMORY'
        ? new Problem(413, 'api.too_large', 'The workbook needs too much memory: send it as CSV.')
        : error,
    ),
  );
  // The library waits for ever for the rest of a part that is cut off; a thread that only waits ends by itself.
  thread.on('exit', () => refuse(new Problem(400, 'import.unreadable', 'The workbook is damaged.')));
  try {
    for (;;) {
      const message = await answer.promise;
      if (message.kind === 'refused') throw new Problem(message.status, message.code, message.detail);
      if (message.kind === 'end') return;
      answer = Promise.withResolvers<FromThread>();
      thread.postMessage('more');
      yield message.records;
    }
  } finally {
    await thread.terminate();
  }
}
