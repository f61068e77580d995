/**
 * An import of a file as a run. The file was stored in parts before the run was released, and is never in memory as a whole:
 *
 *   read    part by part; its rows, checked, go into the database (store/runs/rows.ts). What a run that died had read of it is
 *           read anew, and so is the file of a run that had ended and is tried again. Nothing is booked before the last row: a file that cannot be read ends the run as it was.
 *   steps   what each is follows from the rows that are stored; `mark.done` holds those that are done. Steps that touch
 *           different SKUs are done a few at once.
 *   errors  the file is read once more beside the failed items, and its failed rows are written as they came
 *
 * A dry run does each step and takes it back in the same transaction; where steps build on each other (mappings) it does them
 * all in one, and what they came to is told in others beside it.
 */
import { ErrorTable } from '#core/catalog/error-file.ts';
import type { RawRow, RowError } from '#core/catalog/import-rows.ts';
import {
  type ImportKind,
  rowsPerStep,
  type StockMode,
  type WaitingRow,
  waitingRows,
} from '#core/catalog/import-steps.ts';
import { keepImportFile, keepImportFilePart } from '#store/catalog/import-files.ts';
import {
  beginReading,
  beginSteps,
  countRows,
  findLastRows,
  forgetRows,
  holdForStep,
  keepRows,
  readStepRows,
  readSteps,
  type StepRange,
} from '#store/runs/rows.ts';
import { type RunItem, readFailed, readRunFile } from '#store/runs/runs.ts';
import type { Tx } from '#store/tx.ts';
import { applyStep, type FileAround, type RowOutcome, type StepResult, stepOrder, tryOut } from '../import-rows.ts';
import type { RunContext, RunKind } from '../runs.ts';

/** A file that is being read; server/files.ts. */
export interface OpenedFile {
  /** Its own header; null: its columns are ours. */
  header: readonly string[] | null;
  records: AsyncIterable<{
    row: number;
    rows: readonly RawRow[];
    errors: readonly RowError[];
    cells: readonly string[] | null;
  }>;
}

export interface ImportFileOptions {
  /** Throws with words when it cannot be read. */
  openFile(bytes: () => AsyncIterable<Uint8Array>, kind: ImportKind, format: string): Promise<OpenedFile>;
  compareAndSetOf(platform: string): boolean;
  /** Rows of a step, by phase; default core/catalog/import-steps.ts. */
  rowsPerStep?: readonly number[];
  /** Rows that are read before they are stored; default 2,000. */
  rowsPerReading?: number;
}

interface FileRun extends RunContext {
  kind: ImportKind;
  rowsPerReading: number;
  open(): Promise<OpenedFile>;
}

/** What is known of a file that was read. */
interface Mark {
  /** Of ours, those that the file has, in its order. */
  columns: string[];
  /** How many were stored. */
  rows: number;
  /** By which its steps are cut; they stay the same in a release that cuts others. */
  sizes: readonly number[];
  done: number[];
}

export function importFile(kind: ImportKind, options: ImportFileOptions): RunKind {
  return {
    async execute(context) {
      const { run, store, clock, ids } = context;
      const format = String(run.params.format ?? 'auto');
      const { rowsPerReading = 2_000 } = options;
      const file: FileRun = {
        ...context,
        kind,
        rowsPerReading,
        open: () => options.openFile(() => partsOf(context), kind, format),
      };
      const before = isMark(run.mark) ? run.mark : null;
      const isThere = before !== null && (await store.tenant(run.orgId, (tx) => countRows(tx, run))) === before.rows;
      const mark = isThere
        ? before
        : await read(file, before ?? { sizes: options.rowsPerStep ?? rowsPerStep[kind], done: [] });
      const steps = await store.tenant(run.orgId, (tx) => readSteps(tx, run, mark.sizes));
      const mode = modeOf(run.params);
      const step = {
        orgId: run.orgId,
        actor: run.actor,
        key: `run:${run.id}`,
        dryRun: run.dryRun,
        clock,
        ids,
        compareAndSetOf: options.compareAndSetOf,
      };
      const around: FileAround = { find: (tx, skus) => findLastRows(tx, run, skus) };
      const apply = async (tx: Tx, range: StepRange) => {
        context.signal.throwIfAborted();
        return applyStep(tx, kind, await readStepRows(tx, run, range), mode, around, step);
      };
      await (stepOrder[kind] === 'whole' && run.dryRun
        ? tryWhole(file, steps, mark, apply)
        : takeSteps(file, steps, mark, apply));
      const errorFile = await keepErrors(file, mark.columns);
      return { message: null, errorFile };
    },
    async ended({ run, store }) {
      while (await store.tenant(run.orgId, (tx) => forgetRows(tx, run), { idempotent: true }));
    },
  };
}

