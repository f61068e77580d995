/**
 * Verify: does the ledger add up (promise P1)? One repeatable-read snapshot, one statement per question, set-wise.
 *
 *   bucket        each bucket of each position = Σ movements in − Σ movements out
 *   committed     = Σ open commitments at the position;  reserved = Σ open holds
 *   claim_log     each claim's open (or waiting) units = Σ of its log
 *   negative      no number below 0, claims ≤ sellable
 *   orphan        every movement's sides and every claim on goods have a position
 *   idle          no goods are free at a place that serves orders while units of the variant wait
 *
 * Called by `syncstate verify` and at the end of tests. It reads tables, never the code that writes them.
 */
import type { Tx } from '../tx.ts';

export interface Fault {
  kind: 'bucket' | 'committed' | 'reserved' | 'claim_log' | 'negative' | 'orphan' | 'idle';
  sku: string;
  /** The location's code; "" where there is none. */
  location: string;
  expected: number;
  found: number;
  /** Which bucket, claim or row. */
  what: string;
}

export interface Verdict {
  ok: boolean;
  checked: { positions: number; movements: number; claims: number };
  /** At most 1,000, in no order. */
  faults: Fault[];
}

const buckets = ['sellable', 'damaged', 'quarantine', 'expired', 'incoming'];

const bucketValues = buckets.map((bucket) => `('${bucket}', p.${bucket})`).join(', ');

