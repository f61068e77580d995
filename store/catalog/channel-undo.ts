/**
 * Undoing an import of a channel's catalogue: which of its items are still as it left them, and putting them back.
 * Set-wise, some hundred items a transaction; the flow is server/flows/undo-catalog.ts.
 */

import { markOffersRemoved } from '../listings/scarce-marks.ts';
import type { Tx } from '../tx.ts';
import type { ListingState } from './channel-import.ts';

/** An item that is still to be undone, with its listing as it stands and what holds on to it. */
export interface UndoItem {
  id: string;
  channelSku: string;
  listingId: string;
  stockKey: string;
  before: ListingState | null;
  after: ListingState;
  /** null: the listing is gone. */
  now: ListingState | null;
  isPaused: boolean;
  hasPolicy: boolean;
  hasOrders: boolean;
  /** Numbers were written to the channel through it. */
  hasAttempts: boolean;
}

/** An import that is being undone is not continued: it counts as read and finished with what it has. */
export async function beginUndo(tx: Tx, orgId: string, importId: string, at: Date): Promise<void> {
  await tx.query(
    `update catalog_imports set undo_started_at = coalesce(undo_started_at, $3), read_at = coalesce(read_at, $3),
       finished_at = coalesce(finished_at, $3) where org_id = $1 and id = $2`,
    [orgId, importId, at],
  );
}

export async function endUndo(tx: Tx, orgId: string, importId: string, at: Date): Promise<void> {
  await tx.query('update catalog_imports set undone_at = coalesce(undone_at, $3) where org_id = $1 and id = $2', [
    orgId,
    importId,
    at,
  ]);
}

export async function takeUndoItems(tx: Tx, orgId: string, importId: string, limit: number): Promise<UndoItem[]> {
  await tx.query(
    `select from listings l where l.org_id = $1 and l.id in (
       select listing_id from catalog_items where org_id = $1 and import_id = $2 and undo is null order by id desc limit $3)
     order by l.id for update`,
    [orgId, importId, limit],
  );
  const { rows } = await tx.query<UndoItem>(
    `select c.id, c.channel_sku as "channelSku", c.listing_id as "listingId", c.stock_key as "stockKey", c.before, c.after,
       case when l.id is not null then jsonb_build_object('variantId', l.variant_id, 'channelSku', l.channel_sku, 'title', l.title,
         'fulfilledBy', l.fulfilled_by, 'notWritable', l.not_writable) end as now,
       l.paused_at is not null as "isPaused",
       exists (select from policies p where p.org_id = c.org_id and p.valid_to is null and (p.scope = 'listing' and p.scope_id = c.listing_id
         or p.scope = 'target' and p.scope_id in (select t.id from targets t where t.org_id = l.org_id and t.connection_id = l.connection_id
           and t.stock_key = l.stock_key))) as "hasPolicy",
       exists (select from order_lines o where o.org_id = c.org_id and o.listing_id = c.listing_id) as "hasOrders",
       exists (select from targets t join attempts a on a.org_id = t.org_id and a.target_id = t.id
         where t.org_id = l.org_id and t.connection_id = l.connection_id and t.stock_key = l.stock_key) as "hasAttempts"
     from catalog_items c left join listings l on l.org_id = c.org_id and l.id = c.listing_id
     where c.org_id = $1 and c.import_id = $2 and c.undo is null order by c.id desc limit $3`,
    [orgId, importId, limit],
  );
  return rows;
}

/** Listings that were new go, with the numbers that only they had. */
export async function removeListings(tx: Tx, orgId: string, listingIds: readonly string[]): Promise<void> {
  if (listingIds.length === 0) return;
  await markOffersRemoved(tx, orgId, listingIds);
  const { rows } = await tx.query<{ id: string }>(
    `select t.id from targets t join listings l on l.org_id = t.org_id and l.connection_id = t.connection_id and l.stock_key = t.stock_key
     where t.org_id = $1 and l.id = any ($2) and not exists (select from listings o where o.org_id = l.org_id
       and o.connection_id = l.connection_id and o.stock_key = l.stock_key and o.id <> all ($2))
     order by t.id for update of t`,
    [orgId, listingIds],
  );
  const targets = [orgId, rows.map(({ id }) => id)];
  await tx.query('delete from observations where org_id = $1 and target_id = any ($2)', targets);
  await tx.query('delete from targets where org_id = $1 and id = any ($2)', targets);
  await tx.query('delete from listings where org_id = $1 and id = any ($2)', [orgId, listingIds]);
}

/** Listings get these columns back. @returns their stock keys: the targets must follow (refreshTargets) */
export async function restoreListings(
  tx: Tx,
  orgId: string,
  listings: readonly { id: string; state: ListingState }[],
  now: Date,
): Promise<string[]> {
  if (listings.length === 0) return [];
  const { rows } = await tx.query<{ stock_key: string }>(
    `update listings l set variant_id = r."variantId", channel_sku = r."channelSku", title = r.title, fulfilled_by = r."fulfilledBy",
       not_writable = r."notWritable", updated_at = $3
     from jsonb_to_recordset($2::jsonb) as r (id uuid, "variantId" uuid, "channelSku" text, title text, "fulfilledBy" text, "notWritable" text)
     where l.org_id = $1 and l.id = r.id returning l.stock_key`,
    [orgId, JSON.stringify(listings.map(({ id, state }) => ({ id, ...state }))), now],
  );
  return rows.map(({ stock_key }) => stock_key);
}

