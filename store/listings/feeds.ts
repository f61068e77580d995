/**
 * Feeds: the rows of documents of many numbers, and which targets travel in them (migrations/0020). What is decided stands
 * in server/flows/lane-feeds.ts. `targets.feed_id` is the one switch: while it is set the lane leaves the target alone, and
 * no attempt can be recorded for it but the feed's own (trigger attempts_one_way).
 *
 * Everything that begins or goes on is fenced by the lane's lease; what only adds knowledge (the vendor's name for it) is not.
 */
import type { Tx } from '../tx.ts';
import type { AttemptResult, LaneHold } from './attempts.ts';
import { lockByIds, saveShown } from './shown.ts';
import { notStopped } from './work.ts';

export type FeedState =
  | 'gathering'
  | 'submitting'
  | 'submitted'
  | 'stuck'
  | 'done'
  | 'cancelled'
  | 'fatal'
  | 'not_sent';

export interface FeedRow {
  id: string;
  state: FeedState;
  leaseGeneration: number;
  rows: number;
  documentId: string | null;
  submissionId: string | null;
  /** Unix ms by our clock. */
  createdAt: number;
  submittedAt: number | null;
  cancelAskedAt: number | null;
  lookAt: number | null;
  looks: number;
}

const ms = (column: string) => `round(extract(epoch from ${column}) * 1000)::float8`;
const feedColumns = `f.id, f.state, f.lease_generation as "leaseGeneration", f.rows, f.document_id as "documentId", f.submission_id as "submissionId",
  ${ms('f.created_at')} as "createdAt", ${ms('f.submitted_at')} as "submittedAt", ${ms('f.cancel_asked_at')} as "cancelAskedAt",
  ${ms('f.look_at')} as "lookAt", f.looks`;
const at = (n: number) => `to_timestamp($${n}::float8 / 1000.0)`;

/** Feeds that have not ended, the stuck ones included. */
export async function openFeeds(tx: Tx, orgId: string, connectionId: string): Promise<FeedRow[]> {
  const { rows } = await tx.query<FeedRow>(
    {
      name: 'feeds_open',
      text: `select ${feedColumns} from feeds f where f.org_id = $1 and f.connection_id = $2
             and f.state in ('gathering', 'submitting', 'submitted', 'stuck') order by f.created_at`,
    },
    [orgId, connectionId],
  );
  return rows;
}

/** What a change must be to travel in a feed, as far as the row tells; `$3` = the least number. */
const feedable = `t.org_id = $1 and t.connection_id = $2 and t.dirty_version > t.handled_version and t.dirty_hint >= $3
  and t.variant_id is not null and not t.read_only and t.feed_id is null and t.pending_value is null and t.unseen = 0
  and ${notStopped} and c.halted is null and c.state = 'connected' and c.shadow_at is null
  and (t.next_try_at is null or t.next_try_at <= n.at)`;
const feedableFrom = (now: number) =>
  `targets t, (select *, pushes_halted($1, $2) as halted from connections where org_id = $1 and id = $2 and deleted_at is null) c, (select ${at(now)} as at) n`;

export interface FeedOutlook {
  /** Changes that may travel in a feed, counted up to `most`. */
  waiting: number;
  submittedAt: number[];
  retryAt: number | null;
}

export async function feedOutlook(
  tx: Tx,
  orgId: string,
  connectionId: string,
  { leastUnits, most, since, now }: { leastUnits: number; most: number; since: number; now: number },
): Promise<FeedOutlook> {
  const { rows } = await tx.query<FeedOutlook>(
    {
      name: 'feeds_outlook',
      text: `select (select count(*)::int from (select from ${feedableFrom(4)} where ${feedable} limit $5) w) as waiting,
        coalesce((select array_agg(${ms('f.submitted_at')} order by f.submitted_at desc) from feeds f where f.org_id = $1 and f.connection_id = $2
          and f.submitted_at >= ${at(6)} and f.state <> 'not_sent'), '{}') as "submittedAt",
        (select max(${ms('f.retry_at')}) from feeds f where f.org_id = $1 and f.connection_id = $2 and f.created_at >= ${at(6)}) as "retryAt"`,
    },
    [orgId, connectionId, leastUnits, now, most, since],
  );
  return rows[0] as FeedOutlook;
}

const heldSql = (
  n: number,
) => `exists (select from lanes where org_id = $1 and connection_id = $2 and holder = $${n}::uuid
  and generation = $${n + 1}::bigint and expires_at > clock_timestamp())`;

