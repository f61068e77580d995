/**
 * A workbook → its records, read in a thread of its own (spreadsheet-thread.ts, workbook.ts): a long sheet takes seconds in one
 * piece, and the process sells meanwhile. The thread has a bounded memory: a workbook that passes the scales and is too much all
 * the same ends the thread, not the process. Records come over in portions, each asked for, so that none is long to take in.
 */
import { Worker } from 'node:worker_threads';
import type { FileRecord } from '#core/catalog/formats/index.ts';
import { Problem } from './api/problem.ts';
import type { FromThread, SpreadsheetTask } from './spreadsheet-thread.ts';

const maxHeapMb = 1_536;

/** @returns the header first, each with its row in the sheet; empty rows are left out. Throws Problem import.unreadable or api.too_large. */
export function readSpreadsheet(content: Buffer, maxRows: number, maxColumns: number): Promise<FileRecord[]> {
  const task: SpreadsheetTask = { content, maxRows, maxColumns };
  const thread = new Worker(new URL('./spreadsheet-thread.ts', import.meta.url), {
    workerData: task,
    resourceLimits: { maxOldGenerationSizeMb: maxHeapMb },
  });
  const read = new Promise<FileRecord[]>((resolve, reject) => {
    const records: FileRecord[] = [];
    thread.on('message', (message: FromThread) => {
      if (message.kind === 'refused') return reject(new Problem(message.status, message.code, message.detail));
      if (message.kind === 'end') return resolve(records);
      for (const record of message.records) records.push(record);
      thread.postMessage('more');
    });
    thread.on('error', (error: NodeJS.ErrnoException) =>
      reject(
        error.code === 'ERR_WORKER_OUT_OF_MEMORY'
          ? new Problem(413, 'api.too_large', 'The workbook needs too much memory: send it as CSV.')
          : error,
      ),
    );
    // The library waits for ever for the rest of a part that is cut off; a thread that only waits ends by itself.
    thread.on('exit', () => reject(new Problem(400, 'import.unreadable', 'The workbook is damaged.')));
  });
  return read.finally(() => thread.terminate());
}
