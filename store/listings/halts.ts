/**
 * Halts: what keeps numbers from leaving, and who said so.
 *
 *   installation   an operator's stop for everything                  ┐
 *   organization   a stop for all its connections                     ├ pushes_halted() in SQL: one answer for all
 *   connection     a pause, until a time or until somebody resumes    ┘
 *   listing        a pause of one listing: its stock key is not written
 *   shadow         not a halt: everything is computed and recorded, nothing is sent (shadow.ts)
 *
 * A halt keeps the dirty set: what changes meanwhile is sent once, with the final number, when it ends. It is asked in the
 * statement that commits an attempt (attempts.ts) and, when that is not just now, once more right before the call leaves
 * (`mayLeave`). So what can still go out after a halt has committed are calls already on the wire: `onTheWire` counts them.
 */
import { audit } from '../access/audit.ts';
import { raiseAlerts, resolveAlerts } from '../attention/alerts.ts';
import type { Tx } from '../tx.ts';
import type { LaneHold } from './attempts.ts';
import { markOfferChanges, markOffersOpen } from './scarce-marks.ts';

/** Whose act it is, when. */
export interface Acting {
  actor: string;
  now: number;
  ids: { uuid(): string };
}

export interface Pause {
  reason: string | null;
  /** Unix ms; null = until somebody resumes it. */
  until: number | null;
}

const time = (parameter: string) => `to_timestamp(${parameter}::float8 / 1000.0)`;

/** Pausing again changes reason and until-time, not since when. @returns false: no such connection. */
export async function pauseConnection(
  tx: Tx,
  orgId: string,
  id: string,
  pause: Pause,
  acting: Acting,
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update connections set paused_at = coalesce(paused_at, ${time('$3')}), paused_by = $4, paused_reason = $5, paused_until = ${time('$6')}
     where org_id = $1 and id = $2 and deleted_at is null`,
    [orgId, id, acting.now, acting.actor, pause.reason, pause.until],
  );
  if (rowCount === 0) return false;
  await snooze(tx, orgId, 'connection_pause', id, pause.until);
  await audit(tx, orgId, { ...by(acting), action: 'connection.pause', subject: id, details: { ...pause } });
  await settlePauses(tx, orgId, id, null, acting.now);
  return true;
}

export async function resumeConnection(tx: Tx, orgId: string, id: string, acting: Acting): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update connections set paused_at = null, paused_by = null, paused_reason = null, paused_until = null
     where org_id = $1 and id = $2 and deleted_at is null`,
    [orgId, id],
  );
  if (rowCount === 0) return false;
  await snooze(tx, orgId, 'connection_pause', id, null);
  await audit(tx, orgId, { ...by(acting), action: 'connection.resume', subject: id });
  await settlePauses(tx, orgId, id, null, acting.now);
  return true;
}

/** @returns false: no such listing. */
export async function pauseListing(tx: Tx, orgId: string, id: string, pause: Pause, acting: Acting): Promise<boolean> {
  const { rows } = await tx.query<ListingKey>(
    `update listings set paused_at = coalesce(paused_at, ${time('$3')}), paused_by = $4, paused_reason = $5, paused_until = ${time('$6')}
     where org_id = $1 and id = $2 returning connection_id, stock_key`,
    [orgId, id, acting.now, acting.actor, pause.reason, pause.until],
  );
  return settleListing(tx, orgId, id, rows[0], 'listing.pause', pause, acting);
}

export async function resumeListing(tx: Tx, orgId: string, id: string, acting: Acting): Promise<boolean> {
  const { rows } = await tx.query<ListingKey>(
    `update listings set paused_at = null, paused_by = null, paused_reason = null, paused_until = null
     where org_id = $1 and id = $2 returning connection_id, stock_key`,
    [orgId, id],
  );
  return settleListing(tx, orgId, id, rows[0], 'listing.resume', null, acting);
}

interface ListingKey {
  connection_id: string;
  stock_key: string;
}

async function settleListing(
  tx: Tx,
  orgId: string,
  id: string,
  listing: ListingKey | undefined,
  action: string,
  pause: Pause | null,
  acting: Acting,
): Promise<boolean> {
  if (!listing) return false;
  await snooze(tx, orgId, 'listing_pause', id, pause?.until ?? null);
  await audit(tx, orgId, { ...by(acting), action, subject: id, details: { ...pause } });
  await settlePauses(tx, orgId, listing.connection_id, [listing.stock_key], acting.now);
  return true;
}

const by = ({ actor, ids }: Acting) => ({ id: ids.uuid(), actor });

