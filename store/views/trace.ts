/**
 * Trace: the whole path of an order, an event, a call of ours or a SKU, put together from what the database keeps.
 *
 *   placed → received → applied → claimed / moved → sent → called → answered → seen
 *
 * Found by an order's number, its channel's id (or the last part of it), its id here, a correlation id, or a SKU. Stations in order of
 * time, each with the gap to the one before. An attempt belongs to an order when the order was among the causes it was recorded with;
 * behind a long backlog causes are not kept (store/listings/expand.ts), and the path ends at the claims.
 */
import type { Tx } from '../tx.ts';

export interface TraceStation {
  /** ISO, ms. */
  at: string;
  /** Since the station before; null for the first. */
  gapMs: number | null;
  station: 'placed' | 'received' | 'applied' | 'claimed' | 'moved' | 'sent' | 'called' | 'answered' | 'seen';
  text: string;
  correlationId: string | null;
  connectionId: string | null;
  sku: string | null;
  order: string | null;
  details: Record<string, unknown>;
}

export interface Trace {
  term: string;
  /** What the term turned out to be. */
  found: 'order' | 'event' | 'sku';
  orders: { id: string; number: string; externalId: string; connectionId: string | null }[];
  stations: TraceStation[];
  /** From the first station of ours (not the channel's own time of the order) to the last, ms. */
  tookMs: number;
}

type Row = Omit<TraceStation, 'gapMs' | 'at'> & { at: Date };
type OrderRef = Trace['orders'][number];

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
/** Orders of one trace, and stations of one kind. */
const most = { orders: 5, stations: 200 };

/** @returns null when the term names nothing of this organization */
export async function readTrace(tx: Tx, orgId: string, term: string): Promise<Trace | null> {
  const orders = await findOrders(tx, orgId, term);
  const correlationId = uuid.test(term) ? term : null;
  const stations: Row[] = [];
  let found: Trace['found'] = 'order';
  if (orders.length > 0) {
    stations.push(...(await placed(tx, orgId, orders)), ...(await received(tx, orgId, orders)));
    stations.push(...(await applied(tx, orgId, orders)));
    const variantIds = await variantsOf(tx, orgId, orders);
    stations.push(...(await ledger(tx, orgId, { orders, variantIds, sku: false })));
    const orderIds = orders.map(({ id }) => id);
    stations.push(...(await pushes(tx, orgId, { orderIds, correlationId: null, variantIds })));
  } else if (correlationId !== null) {
    found = 'event';
    stations.push(...(await events(tx, orgId, correlationId)), ...(await commanded(tx, orgId, correlationId)));
    stations.push(...(await pushes(tx, orgId, { orderIds: [], correlationId, variantIds: null })));
    stations.push(...(await reads(tx, orgId, correlationId)));
  } else {
    found = 'sku';
    const { rows } = await tx.query<{ id: string }>('select id from variants where org_id = $1 and sku = $2', [
      orgId,
      term,
    ]);
    const variantIds = rows.map(({ id }) => id);
    if (variantIds.length === 0) return null;
    stations.push(...(await ledger(tx, orgId, { orders: [], variantIds, sku: true })));
    stations.push(...(await pushes(tx, orgId, { orderIds: [], correlationId: null, variantIds })));
  }
  if (stations.length === 0 && orders.length === 0) return null;
  return { term, found, orders, ...inOrder(stations) };
}

const rank: Record<TraceStation['station'], number> = {
  placed: 0,
  received: 1,
  applied: 2,
  claimed: 3,
  moved: 4,
  sent: 5,
  called: 6,
  seen: 7,
  answered: 8,
};

function inOrder(rows: readonly Row[]): Pick<Trace, 'stations' | 'tookMs'> {
  const sorted = [...rows].sort((a, b) => a.at.getTime() - b.at.getTime() || rank[a.station] - rank[b.station]);
  const stations = sorted.map((row, n): TraceStation => {
    const before = sorted[n - 1];
    return { ...row, at: row.at.toISOString(), gapMs: before ? row.at.getTime() - before.at.getTime() : null };
  });
  const first = sorted.find(({ station }) => station !== 'placed') ?? sorted[0];
  return { stations, tookMs: Math.max(0, (sorted.at(-1)?.at.getTime() ?? 0) - (first?.at.getTime() ?? 0)) };
}

const orderColumns = `o.id, o.number, o.external_id as "externalId", o.connection_id as "connectionId"`;

