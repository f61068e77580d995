/**
 * A step of product rows: plain products, or bundles (phase 1), whose parts may stand anywhere in the file. Of several rows of
 * one SKU the last one counts; the others change nothing. Unmapped listings of the same SKU become mapped in the same step.
 * In a dry run nothing is left of the steps before: a step of bundles first makes those of their parts that the file brings.
 */
import type { ProductRow } from '#core/catalog/import-rows.ts';
import type { WaitingRow } from '#core/catalog/import-steps.ts';
import {
  findVariants,
  mapBySku,
  mergeProducts,
  type Product,
  readProducts,
  setComponents,
} from '#store/catalog/bulk.ts';
import type { Tx } from '#store/tx.ts';
import { type FileAround, failedRow, type RowOutcome, type StepContext, type StepResult } from './import-rows.ts';

export interface ProductUndo {
  variantId: string;
  /** null: the product was new. */
  before: { title: string; barcode: string | null; components: { variantId: string; units: number }[] } | null;
  /** What the file wrote; null: it left that alone. */
  after: {
    title: string | null;
    barcode: string | null;
    components: { variantId: string; units: number }[] | null;
  };
}

export async function applyProducts(
  tx: Tx,
  said: readonly WaitingRow[],
  around: FileAround,
  context: StepContext,
): Promise<StepResult> {
  const rows = said.map(({ says }) => says as ProductRow);
  const last = new Map(rows.map((row) => [row.sku, row]));
  const earlier = rows.filter((row) => last.get(row.sku) !== row);
  const counted = [...last.values()];
  const { outcomes, mapped } =
    said[0]?.phase === 1 ? await bundles(tx, counted, around, context) : await products(tx, counted, context);
  const unchanged = earlier.map(({ row, sku }): RowOutcome => ({ row, subject: sku, outcome: 'unchanged' }));
  return { outcomes: [...unchanged, ...outcomes], mapped };
}

async function bundles(
  tx: Tx,
  rows: readonly ProductRow[],
  around: FileAround,
  context: StepContext,
): Promise<StepResult> {
  const parts = [...new Set(rows.flatMap(({ components }) => (components ?? []).map(({ sku }) => sku)))];
  const inFile = await around.find(tx, parts);
  if (context.dryRun) {
    // The file's own rows of what these bundles hold.
    const plain = parts.flatMap((sku) => inFile.get(sku) ?? []).filter(({ phase }) => phase === 0);
    await products(
      tx,
      plain.map(({ says }) => says as ProductRow),
      context,
    );
  }
  return bundle(tx, rows, (sku) => inFile.get(sku)?.phase === 1, context);
}

/** A row that names no parts says that it is no bundle (any more). */
async function products(tx: Tx, rows: readonly ProductRow[], context: StepContext): Promise<StepResult> {
  const { orgId, clock } = context;
  const emptied = rows.filter(({ components }) => components !== null).map(({ sku }) => sku);
  const before = await readProducts(tx, orgId, emptied);
  const { outcomes, mapped } = await merge(tx, rows, context);
  for (const [place, row] of rows.entries()) {
    const was = before.get(row.sku);
    if (!was || was.components.length === 0) continue;
    await setComponents(tx, orgId, was.id, [], new Date(clock.now()));
    outcomes[place] = outcomeOf(row, was.id, was, []);
  }
  return { outcomes, mapped };
}

async function merge(tx: Tx, rows: readonly ProductRow[], { orgId, clock, ids }: StepContext): Promise<StepResult> {
  const skus = rows.map(({ sku }) => sku);
  const before = await readProducts(tx, orgId, skus);
  const changed = await mergeProducts(
    tx,
    orgId,
    rows.map(({ sku, title, barcode }) => ({ id: ids.uuid(), sku, title, barcode })),
    new Date(clock.now()),
  );
  const mapped = await mapBySku(tx, orgId, skus);
  return {
    outcomes: rows.map((row) => outcomeOf(row, changed.get(row.sku), before.get(row.sku))),
    mapped: mapped.map(({ connectionId }) => connectionId),
  };
}

function outcomeOf(
  row: ProductRow,
  variantId: string | undefined,
  before: Product | undefined,
  components: Product['components'] | null = null,
): RowOutcome {
  const about = { row: row.row, subject: row.sku };
  if (variantId === undefined) return { ...about, outcome: 'unchanged' };
  const undo: ProductUndo = {
    variantId,
    before: before ? { title: before.title, barcode: before.barcode, components: before.components } : null,
    after: { title: row.title === '' ? null : row.title, barcode: row.barcode, components },
  };
  return { ...about, outcome: 'done', undo };
}

/** A bundle whose parts are refused is left as it was, title and all. */
async function bundle(
  tx: Tx,
  rows: readonly ProductRow[],
  becomesBundle: (sku: string) => boolean,
  context: StepContext,
): Promise<StepResult> {
  const { orgId, clock } = context;
  const parts = await findVariants(tx, orgId, [
    ...new Set(rows.flatMap(({ components }) => (components ?? []).map(({ sku }) => sku))),
  ]);
  const outcomes: RowOutcome[] = [];
  const refuse = (row: ProductRow, reason: string) => {
    const value = (row.components ?? []).map(({ sku, units }) => `${sku}:${units}`).join('; ');
    outcomes.push(failedRow({ row: row.row, field: 'components', value, reason }, row.sku));
  };
  const good = rows.filter((row) => {
    const missing = row.components?.find(({ sku }) => !parts.has(sku));
    const nested = row.components?.find(({ sku }) => becomesBundle(sku) || parts.get(sku)?.isBundle);
    if (nested) refuse(row, `${nested.sku} is itself a bundle`);
    else if (missing) refuse(row, `${missing.sku} is not known`);
    return !missing && !nested;
  });
  const skus = good.map(({ sku }) => sku);
  const before = await readProducts(tx, orgId, skus);
  const merged = await merge(tx, good, context);
  const own = await findVariants(tx, orgId, skus);
  for (const [place, row] of good.entries()) {
    const variantId = own.get(row.sku)?.id ?? '';
    const components = (row.components ?? []).map(({ sku, units }) => ({ variantId: parts.get(sku)?.id ?? '', units }));
    const set = await setComponents(tx, orgId, variantId, components, new Date(clock.now()));
    const outcome = merged.outcomes[place];
    if (set === 'has_stock') refuse(row, 'has stock of its own; count it to 0 first');
    else if (set === 'changed') outcomes.push(outcomeOf(row, variantId, before.get(row.sku), components));
    else if (outcome) outcomes.push(outcome);
  }
  return { outcomes, mapped: merged.mapped };
}
