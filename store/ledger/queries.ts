/**
 * The ledger's read statements, complete and parameterised. Each writes its organization out: under row security only
 * leakproof operators (=, <, >) may use an index, so the searches here are equality and ranges; ILIKE would read the
 * whole organization (races: search under row security). Plan tests as the app role: read.pg.test.ts.
 */

/** Variants in SKU order, after $2, optionally from prefix $3 up to its upper bound $4. `"C"` collation: bytes, one order everywhere. */
export const stockPage = `
  select v.id as "variantId", v.sku, v.title,
    coalesce((select sum(p.sellable - p.committed - p.reserved) from positions p where p.org_id = v.org_id and p.variant_id = v.id), 0)::bigint as available
  from variants v
  where v.org_id = $1 and v.sku > $2 and v.sku >= $3 and v.sku < $4
  order by v.sku limit $5`;

export const positionsOfVariants = `
  select p.variant_id as "variantId", p.location_id as "locationId", l.code as location, p.sellable, p.damaged, p.quarantine, p.expired,
    p.incoming, p.committed, p.reserved, p.version
  from unnest($2::uuid[]) as w (variant_id)
  join positions p on p.org_id = $1 and p.variant_id = w.variant_id
  join locations l on l.org_id = p.org_id and l.id = p.location_id
  order by p.variant_id, l.is_default desc, l.priority, l.code`;

/** Every row of some claims (order lines or holds), open or not. */
export const claimsOf = `
  select c.claim, c.claim_id as "claimId", c.variant_id as "variantId", c.location_id as "locationId", c.open, c.spent, c.ended, c.seq
  from unnest($2::uuid[]) as w (id)
  cross join lateral (
    select 'commitment' as claim, x.line_id as claim_id, x.variant_id, x.location_id, x.open, x.shipped as spent, x.released as ended, x.seq
    from commitments x where x.org_id = $1 and x.line_id = w.id
    union all
    select 'hold', x.hold_id, x.variant_id, x.location_id, x.open, x.confirmed, x.released, x.seq
    from holds x where x.org_id = $1 and x.hold_id = w.id
    union all
    select 'shortfall', x.line_id, x.variant_id, null, x.waiting, x.filled, x.cancelled, x.seq
    from shortfalls x where x.org_id = $1 and x.line_id = w.id) c
  order by c.seq, c.claim, c.variant_id, c.location_id`;

/** Waiting shortfalls in the order they will be filled, after (variant $2, seq $3). */
export const openShortfalls = `
  select s.line_id as "claimId", s.claim_kind as "becomes", s.variant_id as "variantId", v.sku, s.waiting, s.seq, s.created_at as "createdAt"
  from shortfalls s join variants v on v.org_id = s.org_id and v.id = s.variant_id
  where s.org_id = $1 and s.waiting > 0 and (s.variant_id, s.seq) > ($2::uuid, $3::bigint)
  order by s.variant_id, s.seq limit $4`;

/**
 * Goods and claims per position as of a business time ($3), as known at a recorded time ($4; null = all we know).
 * What befalls a claim counts from the latest time in its log so far: a fact recorded late displaces a claim from the moment the
 * claim is there, not from before it was made. So a claim's state at any time is one it really had.
 */
export const asOf = `
  select w.variant_id as "variantId", s.location_id as "locationId",
    sum(s.sellable)::bigint as sellable, sum(s.committed)::bigint as committed, sum(s.reserved)::bigint as reserved,
    sum(s.waiting)::bigint as waiting
  from unnest($2::uuid[]) as w (variant_id)
  cross join lateral (
    select m.to_location as location_id, m.units as sellable, 0 as committed, 0 as reserved, 0 as waiting
    from movements m where m.org_id = $1 and m.variant_id = w.variant_id and m.business_at <= $3 and m.to_bucket = 'sellable'
      and ($4::timestamptz is null or m.recorded_at <= $4)
    union all
    select m.from_location, -m.units, 0, 0, 0
    from movements m where m.org_id = $1 and m.variant_id = w.variant_id and m.business_at <= $3 and m.from_bucket = 'sellable'
      and ($4::timestamptz is null or m.recorded_at <= $4)
    union all
    select e.location_id, 0, case e.claim when 'commitment' then e.delta else 0 end, case e.claim when 'hold' then e.delta else 0 end,
      case e.claim when 'shortfall' then e.delta else 0 end
    from (
      select x.*, max(x.business_at) over (partition by x.claim_id order by x.seq) as effective_at
      from claim_events x where x.org_id = $1 and x.variant_id = w.variant_id and ($4::timestamptz is null or x.recorded_at <= $4)) e
    where e.effective_at <= $3) s
  group by 1, 2 having (sum(s.sellable), sum(s.committed), sum(s.reserved), sum(s.waiting)) <> (0, 0, 0, 0)
  order by 1, 2`;

/** Everything recorded before this was committed or rolled back by now: no transaction of ours that began earlier is still running. */
export const knownHorizon = `
  select least(coalesce(min(a.xact_start), clock_timestamp()), clock_timestamp()) as horizon
  from pg_stat_activity a
  where a.datname = current_database() and a.usename = current_user and a.pid <> pg_backend_pid() and a.xact_start is not null`;