async function findOrders(tx: Tx, orgId: string, term: string): Promise<OrderRef[]> {
  if (uuid.test(term)) {
    const { rows } = await tx.query<OrderRef>(
      `select distinct ${orderColumns} from orders o where o.org_id = $1 and (o.id = $2::uuid or exists (
         select from inbox i where i.correlation_id = $2::uuid and i.org_id = $1 and i.kind = 'order'
           and i.connection_id = o.connection_id and i.external_id = o.external_id)) limit ${most.orders}`,
      [orgId, term],
    );
    return rows;
  }
  const { rows } = await tx.query<OrderRef>(
    `select ${orderColumns} from orders o where o.org_id = $1
       and (o.number in ($2, '#' || $2) or o.external_id = $2 or right(o.external_id, length($2) + 1) = '/' || $2)
     order by o.placed_at desc limit ${most.orders}`,
    [orgId, term],
  );
  return rows;
}

/** By the channel's own clock: an event that came late shows as a gap behind it. */
async function placed(tx: Tx, orgId: string, orders: readonly OrderRef[]): Promise<Row[]> {
  const { rows } = await tx.query<Row>(
    `select o.placed_at as at, 'placed' as station, 'placed at ' || c.name as text, null as "correlationId", o.connection_id as "connectionId",
       null as sku, o.number as order, '{}'::jsonb as details
     from orders o join connections c on c.org_id = o.org_id and c.id = o.connection_id where o.org_id = $1 and o.id = any ($2::uuid[])`,
    [orgId, orders.map(({ id }) => id)],
  );
  return rows;
}

const receivedColumns = `select i.received_at as at, 'received' as station,
  case i.source when 'poll' then 'order sweep' when 'fetch' then 'read again' else i.source || ' ' || i.topic end || ' of ' || i.external_id || ': ' ||
    case i.state when 'done' then 'applied' when 'superseded' then 'not applied, a newer one was' when 'duplicate' then 'the same again, nothing changed'
      when 'dead' then 'failed, a person decides' else 'waits' end as text,
  i.correlation_id as "correlationId", i.connection_id as "connectionId", null as sku, null as order,
  jsonb_strip_nulls(jsonb_build_object('inboxId', i.id, 'deliveryId', i.delivery_id, 'source', i.source, 'topic', i.topic, 'externalId', i.external_id,
    'state', i.state, 'attempts', i.attempts, 'error', i.error, 'doneAt', i.done_at)) as details
  from inbox i`;

async function received(tx: Tx, orgId: string, orders: readonly OrderRef[]): Promise<Row[]> {
  const all: Row[] = [];
  for (const { connectionId, externalId, number } of orders) {
    if (connectionId === null) continue;
    // The key's index is partial (open rows); the rest is found by the correlation ids that the order's history keeps, and
    // what came again by its content.
    const { rows } = await tx.query<Row>(
      `with known as materialized (
         select i.body_hash from inbox i where i.org_id = $1 and (
           (i.connection_id = $2 and i.kind = 'order' and i.external_id = $3 and i.state in ('waiting', 'dead'))
           or i.correlation_id = any (array(select (e.details ->> 'correlationId')::uuid from order_events e join orders o on o.org_id = e.org_id and o.id = e.order_id
             where e.org_id = $1 and o.connection_id = $2 and o.external_id = $3 and e.details ? 'correlationId'))))
       ${receivedColumns} where i.org_id = $1 and i.connection_id = $2 and i.body_hash in (select body_hash from known)
       order by i.received_at, i.state = 'duplicate', i.id limit ${most.stations}`,
      [orgId, connectionId, externalId],
    );
    all.push(...rows.map((row, n) => ({ ...row, order: number, text: n === 0 ? firstWord(row) : row.text })));
  }
  return all;
}

/** An order whose first news is the sweep's: its event was lost, or is still under way. */
const firstWord = ({ text, details }: Row): string =>
  details.source === 'poll' ? `${text}; no event had told of it` : text;

async function events(tx: Tx, orgId: string, correlationId: string): Promise<Row[]> {
  const { rows } = await tx.query<Row>(
    `${receivedColumns} where i.correlation_id = $2 and i.org_id = $1 order by i.received_at limit ${most.stations}`,
    [orgId, correlationId],
  );
  return rows;
}

