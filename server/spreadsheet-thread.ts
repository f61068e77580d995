/** The thread that reads one workbook for server/spreadsheet.ts: the first portion at once, each further one when it is asked for. */
import { parentPort, workerData } from 'node:worker_threads';
import type { FileRecord } from '#core/catalog/formats/index.ts';
import { Problem } from './api/problem.ts';
import { readWorkbook } from './workbook.ts';

export interface SpreadsheetTask {
  content: Uint8Array;
  maxRows: number;
  maxColumns: number;
}

export type FromThread =
  | { kind: 'records'; records: FileRecord[] }
  | { kind: 'end' }
  | { kind: 'refused'; status: number; code: string; detail: string };

const portion = 2_000;

const { content, maxRows, maxColumns } = workerData as SpreadsheetTask;
const send = (message: FromThread) => parentPort?.postMessage(message);

try {
  const records = await readWorkbook(
    Buffer.from(content.buffer, content.byteOffset, content.length),
    maxRows,
    maxColumns,
  );
  let sent = 0;
  const more = () => {
    if (sent >= records.length) return send({ kind: 'end' });
    send({ kind: 'records', records: records.slice(sent, sent + portion) });
    sent += portion;
  };
  parentPort?.on('message', more);
  more();
} catch (error) {
  if (!(error instanceof Problem)) throw error;
  send({ kind: 'refused', status: error.status, code: error.code, detail: error.message });
}
