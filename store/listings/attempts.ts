/**
 * Attempts: one row per outside write and target, committed before the call, completed after it.
 *
 *   recorded → sent → applied | accepted | stale | rejected | not_applied | not_sent
 *                   → unknown → proven_applied | proven_not_applied   (by a later reading)
 *
 * A row without outcome after a crash means unknown: read back before anything is sent. Everything is fenced by the
 * lane's lease: without it nothing is recorded, and what was sent meanwhile is unknown.
 */
import { type Shown, writeAccepted, writeApplied, writeNotDone, writeStale } from '#core/stock/observe.ts';
import type { Tx } from '../tx.ts';
import {
  dirtySince,
  fromShownRow,
  lockByIds,
  lookDue,
  type ShownRow,
  shownSets,
  shownShape,
  triesOfUnknown,
} from './shown.ts';

export interface LaneHold {
  orgId: string;
  connectionId: string;
  holder: string;
  generation: number;
}

export interface AttemptDraft {
  attemptId: string;
  targetId: string;
  value: number;
  from: number | null;
  /** What the decision knew; a target that has changed since is left out. */
  seenVersion: number;
  effectSeq: number;
  derivation: unknown;
  desired: number;
  /** Written blind: what stood there counts as presumed sold. */
  blind: boolean;
  /** Orders were read past the gap: it was no sale. */
  releaseUnseen: boolean;
  /** The change the value was computed for. */
  dirtyVersion: number;
  /** In a feed: its number there. */
  messageId?: number;
}

/** The feed that attempts travel in, and until when nothing that is read proves anything of them. */
export interface AttemptFeed {
  id: string;
  settlesAt: number;
}

/**
 * Commits the intent. @returns ids of the targets that may be sent now (the rest changed meanwhile, or travel in another
 * way), or null when the lease is no longer ours. A halted target counts as changed.
 */
export async function recordAttempts(
  tx: Tx,
  hold: LaneHold,
  callKey: string,
  drafts: readonly AttemptDraft[],
  now: number,
  feed: AttemptFeed | null = null,
): Promise<Set<string> | null> {
  const { rows } = await tx.query<{ held: boolean; ids: string[] }>(
    {
      name: 'attempts_record',
      text: `
    with held as materialized (
      select generation from lanes where org_id = $1 and connection_id = $2 and holder = $3 and generation = $4 and expires_at > clock_timestamp()),
    -- A halt, or shadow mode, that has committed: nothing of this call is recorded, so nothing of it is sent (halts.ts).
    open as materialized (
      select from connections c, held where c.org_id = $1 and c.id = $2 and c.deleted_at is null and c.shadow_at is null and pushes_halted($1, $2) is null),
    r as (select * from jsonb_to_recordset($5::jsonb) as r("attemptId" uuid, "targetId" uuid, value int, "from" int, "seenVersion" bigint,
      "effectSeq" bigint, derivation jsonb, desired int, blind boolean, "releaseUnseen" boolean, "dirtyVersion" bigint, "messageId" int)),
    locked as materialized (
      select t.id from targets t join r on r."targetId" = t.id where t.org_id = $1 and exists (select from open)
        and not exists (select from listings l where l.org_id = $1 and l.connection_id = $2 and l.stock_key = t.stock_key and l.paused_at is not null)
      order by t.id for update of t),
    begun as (
      update targets t set
        pending_value = r.value, pending_seq = t.effect_seq, pending_settled_at = null,
        pending_from = case when t.pending_value is null then r."from" else greatest(coalesce(r."from", 0), t.pending_value, coalesce(t.pending_from, 0)) end,
        expected = null, expected_high = greatest(t.expected_high, r.value, coalesce(r."from", 0)),
        unseen = case when r."releaseUnseen" then 0 else t.unseen end + case when r.blind then greatest(0, coalesce(t.expected_high, 0)) else 0 end,
        unseen_at = case when r.blind and coalesce(t.expected_high, 0) > 0 then greatest(t.unseen_at, to_timestamp($7::float8 / 1000.0))
          when r."releaseUnseen" then null else t.unseen_at end,
        desired = r.desired, desired_at = to_timestamp($7::float8 / 1000.0), desired_steps = r.derivation,
        settles_at = to_timestamp($9::float8 / 1000.0), state = 'sent', state_at = case when t.state = 'sent' then t.state_at else to_timestamp($7::float8 / 1000.0) end, reason = null, version = t.version + 1
      from r, locked l where t.org_id = $1 and t.id = r."targetId" and l.id = t.id and t.seen_version = r."seenVersion" and t.effect_seq = r."effectSeq"
        and t.feed_id is not distinct from $8::uuid
      returning t.id, t.causes),
    kept as (
      insert into attempts (org_id, id, target_id, connection_id, value, from_value, call_key, lane, lease_generation, sent_at, derivation,
        feed_id, message_id, dirty_version, causes)
      select $1, r."attemptId", r."targetId", $2, r.value, r."from", $6, $3, $4, to_timestamp($7::float8 / 1000.0), r.derivation,
        $8::uuid, r."messageId", r."dirtyVersion", b.causes
      from r join begun b on b.id = r."targetId" returning target_id)
    select exists (select from held) as held, coalesce((select array_agg(target_id) from kept), '{}') as ids`,
    },
    [
      hold.orgId,
      hold.connectionId,
      hold.holder,
      hold.generation,
      JSON.stringify(drafts),
      callKey,
      now,
      feed?.id ?? null,
      feed?.settlesAt ?? null,
    ],
  );
  const [row] = rows;
  return row?.held ? new Set(row.ids) : null;
}

export type AttemptOutcome = 'applied' | 'accepted' | 'stale' | 'rejected' | 'not_applied' | 'unknown' | 'not_sent';