export interface Undone {
  id: string;
  undo: 'removed' | 'unmapped' | 'restored' | 'nothing' | 'kept';
  reason: string | null;
}

export async function settleUndo(tx: Tx, orgId: string, importId: string, items: readonly Undone[]): Promise<void> {
  await tx.query(
    `update catalog_items c set undo = r.undo, undo_reason = r.reason from jsonb_to_recordset($3::jsonb) as r (id uuid, undo text, reason text)
     where c.org_id = $1 and c.import_id = $2 and c.id = r.id`,
    [orgId, importId, JSON.stringify(items)],
  );
}

/** A product that the import made, and why it stays; null: nothing holds on to it. */
export interface UndoVariant {
  id: string;
  variantId: string;
  channelSku: string;
  reason: string | null;
}

export async function takeUndoVariants(tx: Tx, orgId: string, importId: string, limit: number): Promise<UndoVariant[]> {
  const { rows } = await tx.query<UndoVariant>(
    `select c.id, c.variant_id as "variantId", c.channel_sku as "channelSku", case
       when v.id is null then 'it is gone already'
       when v.updated_at > v.created_at then 'it was changed since'
       when exists (select from positions p where p.org_id = v.org_id and p.variant_id = v.id) then 'it has stock or had some'
       when exists (select from order_lines o where o.org_id = v.org_id and o.variant_id = v.id) then 'orders name it'
       when exists (select from listings l where l.org_id = v.org_id and l.variant_id = v.id) then 'a listing is mapped to it'
       when exists (select from listing_mappings m join listings l on l.org_id = m.org_id and l.id = m.listing_id
         join targets t on t.org_id = l.org_id and t.connection_id = l.connection_id and t.stock_key = l.stock_key
         join attempts a on a.org_id = t.org_id and a.target_id = t.id
         where m.org_id = v.org_id and m.variant_id = v.id) then 'numbers of it were sent to the channel'
       when exists (select from bundle_components b where b.org_id = v.org_id and v.id in (b.variant_id, b.component_id)) then 'a bundle is or was made of it'
       when exists (select from policies p where p.org_id = v.org_id and p.scope = 'variant' and p.scope_id = v.id) then 'it has a setting of its own'
       end as reason
     from catalog_items c left join variants v on v.org_id = c.org_id and v.id = c.variant_id
     where c.org_id = $1 and c.import_id = $2 and c.created_variant and c.variant_undo is null order by c.id desc limit $3`,
    [orgId, importId, limit],
  );
  return rows;
}

export async function removeVariants(tx: Tx, orgId: string, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await tx.query('delete from dirty_variants where org_id = $1 and variant_id = any ($2)', [orgId, ids]);
  await tx.query('delete from variants where org_id = $1 and id = any ($2)', [orgId, ids]);
}

export async function settleVariants(
  tx: Tx,
  orgId: string,
  importId: string,
  items: readonly { id: string; undo: 'removed' | 'kept'; reason: string | null }[],
): Promise<void> {
  await tx.query(
    `update catalog_items c set variant_undo = r.undo, variant_undo_reason = r.reason
     from jsonb_to_recordset($3::jsonb) as r (id uuid, undo text, reason text) where c.org_id = $1 and c.import_id = $2 and c.id = r.id`,
    [orgId, importId, JSON.stringify(items)],
  );
}

export interface UndoReport {
  /** Listings that were new and are gone; of those that had to stay, the mapping; listings put back as they were; nothing to do. */
  removed: number;
  unmapped: number;
  restored: number;
  unchanged: number;
  /** Left as they are, with the reason; the first 100. */
  kept: number;
  refusals: { channelSku: string; reason: string }[];
  productsRemoved: number;
  productsKept: number;
  productRefusals: { channelSku: string; reason: string }[];
}

export async function undoReport(tx: Tx, orgId: string, importId: string): Promise<UndoReport> {
  const scope = [orgId, importId];
  const { rows } = await tx.query<Omit<UndoReport, 'refusals' | 'productRefusals'>>(
    `select count(*) filter (where undo = 'removed') as removed, count(*) filter (where undo = 'unmapped') as unmapped,
       count(*) filter (where undo = 'restored') as restored, count(*) filter (where undo = 'nothing') as unchanged,
       count(*) filter (where undo = 'kept') as kept, count(*) filter (where variant_undo = 'removed') as "productsRemoved",
       count(*) filter (where variant_undo = 'kept') as "productsKept"
     from catalog_items where org_id = $1 and import_id = $2`,
    scope,
  );
  const refusals = (kind: 'undo' | 'variant_undo') =>
    tx.query<{ channelSku: string; reason: string }>(
      `select channel_sku as "channelSku", ${kind}_reason as reason from catalog_items
       where org_id = $1 and import_id = $2 and ${kind}_reason is not null order by channel_sku, id limit 100`,
      scope,
    );
  return {
    ...(rows[0] as UndoReport),
    refusals: (await refusals('undo')).rows,
    productRefusals: (await refusals('variant_undo')).rows,
  };
}
