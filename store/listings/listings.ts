/**
 * Listings and their targets: what is offered where, and which external numbers that makes.
 *
 * A target is (connection, stock key, channel location); listings map N:1 onto it by stock key. A second variant on one
 * stock key is refused with a reason: two listings would push different numbers into one for ever. An unmapped listing
 * keeps its targets, which nothing writes. Called by the catalogue import, mapping routes and the demo.
 */
import type { Ids } from '#core/effects.ts';
import type { Tx } from '../tx.ts';
import { markOfferChanges } from './scarce-marks.ts';

export interface ListingDraft {
  externalId: string;
  variantExternalId: string | null;
  channelSku: string;
  stockKey: string;
  title: string;
  fulfilledBy: 'us' | 'channel';
  notWritable: string | null;
  /** null: leave the mapping as it is (a new listing is unmapped). */
  variantId: string | null;
  /** Channel locations it is stocked at; null = every mapped one. Unmapped ones make no target. */
  channelLocations: readonly string[] | null;
}

export interface ListingContext {
  ids: Ids;
  now: number;
  /** The connector's `manifest.stock.compareAndSet`. */
  compareAndSet: boolean;
  /** It will be taken back: numbers and marks that live work waits for are left alone. */
  isTrial?: boolean;
}

export type ListingResult =
  | { kind: 'ok'; listingId: string; variantId: string | null }
  /** Kept, unmapped. */
  | { kind: 'refused'; listingId: string; reason: string };

interface ListingRow {
  id: string;
  external_id: string;
  variant_external_id: string | null;
  stock_key: string;
  variant_id: string | null;
  sku: string | null;
}

/** Creates or updates listings with their targets, up to a few thousand at once. One result per draft, in order. */
export async function upsertListings(
  tx: Tx,
  orgId: string,
  connectionId: string,
  drafts: readonly ListingDraft[],
  context: ListingContext,
): Promise<ListingResult[]> {
  if (drafts.length === 0) return [];
  const existing = await listingsByStockKeys(
    tx,
    orgId,
    connectionId,
    drafts.map(({ stockKey }) => stockKey),
  );
  const owner = new Map<string, { variantId: string; sku: string | null }>();
  for (const row of existing) if (row.variant_id) owner.set(row.stock_key, { variantId: row.variant_id, sku: row.sku });
  const results: ListingResult[] = [];
  const rows = drafts.map((draft) => {
    const known = existing.find(
      (row) =>
        row.external_id === draft.externalId &&
        row.variant_external_id === draft.variantExternalId &&
        row.stock_key === draft.stockKey,
    );
    const listingId = known?.id ?? context.ids.uuid();
    const wanted = draft.variantId ?? known?.variant_id ?? null;
    const other = owner.get(draft.stockKey);
    const soleOwner =
      known?.variant_id != null &&
      existing.filter((row) => row.stock_key === draft.stockKey && row.variant_id).length === 1;
    const refused = wanted !== null && other !== undefined && other.variantId !== wanted && !soleOwner;
    const variantId = refused ? (known?.variant_id ?? null) : wanted;
    if (variantId) owner.set(draft.stockKey, { variantId, sku: null });
    results.push(
      refused
        ? { kind: 'refused', listingId, reason: secondVariant(draft.stockKey, other?.sku ?? null) }
        : { kind: 'ok', listingId, variantId },
    );
    return { id: listingId, ...draft, variantId };
  });
  await tx.query(
    `insert into listings as l (org_id, id, connection_id, variant_id, external_id, variant_external_id, channel_sku, stock_key, title, fulfilled_by, not_writable, updated_at)
     select $1, r.id, $2, r."variantId", r."externalId", r."variantExternalId", r."channelSku", r."stockKey", r.title, r."fulfilledBy", r."notWritable",
       to_timestamp($4::float8 / 1000.0)
     from jsonb_to_recordset($3::jsonb) as r(id uuid, "variantId" uuid, "externalId" text, "variantExternalId" text, "channelSku" text, "stockKey" text,
       title text, "fulfilledBy" text, "notWritable" text)
     on conflict (org_id, connection_id, external_id, variant_external_id, stock_key) do update set
       variant_id = excluded.variant_id, channel_sku = excluded.channel_sku, title = excluded.title,
       fulfilled_by = excluded.fulfilled_by, not_writable = excluded.not_writable, updated_at = to_timestamp($4::float8 / 1000.0)`,
    [orgId, connectionId, JSON.stringify(rows), context.now],
  );
  await refreshTargets(
    tx,
    orgId,
    connectionId,
    rows.map(({ stockKey, channelLocations }) => ({ stockKey, channelLocations })),
    context,
  );
  return results;
}

const secondVariant = (stockKey: string, sku: string | null): string =>
  `The channel keeps one number for "${stockKey}" and it already shows ${sku ?? 'another SKU'}; a second SKU cannot be mapped to it.`;

