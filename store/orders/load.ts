/**
 * Stored orders as the import sees them: locked, whole, many at once.
 *
 * Order rows are locked in id order (store/locks.ts: after the sequence keys, before the positions).
 */
import type { Component, Order, OrderLine } from '#core/order/order.ts';
import type { Tx } from '../tx.ts';

export interface OrderKey {
  orgId: string;
  connectionId: string;
  externalId: string;
}

export interface StoredOrder extends Order {
  orgId: string;
  connectionId: string;
}

interface OrderRow extends Omit<StoredOrder, 'version' | 'placedAt' | 'lines'> {
  version: Date;
  placedAt: Date;
}

interface LineRow extends Omit<OrderLine, 'explosion'> {
  orderId: string;
  explosion: Component[] | null;
}

const orderColumns = `o.org_id as "orgId", o.connection_id as "connectionId", o.id, o.external_id as "externalId", o.number, o.revision,
  o.channel_version as version, encode(o.content_hash, 'hex') as "contentHash", o.status, o.payment, o.fulfillment, o.fulfilled_by as "fulfilledBy",
  o.pending, o.unmapped, o.currency, o.total_minor as "totalMinor", o.test, o.placed_at as "placedAt"`;

const lineColumns = `l.order_id as "orderId", l.id, l.external_id as "externalId", l.listing_id as "listingId", l.variant_id as "variantId",
  l.stock_key as "stockKey", l.variant_external_id as "variantExternalId", l.channel_sku as "channelSku", l.title, l.ordered, l.wanted, l.shipped,
  l.claimed, l.taken, l.channel_location as "channelLocation", l.bundle_parent as "bundleParent", l.explosion`;

/** Locks and loads those of the orders that exist; scope tenant or batch. Keyed by `orderKeyOf`. */
export async function lockOrders(tx: Tx, keys: readonly OrderKey[]): Promise<Map<string, StoredOrder>> {
  if (keys.length === 0) return new Map();
  const { rows } = await tx.query<OrderRow>(
    `select ${orderColumns} from unnest($1::uuid[], $2::uuid[], $3::text[]) as k (org_id, connection_id, external_id)
        join orders o on o.org_id is not distinct from k.org_id and o.connection_id = k.connection_id and o.external_id = k.external_id
        order by o.org_id, o.id for update of o`,
    [keys.map((key) => key.orgId), keys.map((key) => key.connectionId), keys.map((key) => key.externalId)],
  );
  return withLines(tx, rows);
}

/** Locks and loads up to `limit` orders of a connection that have unmapped lines, after `afterId`, in id order. */
export async function lockUnmappedOrders(
  tx: Tx,
  orgId: string,
  connectionId: string,
  afterId: string | null,
  limit: number,
): Promise<StoredOrder[]> {
  const { rows } = await tx.query<OrderRow>(
    `select ${orderColumns} from orders o
     where o.org_id = $1 and o.connection_id = $2 and o.unmapped and ($3::uuid is null or o.id > $3)
     order by o.id limit $4 for update of o`,
    [orgId, connectionId, afterId, limit],
  );
  return [...(await withLines(tx, rows)).values()];
}

async function withLines(tx: Tx, rows: readonly OrderRow[]): Promise<Map<string, StoredOrder>> {
  if (rows.length === 0) return new Map();
  const { rows: lines } = await tx.query<LineRow>(
    `select ${lineColumns} from unnest($1::uuid[], $2::uuid[]) as k (org_id, id)
        join order_lines l on l.org_id is not distinct from k.org_id and l.order_id = k.id order by l.id`,
    [rows.map((row) => row.orgId), rows.map((row) => row.id)],
  );
  const byOrder = new Map<string, OrderLine[]>();
  for (const { orderId, ...line } of lines) {
    const list = byOrder.get(orderId);
    if (list) list.push(line);
    else byOrder.set(orderId, [line]);
  }
  return new Map(
    rows.map((row) => [
      orderKeyOf(row),
      { ...row, version: row.version.getTime(), placedAt: row.placedAt.getTime(), lines: byOrder.get(row.id) ?? [] },
    ]),
  );
}

export const orderKeyOf = (key: { connectionId: string; externalId: string }): string =>
  `${key.connectionId}/${key.externalId}`;

/**
 * Which of these versions a sweep need not bring in: the stored order is newer, or is this very version with this content.
 * @returns external ids
 */
export async function knownVersions(
  tx: Tx,
  orgId: string,
  connectionId: string,
  versions: readonly { externalId: string; updatedAt: number; contentHash: string }[],
): Promise<Set<string>> {
  if (versions.length === 0) return new Set();
  const { rows } = await tx.query<{ external_id: string }>(
    `select o.external_id from unnest($3::text[], $4::float8[], $5::text[]) as v (external_id, at, hash)
        join orders o on o.org_id is not distinct from $1 and o.connection_id = $2 and o.external_id = v.external_id
        where o.channel_version > to_timestamp(v.at / 1000.0)
           or (o.channel_version = to_timestamp(v.at / 1000.0) and o.content_hash = decode(v.hash, 'hex'))`,
    [
      orgId,
      connectionId,
      versions.map((v) => v.externalId),
      versions.map((v) => v.updatedAt),
      versions.map((v) => v.contentHash),
    ],
  );
  return new Set(rows.map((row) => row.external_id));
}