/** The due row that ends a pause by itself. */
async function snooze(tx: Tx, orgId: string, kind: string, id: string, until: number | null): Promise<void> {
  if (until === null) {
    await tx.query('delete from due where org_id = $1 and kind = $2 and subject_id = $3', [orgId, kind, id]);
    return;
  }
  await tx.query(
    `insert into due (org_id, kind, subject_id, due_at) values ($1, $2, $3, ${time('$4')})
     on conflict (org_id, kind, subject_id) do update set due_at = excluded.due_at`,
    [orgId, kind, id, until],
  );
}

/** A pause whose time has come ends; one that was prolonged meanwhile has a due row of its own time. */
export async function endPause(
  tx: Tx,
  orgId: string,
  kind: 'connection_pause' | 'listing_pause',
  id: string,
  acting: Acting,
): Promise<void> {
  const table = kind === 'connection_pause' ? 'connections' : 'listings';
  const { rows } = await tx.query<{ over: boolean; until: number | null }>(
    `select paused_until <= ${time('$3')} as over, round(extract(epoch from paused_until) * 1000)::float8 as until
     from ${table} where org_id = $1 and id = $2 for update`,
    [orgId, id, acting.now],
  );
  const [row] = rows;
  if (!row?.over) return snooze(tx, orgId, kind, id, row?.until ?? null);
  const resumed = await (kind === 'connection_pause' ? resumeConnection : resumeListing)(tx, orgId, id, acting);
  // Deleted meanwhile: nothing is left to resume, and nothing to be served again.
  if (!resumed) await snooze(tx, orgId, kind, id, null);
}

/** Targets follow what halts them, wherever that was set. */
export async function settlePauses(
  tx: Tx,
  orgId: string,
  connectionId: string,
  stockKeys: readonly string[] | null,
  now: number,
): Promise<number> {
  if (stockKeys !== null) await markOfferChanges(tx, orgId, connectionId, stockKeys);
  const { rows } = await tx.query<{ paused: boolean }>(
    {
      name: 'pauses_settle',
      text: `
    with h as materialized (select pushes_halted($1, $2) as by),
    wanted as (
      select t.id, h.by, h.by is not null or exists (select from listings l
        where l.org_id = $1 and l.connection_id = $2 and l.stock_key = t.stock_key and l.paused_at is not null) as paused
      from targets t, h where t.org_id = $1 and t.connection_id = $2 and not t.read_only and t.variant_id is not null
        and ($3::text[] is null or t.stock_key = any($3))),
    locked as materialized (
      select t.id, w.by, w.paused from targets t join wanted w on w.id = t.id
      where t.org_id = $1 and (t.state = 'paused') <> w.paused order by t.id for update of t)
    update targets t set
      state = case when l.paused then 'paused' else 'unknown' end,
      reason = case when l.by = 'installation' then 'All publishing is stopped by the operator.'
        when l.by = 'organization' then 'All publishing of this organization is stopped.'
        when l.by = 'connection' then 'Publishing to this connection is paused.'
        when l.paused then 'Publishing of this listing is paused.' end,
      state_at = to_timestamp($4::float8 / 1000.0), dirty_version = t.dirty_version + (not l.paused)::int,
      dirty_since = case when l.paused then t.dirty_since else coalesce(t.dirty_since, to_timestamp($4::float8 / 1000.0)) end,
      next_try_at = null, version = t.version + 1
    from locked l where t.org_id = $1 and t.id = l.id returning l.paused`,
    },
    [orgId, connectionId, stockKeys, now],
  );
  if (stockKeys === null && rows.some(({ paused }) => !paused)) await markOffersOpen(tx, orgId);
  return rows.length;
}

/** The last question before a call leaves: is the lease ours, and does nothing halt these targets? */
export async function mayLeave(tx: Tx, hold: LaneHold, targetIds: readonly string[]): Promise<boolean> {
  const { rows } = await tx.query<{ may: boolean }>(
    {
      name: 'may_leave',
      text: `select exists (select from lanes where org_id = $1 and connection_id = $2 and holder = $3 and generation = $4 and expires_at > clock_timestamp())
        and pushes_halted($1, $2) is null
        and exists (select from connections where org_id = $1 and id = $2 and deleted_at is null and shadow_at is null)
        and not exists (select from targets t join listings l on l.org_id = $1 and l.connection_id = $2 and l.stock_key = t.stock_key
          where t.org_id = $1 and t.id = any($5::uuid[]) and l.paused_at is not null) as may`,
    },
    [hold.orgId, hold.connectionId, hold.holder, hold.generation, targetIds],
  );
  return rows[0]?.may ?? false;
}

// ── one stop for all pushes ──

export interface Stop {
  at: string;
  by: string;
  reason: string | null;
}

export interface Pushes {
  stopped: boolean;
  installation: Stop | null;
  organization: Stop | null;
  /** Calls that left, or are about to, and have no answer yet. */
  onTheWire: number;
  connections: {
    id: string;
    name: string;
    platform: string;
    paused: boolean;
    shadow: boolean;
    onTheWire: number;
    /** Numbers that wait to be compared and sent. */
    waiting: number;
  }[];
}

