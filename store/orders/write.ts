/** Writing applied order versions: orders, their lines, their history and the feed, each in one statement for the whole batch. */
import type { Order, OrderLine, OrderNote } from '#core/order/order.ts';
import type { Tx } from '../tx.ts';

export interface AppliedOrder {
  orgId: string;
  /** null: reported by a caller of ours, of no connection. */
  connectionId: string | null;
  isNew: boolean;
  order: Order;
  /** Of its lines those to be written; default: all. */
  changedLines?: readonly OrderLine[];
  notes: readonly OrderNote[];
  /** The event it came by; kept beside its history. */
  cause?: { correlationId: string | null; receivedAt: number };
}

/** A second writer of the same order breaks this; name it in `retryOn`. */
export const orderIdentity = 'orders_org_id_connection_id_external_id_key';

const orderShape = `(org_id uuid, connection_id uuid, id uuid, external_id text, number text, status text, payment text, fulfillment text,
  fulfilled_by text, version float8, content_hash text, revision int, pending boolean, unmapped boolean, currency text, total_minor bigint,
  test boolean, placed_at float8)`;

const insertOrders = {
  name: 'orders_insert',
  text: `insert into orders (org_id, connection_id, id, external_id, number, status, payment, fulfillment, fulfilled_by, channel_version, content_hash,
    revision, pending, unmapped, currency, total_minor, test, placed_at, created_at, updated_at)
  select o.org_id, o.connection_id, o.id, o.external_id, o.number, o.status, o.payment, o.fulfillment, o.fulfilled_by, to_timestamp(o.version / 1000.0),
    decode(o.content_hash, 'hex'), o.revision, o.pending, o.unmapped, o.currency, o.total_minor, o.test, to_timestamp(o.placed_at / 1000.0),
    to_timestamp($2::float8 / 1000.0), to_timestamp($2::float8 / 1000.0)
  from jsonb_to_recordset($1::jsonb) as o ${orderShape}`,
};

const updateOrders = `update orders t set number = o.number, status = o.status, payment = o.payment, fulfillment = o.fulfillment, fulfilled_by = o.fulfilled_by,
    channel_version = to_timestamp(o.version / 1000.0), content_hash = decode(o.content_hash, 'hex'), revision = o.revision, pending = o.pending,
    unmapped = o.unmapped, currency = o.currency, total_minor = o.total_minor, test = o.test, updated_at = to_timestamp($2::float8 / 1000.0)
  from jsonb_to_recordset($1::jsonb) as o ${orderShape}
  where t.org_id = o.org_id and t.id = o.id`;

const putLines = `insert into order_lines (org_id, id, order_id, external_id, listing_id, variant_id, channel_sku, stock_key, variant_external_id, title, ordered,
    wanted, shipped, claimed, taken, channel_location, bundle_parent, explosion)
  select org_id, id, order_id, external_id, listing_id, variant_id, channel_sku, stock_key, variant_external_id, title, ordered,
    wanted, shipped, claimed, taken, channel_location, bundle_parent, explosion
  from jsonb_to_recordset($1::jsonb) as l (org_id uuid, id uuid, order_id uuid, external_id text, listing_id uuid, variant_id uuid, channel_sku text,
    stock_key text, variant_external_id text, title text, ordered int, wanted int, shipped int, claimed int, taken int, channel_location text,
    bundle_parent boolean, explosion jsonb)`;

/** Of new orders: there is nothing to conflict with. */
const insertLines = { name: 'orders_lines_insert', text: putLines };

const upsertLines = {
  name: 'orders_lines_upsert',
  text: `${putLines}
  on conflict (org_id, id) do update set listing_id = excluded.listing_id, variant_id = excluded.variant_id, channel_sku = excluded.channel_sku,
    stock_key = excluded.stock_key, variant_external_id = excluded.variant_external_id, title = excluded.title, ordered = excluded.ordered,
    wanted = excluded.wanted, shipped = excluded.shipped, claimed = excluded.claimed, taken = excluded.taken,
    channel_location = excluded.channel_location, bundle_parent = excluded.bundle_parent, explosion = excluded.explosion`,
};

