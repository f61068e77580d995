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
import { setTimeout as sleep } from 'node:timers/promises';

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
  holder: LockHolder;
  /** One line for people, naming both. */
  message: string;
}

/** A server keeps the folder until it is stopped; a command that started the database for itself, until it is done. */
export type LockHolder = 'server' | 'command';

interface Holder {
  pid: number;
  holder?: LockHolder;
  since: string;
}

/** How long a start waits for who holds the folder: a server may be about to end; a command ends by itself. */
const patienceMs = { server: 800, command: 15_000 };

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

/** Who holds it; waits up to half a second for one that has the lock and is about to write its name. */
function livingHolder(folder: string): Holder | null {
  for (let waited = 0; waited < 500; waited += 25) {
    const holder = readHolder(folder);
    if (holder && alive(holder.pid)) return holder;
    pause(25);
  }
  return null;
}

/**
 * Takes the lock of a data folder, making the folder (0711 for root, whose database runs as somebody else; else 0700).
 * Never waits for a holder: either the lock or who has it. Throws what the file system throws (no right to write there).
 */
export function lockDataDir(dataDir: string, as: LockHolder = 'server'): DataDirLock | DataDirInUse {
  const folder = resolve(dataDir);
  mkdirSync(folder, { recursive: true, mode: process.getuid?.() === 0 ? 0o711 : 0o700 });
  const file = join(folder, 'lock.sqlite');
  const database = new DatabaseSync(file, { timeout: 0 });
  try {
    database.exec('begin exclusive');
  } catch (error) {
    database.close();
    if (!isBusy(error)) throw error;
    const { pid = null, holder = 'server' } = livingHolder(folder) ?? {};
    const process_ = pid === null ? 'another process' : `process ${pid}`;
    const who = holder === 'command' ? `a command (${process_})` : process_;
    return { kind: 'in_use', folder, pid, holder, message: `The data folder ${folder} is in use by ${who}.` };
  }
  chmodSync(file, 0o600);
  const holder: Holder = { pid: process.pid, holder: as, since: new Date(Date.now()).toISOString() };
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

/** Takes it for a server. Waits for a command that holds it, up to fifteen seconds; hardly at all for another server: a second start is told at once. */
export async function lockDataDirSoon(dataDir: string): Promise<DataDirLock | DataDirInUse> {
  const began = performance.now();
  for (;;) {
    const lock = lockDataDir(dataDir);
    if (lock.kind === 'locked' || performance.now() - began > patienceMs[lock.holder]) return lock;
    await sleep(100);
  }
}
