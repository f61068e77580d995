/**
 * From a line's keys at the channel to a variant of ours, many lines at once.
 *
 * The first key that any listing of the connection has decides: stock key, then the channel's variant id, then its SKU.
 * Listings of one variant may share a key; listings of different variants make it ambiguous, and the line stays unmapped.
 */
import { channelSkuOf } from '#core/catalog/sku.ts';
import type { ListingId, LocationId, VariantId } from '#core/ids.ts';
import type { Component, LineMapping, PreferredLocation } from '#core/order/order.ts';
import type { Tx } from '../tx.ts';

export interface LineKeys {
  stockKey: string | null;
  variantExternalId: string | null;
  channelSku: string | null;
}

export interface Wanted {
  orgId: string;
  connectionId: string;
  lines: readonly LineKeys[];
}

interface Found {
  connectionId: string;
  field: 'stock_key' | 'variant' | 'sku';
  value: string;
  listingId: ListingId;
  stockKey: string;
  variantId: VariantId | null;
  isBundle: boolean;
  components: Component[] | null;
}

/** Answers for lines of the connections it was loaded for. */
export interface Mappings {
  of(connectionId: string, line: LineKeys): LineMapping;
}

const fields = ['stock_key', 'variant', 'sku'] as const;

// `is not distinct from` and indexes led by the connection (0047): with `=` the organization would count twice, by our words and by
// row security, and among many organizations every index that begins with it would promise a single row.
const load = {
  name: 'mapping_load',
  text: `
with wanted as (select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) as w (org_id, connection_id, field, value)),
found as (
  select w.*, l.id, l.stock_key, l.variant_id from wanted w join listings l on l.org_id is not distinct from w.org_id and l.connection_id = w.connection_id and l.stock_key = w.value
  where w.field = 'stock_key'
  union all
  select w.*, l.id, l.stock_key, l.variant_id from wanted w join listings l on l.org_id is not distinct from w.org_id and l.connection_id = w.connection_id and l.variant_external_id = w.value
  where w.field = 'variant'
  union all
  select w.*, l.id, l.stock_key, l.variant_id from wanted w join listings l on l.org_id is not distinct from w.org_id and l.connection_id = w.connection_id and l.channel_sku = w.value
  where w.field = 'sku')
select f.connection_id as "connectionId", f.field, f.value, f.id as "listingId", f.stock_key as "stockKey", f.variant_id as "variantId",
  coalesce(v.is_bundle, false) as "isBundle",
  case when v.is_bundle then (
    select jsonb_agg(jsonb_build_object('variantId', b.component_id, 'units', b.units) order by b.component_id)
    from bundle_components b where b.org_id = f.org_id and b.variant_id = f.variant_id and b.valid_to is null) end as components
from found f left join lateral (
  -- The first at or after the id: only the primary key has that order (as in ledger_skus).
  select x.id, x.is_bundle from variants x where x.org_id = f.org_id and x.id >= f.variant_id order by x.id limit 1) v on v.id = f.variant_id
order by f.id`,
};

export async function loadMappings(tx: Tx, wanted: readonly Wanted[]): Promise<Mappings> {
  const asked = new Map<string, [orgId: string, connectionId: string, field: string, value: string]>();
  for (const { orgId, connectionId, lines } of wanted) {
    for (const line of lines) {
      for (const field of fields) {
        const value = keyValue(line, field);
        if (value !== null) asked.set(`${connectionId}/${field}/${value}`, [orgId, connectionId, field, value]);
      }
    }
  }
  const found = new Map<string, Found[]>();
  if (asked.size > 0) {
    const rows = [...asked.values()];
    const answer = await tx.query<Found>(load, [
      rows.map((row) => row[0]),
      rows.map((row) => row[1]),
      rows.map((row) => row[2]),
      rows.map((row) => row[3]),
    ]);
    for (const row of answer.rows) {
      const key = `${row.connectionId}/${row.field}/${row.value}`;
      const list = found.get(key);
      if (list) list.push(row);
      else found.set(key, [row]);
    }
  }
  return {
    of(connectionId, line) {
      for (const field of fields) {
        const listings = found.get(`${connectionId}/${field}/${keyValue(line, field) ?? ''}`);
        if (listings && keyValue(line, field) !== null) return judge(listings);
      }
      return { kind: 'unmapped', reason: 'unknown', listingId: null, stockKey: null };
    },
  };
}

function keyValue(line: LineKeys, field: (typeof fields)[number]): string | null {
  if (field === 'stock_key') return line.stockKey;
  if (field === 'variant') return line.variantExternalId;
  return line.channelSku === null ? null : channelSkuOf(line.channelSku);
}

function judge(listings: readonly Found[]): LineMapping {
  const sold = listings.filter(({ variantId }) => variantId !== null);
  const [first] = sold;
  const stockKeys = new Set(listings.map(({ stockKey }) => stockKey));
  const stockKey = stockKeys.size === 1 ? (listings[0]?.stockKey ?? null) : null;
  const listingId = listings.length === 1 ? (listings[0]?.listingId ?? null) : null;
  if (!first?.variantId) return { kind: 'unmapped', reason: 'unmapped', listingId, stockKey };
  if (sold.some(({ variantId }) => variantId !== first.variantId))
    return { kind: 'unmapped', reason: 'ambiguous', listingId: null, stockKey };
  if (!first.isBundle) {
    return {
      kind: 'mapped',
      listingId: first.listingId,
      stockKey: stockKey ?? first.stockKey,
      variantId: first.variantId,
      components: [{ variantId: first.variantId, units: 1 }],
    };
  }
  if (!first.components) return { kind: 'unmapped', reason: 'empty_bundle', listingId, stockKey };
  return {
    kind: 'mapped',
    listingId: first.listingId,
    stockKey: stockKey ?? first.stockKey,
    variantId: first.variantId,
    components: first.components,
  };
}

/**
 * Which of our locations should serve what a channel location sold: the one behind it that routing likes best. When the
 * order does not say where, the answer is only certain for a connection with a single channel location.
 */
export async function loadPreferences(
  tx: Tx,
  connections: readonly { orgId: string; connectionId: string }[],
): Promise<Map<string, PreferredLocation>> {
  const { rows } = await tx.query<{ connectionId: string; channelLocation: string; locationId: LocationId }>(
    {
      name: 'mapping_preferences',
      text: `select cl.connection_id as "connectionId", cl.channel_location as "channelLocation", cl.location_id as "locationId"
        from unnest($1::uuid[], $2::uuid[]) as k (org_id, id)
        join connection_locations cl on cl.org_id = k.org_id and cl.connection_id = k.id
        join locations lo on lo.org_id = cl.org_id and lo.id = cl.location_id
        where lo.serves_orders order by lo.is_default desc, lo.priority, lo.code`,
    },
    [connections.map((key) => key.orgId), connections.map((key) => key.connectionId)],
  );
  const preferences = new Map<string, PreferredLocation>();
  for (const { connectionId } of connections) {
    const places = new Map<string, LocationId>();
    for (const row of rows)
      if (row.connectionId === connectionId && !places.has(row.channelLocation))
        places.set(row.channelLocation, row.locationId);
    const only = places.size === 1 ? ([...places.values()][0] ?? null) : null;
    preferences.set(connectionId, (channelLocation) =>
      channelLocation === null ? only : (places.get(channelLocation) ?? null),
    );
  }
  return preferences;
}
