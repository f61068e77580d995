/**
 * What the API shows of stock: a SKU with its positions, its listings' targets and its last broadcast.
 * Read only; assembled in one statement per page, so that a page is one moment in time.
 */
import { buildable } from '#core/stock/availability.ts';
import type { Tx } from '../tx.ts';
import { likeAnywhere } from './search.ts';

export interface InventoryPosition {
  location: string;
  sellable: number;
  damaged: number;
  quarantine: number;
  expired: number;
  incoming: number;
  committed: number;
  reserved: number;
  available: number;
}

/** One listing × target; the four numbers are null where unknown. */
export interface InventoryListing {
  id: string;
  connectionId: string;
  platform: string;
  externalId: string;
  variantExternalId: string | null;
  channelSku: string;
  stockKey: string;
  channelLocation: string;
  desired: number | null;
  expected: number | null;
  accepted: number | null;
  observed: number | null;
  state: string;
  reason: string | null;
  updatedAt: string;
}

export interface InventoryItem {
  sku: string;
  title: string;
  onHand: number;
  committed: number;
  reserved: number;
  available: number;
  physical: number;
  buffer: number;
  broadcast: number;
  lastBroadcast: { count: number; txId: string; timestamp: string } | null;
  bundle: { components: { sku: string; units: number; available: number }[]; limiting: string | null } | null;
  positions: InventoryPosition[];
  listings: InventoryListing[];
}

interface ComponentRow {
  sku: string;
  units: number;
  /** Available per serving location. */
  at: { location: string; available: number }[];
}

interface ItemRow {
  sku: string;
  title: string;
  is_bundle: boolean;
  buffer: number;
  positions: InventoryPosition[];
  components: ComponentRow[];
  listings: InventoryListing[];
  last_broadcast: { count: number; txId: string; timestamp: string } | null;
}

/** Buffer of a variant for the plain broadcast number: its own, else the organization's, else 0. */
const itemColumns = `
  v.sku, v.title, v.is_bundle,
  coalesce(
    (select p.buffer from policies p where p.org_id = v.org_id and p.scope = 'variant' and p.scope_id = v.id and p.valid_to is null),
    (select p.buffer from policies p where p.org_id = v.org_id and p.scope = 'organization' and p.scope_id = v.org_id and p.valid_to is null),
    0) as buffer,
  coalesce((
    select jsonb_agg(jsonb_build_object(
      'location', l.code, 'sellable', p.sellable, 'damaged', p.damaged, 'quarantine', p.quarantine, 'expired', p.expired,
      'incoming', p.incoming, 'committed', p.committed, 'reserved', p.reserved, 'available', p.sellable - p.committed - p.reserved)
      order by l.is_default desc, l.priority, l.code)
    from positions p join locations l on l.org_id = p.org_id and l.id = p.location_id
    where p.org_id = v.org_id and p.variant_id = v.id), '[]') as positions,
  coalesce((
    select jsonb_agg(jsonb_build_object('sku', c.sku, 'units', b.units, 'at', coalesce((
        select jsonb_agg(jsonb_build_object('location', l.code, 'available', p.sellable - p.committed - p.reserved))
        from positions p join locations l on l.org_id = p.org_id and l.id = p.location_id and l.serves_orders
        where p.org_id = b.org_id and p.variant_id = b.component_id), '[]')) order by c.sku)
    from bundle_components b join variants c on c.org_id = b.org_id and c.id = b.component_id
    where b.org_id = v.org_id and b.variant_id = v.id and b.valid_to is null), '[]') as components,
  coalesce((
    select jsonb_agg(jsonb_build_object(
      'id', li.id, 'connectionId', li.connection_id, 'platform', co.platform, 'externalId', li.external_id,
      'variantExternalId', li.variant_external_id, 'channelSku', li.channel_sku, 'stockKey', t.stock_key,
      'channelLocation', t.channel_location, 'desired', t.desired, 'expected', t.expected, 'accepted', t.accepted,
      'observed', t.observed, 'state', t.state, 'reason', t.reason,
      'updatedAt', to_char(t.state_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
      order by li.connection_id, (
        select min(case when l.is_default then 0 else 1 end * 100000 + l.priority) from connection_locations cl
        join locations l on l.org_id = cl.org_id and l.id = cl.location_id
        where cl.org_id = t.org_id and cl.connection_id = t.connection_id and cl.channel_location = t.channel_location), t.channel_location)
    from listings li
    join connections co on co.org_id = li.org_id and co.id = li.connection_id and co.deleted_at is null
    join targets t on t.org_id = li.org_id and t.connection_id = li.connection_id and t.stock_key = li.stock_key
    where li.org_id = v.org_id and li.variant_id = v.id), '[]') as listings,
  (
    select jsonb_build_object('count', a.value, 'txId', a.id, 'timestamp', to_char(a.finished_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
    from targets t join lateral (
      select a.id, a.value, a.finished_at from attempts a
      where a.org_id = t.org_id and a.target_id = t.id and a.outcome in ('applied', 'accepted', 'proven_applied')
      order by a.sent_at desc limit 1) a on true
    where t.org_id = v.org_id and t.variant_id = v.id
    order by a.finished_at desc limit 1) as last_broadcast`;

