/** A step of stock rows → ledger commands. */
import type { StockRow } from '#core/catalog/import-rows.ts';
import type { StockMode, WaitingRow } from '#core/catalog/import-steps.ts';
import { CodedError } from '#core/errors.ts';
import { type LocationId, OrgId, type VariantId } from '#core/ids.ts';
import { type Command, MAX_COMMANDS, type Posted } from '#core/stock/movement.ts';
import { findLocations, findVariants } from '#store/catalog/bulk.ts';
import { post } from '#store/ledger/post.ts';
import type { Tx } from '#store/tx.ts';
import { failedRow, type RowOutcome, type StepContext, type StepResult } from './import-rows.ts';

/** A record that counts several places is several rows of one number: the first is 0. */
interface CountedRow extends StockRow {
  turn: number;
}

interface LocatedRow extends CountedRow {
  variantId: VariantId;
  locationId: LocationId;
}

export async function applyStock(
  tx: Tx,
  said: readonly WaitingRow[],
  mode: StockMode,
  context: StepContext,
): Promise<StepResult> {
  const outcomes: RowOutcome[] = [];
  const rows = said.map(({ says, turn }): CountedRow => ({ ...(says as StockRow), turn }));
  const located = await locate(tx, context.orgId, rows, outcomes);
  // In the ledger's own order of locks, so that several batches of one transaction take them as one would; stable: a SKU's rows keep theirs.
  located.sort((a, b) => (a.variantId < b.variantId ? -1 : a.variantId > b.variantId ? 1 : 0));
  for (let start = 0; start < located.length; start += MAX_COMMANDS)
    outcomes.push(...(await postRows(tx, located.slice(start, start + MAX_COMMANDS), mode, context)));
  return { outcomes, mapped: [] };
}

async function locate(
  tx: Tx,
  orgId: string,
  rows: readonly CountedRow[],
  outcomes: RowOutcome[],
): Promise<LocatedRow[]> {
  const variants = await findVariants(tx, orgId, [...new Set(rows.map(({ sku }) => sku))]);
  const locations = await findLocations(tx, orgId);
  return rows.flatMap((row) => {
    const variant = variants.get(row.sku);
    const refuse = (field: string, value: string, reason: string) => {
      outcomes.push(failedRow({ row: row.row, field, value, reason }, row.sku));
      return [];
    };
    if (!variant) return refuse('sku', row.sku, 'is not known; import it as a product first');
    if (variant.isBundle) return refuse('sku', row.sku, 'is a bundle: its stock is that of its components');
    const locationId = row.location === null ? locations.defaultId : (locations.byCode.get(row.location) ?? null);
    if (locationId === null) return refuse('location', row.location ?? '', 'is not known');
    return [{ ...row, variantId: variant.id, locationId }];
  });
}

/** A batch that a rule refuses as a whole is halved until the row at fault stands alone. */
async function postRows(
  tx: Tx,
  rows: readonly LocatedRow[],
  mode: StockMode,
  context: StepContext,
): Promise<RowOutcome[]> {
  const commands = rows.map((row) => toCommand(row, mode, context.key, context.clock.now()));
  const real = commands.filter((command) => command !== null);
  if (real.length === 0) return rows.map((row) => outcomeOf(row, null));
  await tx.query('savepoint batch');
  let posted: readonly Posted[];
  try {
    posted = await post(tx, OrgId(context.orgId), real, {
      actor: context.actor,
      now: context.clock.now(),
      ids: context.ids,
    });
  } catch (error) {
    if (!(error instanceof CodedError) || !error.code.startsWith('domain.')) throw error;
    await tx.query('rollback to savepoint batch');
    const [only] = rows;
    if (rows.length === 1 && only)
      return [
        failedRow({ row: only.row, field: 'quantity', value: String(only.quantity), reason: error.message }, only.sku),
      ];
    const half = Math.ceil(rows.length / 2);
    return [
      ...(await postRows(tx, rows.slice(0, half), mode, context)),
      ...(await postRows(tx, rows.slice(half), mode, context)),
    ];
  }
  await tx.query('release savepoint batch');
  let next = 0;
  return rows.map((row, index) => outcomeOf(row, commands[index] === null ? null : (posted[next++] ?? null)));
}

function toCommand(row: LocatedRow, mode: StockMode, key: string, now: number): Command | null {
  const common = {
    key: `${key}:${row.row}${row.turn === 0 ? '' : `.${row.turn}`}`,
    businessAt: now,
    reason: mode === 'set' ? 'import_count' : 'import',
    variantId: row.variantId,
    locationId: row.locationId,
  };
  if (mode === 'set') return { ...common, kind: 'count', set: row.quantity };
  if (row.quantity === 0) return null;
  return { ...common, kind: 'adjust', change: row.quantity, fact: false };
}

/** A row already applied by an earlier try counts as it did then. */
function outcomeOf(row: LocatedRow, posted: Posted | null): RowOutcome {
  const about = { row: row.row, subject: row.sku };
  if (posted?.kind === 'insufficient') {
    const missing = posted.missing.reduce((sum, entry) => sum + entry.missing, 0);
    return failedRow(
      { row: row.row, field: 'quantity', value: String(row.quantity), reason: `${missing} more than is free` },
      row.sku,
    );
  }
  const result = posted?.kind === 'duplicate' ? posted.first : posted;
  if (result === null || result.kind === 'nothing') return { ...about, outcome: 'unchanged' };
  const moved = result.positions.reduce((sum, { before, after }) => sum + after.sellable - before.sellable, 0);
  const changed = result.positions.some(({ before, after }) => JSON.stringify(before) !== JSON.stringify(after));
  return changed
    ? { ...about, outcome: 'done', undo: { variantId: row.variantId, locationId: row.locationId, units: moved } }
    : { ...about, outcome: 'unchanged' };
}
