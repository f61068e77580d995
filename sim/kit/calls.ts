/**
 * The call log: every call a simulated vendor received, for `GET /_sim/calls`. The judge's view of what we sent.
 *
 * `n` counts from 1 for ever; the newest 20,000 calls (at most 64 M characters of bodies) are kept. Headers are never
 * logged; calls that carry credentials in their body are logged without bodies. `applied` = the call changed the
 * vendor's data, whether or not the answer arrived. Kept in a file beside the journal, written before the answer goes
 * out but not synced: it survives a kill of the process, not of the machine.
 */
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const KEPT_CALLS = 20_000;
const KEPT_CHARACTERS = 64 * 1024 * 1024;

export interface CallRecord {
  n: number;
  /** RFC 3339, the simulator's clock. */
  at: string;
  method: string;
  path: string;
  operation: string;
  /** null: no answer was given (timeout faults). */
  status: number | null;
  /** Raw texts; parsed as JSON where they are JSON when listed. */
  body: string;
  response: string;
  applied: boolean;
}

export interface CallLog {
  add(call: Omit<CallRecord, 'n'>): void;
  /** Calls with n > since, oldest first; `next` is the value to pass as `since` next time. */
  since(n: number): { next: number; calls: Record<string, unknown>[] };
  close(): void;
}

/** @param dir the simulator's folder; null = memory only. */
export function openCallLog(dir: string | null): CallLog {
  const files = dir === null ? null : openFiles(dir);
  const kept: CallRecord[] = files?.recovered ?? [];
  let start = Math.max(0, kept.length - KEPT_CALLS);
  let count = kept.at(-1)?.n ?? 0;
  let characters = kept.reduce((sum, call) => sum + call.body.length + call.response.length, 0);

  function forgetOldest(): void {
    while (kept.length - start > KEPT_CALLS || (characters > KEPT_CHARACTERS && kept.length - start > 1)) {
      const oldest = kept[start] as CallRecord;
      characters -= oldest.body.length + oldest.response.length;
      start += 1;
    }
    if (start > KEPT_CALLS) {
      kept.splice(0, start);
      start = 0;
    }
  }

  return {
    add(call) {
      count += 1;
      const record = { n: count, ...call };
      kept.push(record);
      characters += record.body.length + record.response.length;
      forgetOldest();
      files?.append(`${JSON.stringify(record)}\n`);
    },
    since(n) {
      const calls = kept.slice(start).filter((call) => call.n > n);
      return { next: count, calls: calls.map(listed) };
    },
    close: () => files?.close(),
  };
}

function listed(call: CallRecord): Record<string, unknown> {
  return { ...call, body: parsed(call.body), response: parsed(call.response) };
}

function parsed(text: string): unknown {
  if (!/^\s*[[{]/.test(text)) return text === '' ? null : text;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** Two generations of one file: when the newer is full it becomes the older. */
function openFiles(dir: string) {
  mkdirSync(dir, { recursive: true });
  const newer = join(dir, 'calls.jsonl');
  const older = join(dir, 'calls.older.jsonl');
  const recovered = [...readCalls(older), ...readCalls(newer)];
  let handle = openSync(newer, 'a');
  if (recovered.length > 0) writeSync(handle, '\n');
  let lines = readCalls(newer).length;
  let bytes = 0;
  return {
    recovered,
    append(line: string) {
      if (lines >= KEPT_CALLS || bytes > KEPT_CHARACTERS) {
        closeSync(handle);
        renameSync(newer, older);
        handle = openSync(newer, 'a');
        lines = 0;
        bytes = 0;
      }
      lines += 1;
      bytes += line.length;
      writeSync(handle, line);
    },
    close: () => closeSync(handle),
  };
}

/** A line that was cut by a kill is dropped. */
function readCalls(file: string): CallRecord[] {
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line) => {
      try {
        return line === '' ? [] : [JSON.parse(line) as CallRecord];
      } catch {
        return [];
      }
    });
}
