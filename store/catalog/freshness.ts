/**
 * Freshness (U-35): how old a location's stock may be. Past its limit the targets it stands behind show 0 or are suspended, with
 * the reason; a new reading ends that by itself. A due row (kind "freshness") per location asks when time alone passes the limit.
 */
import { markPolicyDirty } from '../listings/expand.ts';
import type { Tx } from '../tx.ts';

export interface FreshnessItem {
  location: string;
  limitMs: number;
  action: 'zero' | 'suspend';
  readAt: string;
  readBy: string;
  /** When it is outdated, or was. */
  outdatedAt: string;
  outdated: boolean;
}

const stamp = (column: string) => `to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

export async function readFreshness(tx: Tx, orgId: string, now: number): Promise<FreshnessItem[]> {
  const { rows } = await tx.query<FreshnessItem>(
    `select l.code as location, f.limit_ms::float8 as "limitMs", f.action, ${stamp('f.read_at')} as "readAt", f.read_by as "readBy",
       ${stamp("(f.read_at + f.limit_ms * interval '1 ms')")} as "outdatedAt", f.read_at + f.limit_ms * interval '1 ms' <= to_timestamp($2::float8 / 1000.0) as outdated
     from location_freshness f join locations l on l.org_id = $1 and l.id = f.location_id where f.org_id = $1 order by l.code`,
    [orgId, now],
  );
  return rows;
}

/** `limitMs` null: its number has no age any more. False: no such location. */
export async function setFreshness(
  tx: Tx,
  orgId: string,
  location: string,
  limit: { limitMs: number | null; action: 'zero' | 'suspend' },
  by: { actor: string; now: number },
): Promise<boolean> {
  const { rows } = await tx.query<{ id: string }>('select id from locations where org_id = $1 and code = $2', [
    orgId,
    location,
  ]);
  const id = rows[0]?.id;
  if (!id) return false;
  if (limit.limitMs === null)
    await tx.query('delete from location_freshness where org_id = $1 and location_id = $2', [orgId, id]);
  else
    await tx.query(
      `insert into location_freshness as f (org_id, location_id, limit_ms, action, read_at, read_by, set_at, set_by)
       values ($1, $2, $3, $4, to_timestamp($6::float8 / 1000.0), $5, to_timestamp($6::float8 / 1000.0), $5)
       on conflict (org_id, location_id) do update set limit_ms = excluded.limit_ms, action = excluded.action, set_at = excluded.set_at, set_by = excluded.set_by`,
      [orgId, id, limit.limitMs, limit.action, by.actor, by.now],
    );
  await askAgain(tx, orgId, id);
  await markBehind(tx, orgId, id);
  return true;
}

/** The location's stock was read at `at` (Unix ms), whole; an older reading changes nothing. False: it has no limit. */
export async function noteReading(
  tx: Tx,
  orgId: string,
  location: string,
  reading: { at: number; by: string; now: number },
): Promise<boolean> {
  const { rows } = await tx.query<{ location_id: string; was_outdated: boolean }>(
    `with f as (select f.* from location_freshness f join locations l on l.org_id = $1 and l.id = f.location_id where f.org_id = $1 and l.code = $2 for update of f)
     update location_freshness t set read_at = greatest(t.read_at, to_timestamp($3::float8 / 1000.0)), read_by = $4 from f
     where t.org_id = $1 and t.location_id = f.location_id
     returning t.location_id, f.read_at + f.limit_ms * interval '1 ms' <= to_timestamp($5::float8 / 1000.0) as was_outdated`,
    [orgId, location, Math.min(reading.at, reading.now), reading.by, reading.now],
  );
  const row = rows[0];
  if (!row) return false;
  await askAgain(tx, orgId, row.location_id);
  if (row.was_outdated) await markBehind(tx, orgId, row.location_id);
  return true;
}

/** Time has passed the limit, or a reading has moved it. @returns when to ask again; null = not before the next reading. */
export async function serveFreshness(tx: Tx, orgId: string, locationId: string, now: number): Promise<number | null> {
  const { rows } = await tx.query<{ at: number }>(
    'select (extract(epoch from read_at) * 1000 + limit_ms)::float8 as at from location_freshness where org_id = $1 and location_id = $2 for update',
    [orgId, locationId],
  );
  const at = rows[0]?.at;
  if (at !== undefined && at > now) return at;
  if (at !== undefined) await markBehind(tx, orgId, locationId);
  return null;
}

async function askAgain(tx: Tx, orgId: string, locationId: string): Promise<void> {
  await tx.query(
    `insert into due (org_id, kind, subject_id, due_at)
     select org_id, 'freshness', location_id, read_at + limit_ms * interval '1 ms' from location_freshness where org_id = $1 and location_id = $2
     on conflict (org_id, kind, subject_id) do update set due_at = excluded.due_at`,
    [orgId, locationId],
  );
}

/** Every connection the location stands behind is computed again. */
async function markBehind(tx: Tx, orgId: string, locationId: string): Promise<void> {
  const { rows } = await tx.query<{ id: string }>(
    'select distinct connection_id as id from connection_locations where org_id = $1 and location_id = $2 order by 1',
    [orgId, locationId],
  );
  for (const { id } of rows) await markPolicyDirty(tx, orgId, 'connection', id);
}