/** @returns false: it was stopped already. */
export async function stopPushes(tx: Tx, orgId: string, reason: string | null, acting: Acting): Promise<boolean> {
  const { rowCount } = await tx.query(
    `insert into push_stops (org_id, stopped_at, stopped_by, reason) values ($1, ${time('$2')}, $3, $4) on conflict do nothing`,
    [orgId, acting.now, acting.actor, reason],
  );
  if (rowCount === 0) return false;
  await tellStop(tx, orgId, 'pushes_stopped', reason, acting);
  return true;
}

/** @returns false: it was not stopped. */
export async function resumePushes(tx: Tx, orgId: string, acting: Acting): Promise<boolean> {
  const { rowCount } = await tx.query('delete from push_stops where org_id = $1', [orgId]);
  if (rowCount === 0) return false;
  await tellResume(tx, orgId, 'pushes_stopped', acting);
  return true;
}

export type StopKind = 'pushes_stopped' | 'installation_stopped';

/** Alert, audit, and every target says so. Of the installation's stop each organization is told by whoever stopped it. */
export async function tellStop(
  tx: Tx,
  orgId: string,
  kind: StopKind,
  reason: string | null,
  acting: Acting,
): Promise<void> {
  const whose = kind === 'pushes_stopped' ? 'of this organization ' : '';
  const alert = {
    kind,
    message: `All publishing ${whose}is stopped by ${acting.actor}${reason === null ? '' : `: ${reason}`}. Orders are taken in; nothing is written to any channel.`,
    subject: { kind: 'organization', id: orgId },
    details: { actor: acting.actor, reason },
  };
  await raiseAlerts(tx, orgId, [alert], acting);
  await audit(tx, orgId, { ...by(acting), action: 'pushes.stop', subject: orgId, details: { kind, reason } });
  await settleAll(tx, orgId, acting.now);
}

export async function tellResume(tx: Tx, orgId: string, kind: StopKind, acting: Acting): Promise<void> {
  await resolveAlerts(tx, orgId, kind, [orgId], acting.now);
  await audit(tx, orgId, { ...by(acting), action: 'pushes.resume', subject: orgId, details: { kind } });
  await settleAll(tx, orgId, acting.now);
}

async function settleAll(tx: Tx, orgId: string, now: number): Promise<void> {
  const { rows } = await tx.query<{ id: string }>(
    'select id from connections where org_id = $1 and deleted_at is null order by id',
    [orgId],
  );
  for (const { id } of rows) await settlePauses(tx, orgId, id, null, now);
}

/** For the whole installation, in scope `system`. @returns false: it was stopped already. */
export async function stopInstallation(tx: Tx, reason: string | null, acting: Acting): Promise<boolean> {
  const { rows } = await tx.query<{ done: boolean }>(`select system_stop_pushes($1, $2, ${time('$3')}) as done`, [
    acting.actor,
    reason,
    acting.now,
  ]);
  return rows[0]?.done ?? false;
}

export async function resumeInstallation(tx: Tx): Promise<boolean> {
  const { rows } = await tx.query<{ done: boolean }>('select system_resume_pushes() as done');
  return rows[0]?.done ?? false;
}

const stamp = (column: string) => `to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

export async function readPushes(tx: Tx, orgId: string): Promise<Pushes> {
  const stop = `jsonb_build_object('at', ${stamp('s.stopped_at')}, 'by', s.stopped_by, 'reason', s.reason)`;
  const { rows } = await tx.query<Pick<Pushes, 'installation' | 'organization' | 'connections'>>(
    `select (select ${stop} from installation_push_stop s) as installation,
       (select ${stop} from push_stops s where s.org_id = $1) as organization,
       coalesce((select jsonb_agg(jsonb_build_object('id', c.id, 'name', c.name, 'platform', c.platform, 'paused', c.paused_at is not null,
         'shadow', c.shadow_at is not null,
         'onTheWire', (select count(*) from attempts a where a.org_id = $1 and a.connection_id = c.id and a.outcome is null),
         'waiting', (select count(*) from targets t where t.org_id = $1 and t.connection_id = c.id and t.dirty_version > t.handled_version
           and t.variant_id is not null and not t.read_only)) order by c.created_at, c.id)
         from connections c where c.org_id = $1 and c.deleted_at is null), '[]') as connections`,
    [orgId],
  );
  const { installation = null, organization = null, connections = [] } = rows[0] ?? {};
  return {
    stopped: installation !== null || organization !== null,
    installation,
    organization,
    onTheWire: connections.reduce((sum, { onTheWire }) => sum + onTheWire, 0),
    connections,
  };
}