const insertHistory = {
  name: 'orders_history',
  text: `with notes as (
    insert into order_events (org_id, id, order_id, kind, message, actor, at, details)
    select org_id, id, order_id, kind, message, actor, to_timestamp($3::float8 / 1000.0) + n * interval '1 microsecond', details
    from jsonb_to_recordset($1::jsonb) as e (org_id uuid, id uuid, order_id uuid, kind text, message text, actor text, n int, details jsonb)
  )
  insert into events (org_id, type, key, version)
  select org_id, 'order', id, revision from jsonb_to_recordset($2::jsonb) as o (org_id uuid, id text, revision bigint)`,
};

/** Every order of the batch is locked or new. `actor`: who brought it, for the history. */
export async function writeOrders(
  tx: Tx,
  applied: readonly AppliedOrder[],
  context: { now: number; actor: string; ids: { uuid(): string } },
): Promise<void> {
  if (applied.length === 0) return;
  const fresh = applied.filter(({ isNew }) => isNew);
  const known = applied.filter(({ isNew }) => !isNew);
  // One after the other in the database, in one round trip.
  const written: Promise<unknown>[] = [];
  if (fresh.length > 0) written.push(tx.query(insertOrders, [JSON.stringify(fresh.map(orderRow)), context.now]));
  if (known.length > 0) written.push(tx.query(updateOrders, [JSON.stringify(known.map(orderRow)), context.now]));
  const [newLines, knownLines] = [fresh.flatMap(lineRows), known.flatMap(lineRows)];
  if (newLines.length > 0) written.push(tx.query(insertLines, [JSON.stringify(newLines)]));
  if (knownLines.length > 0) written.push(tx.query(upsertLines, [JSON.stringify(knownLines)]));
  const notes = applied.flatMap(({ orgId, connectionId, order, notes: list, cause }) =>
    list.map((note, n) => ({
      org_id: orgId,
      id: context.ids.uuid(),
      order_id: order.id,
      kind: note.kind,
      message: note.message,
      actor: context.actor,
      // They share their time; this keeps them in order.
      n,
      details: {
        revision: order.revision,
        order: order.number,
        from: connectionId,
        soldAt: order.version,
        ...cause,
      },
    })),
  );
  const feed = applied.map(({ orgId, order }) => ({ org_id: orgId, id: order.id, revision: order.revision }));
  written.push(tx.query(insertHistory, [JSON.stringify(notes), JSON.stringify(feed), context.now]));
  await Promise.all(written);
}

function orderRow({ orgId, connectionId, order }: AppliedOrder): Record<string, unknown> {
  return {
    org_id: orgId,
    connection_id: connectionId,
    id: order.id,
    external_id: order.externalId,
    number: order.number,
    status: order.status,
    payment: order.payment,
    fulfillment: order.fulfillment,
    fulfilled_by: order.fulfilledBy,
    version: order.version,
    content_hash: order.contentHash,
    revision: order.revision,
    pending: order.pending,
    unmapped: order.unmapped,
    currency: order.currency,
    total_minor: order.totalMinor,
    test: order.test,
    placed_at: order.placedAt,
  };
}

function lineRows({ orgId, order, changedLines }: AppliedOrder): Record<string, unknown>[] {
  return (changedLines ?? order.lines).map((line) => ({
    org_id: orgId,
    id: line.id,
    order_id: order.id,
    external_id: line.externalId,
    listing_id: line.listingId,
    variant_id: line.variantId,
    channel_sku: line.channelSku,
    stock_key: line.stockKey,
    variant_external_id: line.variantExternalId,
    title: line.title,
    ordered: line.ordered,
    wanted: line.wanted,
    shipped: line.shipped,
    claimed: line.claimed,
    taken: line.taken,
    channel_location: line.channelLocation,
    bundle_parent: line.bundleParent,
    explosion: line.explosion,
  }));
}
