/**
 * Files of stock, products and mappings → ledger commands and catalogue rows, in steps. The same code for a dry run and a
 * live run: a dry run does everything in the same transactions and takes it back, so its counts are the live ones.
 *
 * A step is one transaction: some rows, what became of each, and whatever the caller keeps of it (`keep`: a run's items,
 * counts and mark). Steps follow from the file alone, so that a run that was killed goes on at the step after its last.
 * Rows of one SKU share a step, in their order: no step depends on what another did to the same numbers.
 *
 * Effect keys are made of the import's key and the row: the same import again (a retry after a crash) adds nothing twice.
 * Called by the bulk routes (whole answer at once) and by the import runs (run-kinds/import-file.ts).
 */
import { errorColumns, guarded } from '#core/catalog/error-file.ts';
import type { ImportResult, RawRow, RowError } from '#core/catalog/import-rows.ts';
import type { Clock, Ids } from '#core/effects.ts';
import { keepImportFile } from '#store/catalog/bulk.ts';
import type { Store, Tx } from '#store/tx.ts';
import { mappingSteps } from './import-mappings.ts';
import { productSteps } from './import-products.ts';
import { stockSteps } from './import-stock.ts';

export interface ImportDeps {
  store: Store;
  clock: Clock;
  ids: Ids;
  /** After a committed step: something may have to be published. */
  wake(): void;
  /** Listings became mapped: orders that waited for them are booked. */
  mapped(orgId: string, connectionId: string): void;
}

export interface ImportOptions {
  orgId: string;
  actor: string;
  /** Makes the effect keys; stable over a retry. */
  key: string;
  dryRun: boolean;
  onProgress?: (done: number, total: number) => void;
}

/** What became of a row. */
export interface RowOutcome {
  row: number;
  subject: string;
  outcome: 'done' | 'unchanged' | 'failed';
  field?: string;
  value?: string;
  reason?: string;
  /** What an inverse run needs. */
  undo?: unknown;
}

/** One transaction's worth of rows. */
export interface ImportStep {
  rows: number;
  apply(tx: Tx): Promise<{ outcomes: RowOutcome[]; mapped?: readonly string[] }>;
}

export type ImportKind = 'stock' | 'products' | 'mapping';
export type StockMode = 'set' | 'add';

export interface StepContext {
  orgId: string;
  actor: string;
  key: string;
  /** What is done is taken back, step by step. */
  dryRun: boolean;
  clock: Clock;
  ids: Ids;
  /** Channels whose numbers are written from a number they must still have; for mappings. */
  compareAndSetOf?: (platform: string) => boolean;
}

/**
 * Rows that cannot be read, and the steps of all others:
 *   apart     they touch different SKUs; several may be done at once
 *   in order  later ones need earlier ones, unless it is a dry run: then each brings what it needs
 *   whole     they build on each other: a dry run must do them all in one transaction
 */
export function stepsOf(
  kind: ImportKind,
  rows: readonly RawRow[],
  mode: StockMode,
  context: StepContext,
): { unreadable: RowOutcome[]; steps: ImportStep[]; done: 'apart' | 'in order' | 'whole' } {
  if (kind === 'stock') return { ...stockSteps(rows, mode, context), done: 'apart' };
  if (kind === 'products') return { ...productSteps(rows, context), done: 'in order' };
  return { ...mappingSteps(rows, context), done: 'whole' };
}

export const failedRow = ({ row, field, value, reason }: RowError, subject: string): RowOutcome => ({
  row,
  subject,
  outcome: 'failed',
  field,
  value,
  reason,
});

/** Does the work and takes it back, inside a transaction that goes on. */
export async function tryOut<T>(tx: Tx, work: () => Promise<T>): Promise<T> {
  await tx.query('savepoint dry_run');
  const result = await work();
  await tx.query('rollback to savepoint dry_run');
  return result;
}

const shownErrors = 1_000;

/** @param mode `set`: the shelf holds exactly this (a count). `add`: so many more; fewer is refused beyond what is free. */
export function importStock(
  deps: ImportDeps,
  rows: readonly RawRow[],
  mode: StockMode,
  options: ImportOptions,
): Promise<ImportResult> {
  return importRows(deps, 'stock', rows, mode, options);
}

