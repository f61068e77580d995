/**
 * Product rows → steps: first plain products, then bundles, whose parts may stand anywhere in the file. Of several rows of
 * one SKU the last one counts; the others change nothing. Unmapped listings of the same SKU become mapped in the same step.
 * In a dry run nothing is left of the steps before: a step of bundles first makes those of their parts that the file brings.
 */
import { checkProductRow, type ProductRow, type RawRow } from '#core/catalog/import-rows.ts';
import {
  findVariants,
  mapBySku,
  mergeProducts,
  type Product,
  readProducts,
  setComponents,
} from '#store/catalog/bulk.ts';
import type { Tx } from '#store/tx.ts';
import { failedRow, type ImportStep, type RowOutcome, type StepContext } from './import-rows.ts';

/** A longer transaction would hold up the event feed of the whole installation. */
const productsPerStep = 2_000;
const bundlesPerStep = 200;

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

export function productSteps(
  rows: readonly RawRow[],
  context: StepContext,
): { unreadable: RowOutcome[]; steps: ImportStep[] } {
  const unreadable: RowOutcome[] = [];
  const good: ProductRow[] = [];
  for (const row of rows) {
    const checked = checkProductRow(row);
    if (checked.ok) good.push(checked.value);
    else unreadable.push(failedRow(checked.error, row.values.sku ?? ''));
  }
  const last = new Map(good.map((row) => [row.sku, row]));
  const earlier = good.filter((row) => last.get(row.sku) !== row);
  unreadable.push(...earlier.map(({ row, sku }): RowOutcome => ({ row, subject: sku, outcome: 'unchanged' })));
  const becomesBundle = new Set(good.filter((row) => (row.components ?? []).length > 0).map(({ sku }) => sku));
  const isBundle = ({ sku }: ProductRow) => becomesBundle.has(sku);
  const plain = [...last.values()].filter((row) => !isBundle(row));
  const bundles = [...last.values()].filter(isBundle);
  return {
    unreadable,
    steps: [
      ...chunks(plain, productsPerStep).map((part) => step(part, (tx) => products(tx, part, context))),
      ...chunks(bundles, bundlesPerStep).map((part) =>
        step(part, async (tx) => {
          if (context.dryRun) await products(tx, partsOf(part, last, isBundle), context);
          return bundle(tx, part, becomesBundle, context);
        }),
      ),
    ],
  };
}

/** The file's own rows of what these bundles hold. */
function partsOf(
  bundles: readonly ProductRow[],
  last: ReadonlyMap<string, ProductRow>,
  isBundle: (row: ProductRow) => boolean,
): ProductRow[] {
  const skus = new Set(bundles.flatMap(({ components }) => (components ?? []).map(({ sku }) => sku)));
  return [...skus].flatMap((sku) => last.get(sku) ?? []).filter((row) => !isBundle(row));
}

const step = (rows: readonly ProductRow[], apply: ImportStep['apply']): ImportStep => ({ rows: rows.length, apply });

function chunks<T>(list: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(list.length / size) }, (_, i) => list.slice(i * size, (i + 1) * size));
}

/** A row that names no parts says that it is no bundle (any more). */
async function products(
  tx: Tx,
  rows: readonly ProductRow[],
  context: StepContext,
): Promise<{ outcomes: RowOutcome[]; mapped: string[] }> {
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

async function merge(
  tx: Tx,
  rows: readonly ProductRow[],
  { orgId, clock, ids }: StepContext,
): Promise<{ outcomes: RowOutcome[]; mapped: string[] }> {
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
  becomesBundle: ReadonlySet<string>,
  context: StepContext,
): Promise<{ outcomes: RowOutcome[]; mapped: string[] }> {
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
    const nested = row.components?.find(({ sku }) => becomesBundle.has(sku) || parts.get(sku)?.isBundle);
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