async function applied(tx: Tx, orgId: string, orders: readonly OrderRef[]): Promise<Row[]> {
  const { rows } = await tx.query<Row>(
    `select e.at, 'applied' as station, e.kind || ': ' || e.message as text, e.details ->> 'correlationId' as "correlationId",
       o.connection_id as "connectionId", null as sku, o.number as order, jsonb_build_object('actor', e.actor) || e.details as details
     from order_events e join orders o on o.org_id = e.org_id and o.id = e.order_id
     where e.org_id = $1 and e.order_id = any ($2::uuid[]) order by e.at limit ${most.stations}`,
    [orgId, orders.map(({ id }) => id)],
  );
  return rows;
}

/** Everything an order's lines are or were made of. */
async function variantsOf(tx: Tx, orgId: string, orders: readonly OrderRef[]): Promise<string[]> {
  const { rows } = await tx.query<{ id: string }>(
    `select distinct x.id from order_lines l cross join lateral (
       select l.variant_id as id union all select (p ->> 'variantId')::uuid from jsonb_array_elements(coalesce(l.explosion, '[]')) p) x
     where l.org_id = $1 and l.order_id = any ($2::uuid[]) and x.id is not null`,
    [orgId, orders.map(({ id }) => id)],
  );
  return rows.map(({ id }) => id);
}

/** Claims and movements: of the orders by their effect keys, of a SKU the newest. */
async function ledger(
  tx: Tx,
  orgId: string,
  of: { orders: readonly OrderRef[]; variantIds: readonly string[]; sku: boolean },
): Promise<Row[]> {
  const keys = of.orders.map(({ id }) => `order:${id}:%`);
  const { rows } = await tx.query<Row>(
    `(select e.recorded_at as at, 'claimed' as station, e.event || ' ' || e.delta || ' of ' || v.sku || ' (' || e.claim || ')' as text,
        null as "correlationId", null::uuid as "connectionId", v.sku, null as order,
        jsonb_build_object('effectKey', e.effect_key, 'claimId', e.claim_id, 'units', e.delta, 'actor', e.actor) as details
      from claim_events e join variants v on v.org_id = e.org_id and v.id = e.variant_id
      where e.org_id = $1 and e.variant_id = any ($2::uuid[]) and ($4 or e.effect_key like any ($3::text[]))
      order by e.business_at desc, e.seq desc limit ${most.stations})
     union all
     (select m.recorded_at, 'moved', m.kind || ' ' || m.units || ' of ' || v.sku || ' (' || m.reason || ')', null, null, v.sku, null,
        jsonb_strip_nulls(jsonb_build_object('effectKey', m.effect_key, 'movementId', m.id, 'units', m.units, 'reference', m.reference, 'actor', m.actor))
      from movements m join variants v on v.org_id = m.org_id and v.id = m.variant_id
      where m.org_id = $1 and m.variant_id = any ($2::uuid[]) and ($4 or m.effect_key like any ($3::text[]))
      order by m.business_at desc, m.id desc limit ${most.stations})`,
    [orgId, of.variantIds, keys, of.sku],
  );
  const numbers = new Map(of.orders.map(({ id, number }) => [id, number]));
  return rows.map((row) => ({ ...row, order: numbers.get(String(row.details.effectKey).split(':')[1] ?? '') ?? null }));
}

/** What one call of the API posted: its request's id is in the effect key. */
async function commanded(tx: Tx, orgId: string, requestId: string): Promise<Row[]> {
  const { rows } = await tx.query<Row>(
    `select f.recorded_at as at, 'moved' as station, 'posted by a call of the API' as text, $3 as "correlationId", null::uuid as "connectionId",
       null as sku, null as order, jsonb_build_object('effectKey', f.effect_key, 'result', f.result) as details
     from ledger_effects f where f.org_id = $1 and f.effect_key = $2`,
    [orgId, `api:${requestId}`, requestId],
  );
  return rows;
}

interface PushFilter {
  orderIds: readonly string[];
  correlationId: string | null;
  /** Only these, and bundles of them; null: all. Without orders and correlation id all of their attempts, the newest first. */
  variantIds: readonly string[] | null;
}