/** The lease is still ours, and stays so until this transaction ends. */
export async function holdLease(tx: Tx, hold: LaneHold): Promise<boolean> {
  const { rowCount } = await tx.query(
    {
      name: 'lane_hold_share',
      text: `select from lanes where org_id = $1 and connection_id = $2 and holder = $3 and generation = $4 and expires_at > clock_timestamp() for share`,
    },
    [hold.orgId, hold.connectionId, hold.holder, hold.generation],
  );
  return rowCount > 0;
}

/** Sets the targets of a new feed aside, lowest first. @returns their ids; none when the lease is lost or another feed is open. */
export async function beginFeed(
  tx: Tx,
  hold: LaneHold,
  feedId: string,
  {
    leastUnits,
    rows: most,
    exclude,
    now,
  }: { leastUnits: number; rows: number; exclude: readonly string[]; now: number },
): Promise<string[]> {
  const { rows } = await tx.query<{ id: string }>(
    {
      name: 'feeds_begin',
      text: `
    with wanted as materialized (
      select t.id from ${feedableFrom(4)} where ${feedable} and t.id <> all($6::uuid[]) and ${heldSql(8)}
        and not exists (select from feeds f where f.org_id = $1 and f.connection_id = $2 and f.state in ('gathering', 'submitting', 'submitted', 'stuck'))
      order by t.dirty_hint limit $5),
    locked as materialized (select t.id from targets t join wanted w on w.id = t.id where t.org_id = $1 order by t.id for update of t),
    feed as (
      insert into feeds (org_id, id, connection_id, state, lease_generation, created_at)
      select $1, $7, $2, 'gathering', $9, ${at(4)} where exists (select from locked) returning id)
    update targets t set feed_id = f.id, version = t.version + 1 from locked l, feed f
    where t.org_id = $1 and t.id = l.id and t.feed_id is null and t.pending_value is null returning t.id`,
    },
    [hold.orgId, hold.connectionId, leastUnits, now, most, exclude, feedId, hold.holder, hold.generation],
  );
  return rows.map(({ id }) => id);
}

/** They travel singly again. `ids` null: all that are left. */
export async function releaseTargets(
  tx: Tx,
  orgId: string,
  feedId: string,
  ids: readonly string[] | null,
): Promise<number> {
  const { rowCount } = await tx.query(
    {
      name: 'feeds_release',
      text: `
    with locked as materialized (
      select id from targets where org_id = $1 and feed_id = $2 and ($3::uuid[] is null or id = any($3)) order by id for update)
    update targets t set feed_id = null, next_try_at = null, version = t.version + 1 from locked l where t.org_id = $1 and t.id = l.id`,
    },
    [orgId, feedId, ids],
  );
  return rowCount;
}

export interface FeedChange {
  state?: FeedState;
  reason?: string | null;
  rows?: number;
  documentId?: string;
  submissionId?: string;
  submittedAt?: number;
  cancelAskedAt?: number;
  lookAt?: number | null;
  looks?: number;
  endedAt?: number;
  retryAt?: number;
  readAt?: number | null;
  appliedBy?: number | null;
}

const times = new Set(['submittedAt', 'cancelAskedAt', 'lookAt', 'endedAt', 'retryAt', 'readAt', 'appliedBy']);

export async function changeFeed(tx: Tx, orgId: string, feedId: string, change: FeedChange): Promise<void> {
  const fields = Object.entries(change).filter(([, value]) => value !== undefined);
  const sets = fields.map(([name], index) => {
    const column = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    return `${column} = ${times.has(name) ? at(index + 3) : `$${index + 3}`}`;
  });
  await tx.query(`update feeds set ${sets.join(', ')} where org_id = $1 and id = $2`, [
    orgId,
    feedId,
    ...fields.map(([, value]) => value),
  ]);
}

/** The vendor has it, under this name: knowledge, whoever holds the lease by now. One that was given up meanwhile is looked at to its end. */
export async function nameFeed(
  tx: Tx,
  orgId: string,
  feedId: string,
  submissionId: string,
  lookAt: number,
): Promise<void> {
  await tx.query(
    `update feeds set submission_id = $3, look_at = ${at(4)}, looks = 0,
       state = case state when 'submitting' then 'submitted' when 'not_sent' then 'stuck' else state end
     where org_id = $1 and id = $2`,
    [orgId, feedId, submissionId, lookAt],
  );
}

