/**
 * Files of stock, products and mappings → ledger commands and catalogue rows, in steps. The same code for a dry run and a
 * live run: a dry run does everything in the same transactions and takes it back, so its counts are the live ones.
 *
 * A step is one transaction: some rows, what became of each, and whatever the caller keeps of it (a run's items, counts and
 * mark). Which rows it has follows from the file alone (core/catalog/import-steps.ts), so that a run that was killed goes on at
 * the step after its last.
 *
 * Effect keys are made of the import's key and the row: the same import again (a retry after a crash) adds nothing twice.
 * Called by the bulk routes (whole answer at once) and by the import runs (run-kinds/import-file.ts).
 */
import { ErrorTable } from '#core/catalog/error-file.ts';
import type { ImportResult, RawRow, RowError } from '#core/catalog/import-rows.ts';
import {
  type ImportKind,
  rowsPerStep,
  type SaidRow,
  type StockMode,
  stepsInMemory,
  type WaitingRow,
  waitingRows,
} from '#core/catalog/import-steps.ts';
import type { Clock, Ids } from '#core/effects.ts';
import { keepImportFile } from '#store/catalog/import-files.ts';
import type { Store, Tx } from '#store/tx.ts';
import { applyMappings } from './import-mappings.ts';
import { applyProducts } from './import-products.ts';
import { applyStock } from './import-stock.ts';

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

/** What of its file a step must know beside its own rows. */
export interface FileAround {
  /** The last row of each of these SKUs that are in the file, and the phase they belong to. */
  find(tx: Tx, skus: readonly string[]): Promise<ReadonlyMap<string, { phase: number; says: SaidRow | null }>>;
}

export interface StepResult {
  outcomes: RowOutcome[];
  /** Connections of listings that became mapped. */
  mapped: readonly string[];
}

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
 * How the steps of a file are done:
 *   apart     they touch different SKUs; several may be done at once
 *   in order  later ones need earlier ones, unless it is a dry run: then each brings what it needs
 *   whole     they build on each other: a dry run must do them all in one transaction
 */
export const stepOrder: Readonly<Record<ImportKind, 'apart' | 'in order' | 'whole'>> = {
  stock: 'apart',
  products: 'in order',
  mapping: 'whole',
};

/** @param rows all of one step: of one phase, those of a SKU together, in the file's order */
export async function applyStep(
  tx: Tx,
  kind: ImportKind,
  rows: readonly WaitingRow[],
  mode: StockMode,
  around: FileAround,
  context: StepContext,
): Promise<StepResult> {
  const refused = rows.flatMap(({ row, refused: why }) => (why ? [failedRow({ row, ...why }, why.subject)] : []));
  const said = rows.filter(({ says }) => says !== null);
  const apply = {
    stock: () => applyStock(tx, said, mode, context),
    products: () => applyProducts(tx, said, around, context),
    mapping: () => applyMappings(tx, said, context),
  };
  const { outcomes, mapped } = said.length === 0 ? { outcomes: [], mapped: [] } : await apply[kind]();
  return { outcomes: [...refused, ...outcomes], mapped };
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
  const context = { ...options, clock: deps.clock, ids: deps.ids };
  const waiting = rows.flatMap((row) => waitingRows(kind, mode, { rows: [row], errors: [] }));
  const steps = stepsInMemory(rowsPerStep[kind], waiting);
  const around = aroundInMemory(steps);
  const outcomes: RowOutcome[] = [];
  const mapped = new Set<string>();
  const apply = async (tx: Tx, part: readonly WaitingRow[][]) => {
    const found: StepResult[] = [];
    for (const step of part) found.push(await applyStep(tx, kind, step, mode, around, context));
    return found;
  };
  for (const part of stepOrder[kind] === 'whole' && options.dryRun ? [steps] : steps.map((step) => [step])) {
    const found = await deps.store.tenant(
      options.orgId,
      (tx) => (options.dryRun ? tryOut(tx, () => apply(tx, part)) : apply(tx, part)),
      { idempotent: true },
    );
    for (const one of found) {
      outcomes.push(...one.outcomes);
      for (const connectionId of one.mapped) mapped.add(connectionId);
    }
    options.onProgress?.(outcomes.length, rows.length);
    if (!options.dryRun) deps.wake();
  }
  if (!options.dryRun) for (const connectionId of mapped) deps.mapped(options.orgId, connectionId);
  return finish(deps, kind, rows, outcomes, options);
}

function aroundInMemory(steps: readonly WaitingRow[][]): FileAround {
  const last = new Map(steps.flat().flatMap((row) => (row.sku === null ? [] : [[row.sku, row] as const])));
  return {
    find: async (_, skus) =>
      new Map(
        skus.flatMap((sku) => [[sku, last.get(sku)] as const].flatMap(([, row]) => (row ? [[sku, row] as const] : []))),
      ),
  };
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
    const content = Buffer.from(errorCsv(rows, errors));
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

/** The failed rows as they came, with what was wrong beside each. */
export function errorCsv(rows: readonly RawRow[], errors: readonly RowError[]): string {
  const table = new ErrorTable([...new Set(rows.flatMap(({ values }) => Object.keys(values)))]);
  const byRow = new Map(rows.map((row) => [row.row, row.values]));
  return [table.header(), ...errors.map((error) => table.ownRow(byRow.get(error.row) ?? {}, error))].join('');
}
