/**
 * The data folder's lock: one living process per folder.
 *
 * The lock is a byte-range lock of the kernel on `lock.sqlite`, taken through SQLite's exclusive transaction (Node has no
 * flock of its own). The kernel drops it when the holder dies, however it dies, so there is nothing stale to take over, no
 * process id that could be reused, and two containers that share a volume exclude each other too.
 * `lock.json` beside it only tells people who holds it; nobody decides by it.
 *
 * Called by server/main.ts before anything else touches the folder, and by startEmbedded when its caller holds none.
 */
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

export interface DataDirLock {
  kind: 'locked';
  /** Absolute path. */
  folder: string;
  /** Gives the folder free; a second call does nothing. */
  release(): void;
}

export interface DataDirInUse {
  kind: 'in_use';
  /** Absolute path. */
  folder: string;
  /** The holder's process id; null when it has not told it yet (it holds the lock all the same). */
  pid: number | null;
  /** One line for people, naming both. */
  message: string;
}

interface Holder {
  pid: number;
  since: string;
}

const SQLITE_BUSY = 5;

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY;
}

function readHolder(folder: string): Holder | null {
  try {
    return JSON.parse(readFileSync(join(folder, 'lock.json'), 'utf8')) as Holder;
  } catch {
    return null;
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** The holder's pid; waits up to half a second for one that has the lock and is about to write its name. */
function livingHolder(folder: string): number | null {
  for (let waited = 0; waited < 500; waited += 25) {
    const holder = readHolder(folder);
    if (holder && alive(holder.pid)) return holder.pid;
    pause(25);
  }
  return null;
}

/**
 * Takes the lock of a data folder, making the folder (0711 for root, whose database runs as somebody else; else 0700).
 * Never waits for a holder: either the lock or who has it. Throws what the file system throws (no right to write there).
 */
export function lockDataDir(dataDir: string): DataDirLock | DataDirInUse {
  const folder = resolve(dataDir);
  mkdirSync(folder, { recursive: true, mode: process.getuid?.() === 0 ? 0o711 : 0o700 });
  const file = join(folder, 'lock.sqlite');
  const database = new DatabaseSync(file, { timeout: 0 });
  try {
    database.exec('begin exclusive');
  } catch (error) {
    database.close();
    if (!isBusy(error)) throw error;
    const pid = livingHolder(folder);
    const who = pid === null ? 'another process' : `process ${pid}`;
    return { kind: 'in_use', folder, pid, message: `The data folder ${folder} is in use by ${who}.` };
  }
  chmodSync(file, 0o600);
  const holder: Holder = { pid: process.pid, since: new Date(Date.now()).toISOString() };
  const draft = join(folder, `lock.json.${process.pid}`);
  writeFileSync(draft, `${JSON.stringify(holder)}\n`, { mode: 0o600 });
  renameSync(draft, join(folder, 'lock.json'));
  let held = true;
  return {
    kind: 'locked',
    folder,
    release() {
      if (!held) return;
      held = false;
      database.close();
    },
  };
}