const stepsAtOnce = 3;
const errorsPerPage = 1_000;
const partBytes = 1_048_576;

const modeOf = (params: Record<string, unknown>): StockMode => (params.mode === 'add' ? 'add' : 'set');
const isMark = (mark: unknown): mark is Mark => Array.isArray((mark as Partial<Mark> | null)?.done);

async function* partsOf({ run, store }: RunContext): AsyncGenerator<Uint8Array> {
  for (let place = 0; ; place += 1) {
    const part = await store.tenant(run.orgId, (tx) => readRunFile(tx, run.orgId, run.id, place));
    if (part === null) return;
    yield part;
  }
}

/** Stores the file's rows while the next ones are read. @param known of steps, when the run had ended before */
async function read(file: FileRun, { sizes, done }: Pick<Mark, 'sizes' | 'done'>): Promise<Mark> {
  const { run, store, kind, signal } = file;
  const columns = new Set<string>();
  let rows: WaitingRow[] = [];
  let total = 0;
  let kept: Promise<void> = Promise.resolve();
  const keep = async () => {
    await kept;
    signal.throwIfAborted();
    const some = rows;
    rows = [];
    total += some.length;
    const soFar = total;
    kept = store.tenant(run.orgId, (tx) => keepRows(tx, run, some, soFar), { idempotent: true });
    // Whoever waits for it hears of it.
    kept.catch(() => undefined);
  };
  while (await store.tenant(run.orgId, (tx) => beginReading(tx, run), { idempotent: true }));
  const { records } = await file.open();
  for await (const record of records) {
    for (const { values } of record.rows) for (const column of Object.keys(values)) columns.add(column);
    rows.push(...waitingRows(kind, modeOf(run.params), record).map(fit));
    if (rows.length >= file.rowsPerReading) await keep();
  }
  await keep();
  await kept;
  const stored = await store.tenant(run.orgId, (tx) => countRows(tx, run));
  const mark: Mark = { columns: [...columns], rows: stored, sizes, done };
  await store.tenant(run.orgId, (tx) => beginSteps(tx, run, mark), { idempotent: true });
  return mark;
}

/** As the database can hold it. */
const fit = (row: WaitingRow): WaitingRow =>
  row.refused
    ? { ...row, refused: { ...row.refused, subject: clean(row.refused.subject), value: clean(row.refused.value) } }
    : row;

/** What the database can hold, and a page can show. */
const clean = (text: string): string => text.replaceAll('\0', '').toWellFormed().slice(0, 200);

type Apply = (tx: Tx, range: StepRange) => Promise<StepResult>;

async function takeSteps(file: FileRun, steps: readonly StepRange[], mark: Mark, apply: Apply): Promise<void> {
  const { run, store } = file;
  const mapped = new Set<string>();
  const done = new Set(mark.done);
  const open = [...steps.keys()].filter((place) => !done.has(place));
  const work = async () => {
    for (let place = open.shift(); place !== undefined; place = open.shift()) {
      const at = place;
      const range = steps[at] as StepRange;
      const take = async (tx: Tx) => {
        const result = await (run.dryRun ? tryOut(tx, () => apply(tx, range)) : apply(tx, range));
        await tell(tx, file, at, result);
        return result.mapped;
      };
      for (const connectionId of await store.tenant(run.orgId, take, { idempotent: true })) mapped.add(connectionId);
      if (!run.dryRun) file.wake();
    }
  };
  const giveUp = (error: unknown) => {
    open.length = 0;
    throw error;
  };
  const hands = stepOrder[file.kind] === 'apart' ? stepsAtOnce : 1;
  await allOrFirstFailure(Array.from({ length: hands }, () => work().catch(giveUp)));
  if (!run.dryRun) for (const connectionId of mapped) await file.mapped(run.orgId, connectionId);
}