async function listingsByStockKeys(
  tx: Tx,
  orgId: string,
  connectionId: string,
  stockKeys: readonly string[],
): Promise<ListingRow[]> {
  const { rows } = await tx.query<ListingRow>(
    `select l.id, l.external_id, l.variant_external_id, l.stock_key, l.variant_id, v.sku from listings l
     left join variants v on v.org_id = l.org_id and v.id = l.variant_id
     where l.org_id = $1 and l.connection_id = $2 and l.stock_key = any($3) order by l.id for no key update of l`,
    [orgId, connectionId, [...new Set(stockKeys)]],
  );
  return rows;
}

/**
 * Makes the targets of these stock keys fit their listings: creates missing ones at mapped channel locations, moves the
 * variant, marks what changed dirty. Also to be called after a change of the location mapping.
 */
export async function refreshTargets(
  tx: Tx,
  orgId: string,
  connectionId: string,
  keys: readonly { stockKey: string; channelLocations: readonly string[] | null }[],
  context: ListingContext,
): Promise<void> {
  const places = await tx.query<{ channel_location: string }>(
    `select distinct channel_location from connection_locations where org_id = $1 and connection_id = $2 order by 1`,
    [orgId, connectionId],
  );
  const mapped = places.rows.map(({ channel_location }) => channel_location);
  const wanted = keys.flatMap(({ stockKey, channelLocations }) =>
    mapped
      .filter((place) => channelLocations === null || channelLocations.includes(place))
      .map((place) => ({ id: context.ids.uuid(), stockKey, place })),
  );
  await tx.query(
    `insert into targets (org_id, id, connection_id, stock_key, channel_location, compare_and_set, state)
     select $1, r.id, $2, r."stockKey", r.place, $4, 'unmapped' from jsonb_to_recordset($3::jsonb) as r(id uuid, "stockKey" text, place text)
     on conflict (org_id, connection_id, stock_key, channel_location) do nothing`,
    [orgId, connectionId, JSON.stringify(wanted), context.compareAndSet],
  );
  const stockKeys = [...new Set(keys.map(({ stockKey }) => stockKey))];
  await markOfferChanges(tx, orgId, connectionId, stockKeys);
  await tx.query(
    `with owner as (
       select stock_key, (array_agg(variant_id order by id) filter (where variant_id is not null))[1] as variant_id,
         bool_or(not_writable is not null or fulfilled_by = 'channel') as read_only, bool_or(paused_at is not null) as paused
       from listings where org_id = $1 and connection_id = $2 and stock_key = any($3) group by stock_key),
     locked as materialized (
       select t.id, o.variant_id, coalesce(o.read_only, false) as read_only, coalesce(o.paused, false) as paused
       from targets t left join owner o on o.stock_key = t.stock_key
       where t.org_id = $1 and t.connection_id = $2 and t.stock_key = any($3)
         and (t.variant_id is distinct from o.variant_id or t.read_only <> coalesce(o.read_only, false) or t.state in ('unmapped', 'paused') or coalesce(o.paused, false))
       order by t.id for update of t)
     update targets t set variant_id = l.variant_id, read_only = l.read_only, compare_and_set = $5,
       state = case when l.read_only then 'read_only' when l.variant_id is null then 'unmapped' when l.paused then 'paused' else 'unknown' end,
       reason = case when l.read_only then 'The channel keeps this number itself.' when l.variant_id is null then 'No SKU of ours is mapped to this listing.'
         when l.paused then 'Publishing of this listing is paused.' end,
       state_at = to_timestamp($4::float8 / 1000.0), dirty_version = t.dirty_version + 1, dirty_hint = 0,
       dirty_since = coalesce(t.dirty_since, to_timestamp($4::float8 / 1000.0)), next_try_at = null, tries = 0,
       read_due = case when l.read_only then to_timestamp($4::float8 / 1000.0) else t.read_due end, version = t.version + 1
     from locked l where t.org_id = $1 and t.id = l.id`,
    [orgId, connectionId, stockKeys, context.now, context.compareAndSet],
  );
}

/** @returns `refused` when the channel's number already shows another variant; nothing is changed then. */
export async function mapListing(
  tx: Tx,
  orgId: string,
  listingId: string,
  variantId: string | null,
  context: ListingContext,
): Promise<{ kind: 'mapped' | 'unmapped' | 'no_listing' } | { kind: 'refused'; reason: string }> {
  const { rows } = await tx.query<{ connection_id: string; stock_key: string }>(
    `select connection_id, stock_key from listings where org_id = $1 and id = $2 for no key update`,
    [orgId, listingId],
  );
  const [listing] = rows;
  if (!listing) return { kind: 'no_listing' };
  const others = await listingsByStockKeys(tx, orgId, listing.connection_id, [listing.stock_key]);
  const other = others.find((row) => row.id !== listingId && row.variant_id !== null && row.variant_id !== variantId);
  if (variantId !== null && other) return { kind: 'refused', reason: secondVariant(listing.stock_key, other.sku) };
  await tx.query(
    `update listings set variant_id = $3, updated_at = to_timestamp($4::float8 / 1000.0) where org_id = $1 and id = $2`,
    [orgId, listingId, variantId, context.now],
  );
  if (!context.isTrial)
    await refreshTargets(
      tx,
      orgId,
      listing.connection_id,
      [{ stockKey: listing.stock_key, channelLocations: [] }],
      context,
    );
  return { kind: variantId === null ? 'unmapped' : 'mapped' };
}
