/**
 * Journal: a state that survives kill -9. State is the fold of its entries; an entry is applied at once in memory and
 * is durable when `durable()` resolves, which a simulator awaits before any answer or message that reveals the change.
 *
 *   folder: snapshot.json (state after entry S)  +  log-<S>.jsonl (one checked line per later entry)
 *
 * Lines are written and synced in groups: whoever waits shares one fdatasync. A torn last line (the process died while
 * writing) was never revealed and is cut off on opening; a bad line anywhere else is damage and refuses to open.
 * Called by `tables.ts`; one process per folder (the data folder's lock sees to that).
 */
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';

const SNAPSHOT = 'snapshot.json';
const DEFAULT_SNAPSHOT_AFTER_BYTES = 32 * 1024 * 1024;

export interface JournalFold<Entry> {
  apply(entry: Entry): void;
  /** The whole state as JSON text. */
  save(): string;
  restore(text: string): void;
}

export interface JournalOptions {
  /** null: memory only, always "durable". */
  dir: string | null;
  /** The log grows to this size, and to twice the last snapshot, before a new snapshot is taken. */
  snapshotAfterBytes?: number;
}

export interface Journal<Entry> {
  /** True when nothing was found to recover. */
  readonly fresh: boolean;
  /** Records an entry that the caller has already applied (or applies in the same turn). */
  append(entry: Entry): void;
  /** Resolves when everything appended so far is on disk. */
  durable(): Promise<void>;
  close(): Promise<void>;
}

export async function openJournal<Entry>(fold: JournalFold<Entry>, options: JournalOptions): Promise<Journal<Entry>> {
  if (options.dir === null) return memoryJournal();
  await mkdir(options.dir, { recursive: true });
  const recovered = await recover(fold, options.dir);
  return fileJournal(fold, options.dir, recovered, options.snapshotAfterBytes ?? DEFAULT_SNAPSHOT_AFTER_BYTES);
}

function memoryJournal<Entry>(): Journal<Entry> {
  return { fresh: true, append: () => {}, durable: () => Promise.resolve(), close: () => Promise.resolve() };
}

interface Recovered {
  sequence: number;
  log: string;
  logBytes: number;
  snapshotBytes: number;
  fresh: boolean;
}

async function recover<Entry>(fold: JournalFold<Entry>, dir: string): Promise<Recovered> {
  const names = await readdir(dir);
  let sequence = 0;
  let snapshotBytes = 0;
  if (names.includes(SNAPSHOT)) {
    const text = await readFile(join(dir, SNAPSHOT), 'utf8');
    const cut = text.indexOf('\n');
    sequence = Number(text.slice(0, cut));
    snapshotBytes = text.length;
    fold.restore(text.slice(cut + 1));
  }
  const logs = names.filter((name) => /^log-\d+\.jsonl$/.test(name)).sort((a, b) => logStart(a) - logStart(b));
  let logBytes = 0;
  for (const [index, name] of logs.entries()) {
    const replayed = await replay(fold, join(dir, name), sequence, index === logs.length - 1);
    sequence = replayed.sequence;
    logBytes = replayed.bytes;
  }
  const fresh = sequence === 0;
  return { sequence, log: logs.at(-1) ?? `log-${sequence}.jsonl`, logBytes, snapshotBytes, fresh };
}

const logStart = (name: string) => Number(name.slice(4, -6));

async function replay<Entry>(fold: JournalFold<Entry>, file: string, from: number, last: boolean) {
  const bytes = await readFile(file);
  let sequence = from;
  let offset = 0;
  while (offset < bytes.length) {
    const end = bytes.indexOf(10, offset);
    const line = end < 0 ? null : readLine<Entry>(bytes.toString('utf8', offset, end));
    if (line === null) {
      if (!last || (end >= 0 && end !== bytes.length - 1))
        throw new Error(`Damaged journal line at byte ${offset} of ${file}`);
      await truncate(file, offset);
      break;
    }
    if (line.sequence > sequence) {
      fold.apply(line.entry);
      sequence = line.sequence;
    }
    offset = end + 1;
  }
  return { sequence, bytes: offset };
}