export interface AttemptResult {
  attemptId: string;
  targetId: string;
  outcome: AttemptOutcome;
  value: number;
  from: number | null;
  /** Last effect known to the attempt. */
  seq: number;
  /** Vendor time of applied and accepted. */
  vendorAt: number | null;
  /** Dirty version the value was computed at; handled when it lands. */
  dirtyVersion: number;
  state: string;
  reason: string | null;
  errorCode: string | null;
  /** Accepted or unknown without compare-and-set: our clock's time to read it back. */
  settlesAt: number | null;
  settleMs: number;
  nextTryAt: number | null;
}

/** Books what the vendor answered. @returns false when the lease was lost: everything of this call is then unknown. */
export async function recordOutcomes(
  tx: Tx,
  hold: LaneHold,
  results: readonly AttemptResult[],
  now: number,
): Promise<boolean> {
  const rows = await lockByIds(
    tx,
    hold.orgId,
    results.map(({ targetId }) => targetId),
  );
  const { rows: lane } = await tx.query(
    {
      name: 'lane_held',
      text: `select 1 from lanes where org_id = $1 and connection_id = $2 and holder = $3 and generation = $4 and expires_at > clock_timestamp()`,
    },
    [hold.orgId, hold.connectionId, hold.holder, hold.generation],
  );
  const held = lane.length > 0;
  const booked = held
    ? results
    : results.map((result) => ({
        ...result,
        outcome: 'unknown' as const,
        state: 'unknown',
        reason: 'The lane lost its lease while this was on its way.',
      }));
  const written = booked.flatMap((result) => {
    const row = rows.find(({ id }) => id === result.targetId);
    if (!row) return [];
    bookOutcome(row, result, held);
    return [{ row, result }];
  });
  await saveOutcomes(tx, written, held, now);
  return held;
}

function bookOutcome(row: ShownRow, result: AttemptResult, held: boolean): void {
  row.shown = shownAfter(row.shown, result, held);
  row.lookSoon = result.outcome === 'applied';
  row.lookNow = result.outcome === 'unknown' && result.settlesAt === null;
  row.dirty = !held;
  if (result.outcome === 'applied') row.observedSource = 'write';
  if (result.outcome === 'accepted' || (result.outcome === 'unknown' && held)) {
    row.settlesAt = result.settlesAt;
    row.settleTries = result.outcome === 'unknown' ? triesOfUnknown : 0;
  } else if (held) row.settlesAt = null;
}

function shownAfter(shown: Shown, result: AttemptResult, held: boolean): Shown {
  if (!held) return { ...shown, unknown: true };
  switch (result.outcome) {
    case 'applied':
      return writeApplied(shown, { value: result.value, seq: result.seq, at: result.vendorAt ?? 0 });
    case 'accepted':
      return writeAccepted(shown, (result.vendorAt ?? 0) + result.settleMs);
    case 'stale':
      return writeStale(shown);
    case 'unknown': {
      // A webhook may have come in while the call was on its way; it proves nothing about the call.
      const open = shown.pending
        ? shown
        : { ...shown, pending: { value: result.value, from: result.from, seq: result.seq, settledAt: null } };
      return result.settlesAt === null
        ? open
        : writeAccepted(open, (result.vendorAt ?? shown.baseAt ?? 0) + result.settleMs);
    }
    case 'rejected':
    case 'not_applied':
    case 'not_sent':
      return writeNotDone(shown);
  }
}

/** The attempt's end, what the channel shows and the target's state: one version of each row. */
async function saveOutcomes(
  tx: Tx,
  written: readonly { row: ShownRow; result: AttemptResult }[],
  held: boolean,
  now: number,
): Promise<void> {
  if (written.length === 0) return;
  const rows = written.map(({ row, result }) => ({
    ...fromShownRow(row),
    attempt_id: result.attemptId,
    outcome: result.outcome,
    value: result.value,
    decided_at: result.dirtyVersion,
    state: result.state,
    reason: result.reason,
    error_code: result.errorCode,
    read_at: result.settlesAt,
    next_try_at: result.nextTryAt,
  }));
  await tx.query(
    {
      name: 'attempts_finish',
      text: `
    with r as (select *, outcome in ('applied', 'accepted') as taken, $3 and outcome in ('applied', 'accepted', 'rejected') as handled
      from jsonb_to_recordset($1::jsonb) as r(${shownShape}, attempt_id uuid, outcome text, value int, decided_at bigint,
        state text, reason text, error_code text, read_at float8, next_try_at float8)),
    n as (select to_timestamp($2::float8 / 1000.0) as at),
    saved as (
      update targets t set ${shownSets},
        state = case when r.state = 'in_sync' and t.dirty_version > r.decided_at then 'pending' else r.state end,
        state_at = n.at, reason = r.reason,
        accepted = case when r.taken then r.value else t.accepted end, accepted_at = case when r.taken then n.at else t.accepted_at end,
        handled_version = case when r.handled then greatest(t.handled_version, r.decided_at) else t.handled_version end,
        dirty_since = case when r.handled and t.dirty_version = r.decided_at then null else ${dirtySince} end,
        read_due = case when r.outcome = 'rejected' then null when r.read_at is null then ${lookDue} else to_timestamp(r.read_at / 1000.0) end,
        next_try_at = to_timestamp(r.next_try_at / 1000.0), tries = case when r.taken then 0 else t.tries + 1 end
      from r, n where t.org_id = r.org_id and t.id = r.id)
    update attempts a set outcome = r.outcome, finished_at = n.at, error_code = r.error_code, error = r.reason
    -- Whoever took the lease over may have read back what became of it: that stays.
    from r, n where a.org_id = r.org_id and a.id = r.attempt_id and ($3 or a.outcome is null)`,
    },
    [JSON.stringify(rows), now, held],
  );
}