/** Products by SKU: titles, barcodes, bundle components. Unmapped listings of the same SKU become mapped. */
export function importProducts(
  deps: ImportDeps,
  rows: readonly RawRow[],
  options: ImportOptions,
): Promise<ImportResult> {
  return importRows(deps, 'products', rows, 'set', options);
}

async function importRows(
  deps: ImportDeps,
  kind: ImportKind,
  rows: readonly RawRow[],
  mode: StockMode,
  options: ImportOptions,
): Promise<ImportResult> {
  const { unreadable, steps, done } = stepsOf(kind, rows, mode, { ...options, clock: deps.clock, ids: deps.ids });
  const outcomes = [...unreadable];
  const mapped = new Set<string>();
  const apply = async (tx: Tx, part: readonly ImportStep[]) => {
    const found: Awaited<ReturnType<ImportStep['apply']>>[] = [];
    for (const step of part) found.push(await step.apply(tx));
    return found;
  };
  for (const part of done === 'whole' && options.dryRun ? [steps] : steps.map((step) => [step])) {
    const found = await deps.store.tenant(
      options.orgId,
      (tx) => (options.dryRun ? tryOut(tx, () => apply(tx, part)) : apply(tx, part)),
      { idempotent: true },
    );
    for (const one of found) {
      outcomes.push(...one.outcomes);
      for (const connectionId of one.mapped ?? []) mapped.add(connectionId);
    }
    options.onProgress?.(outcomes.length, rows.length);
    if (!options.dryRun) deps.wake();
  }
  if (!options.dryRun) for (const connectionId of mapped) deps.mapped(options.orgId, connectionId);
  return finish(deps, kind, rows, outcomes, options);
}

async function finish(
  deps: ImportDeps,
  kind: ImportKind,
  rows: readonly RawRow[],
  outcomes: readonly RowOutcome[],
  options: ImportOptions,
): Promise<ImportResult> {
  const errors = outcomes
    .filter(({ outcome }) => outcome === 'failed')
    .map(({ row, field = '', value = '', reason = '' }) => ({ row, field, value, reason }))
    .sort((a, b) => a.row - b.row);
  const count = (wanted: RowOutcome['outcome']) => outcomes.filter(({ outcome }) => outcome === wanted).length;
  let errorFile: string | null = null;
  if (errors.length > 0 && !options.dryRun) {
    const id = deps.ids.uuid();
    const content = errorCsv(rows, errors);
    await deps.store.tenant(options.orgId, (tx) =>
      keepImportFile(tx, options.orgId, { id, name: `${kind}-errors.csv`, content }),
    );
    errorFile = `/api/imports/files/${id}`;
  }
  return {
    rows: rows.length,
    succeeded: count('done'),
    failed: errors.length,
    unchanged: count('unchanged'),
    errors: errors.slice(0, shownErrors),
    errorFile,
  };
}

const cell = (text: string): string => `"${guarded(text).replaceAll('"', '""')}"`;

/** The failed rows as they came, with row number, field and reason beside each: fix and send again. Formula signs are defused. */
export function errorCsv(rows: readonly RawRow[], errors: readonly RowError[]): string {
  const columns = [...new Set(rows.flatMap(({ values }) => Object.keys(values)))];
  const byRow = new Map(rows.map((row) => [row.row, row.values]));
  return errorTable(columns, (row) => columns.map((column) => byRow.get(row)?.[column] ?? ''), errors);
}

/** The same for a file of other columns than ours. */
export function errorTable(
  header: readonly string[],
  cellsOf: (row: number) => readonly string[],
  errors: readonly RowError[],
): string {
  const lines = errors.map((error) =>
    [...header.map((_, place) => cellsOf(error.row)[place] ?? ''), String(error.row), error.field, error.reason]
      .map(cell)
      .join(','),
  );
  return `${[...header, ...errorColumns].map(cell).join(',')}\r\n${lines.join('\r\n')}\r\n`;
}