function toItem(row: ItemRow): InventoryItem {
  const sum = (pick: (position: InventoryPosition) => number) =>
    row.positions.reduce((total, position) => total + pick(position), 0);
  if (row.is_bundle) {
    const { builds, limiting } = buildable(row.components.map(({ sku, units, at }) => ({ key: sku, units, at })));
    return {
      sku: row.sku,
      title: row.title,
      onHand: 0,
      committed: 0,
      reserved: 0,
      available: builds,
      physical: 0,
      buffer: row.buffer,
      broadcast: Math.max(0, builds - row.buffer),
      lastBroadcast: row.last_broadcast,
      bundle: {
        components: row.components.map(({ sku, units, at }) => ({
          sku,
          units,
          available: at.reduce((total, { available }) => total + available, 0),
        })),
        limiting,
      },
      positions: [],
      listings: row.listings,
    };
  }
  const available = sum((position) => position.available);
  return {
    sku: row.sku,
    title: row.title,
    onHand: sum(({ sellable, damaged, quarantine, expired }) => sellable + damaged + quarantine + expired),
    committed: sum(({ committed }) => committed),
    reserved: sum(({ reserved }) => reserved),
    available,
    physical: sum(({ sellable }) => sellable),
    buffer: row.buffer,
    broadcast: Math.max(0, available - row.buffer),
    lastBroadcast: row.last_broadcast,
    bundle: null,
    positions: row.positions,
    listings: row.listings,
  };
}

/** One SKU, or null. */
export async function readItem(tx: Tx, orgId: string, sku: string): Promise<InventoryItem | null> {
  const { rows } = await tx.query<ItemRow>(`select ${itemColumns} from variants v where v.org_id = $1 and v.sku = $2`, [
    orgId,
    sku,
  ]);
  return rows[0] ? toItem(rows[0]) : null;
}

export interface InventoryPage {
  items: InventoryItem[];
  /** SKU to continue after; null at the end. */
  next: string | null;
  /** SKUs matching the filter in all. */
  totalSkus: number;
}

/** A page in SKU order. `search` looks into SKU, title and barcode; `location` (a code) keeps SKUs that have a position there. */
export async function readItems(
  tx: Tx,
  orgId: string,
  page: { limit: number; after: string | null; search: string | null; location: string | null },
): Promise<InventoryPage> {
  const filter = `v.org_id = $1
    and ($2::text is null or v.search like lower($2))
    and ($3::text is null or exists (
      select 1 from positions p join locations l on l.org_id = p.org_id and l.id = p.location_id
      where p.org_id = v.org_id and p.variant_id = v.id and l.code = $3))`;
  const like = likeAnywhere(page.search?.normalize('NFC') ?? null);
  const narrowed = like !== null || page.location !== null;
  // Unfiltered, a page is a few steps of an index, and counting another look; filtered, one pass over the SKUs gives both.
  const { rows } = await tx.query<ItemRow & { total: number }>(
    `with hits as ${narrowed ? '' : 'not '}materialized (select v.* from variants v where ${filter}),
       page as materialized (select * from hits where $4::text is null or sku > $4 order by sku limit $5)
     select n.total, ${itemColumns} from (select count(*)::int as total from hits) n left join page v on true order by v.sku`,
    [orgId, like, page.location, page.after, page.limit + 1],
  );
  const total = rows[0]?.total ?? 0;
  const found = rows.filter(({ sku }) => sku !== null);
  const items = found.slice(0, page.limit).map(toItem);
  return {
    items,
    next: found.length > page.limit ? (items.at(-1)?.sku ?? null) : null,
    totalSkus: total,
  };
}