/** Yields kind, org_id, variant_id, location_id, what, expected, found. */
const questions = [
  `select 'bucket' as kind, org_id, variant_id, location_id, bucket as what, coalesce(m.units, 0) as expected, coalesce(p.units, 0) as found
   from (
     select p.org_id, p.variant_id, p.location_id, b.bucket, b.units
     from positions p cross join lateral (values ${bucketValues}) as b (bucket, units) where p.org_id = $1 and b.units <> 0) p
   full join (
     select org_id, variant_id, location_id, bucket, sum(units)::bigint as units
     from (
       select org_id, variant_id, to_location as location_id, to_bucket as bucket, units from movements where org_id = $1 and to_location is not null
       union all
       select org_id, variant_id, from_location, from_bucket, -units from movements where org_id = $1 and from_location is not null) s
     group by 1, 2, 3, 4 having sum(units) <> 0) m
   using (org_id, variant_id, location_id, bucket)
   where coalesce(m.units, 0) <> coalesce(p.units, 0)`,
  ...(['committed', 'reserved'] as const).map((bucket) => {
    const table = bucket === 'committed' ? 'commitments' : 'holds';
    return `select '${bucket}', org_id, variant_id, location_id, '${bucket}', coalesce(c.units, 0), coalesce(p.units, 0)
     from (select org_id, variant_id, location_id, ${bucket} as units from positions where org_id = $1 and ${bucket} <> 0) p
     full join (
       select org_id, variant_id, location_id, sum(open)::bigint as units from ${table} where org_id = $1 group by 1, 2, 3 having sum(open) <> 0) c
     using (org_id, variant_id, location_id)
     where coalesce(c.units, 0) <> coalesce(p.units, 0)`;
  }),
  `select 'claim_log', coalesce(c.org_id, l.org_id), coalesce(c.variant_id, l.variant_id), coalesce(c.location_id, l.location_id),
     coalesce(c.claim, l.claim) || ' ' || coalesce(c.claim_id, l.claim_id), coalesce(l.units, 0), coalesce(c.units, 0)
   from (
     select org_id, variant_id, location_id, 'commitment' as claim, line_id as claim_id, open::bigint as units from commitments where org_id = $1 and open <> 0
     union all
     select org_id, variant_id, location_id, 'hold', hold_id, open from holds where org_id = $1 and open <> 0
     union all
     select org_id, variant_id, null, 'shortfall', line_id, sum(waiting) from shortfalls where org_id = $1 group by 1, 2, 5 having sum(waiting) <> 0) c
   full join (
     select org_id, variant_id, location_id, claim, claim_id, sum(delta)::bigint as units
     from claim_events where org_id = $1 group by 1, 2, 3, 4, 5 having sum(delta) <> 0) l
   on c.org_id = l.org_id and c.variant_id = l.variant_id and c.claim = l.claim and c.claim_id = l.claim_id
     and coalesce(c.location_id, c.org_id) = coalesce(l.location_id, l.org_id)
   where coalesce(l.units, 0) <> coalesce(c.units, 0)`,
  `select 'negative', p.org_id, p.variant_id, p.location_id, b.bucket, 0, b.units
   from positions p cross join lateral (values ${bucketValues}, ('committed', p.committed), ('reserved', p.reserved),
     ('available', p.sellable - p.committed - p.reserved)) as b (bucket, units)
   where p.org_id = $1 and b.units < 0`,
  `select 'orphan', s.org_id, s.variant_id, s.location_id, s.what, 0, s.units
   from (
     select org_id, variant_id, to_location as location_id, 'movement' as what, sum(units) as units from movements
     where org_id = $1 and to_location is not null group by 1, 2, 3
     union all
     select org_id, variant_id, from_location, 'movement', sum(units) from movements where org_id = $1 and from_location is not null group by 1, 2, 3
     union all
     select org_id, variant_id, location_id, 'commitment', sum(open) from commitments where org_id = $1 group by 1, 2, 3
     union all
     select org_id, variant_id, location_id, 'hold', sum(open) from holds where org_id = $1 group by 1, 2, 3) s
   where not exists (
     select from positions p where p.org_id = s.org_id and p.variant_id = s.variant_id and p.location_id = s.location_id)
   union all
   select 'orphan', s.org_id, s.variant_id, null, 'shortfall', 0, sum(s.waiting)
   from shortfalls s
   where s.org_id = $1 and not exists (select from positions p where p.org_id = s.org_id and p.variant_id = s.variant_id)
   group by s.org_id, s.variant_id`,
  `select 'idle', p.org_id, p.variant_id, p.location_id, 'free while ' || s.waiting || ' wait', 0, p.sellable - p.committed - p.reserved
   from (select org_id, variant_id, sum(waiting) as waiting from shortfalls where org_id = $1 and waiting > 0 group by 1, 2) s
   join positions p on p.org_id = s.org_id and p.variant_id = s.variant_id and p.sellable - p.committed - p.reserved > 0
   join locations l on l.org_id = p.org_id and l.id = p.location_id and l.serves_orders`,
];

/**
 * Judges one organization's ledger. Run it in a repeatable-read transaction (`store.readOnly`): several statements must see one moment.
 */
export async function verify(tx: Tx, orgId: string): Promise<Verdict> {
  const faults: Fault[] = [];
  for (const question of questions) {
    const { rows } = await tx.query<Fault>(
      `select f.kind, coalesce(v.sku, '') as sku, coalesce(l.code, '') as location, f.expected::float8 as expected, f.found::float8 as found, f.what
       from (${question}) as f (kind, org_id, variant_id, location_id, what, expected, found)
       left join variants v on v.org_id = f.org_id and v.id = f.variant_id
       left join locations l on l.org_id = f.org_id and l.id = f.location_id
       limit ${1000 - faults.length}`,
      [orgId],
    );
    faults.push(...rows);
    if (faults.length >= 1000) break;
  }
  const { rows } = await tx.query<Verdict['checked']>(
    `select (select count(*) from positions where org_id = $1)::int as positions, (select count(*) from movements where org_id = $1)::int as movements,
      ((select count(*) from commitments where org_id = $1) + (select count(*) from holds where org_id = $1)
        + (select count(*) from shortfalls where org_id = $1))::int as claims`,
    [orgId],
  );
  return { ok: faults.length === 0, checked: rows[0] ?? { positions: 0, movements: 0, claims: 0 }, faults };
}
