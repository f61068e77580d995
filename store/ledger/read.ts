/**
 * Read: what the ledger says, now and at a past time. Never locks, never writes. Statements in queries.ts.
 *
 * A past time is a business time ("what was true at noon"). "As known at" adds a recorded time: it only has one answer
 * for ever once nothing recorded before it can still be committed, so `knownHorizon` is read first, in its own
 * transaction, and later times are refused.
 */
import { assert } from '#core/errors.ts';
import type { ClaimId, LocationId, VariantId } from '#core/ids.ts';
import type { ClaimKind, PositionNumbers } from '#core/stock/movement.ts';
import type { Store, Tx } from '../tx.ts';
import { asOf, claimsOf, knownHorizon, openShortfalls, positionsOfVariants, stockPage } from './queries.ts';

export interface PositionRow extends PositionNumbers {
  variantId: VariantId;
  locationId: LocationId;
  /** The location's code. */
  location: string;
  version: number;
}

/** Positions of variants, per variant in routing order. */
export async function readPositions(tx: Tx, orgId: string, variantIds: readonly VariantId[]): Promise<PositionRow[]> {
  return (
    await tx.query<PositionRow>({ name: 'positions_of_variants', text: positionsOfVariants }, [orgId, variantIds])
  ).rows;
}

export interface StockRow {
  variantId: VariantId;
  sku: string;
  title: string;
  available: number;
}

/** A page of variants in SKU order. `prefix` narrows by how the SKU begins. `next` is null at the end. */
export async function readStockPage(
  tx: Tx,
  orgId: string,
  page: { limit: number; after?: string | null; prefix?: string },
): Promise<{ items: StockRow[]; next: string | null }> {
  const prefix = page.prefix ?? '';
  const { rows } = await tx.query<StockRow>({ name: 'stock_page', text: stockPage }, [
    orgId,
    page.after ?? '',
    prefix,
    `${prefix}\u{10FFFF}`,
    page.limit + 1,
  ]);
  const items = rows.slice(0, page.limit);
  return { items, next: rows.length > page.limit ? (items.at(-1)?.sku ?? null) : null };
}

export interface ClaimRow {
  claim: ClaimKind;
  claimId: ClaimId;
  variantId: VariantId;
  /** null for a shortfall. */
  locationId: LocationId | null;
  /** Open, or waiting. */
  open: number;
  /** Shipped, confirmed or filled. */
  spent: number;
  /** Released or cancelled. */
  ended: number;
  seq: number;
}

/** Every row of some order lines or holds, open or not, oldest claim first. */
export async function readClaims(tx: Tx, orgId: string, claimIds: readonly ClaimId[]): Promise<ClaimRow[]> {
  return (await tx.query<ClaimRow>({ name: 'claims_of', text: claimsOf }, [orgId, claimIds])).rows;
}

export interface ShortfallRow {
  claimId: ClaimId;
  becomes: 'commitment' | 'hold';
  variantId: VariantId;
  sku: string;
  waiting: number;
  seq: number;
  createdAt: Date;
}

const firstVariant = '00000000-0000-0000-0000-000000000000';

/** Waiting shortfalls, per variant in the order they will be filled. */
export async function readShortfalls(
  tx: Tx,
  orgId: string,
  page: { limit: number; after?: { variantId: VariantId; seq: number } | null },
): Promise<ShortfallRow[]> {
  const { rows } = await tx.query<ShortfallRow>(openShortfalls, [
    orgId,
    page.after?.variantId ?? firstVariant,
    page.after?.seq ?? 0,
    page.limit,
  ]);
  return rows;
}

export interface PastPosition {
  variantId: VariantId;
  /** null: where the units wait for goods. */
  locationId: LocationId | null;
  sellable: number;
  committed: number;
  reserved: number;
  /** Units owed without goods behind them. */
  waiting: number;
}

/**
 * Goods and claims as they were at a business time, from movements and the claim log; only where something was.
 * available = sellable − committed − reserved; below 0 when a late fact was dated before the claims it displaced.
 * @param at business time, Unix ms, inclusive
 * @param knownAt recorded time, Unix ms; leave out for all we know now
 */
export async function availabilityAsOf(
  tx: Tx,
  orgId: string,
  variantIds: readonly VariantId[],
  at: number,
  knownAt: number | null = null,
): Promise<PastPosition[]> {
  const { rows } = await tx.query<PastPosition>(asOf, [
    orgId,
    variantIds,
    new Date(at),
    knownAt === null ? null : new Date(knownAt),
  ]);
  return rows;
}

/** Unix ms up to which "as known at" is final. Ask in a transaction that ends before the one that reads. */
export async function readKnownHorizon(tx: Tx): Promise<number> {
  const horizon = (await tx.query<{ horizon: Date }>(knownHorizon)).rows[0]?.horizon;
  assert(horizon, 'the horizon always has an answer');
  return horizon.getTime();
}

export type KnownAt = { kind: 'known'; positions: PastPosition[] } | { kind: 'not_final'; horizon: number };

/** As of a business time as known at a recorded time; `not_final` while something recorded before it may still be committed. */
export async function availabilityAsKnown(
  store: Store,
  orgId: string,
  variantIds: readonly VariantId[],
  at: number,
  knownAt: number,
): Promise<KnownAt> {
  const horizon = await store.tenant(orgId, (tx) => readKnownHorizon(tx));
  if (knownAt >= horizon) return { kind: 'not_final', horizon };
  const positions = await store.readOnly(orgId, (tx) => availabilityAsOf(tx, orgId, variantIds, at, knownAt));
  return { kind: 'known', positions };
}