/** Steps that were told already are done again: the next ones build on them. */
async function tryWhole(file: FileRun, steps: readonly StepRange[], mark: Mark, apply: Apply): Promise<void> {
  const { run, store } = file;
  const told = new Set(mark.done);
  await store.tenant(
    run.orgId,
    (trial) =>
      tryOut(trial, async () => {
        for (const [place, range] of steps.entries()) {
          const result = await apply(trial, range);
          if (told.has(place)) continue;
          await store.tenant(run.orgId, (tx) => tell(tx, file, place, result), { idempotent: true });
          told.add(place);
        }
      }),
    { idempotent: true },
  );
}

/** Waits for all before it fails with the first: nothing goes on behind a run that has ended. */
async function allOrFirstFailure(work: readonly Promise<void>[]): Promise<void> {
  const ended = await Promise.allSettled(work);
  const failed = ended.find((one) => one.status === 'rejected');
  if (failed) throw failed.reason;
}

async function tell(tx: Tx, { advance }: RunContext, place: number, { outcomes }: StepResult): Promise<void> {
  const count = (wanted: RowOutcome['outcome']) => outcomes.filter(({ outcome }) => outcome === wanted).length;
  await advance(tx, {
    succeeded: count('done'),
    failed: count('failed'),
    unchanged: count('unchanged'),
    items: outcomes.flatMap(itemOf),
    markAlso: place,
  });
}

function itemOf({ row, subject, outcome, field, value, reason, undo }: RowOutcome): RunItem[] {
  if (outcome === 'unchanged') return [];
  return [
    {
      item: row,
      outcome,
      subject: clean(subject),
      field: field ?? null,
      value: value === undefined ? null : clean(value),
      reason: reason ?? null,
      undo: undo ?? null,
    },
  ];
}

/** The failed rows as they came, to mend and send again; nothing after a dry run. @returns the file's id: the run's own */
async function keepErrors(file: FileRun, columns: readonly string[]): Promise<string | null> {
  const { run, store, kind } = file;
  if (run.dryRun) return null;
  const next = failedOf(file);
  if ((await next.next()).done) return null;
  let part = 0;
  for await (const content of inParts(errorLines(file, columns))) {
    const at = part;
    await store.tenant(
      run.orgId,
      async (tx) => {
        await holdForStep(tx, run);
        if (at === 0) await keepImportFile(tx, run.orgId, { id: run.id, name: `${kind}-errors.csv`, content });
        else await keepImportFilePart(tx, run.orgId, run.id, at, content);
      },
      { idempotent: true },
    );
    part += 1;
  }
  return run.id;
}

/** By item, as they stand in the file. */
async function* failedOf({ run, store, signal }: RunContext): AsyncGenerator<RowError> {
  for (let after = 0; ; ) {
    signal.throwIfAborted();
    const some = await store.tenant(run.orgId, (tx) => readFailed(tx, run.orgId, run.id, after, errorsPerPage));
    yield* some;
    const last = some.at(-1);
    if (!last || some.length < errorsPerPage) return;
    after = last.row;
  }
}

async function* errorLines(file: FileRun, columns: readonly string[]): AsyncGenerator<string> {
  const failed = failedOf(file);
  let next = await failed.next();
  const { header, records } = await file.open();
  const table = new ErrorTable(header ?? columns);
  yield table.header();
  for await (const { row, rows, cells } of records) {
    if (next.done) break;
    if (next.value.row !== row) continue;
    yield cells ? table.row(cells, next.value) : table.ownRow(rows[0]?.values ?? {}, next.value);
    next = await failed.next();
  }
}

async function* inParts(lines: AsyncIterable<string>): AsyncGenerator<Buffer> {
  let some: string[] = [];
  let length = 0;
  for await (const line of lines) {
    some.push(line);
    length += line.length;
    if (length < partBytes) continue;
    yield Buffer.from(some.join(''));
    some = [];
    length = 0;
  }
  if (length > 0) yield Buffer.from(some.join(''));
}