/** Attempts with their calls, answers, and what was seen after each until it was proven. */
async function pushes(tx: Tx, orgId: string, filter: PushFilter): Promise<Row[]> {
  const causes = [
    ...filter.orderIds.map((orderId) => JSON.stringify([{ orderId }])),
    ...(filter.correlationId === null ? [] : [JSON.stringify([{ correlationId: filter.correlationId }])]),
  ];
  const { rows } = await tx.query<Row>(
    `with mine as materialized (
       select a.*, t.stock_key, t.channel_location, v.sku, c.name, (a.causes -> -1) as cause
       from attempts a join targets t on t.org_id = a.org_id and t.id = a.target_id join connections c on c.org_id = a.org_id and c.id = a.connection_id
         left join variants v on v.org_id = t.org_id and v.id = t.variant_id
       where a.org_id = $1 and (cardinality($2::jsonb[]) = 0 or a.causes @> any ($2::jsonb[]))
         and ($3::uuid[] is null or t.variant_id = any ($3) or t.variant_id in (
           select b.variant_id from bundle_components b where b.org_id = $1 and b.component_id = any ($3)))
       order by a.sent_at desc limit ${most.stations}),
     told as (
       select m.*, jsonb_strip_nulls(jsonb_build_object('attemptId', m.id, 'callKey', m.call_key, 'targetId', m.target_id, 'stockKey', m.stock_key,
         'channelLocation', m.channel_location, 'value', m.value, 'from', m.from_value)) as base,
         m.cause ->> 'correlationId' as correlation, m.cause ->> 'order' as number from mine m)
     select m.sent_at as at, 'sent' as station, m.value || ' of ' || coalesce(m.sku, m.stock_key) || ' to ' || m.name as text, m.correlation as "correlationId",
       m.connection_id as "connectionId", m.sku, m.number as order, m.base || jsonb_build_object('causes', m.causes) as details from told m
     union all
     select m.finished_at, 'answered', m.name || ': ' || coalesce(m.outcome, 'unknown') || coalesce(' (' || m.error || ')', ''), m.correlation, m.connection_id,
       m.sku, m.number, m.base || jsonb_strip_nulls(jsonb_build_object('outcome', m.outcome, 'code', m.error_code)) from told m where m.finished_at is not null
     union all
     (select distinct on (o.id) o.at, 'called', o.operation || ' at ' || m.name || ': ' || coalesce(o.status::text, o.error_code, 'no answer') || ' in ' || o.took_ms || ' ms',
       m.correlation, o.connection_id, m.sku, m.number, jsonb_strip_nulls(jsonb_build_object('callId', o.id, 'callKey', o.call_key, 'operation', o.operation,
         'status', o.status, 'tookMs', o.took_ms, 'attempt', o.attempt, 'code', o.error_code))
      from told m join outside_calls o on o.org_id = $1 and o.call_key = m.call_key)
     union all
     (select distinct on (s.id) s.recorded_at, 'seen', m.name || ' shows ' || s.value || ' (' || s.source || ', ' || s.verdict || ')', m.correlation, m.connection_id,
       m.sku, m.number, jsonb_build_object('observationId', s.id, 'targetId', s.target_id, 'value', s.value, 'source', s.source, 'verdict', s.verdict,
         'counted', s.counted, 'vendorAt', s.vendor_at)
      from told m cross join lateral (
        select * from observations s where s.org_id = $1 and s.target_id = m.target_id and s.recorded_at >= m.sent_at
          and s.recorded_at < coalesce((select min(n.sent_at) from attempts n where n.org_id = $1 and n.target_id = m.target_id and n.sent_at > m.sent_at), 'infinity')
        order by s.recorded_at limit 3) s)`,
    [orgId, causes, filter.variantIds],
  );
  return rows;
}

/** Calls that were made for an event and carried no attempt: orders read, numbers read. */
async function reads(tx: Tx, orgId: string, correlationId: string): Promise<Row[]> {
  const { rows } = await tx.query<Row>(
    `select o.at, 'called' as station, o.operation || ' at ' || c.name || ': ' || coalesce(o.status::text, o.error_code, 'no answer') as text,
       $2::text as "correlationId", o.connection_id as "connectionId", null as sku, null as order,
       jsonb_build_object('callId', o.id, 'operation', o.operation, 'status', o.status, 'tookMs', o.took_ms, 'attempt', o.attempt) as details
     from outside_calls o join connections c on c.org_id = o.org_id and c.id = o.connection_id
     where o.org_id = $1 and o.correlation_ids @> array[$2::uuid] and o.call_key is null order by o.at limit ${most.stations}`,
    [orgId, correlationId],
  );
  return rows;
}
