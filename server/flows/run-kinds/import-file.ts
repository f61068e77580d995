/**
 * An import of a file as a run. The file was stored in parts before the run was released; it is read whole, and its steps
 * (flows/import-rows.ts) follow from it alone: the mark holds the steps that are done. Steps that touch different SKUs are
 * done a few at once.
 *
 * A dry run does each step and takes it back in the same transaction; where steps build on each other (mappings) it does them
 * all in one.
 */
import type { RawRow, RowError } from '#core/catalog/import-rows.ts';
import { keepImportFile } from '#store/catalog/bulk.ts';
import { type RunItem, readFailed, readRunFile } from '#store/runs/runs.ts';
import type { Tx } from '#store/tx.ts';
import {
  errorCsv,
  errorTable,
  failedRow,
  type ImportKind,
  type ImportStep,
  type RowOutcome,
  type StockMode,
  stepsOf,
  tryOut,
} from '../import-rows.ts';
import type { RunContext, RunKind } from '../runs.ts';

export interface FileRows {
  rows: RawRow[];
  errors: RowError[];
  total: number;
  source: { header: readonly string[]; cellsOf(row: number): readonly string[] } | null;
}

export interface ImportFileOptions {
  /** Bytes → rows; throws with words when it cannot. */
  readFile(content: Buffer, kind: ImportKind, format: string): Promise<FileRows>;
  compareAndSetOf(platform: string): boolean;
}

export function importFile(kind: ImportKind, options: ImportFileOptions): RunKind {
  return {
    async execute(context) {
      const { run, store, clock, ids } = context;
      const file = await options.readFile(await contentOf(context), kind, String(run.params.format ?? 'auto'));
      const mode: StockMode = run.params.mode === 'add' ? 'add' : 'set';
      const {
        unreadable,
        steps,
        done: how,
      } = stepsOf(kind, file.rows, mode, {
        orgId: run.orgId,
        actor: run.actor,
        key: `run:${run.id}`,
        dryRun: run.dryRun,
        clock,
        ids,
        compareAndSetOf: options.compareAndSetOf,
      });
      const lost = file.errors.map((error) => failedRow(error, error.value));
      const all = [told([...lost, ...unreadable]), ...steps];
      const groups = how === 'whole' && run.dryRun ? [all] : all.map((step) => [step]);
      const mapped = new Set<string>();
      const done = new Set(Array.isArray(run.mark) ? run.mark : []);
      const open = groups.map((_, place) => place).filter((place) => !done.has(place));
      const work = async () => {
        for (let place = open.shift(); place !== undefined; place = open.shift()) {
          const group = groups[place] ?? [];
          const step = { place, total: file.total };
          const found = await store.tenant(run.orgId, (tx) => takeStep(tx, context, group, step), { idempotent: true });
          for (const connectionId of found) mapped.add(connectionId);
          if (!run.dryRun) context.wake();
        }
      };
      const giveUp = (error: unknown) => {
        open.length = 0;
        throw error;
      };
      await allOrFirstFailure(Array.from({ length: how === 'apart' ? stepsAtOnce : 1 }, () => work().catch(giveUp)));
      if (!run.dryRun) for (const connectionId of mapped) await context.mapped(run.orgId, connectionId);
      return { message: null, errorFile: await keepErrors(context, kind, file) };
    },
  };
}

const stepsAtOnce = 3;

/** Waits for all before it fails with the first: nothing goes on behind a run that has ended. */
async function allOrFirstFailure(work: readonly Promise<void>[]): Promise<void> {
  const ended = await Promise.allSettled(work);
  const failed = ended.find((one) => one.status === 'rejected');
  if (failed) throw failed.reason;
}

/** Rows whose fate was known at once, as a step like the others. */
const told = (outcomes: RowOutcome[]): ImportStep => ({ rows: outcomes.length, apply: async () => ({ outcomes }) });

async function takeStep(
  tx: Tx,
  context: RunContext,
  group: readonly ImportStep[],
  to: { place: number; total: number },
): Promise<string[]> {
  const work = async () => {
    const found: Awaited<ReturnType<ImportStep['apply']>>[] = [];
    for (const step of group) {
      context.signal.throwIfAborted();
      found.push(await step.apply(tx));
    }
    return found;
  };
  const found = await (context.run.dryRun ? tryOut(tx, work) : work());
  const outcomes = found.flatMap((one) => one.outcomes);
  const count = (wanted: RowOutcome['outcome']) => outcomes.filter(({ outcome }) => outcome === wanted).length;
  await context.advance(tx, {
    succeeded: count('done'),
    failed: count('failed'),
    unchanged: count('unchanged'),
    items: outcomes.flatMap(itemOf),
    markAlso: to.place,
    total: to.total,
  });
  return found.flatMap(({ mapped = [] }) => mapped);
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

/** What the database can hold, and a page can show. */
const clean = (text: string): string => text.replaceAll('\0', '').toWellFormed().slice(0, 200);

async function contentOf({ run, store }: RunContext): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for (;;) {
    const part = await store.tenant(run.orgId, (tx) => readRunFile(tx, run.orgId, run.id, parts.length));
    if (part === null) return Buffer.concat(parts);
    parts.push(part);
  }
}

/** The failed rows as they came, to mend and send again; nothing after a dry run. */
async function keepErrors({ run, store, ids }: RunContext, kind: ImportKind, file: FileRows): Promise<string | null> {
  if (run.dryRun) return null;
  const id = ids.uuid();
  return store.tenant(
    run.orgId,
    async (tx) => {
      const errors = await readFailed(tx, run.orgId, run.id);
      if (errors.length === 0) return null;
      const content = file.source
        ? errorTable(file.source.header, file.source.cellsOf, errors)
        : errorCsv(file.rows, errors);
      await keepImportFile(tx, run.orgId, { id, name: `${kind}-errors.csv`, content });
      return id;
    },
    { idempotent: true },
  );
}
