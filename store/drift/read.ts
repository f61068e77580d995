/** The drift report: what was found, why, what was done about it; for API and command line. */
import type { DriftCause, DriftPolicy, DriftState } from '#core/stock/drift.ts';
import type { Tx } from '../tx.ts';

export interface DriftItem {
  id: string;
  connectionId: string;
  connection: string;
  sku: string | null;
  listingId: string | null;
  stockKey: string;
  channelLocation: string;
  cause: DriftCause;
  state: DriftState;
  /** observed − expected. */
  units: number;
  expected: number | null;
  observed: number | null;
  /** The vendor's time of the observation. */
  observedAt: string;
  policy: DriftPolicy | null;
  decidedBy: string | null;
  reason: string | null;
  times: number;
  foundAt: string;
  decidedAt: string | null;
  endedAt: string | null;
}

export interface DriftEvidenceItem extends DriftItem {
  evidence: {
    base: number | null;
    baseAt: string | null;
    /** What the channel did to its number since base, as known then. */
    effects: { units: number; from: number; to: number; sure: boolean }[];
    attempts: { value: number; from: number | null; outcome: string | null; sentAt: string }[];
    /** Orders that explained units of it. */
    explained: { externalId: string; units: number; source: 'sweep' | 'event' }[];
    /** Orders of this number between base and the mark: looked at, and not enough. */
    ordersConsidered: { externalId: string; number: string; placedAt: string; taken: number | null }[];
    ordersReadTo: string | null;
    settledAt: string | null;
    observations: { value: number; at: string; source: string; verdict: string }[];
  };
}

export interface DriftFilter {
  since: Date | null;
  connectionId: string | null;
  cause: string | null;
  state: string | null;
  search: string | null;
  limit: number;
  /** Time and id of the last one seen. */
  after: readonly [string, string] | null;
}

const stamp = (column: string) => `to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

const columns = `d.id, d.connection_id as "connectionId", c.name as connection, v.sku,
  (select l.id from listings l where l.org_id = d.org_id and l.connection_id = d.connection_id and l.stock_key = t.stock_key order by l.variant_id nulls last, l.id limit 1) as "listingId",
  t.stock_key as "stockKey", t.channel_location as "channelLocation", d.cause, d.state, d.units, d.expected, d.observed, ${stamp('d.observed_at')} as "observedAt",
  d.policy, d.decided_by as "decidedBy", d.reason, d.times, ${stamp('d.found_at')} as "foundAt", ${stamp('d.decided_at')} as "decidedAt", ${stamp('d.ended_at')} as "endedAt"`;
const tables = `drifts d join targets t on t.org_id = d.org_id and t.id = d.target_id join connections c on c.org_id = d.org_id and c.id = d.connection_id
  left join variants v on v.org_id = d.org_id and v.id = d.variant_id`;

/** Newest first; `state` "open" = everything that has not ended. */
export async function readDrifts(
  tx: Tx,
  orgId: string,
  filter: DriftFilter,
): Promise<{ items: DriftItem[]; next: [string, string] | null }> {
  const { rows } = await tx.query<DriftItem>(
    `select ${columns} from ${tables}
     where d.org_id = $1 and ($2::timestamptz is null or d.found_at >= $2) and ($3::uuid is null or d.connection_id = $3)
       and ($4::text is null or d.cause = $4) and ($5::text is null or d.state = $5 or ($5 = 'open' and d.ended_at is null))
       and ($6::text is null or strpos(lower(coalesce(v.sku, '') || ' ' || t.stock_key), lower($6)) > 0)
       and ($7::timestamptz is null or (date_trunc('milliseconds', d.found_at), d.id) < ($7, $8::uuid))
     order by date_trunc('milliseconds', d.found_at) desc, d.id desc limit $9`,
    [
      orgId,
      filter.since,
      filter.connectionId,
      filter.cause,
      filter.state,
      filter.search,
      filter.after?.[0] ?? null,
      filter.after?.[1] ?? null,
      filter.limit + 1,
    ],
  );
  const page = rows.slice(0, filter.limit);
  const last = page.at(-1);
  return {
    items: page,
    next: rows.length > filter.limit && last ? [last.foundAt, last.id] : null,
  };
}

export async function readDrift(tx: Tx, orgId: string, id: string): Promise<DriftEvidenceItem | null> {
  const { rows } = await tx.query<DriftEvidenceItem>(
    `select ${columns}, jsonb_build_object(
       'base', d.base, 'baseAt', ${stamp('d.base_at')}, 'effects', d.effects, 'attempts', d.attempts, 'explained', d.explained,
       'ordersReadTo', ${stamp('d.orders_read_to')}, 'settledAt', ${stamp('d.settled_at')},
       'ordersConsidered', coalesce((select jsonb_agg(jsonb_build_object('externalId', o.external_id, 'number', o.number, 'placedAt', ${stamp('o.placed_at')}, 'taken', l.taken) order by o.placed_at desc)
         from (select * from order_lines l where l.org_id = d.org_id and l.variant_id = d.variant_id) l
         join orders o on o.org_id = l.org_id and o.id = l.order_id and o.connection_id = d.connection_id
           and o.channel_version >= coalesce(d.base_at, d.observed_at) - interval '1 day' and o.channel_version <= coalesce(d.orders_read_to, d.observed_at)), '[]'),
       'observations', coalesce((select jsonb_agg(jsonb_build_object('value', s.value, 'at', ${stamp('s.vendor_at')}, 'source', s.source, 'verdict', s.verdict) order by s.vendor_at desc, s.id desc)
         from (select * from observations s where s.org_id = d.org_id and s.target_id = d.target_id and s.vendor_at <= d.last_at + interval '1 minute'
           order by s.vendor_at desc, s.id desc limit 10) s), '[]')) as evidence
     from ${tables} where d.org_id = $1 and d.id = $2`,
    [orgId, id],
  );
  return rows[0] ?? null;
}
