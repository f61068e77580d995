/** Orders as the API shows them. */
import type { Tx } from '../tx.ts';
import { likeAnywhere } from './search.ts';

export interface OrderLineItem {
  id: string;
  externalId: string;
  sku: string | null;
  channelSku: string | null;
  title: string;
  ordered: number;
  quantity: number;
  shipped: number;
  returned: number;
  committed: { sku: string; location: string; units: number }[];
  held: { sku: string; location: string; units: number }[];
  missing: { sku: string; units: number }[];
}

export interface OrderItem {
  id: string;
  connectionId: string | null;
  externalId: string;
  number: string;
  status: string;
  payment: string;
  fulfillment: string;
  fulfilledBy: string;
  pending: boolean;
  unmapped: boolean;
  test: boolean;
  currency: string | null;
  totalMinor: number | null;
  placedAt: string;
  updatedAt: string;
  lines: OrderLineItem[];
}

const stamp = (column: string) => `to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

const orderColumns = `
  o.id, o.connection_id as "connectionId", o.external_id as "externalId", o.number, o.status, o.payment, o.fulfillment,
  o.fulfilled_by as "fulfilledBy", o.pending, o.unmapped, o.test, o.currency, o.total_minor as "totalMinor",
  ${stamp('o.placed_at')} as "placedAt", ${stamp('o.updated_at')} as "updatedAt",
  coalesce((
    select jsonb_agg(jsonb_build_object(
      'id', l.id, 'externalId', l.external_id, 'sku', v.sku, 'channelSku', l.channel_sku, 'title', l.title,
      'ordered', l.ordered, 'quantity', l.wanted, 'shipped', l.shipped, 'returned', l.returned,
      'committed', coalesce((select jsonb_agg(jsonb_build_object('sku', cv.sku, 'location', p.code, 'units', c.open) order by cv.sku, p.code)
        from commitments c join variants cv on cv.org_id = c.org_id and cv.id = c.variant_id
        join locations p on p.org_id = c.org_id and p.id = c.location_id
        where c.org_id = l.org_id and c.line_id = l.id and c.open > 0), '[]'),
      'held', coalesce((select jsonb_agg(jsonb_build_object('sku', cv.sku, 'location', p.code, 'units', h.open) order by cv.sku, p.code)
        from holds h join variants cv on cv.org_id = h.org_id and cv.id = h.variant_id
        join locations p on p.org_id = h.org_id and p.id = h.location_id
        where h.org_id = l.org_id and h.hold_id = l.id and h.open > 0), '[]'),
      'missing', coalesce((select jsonb_agg(jsonb_build_object('sku', cv.sku, 'units', s.waiting) order by cv.sku)
        from shortfalls s join variants cv on cv.org_id = s.org_id and cv.id = s.variant_id
        where s.org_id = l.org_id and s.line_id = l.id and s.waiting > 0), '[]'))
      order by l.id)
    from order_lines l left join variants v on v.org_id = l.org_id and v.id = l.variant_id
    where l.org_id = o.org_id and l.order_id = o.id), '[]') as lines`;

/** Newest first. `after`: [placed time, id] of the last one seen. */
export async function readOrders(
  tx: Tx,
  orgId: string,
  filter: {
    connectionId: string | null;
    externalId: string | null;
    search: string | null;
    limit: number;
    after: [string, string] | null;
  },
): Promise<{ items: OrderItem[]; next: [string, string] | null }> {
  const { rows } = await tx.query<OrderItem>(
    `with page as materialized (
       select * from orders o where o.org_id = $1 and ($2::uuid is null or o.connection_id = $2) and ($3::text is null or o.external_id = $3)
         and ($4::text is null or o.number ilike $4 or o.external_id ilike $4)
         and ($5::timestamptz is null or (o.placed_at, o.id) < ($5::timestamptz, $6::uuid))
       order by o.placed_at desc, o.id desc limit $7)
     select ${orderColumns} from page o order by o.placed_at desc, o.id desc`,
    [
      orgId,
      filter.connectionId,
      filter.externalId,
      likeAnywhere(filter.search),
      filter.after?.[0] ?? null,
      filter.after?.[1] ?? null,
      filter.limit + 1,
    ],
  );
  const items = rows.slice(0, filter.limit);
  const last = items.at(-1);
  return { items, next: rows.length > filter.limit && last ? [last.placedAt, last.id] : null };
}

export interface OrderEventItem {
  kind: string;
  message: string;
  actor: string;
  at: string;
}

/** One order with its timeline, or null. */
export async function readOrder(
  tx: Tx,
  orgId: string,
  id: string,
): Promise<(OrderItem & { timeline: OrderEventItem[] }) | null> {
  const { rows } = await tx.query<OrderItem & { timeline: OrderEventItem[] }>(
    `select ${orderColumns},
       coalesce((select jsonb_agg(jsonb_build_object('kind', e.kind, 'message', e.message, 'actor', e.actor, 'at', ${stamp('e.at')}) order by e.at, e.id)
         from order_events e where e.org_id = o.org_id and e.order_id = o.id), '[]') as timeline
     from orders o where o.org_id = $1 and o.id = $2`,
    [orgId, id],
  );
  return rows[0] ?? null;
}
