/**
 * Files of stock and products → ledger commands and catalogue rows. The same code for a dry run and a live run:
 * a dry run does everything in the same transactions and rolls each back, so its counts are the live ones.
 *
 * Rows are grouped by SKU (order inside a SKU kept) and go in chunks of at most 200; a chunk is one transaction, good rows
 * land, bad rows are reported. Each row's effect key is made of the import's key and its row number: the same import again
 * (a retry after a crash) adds nothing twice.
 */
import {
  checkProductRow,
  checkStockRow,
  type ImportResult,
  type ProductRow,
  type RawRow,
  type RowError,
  type StockRow,
} from '#core/catalog/import-rows.ts';
import type { Clock, Ids } from '#core/effects.ts';
import { OrgId } from '#core/ids.ts';
import { type Command, MAX_COMMANDS, type Posted } from '#core/stock/movement.ts';
import {
  findLocations,
  findVariants,
  keepImportFile,
  mapBySku,
  mergeProducts,
  setComponents,
} from '#store/catalog/bulk.ts';
import { post } from '#store/ledger/post.ts';
import type { Store, Tx } from '#store/tx.ts';

export interface ImportDeps {
  store: Store;
  clock: Clock;
  ids: Ids;
  /** After a committed chunk: something may have to be published. */
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

const shownErrors = 1_000;
const productsPerTransaction = 2_000;

/** Thrown inside a dry run's transaction, so that it rolls back after having done everything. */
class DryRun extends Error {
  readonly result: unknown;
  constructor(result: unknown) {
    super('dry run');
    this.result = result;
  }
}

async function transact<T>(store: Store, orgId: string, dryRun: boolean, work: (tx: Tx) => Promise<T>): Promise<T> {
  try {
    return await store.tenant(
      orgId,
      async (tx) => {
        const result = await work(tx);
        if (dryRun) throw new DryRun(result);
        return result;
      },
      { idempotent: true },
    );
  } catch (error) {
    if (error instanceof DryRun) return error.result as T;
    throw error;
  }
}

/** @param mode `set`: the shelf holds exactly this (a count). `add`: so many more; fewer is refused beyond what is free. */
export async function importStock(
  deps: ImportDeps,
  rows: readonly RawRow[],
  mode: 'set' | 'add',
  options: ImportOptions,
): Promise<ImportResult> {
  const errors: RowError[] = [];
  const good: StockRow[] = [];
  for (const row of rows) {
    const checked = checkStockRow(row, mode);
    if (checked.ok) good.push(checked.value);
    else errors.push(checked.error);
  }
  const located = await locate(deps, options.orgId, good, errors);
  let unchanged = 0;
  let succeeded = 0;
  let done = 0;
  for (const chunk of chunksBySku(located)) {
    const commands = chunk.map((row) => toCommand(row, mode, options.key, deps.clock.now()));
    const real = commands.filter((command) => command !== null);
    const posted =
      real.length === 0
        ? []
        : await transact(deps.store, options.orgId, options.dryRun, (tx) =>
            post(tx, OrgId(options.orgId), real, { actor: options.actor, now: deps.clock.now(), ids: deps.ids }),
          );
    let next = 0;
    for (const [index, row] of chunk.entries()) {
      const answer = commands[index] === null ? null : (posted[next++] ?? null);
      const verdict = judge(answer);
      if (verdict === 'unchanged') unchanged += 1;
      else if (verdict === 'done') succeeded += 1;
      else errors.push({ row: row.row, field: 'quantity', value: String(row.quantity), reason: verdict });
    }
    if (!options.dryRun) deps.wake();
    done += chunk.length;
    options.onProgress?.(errors.length + done, rows.length);
  }
  return finish(deps, options, rows, errors, { succeeded, unchanged }, 'stock');
}

interface LocatedRow extends StockRow {
  variantId: Command extends infer C ? (C extends { kind: 'count'; variantId: infer V } ? V : never) : never;
  locationId: Command extends infer C ? (C extends { kind: 'count'; locationId: infer L } ? L : never) : never;
}

async function locate(
  deps: ImportDeps,
  orgId: string,
  rows: readonly StockRow[],
  errors: RowError[],
): Promise<LocatedRow[]> {
  const skus = [...new Set(rows.map(({ sku }) => sku))];
  const { variants, locations } = await deps.store.tenant(orgId, async (tx) => ({
    variants: await findVariants(tx, orgId, skus),
    locations: await findLocations(tx, orgId),
  }));
  return rows.flatMap((row) => {
    const variant = variants.get(row.sku);
    const refuse = (field: string, value: string, reason: string) => {
      errors.push({ row: row.row, field, value, reason });
      return [];
    };
    if (!variant) return refuse('sku', row.sku, 'is not known; import it as a product first');
    if (variant.isBundle) return refuse('sku', row.sku, 'is a bundle: its stock is that of its components');
    const locationId = row.location === null ? locations.defaultId : (locations.byCode.get(row.location) ?? null);
    if (locationId === null) return refuse('location', row.location ?? '', 'is not known');
    return [{ ...row, variantId: variant.id, locationId }];
  });
}

/** Chunks of at most MAX_COMMANDS rows; rows of one SKU stay together (so that a rolled-back chunk is exact) unless they are more than that. */
function* chunksBySku<Row extends { sku: string }>(rows: readonly Row[]): Generator<Row[]> {
  const bySku = new Map<string, Row[]>();
  for (const row of rows) {
    const same = bySku.get(row.sku);
    if (same) same.push(row);
    else bySku.set(row.sku, [row]);
  }
  let chunk: Row[] = [];
  for (const same of bySku.values()) {
    if (chunk.length > 0 && chunk.length + same.length > MAX_COMMANDS) {
      yield chunk;
      chunk = [];
    }
    chunk.push(...same);
    while (chunk.length > MAX_COMMANDS) yield chunk.splice(0, MAX_COMMANDS);
  }
  if (chunk.length > 0) yield chunk;
}

function toCommand(row: LocatedRow, mode: 'set' | 'add', key: string, now: number): Command | null {
  const common = {
    key: `${key}:${row.row}`,
    businessAt: now,
    reason: mode === 'set' ? 'import_count' : 'import',
    variantId: row.variantId,
    locationId: row.locationId,
  };
  if (mode === 'set') return { ...common, kind: 'count', set: row.quantity };
  if (row.quantity === 0) return null;
  return { ...common, kind: 'adjust', change: row.quantity, fact: false };
}

/** 'done', 'unchanged', or the reason it was refused. A row already applied by an earlier try counts as it did then. */
function judge(posted: Posted | null): string {
  if (posted === null) return 'unchanged';
  if (posted.kind === 'insufficient')
    return `${posted.missing.reduce((sum, entry) => sum + entry.missing, 0)} more than is free`;
  const result = posted.kind === 'duplicate' ? posted.first : posted;
  if (result.kind === 'nothing') return 'unchanged';
  return result.positions.some(({ before, after }) => JSON.stringify(before) !== JSON.stringify(after))
    ? 'done'
    : 'unchanged';
}

/** Products by SKU: titles, barcodes, bundle components. Unmapped listings of the same SKU become mapped. */
export async function importProducts(
  deps: ImportDeps,
  rows: readonly RawRow[],
  options: ImportOptions,
): Promise<ImportResult> {
  const errors: RowError[] = [];
  const good: ProductRow[] = [];
  for (const row of rows) {
    const checked = checkProductRow(row);
    if (checked.ok) good.push(checked.value);
    else errors.push(checked.error);
  }
  const bySku = new Map(good.map((row) => [row.sku, row]));
  const now = new Date(deps.clock.now());
  const products = [...bySku.values()];
  const merge = (tx: Tx, part: readonly ProductRow[]) =>
    mergeProducts(
      tx,
      options.orgId,
      part.map(({ sku, title, barcode }) => ({ id: deps.ids.uuid(), sku, title, barcode })),
      now,
    );
  const join = async (tx: Tx, changed: Set<string>) => ({
    changed,
    refused: await mergeComponents(tx, options.orgId, products, changed, now),
    connections: await mapBySku(tx, options.orgId, [...bySku.keys()]),
  });
  // Live, each part is a transaction of its own: a long one would hold up the event feed of the whole installation.
  const outcome = await (options.dryRun
    ? transact(deps.store, options.orgId, true, async (tx) => join(tx, await merge(tx, products)))
    : (async () => {
        const changed = new Set<string>();
        for (let start = 0; start < products.length; start += productsPerTransaction) {
          const part = products.slice(start, start + productsPerTransaction);
          for (const sku of await transact(deps.store, options.orgId, false, (tx) => merge(tx, part))) changed.add(sku);
          options.onProgress?.(Math.min(start + productsPerTransaction, products.length), rows.length);
        }
        return transact(deps.store, options.orgId, false, (tx) => join(tx, new Set(changed)));
      })());
  errors.push(...outcome.refused);
  const failedRows = new Set(outcome.refused.map(({ row }) => row));
  const succeeded = good.filter(
    (row) => !failedRows.has(row.row) && outcome.changed.has(row.sku) && bySku.get(row.sku) === row,
  ).length;
  const unchanged = good.length - failedRows.size - succeeded;
  if (!options.dryRun) {
    for (const { connectionId } of outcome.connections) deps.mapped(options.orgId, connectionId);
    deps.wake();
  }
  return finish(deps, options, rows, errors, { succeeded, unchanged }, 'products');
}

async function mergeComponents(
  tx: Tx,
  orgId: string,
  products: readonly ProductRow[],
  changed: Set<string>,
  now: Date,
): Promise<RowError[]> {
  const bundles = products.filter((row) => row.components !== null);
  if (bundles.length === 0) return [];
  const wanted = [...new Set(bundles.flatMap((row) => [row.sku, ...(row.components ?? []).map(({ sku }) => sku)]))];
  const known = await findVariants(tx, orgId, wanted);
  const becomesBundle = new Set(bundles.filter((row) => (row.components ?? []).length > 0).map(({ sku }) => sku));
  const errors: RowError[] = [];
  for (const row of bundles) {
    const refuse = (reason: string) =>
      errors.push({
        row: row.row,
        field: 'components',
        value: (row.components ?? []).map(({ sku, units }) => `${sku}:${units}`).join('; '),
        reason,
      });
    const missing = (row.components ?? []).find(({ sku }) => !known.has(sku));
    const nested = (row.components ?? []).find(({ sku }) => becomesBundle.has(sku) || known.get(sku)?.isBundle);
    if (missing) refuse(`${missing.sku} is not known`);
    else if (nested) refuse(`${nested.sku} is itself a bundle`);
    else {
      const components = (row.components ?? []).map(({ sku, units }) => ({
        variantId: known.get(sku)?.id ?? '',
        units,
      }));
      const set = await setComponents(tx, orgId, known.get(row.sku)?.id ?? '', components, now);
      if (set === 'has_stock') refuse('has stock of its own; count it to 0 first');
      else if (set === 'changed') changed.add(row.sku);
    }
  }
  return errors;
}

async function finish(
  deps: ImportDeps,
  options: ImportOptions,
  rows: readonly RawRow[],
  errors: RowError[],
  counts: { succeeded: number; unchanged: number },
  kind: string,
): Promise<ImportResult> {
  errors.sort((a, b) => a.row - b.row);
  let errorFile: string | null = null;
  if (errors.length > 0 && !options.dryRun) {
    const id = deps.ids.uuid();
    const content = errorCsv(rows, errors);
    await deps.store.tenant(options.orgId, (tx) =>
      keepImportFile(tx, options.orgId, { id, name: `${kind}-errors.csv`, content }),
    );
    errorFile = `/api/imports/files/${id}`;
  }
  return { rows: rows.length, ...counts, failed: errors.length, errors: errors.slice(0, shownErrors), errorFile };
}

/** The failed rows as they came, with row number, field and reason beside each: fix and send again. Formula signs are defused. */
function errorCsv(rows: readonly RawRow[], errors: readonly RowError[]): string {
  const columns = [...new Set(rows.flatMap(({ values }) => Object.keys(values)))];
  const byRow = new Map(rows.map((row) => [row.row, row.values]));
  const cell = (text: string) =>
    `"${(/^[=+\-@\t\r]/.test(text) && !/^[+-]?\d+$/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
  const lines = errors.map((error) =>
    [...columns.map((column) => byRow.get(error.row)?.[column] ?? ''), String(error.row), error.field, error.reason]
      .map(cell)
      .join(','),
  );
  return `${[...columns, 'row', 'field', 'reason'].map(cell).join(',')}\r\n${lines.join('\r\n')}\r\n`;
}