function writeLine(sequence: number, entry: unknown): string {
  const content = `${sequence} ${JSON.stringify(entry)}`;
  return `${crc32(content).toString(16)} ${content}\n`;
}

/** @returns null when the line is not one that `writeLine` finished. */
function readLine<Entry>(line: string): { sequence: number; entry: Entry } | null {
  const afterSum = line.indexOf(' ');
  const content = line.slice(afterSum + 1);
  if (afterSum < 0 || crc32(content).toString(16) !== line.slice(0, afterSum)) return null;
  const afterSequence = content.indexOf(' ');
  return {
    sequence: Number(content.slice(0, afterSequence)),
    entry: JSON.parse(content.slice(afterSequence + 1)) as Entry,
  };
}

async function fileJournal<Entry>(
  fold: JournalFold<Entry>,
  dir: string,
  recovered: Recovered,
  snapshotAfterBytes: number,
): Promise<Journal<Entry>> {
  let { sequence, log, logBytes, snapshotBytes } = recovered;
  let handle: FileHandle = await open(join(dir, log), 'a');
  let waiting: string[] = [];
  let written = sequence;
  let writing: Promise<void> | null = null;
  let waiters: { sequence: number; resolve: () => void; reject: (error: unknown) => void }[] = [];
  let broken: unknown = null;

  async function writeGroups(): Promise<void> {
    await Promise.resolve();
    while (waiting.length > 0) {
      const text = waiting.join('');
      const upTo = sequence;
      waiting = [];
      await handle.write(text);
      await handle.datasync();
      logBytes += Buffer.byteLength(text);
      written = upTo;
      for (const waiter of waiters) if (waiter.sequence <= written) waiter.resolve();
      waiters = waiters.filter((waiter) => waiter.sequence > written);
      if (logBytes > Math.max(snapshotAfterBytes, 2 * snapshotBytes)) await takeSnapshot();
    }
  }

  function startWriting(): void {
    writing ??= writeGroups()
      .catch((error: unknown) => {
        broken = error;
        for (const waiter of waiters) waiter.reject(error);
        waiters = [];
      })
      .finally(() => {
        writing = null;
        if (waiting.length > 0 && broken === null) startWriting();
      });
  }

  /** Lines still waiting are part of the snapshot; written after it, they are skipped on replay. */
  async function takeSnapshot(): Promise<void> {
    const at = sequence;
    const text = `${at}\n${fold.save()}`;
    const draft = await open(join(dir, `${SNAPSHOT}.draft`), 'w');
    await draft.writeFile(text);
    await draft.datasync();
    await draft.close();
    const next = `log-${at}.jsonl`;
    const nextHandle = await open(join(dir, next), 'a');
    await rename(join(dir, `${SNAPSHOT}.draft`), join(dir, SNAPSHOT));
    await syncFolder(dir);
    await handle.close();
    for (const name of await readdir(dir)) {
      if (/^log-\d+\.jsonl$/.test(name) && name !== next) await rm(join(dir, name), { force: true });
    }
    handle = nextHandle;
    log = next;
    logBytes = 0;
    snapshotBytes = text.length;
  }

  function durable(): Promise<void> {
    if (broken !== null) return Promise.reject(broken);
    if (written >= sequence) return Promise.resolve();
    return new Promise((resolve, reject) => waiters.push({ sequence, resolve, reject }));
  }

  return {
    fresh: recovered.fresh,
    append(entry) {
      if (broken !== null) throw broken;
      sequence += 1;
      waiting.push(writeLine(sequence, entry));
      startWriting();
    },
    durable,
    async close() {
      await durable();
      await writing;
      await handle.close();
    },
  };
}

async function syncFolder(dir: string): Promise<void> {
  const folder = await open(dir, 'r');
  await folder.sync();
  await folder.close();
}
