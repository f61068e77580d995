/**
 * Lanes: one coordinator per connection, under a lease.
 *
 *   free → held (generation + 1) → renewed … → released, or expired
 *
 * The database's clock alone says when a lease has run out. The holder checks its own monotonic clock, counted from
 * before it asked, so its view ends earlier than the database's. A process that is certainly the only one (it holds the
 * data folder's lock) takes a dead predecessor's lease at once. Taking over a lease that was not given back starts a
 * quiet time: requests of the former holder may still arrive until then, so targets with open attempts are not touched.
 * The quiet time belongs to the lane, not to who took it over: it stands also when that one gives the lease back meanwhile.
 */
import type { Tx } from '../tx.ts';

export interface Lease {
  generation: number;
  /** Milliseconds until targets with open attempts may be touched; 0 when every former holder handed over in order. */
  quietMs: number;
}

/** @returns null while somebody else holds it. Renewing keeps the generation. */
export async function acquireLane(
  tx: Tx,
  orgId: string,
  connectionId: string,
  holder: string,
  times: { ttlMs: number; requestTimeoutMs: number; takeAtOnce?: boolean },
): Promise<Lease | null> {
  const { rows } = await tx.query<{ generation: number; quiet_ms: number }>(
    {
      name: 'lane_acquire',
      text: `
    insert into lanes as l (org_id, connection_id, holder, generation, expires_at)
    values ($1, $2, $3, 1, clock_timestamp() + $4 * interval '1 ms')
    on conflict (org_id, connection_id) do update set
      holder = excluded.holder,
      generation = case when l.holder = excluded.holder and l.expires_at > clock_timestamp() then l.generation else l.generation + 1 end,
      expires_at = excluded.expires_at,
      quiet_until = greatest(l.quiet_until, case when l.holder is null or l.holder = excluded.holder and l.expires_at > clock_timestamp() then null
        when l.expires_at > clock_timestamp() then clock_timestamp() + $5 * interval '1 ms'
        else clock_timestamp() + ($4 + $5) * interval '1 ms' end)
    where l.holder is null or l.holder = excluded.holder or l.expires_at <= clock_timestamp() or $6
    returning generation, coalesce(greatest(0, ceil(extract(epoch from quiet_until - clock_timestamp()) * 1000)), 0)::int as quiet_ms`,
    },
    [orgId, connectionId, holder, times.ttlMs, times.requestTimeoutMs, times.takeAtOnce ?? false],
  );
  const [row] = rows;
  return row ? { generation: row.generation, quietMs: row.quiet_ms } : null;
}

/** Only after every request of ours was answered or given up; those of a dead predecessor may still be on their way. */
export async function releaseLane(
  tx: Tx,
  orgId: string,
  connectionId: string,
  holder: string,
  generation: number,
): Promise<void> {
  await tx.query(
    `update lanes set holder = null, expires_at = null
     where org_id = $1 and connection_id = $2 and holder = $3 and generation = $4`,
    [orgId, connectionId, holder, generation],
  );
}

/** Lanes of the organization that somebody holds; at a start that is certainly alone: a predecessor was killed at work. */
export async function heldLanes(tx: Tx, orgId: string): Promise<number> {
  const { rows } = await tx.query<{ held: number }>(
    `select count(*)::int as held from lanes where org_id = $1 and holder is not null`,
    [orgId],
  );
  return rows[0]?.held ?? 0;
}