/** What people see of the numbers in it. */
export async function sayOfTargets(
  tx: Tx,
  orgId: string,
  feedId: string,
  state: 'settling' | 'unknown',
  reason: string,
  now: number,
): Promise<void> {
  await tx.query(
    {
      name: 'feeds_say',
      text: `
    with locked as materialized (select id from targets where org_id = $1 and feed_id = $2 order by id for update)
    update targets t set state = $3, reason = $4, state_at = case when t.state = $3 then t.state_at else ${at(5)} end, version = t.version + 1
    from locked l where t.org_id = $1 and t.id = l.id and t.state in ('pending', 'sent', 'settling', 'unknown', 'in_sync')`,
    },
    [orgId, feedId, state, reason, now],
  );
}

/** An attempt of a feed that is still open, with what its outcome needs. */
export interface FeedAttempt {
  attemptId: string;
  targetId: string;
  messageId: number;
  stockKey: string;
  value: number;
  from: number | null;
  seq: number;
  dirtyVersion: number;
}

export async function openFeedAttempts(tx: Tx, orgId: string, feedId: string, limit: number): Promise<FeedAttempt[]> {
  const { rows } = await tx.query<FeedAttempt>(
    {
      name: 'feeds_attempts',
      text: `select a.id as "attemptId", a.target_id as "targetId", a.message_id as "messageId", t.stock_key as "stockKey", a.value,
        a.from_value as "from", coalesce(t.pending_seq, t.effect_seq) as seq, a.dirty_version as "dirtyVersion"
      from attempts a join targets t on t.org_id = $1 and t.id = a.target_id
      where a.org_id = $1 and a.feed_id = $2 and a.outcome is null order by a.message_id limit $3`,
    },
    [orgId, feedId, limit],
  );
  return rows;
}

/** Counted from the rows themselves: a row booked twice counts once. */
export async function countFeed(tx: Tx, orgId: string, feedId: string): Promise<void> {
  await tx.query(
    `update feeds f set accepted = n.accepted, rejected = n.rejected, unknown = n.unknown from (
       select count(*) filter (where outcome in ('accepted', 'proven_applied')) as accepted, count(*) filter (where outcome = 'rejected') as rejected,
         count(*) filter (where outcome = 'unknown') as unknown
       from attempts where org_id = $1 and feed_id = $2) n
     where f.org_id = $1 and f.id = $2`,
    [orgId, feedId],
  );
}

/** Numbers in it that are to change again since, lowest first: is one of them an urgent cut? */
export async function changedInFeed(
  tx: Tx,
  orgId: string,
  feedId: string,
): Promise<{ id: string; dirtyVersion: number }[]> {
  const { rows } = await tx.query<{ id: string; dirtyVersion: number }>(
    {
      name: 'feeds_changed',
      text: `select t.id, t.dirty_version as "dirtyVersion" from targets t
      join attempts a on a.org_id = $1 and a.feed_id = $2 and a.target_id = t.id
      where t.org_id = $1 and t.feed_id = $2 and t.dirty_version > a.dirty_version order by t.dirty_hint`,
    },
    [orgId, feedId],
  );
  return rows;
}

/** Submitted ids we know: what else the vendor lists may be the one we lost. */
export async function knownSubmissions(tx: Tx, orgId: string, connectionId: string): Promise<Set<string>> {
  const { rows } = await tx.query<{ id: string }>(
    `select submission_id as id from feeds where org_id = $1 and connection_id = $2 and submission_id is not null order by created_at desc limit 500`,
    [orgId, connectionId],
  );
  return new Set(rows.map(({ id }) => id));
}

/** A feed we had given up has ended: whatever was written meanwhile may have been overwritten. All its numbers are read. */
export async function rereadFeed(tx: Tx, orgId: string, feedId: string, now: number): Promise<number> {
  const { rows } = await tx.query<{ id: string }>(
    `select distinct target_id as id from attempts where org_id = $1 and feed_id = $2`,
    [orgId, feedId],
  );
  const targets = await lockByIds(
    tx,
    orgId,
    rows.map(({ id }) => id),
  );
  for (const target of targets) {
    target.shown = { ...target.shown, unknown: true };
    target.lookNow = true;
    target.dirty = true;
  }
  await saveShown(tx, targets, { now });
  return targets.length;
}

/** Of an attempt of a feed; the rest of its result is the caller's. */
export const feedResult = (attempt: FeedAttempt, more: Partial<AttemptResult>): AttemptResult => ({
  attemptId: attempt.attemptId,
  targetId: attempt.targetId,
  outcome: 'not_sent',
  value: attempt.value,
  from: attempt.from,
  seq: attempt.seq,
  vendorAt: null,
  dirtyVersion: attempt.dirtyVersion,
  state: 'pending',
  reason: null,
  errorCode: null,
  settlesAt: null,
  settleMs: 0,
  nextTryAt: null,
  ...more,
});
