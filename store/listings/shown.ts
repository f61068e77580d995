/**
 * The stored form of what a channel shows (core/stock/observe.ts): read under the row lock, changed in core, written
 * back set-wise. Every statement that locks several targets locks them in id order (store/locks.ts: target is last).
 */
import { expectedHighOf, expectedOf, type PendingWrite, type Shown, type ShownEffect } from '#core/stock/observe.ts';
import type { Tx } from '../tx.ts';

/** A locked target: change `shown` and the marks, then `saveShown`. */
export interface ShownRow {
  orgId: string;
  id: string;
  connectionId: string;
  stockKey: string;
  channelLocation: string;
  compareAndSet: boolean;
  shown: Shown;
  effectSeq: number;
  seenVersion: number;
  settlesAt: number | null;
  settleTries: number;
  state: string;
  /** Set: publish again / read at the next chance. */
  dirty: boolean;
  lookSoon: boolean;
  /** Set: read now. */
  lookNow: boolean;
  /** Set: what was to be looked at has been seen. */
  looked: boolean;
  observedSource: 'read' | 'webhook' | 'write' | null;
}

interface Row {
  org_id: string;
  id: string;
  connection_id: string;
  stock_key: string;
  channel_location: string;
  compare_and_set: boolean;
  base: number | null;
  base_at: Date | null;
  effects: ShownEffect[];
  effect_seq: number;
  unknown: boolean;
  pending_value: number | null;
  pending_from: number | null;
  pending_seq: number | null;
  pending_settled_at: Date | null;
  written_at: Date | null;
  unseen: number;
  unseen_at: Date | null;
  surplus: number;
  surplus_at: Date | null;
  observed: number | null;
  observed_at: Date | null;
  raise_after: Date | null;
  seen_version: number;
  settles_at: Date | null;
  settle_tries: number;
  state: string;
}

/** `settle_tries` of a write whose outcome is unknown: it settles once, and the old number is then proof. */
export const triesOfUnknown = -1;

/** How soon a change of the channel's number is looked at when no webhook shows it first. */
export const lookMs = 1_500;

const columns = `t.org_id, t.id, t.connection_id, t.stock_key, t.channel_location, t.compare_and_set, t.base, t.base_at, t.effects, t.effect_seq, t.unknown,
  t.pending_value, t.pending_from, t.pending_seq, t.pending_settled_at, t.written_at, t.unseen, t.unseen_at, t.surplus, t.surplus_at, t.observed, t.observed_at, t.raise_after,
  t.seen_version, t.settles_at, t.settle_tries, t.state`;

export async function lockByStockKeys(
  tx: Tx,
  orgId: string,
  connectionId: string,
  stockKeys: readonly string[],
): Promise<ShownRow[]> {
  const { rows } = await tx.query<Row>(
    {
      name: 'shown_lock_keys',
      text: `select ${columns} from targets t where t.org_id = $1 and t.connection_id = $2 and t.stock_key = any($3) order by t.id for update`,
    },
    [orgId, connectionId, stockKeys],
  );
  return rows.map(toShownRow);
}

/** Of any number of organizations and connections at once (scope `batch`); one lock order for all that follows in the transaction. */
export async function lockByKeys(
  tx: Tx,
  keys: readonly { orgId: string; connectionId: string; stockKey: string }[],
): Promise<ShownRow[]> {
  if (keys.length === 0) return [];
  const { rows } = await tx.query<Row>(
    // Not prepared: a plan for any number of keys takes them by organization and reads all of one's targets for a few keys.
    `select ${columns} from targets t
        where t.org_id = any ($4::uuid[]) and (t.org_id, t.connection_id, t.stock_key) in
          (select k.org_id, k.connection_id, k.stock_key from unnest($1::uuid[], $2::uuid[], $3::text[]) as k (org_id, connection_id, stock_key))
        order by t.id for update`,
    [
      keys.map((key) => key.orgId),
      keys.map((key) => key.connectionId),
      keys.map((key) => key.stockKey),
      [...new Set(keys.map((key) => key.orgId))],
    ],
  );
  return rows.map(toShownRow);
}

export async function lockByIds(tx: Tx, orgId: string, ids: readonly string[]): Promise<ShownRow[]> {
  const { rows } = await tx.query<Row>(
    {
      name: 'shown_lock_ids',
      text: `select ${columns} from targets t where t.org_id = $1 and t.id = any($2) order by t.id for update`,
    },
    [orgId, ids],
  );
  return rows.map(toShownRow);
}

const ms = (date: Date | null): number | null => date?.getTime() ?? null;

function toShownRow(row: Row): ShownRow {
  const pending: PendingWrite | null =
    row.pending_value === null
      ? null
      : {
          value: row.pending_value,
          from: row.pending_from,
          seq: row.pending_seq ?? 0,
          settledAt: ms(row.pending_settled_at),
        };
  return {
    orgId: row.org_id,
    id: row.id,
    connectionId: row.connection_id,
    stockKey: row.stock_key,
    channelLocation: row.channel_location,
    compareAndSet: row.compare_and_set,
    shown: {
      base: row.base,
      baseAt: ms(row.base_at),
      effects: row.effects,
      unknown: row.unknown,
      pending,
      writtenAt: ms(row.written_at),
      unseen: row.unseen,
      unseenAt: ms(row.unseen_at),
      surplus: row.surplus,
      surplusAt: ms(row.surplus_at),
      observed: row.observed,
      observedAt: ms(row.observed_at),
      raiseAfter: ms(row.raise_after),
    },
    effectSeq: row.effect_seq,
    seenVersion: row.seen_version,
    settlesAt: ms(row.settles_at),
    settleTries: row.settle_tries,
    state: row.state,
    dirty: false,
    lookSoon: false,
    lookNow: false,
    looked: false,
    observedSource: null,
  };
}

/** What every statement that writes locked rows sets, from `r` (a row of `shownShape`) and `n.at`, our clock. */
export const shownSets = `
      base = r.base, base_at = to_timestamp(r.base_at / 1000.0), effects = r.effects, effect_seq = r.effect_seq, unknown = r.unknown,
      pending_value = r.pending_value, pending_from = r.pending_from, pending_seq = r.pending_seq,
      pending_settled_at = to_timestamp(r.pending_settled_at / 1000.0), written_at = to_timestamp(r.written_at / 1000.0),
      unseen = r.unseen, unseen_at = to_timestamp(r.unseen_at / 1000.0),
      surplus = r.surplus, surplus_at = to_timestamp(r.surplus_at / 1000.0),
      observed = r.observed, observed_at = to_timestamp(r.observed_at / 1000.0),
      raise_after = to_timestamp(r.raise_after / 1000.0),
      observed_source = coalesce(r.observed_source, t.observed_source),
      seen_version = t.seen_version + (t.base is distinct from r.base or t.base_at is distinct from to_timestamp(r.base_at / 1000.0)
        or t.observed_at is distinct from to_timestamp(r.observed_at / 1000.0))::int,
      expected = r.expected, expected_high = r.expected_high,
      settles_at = to_timestamp(r.settles_at / 1000.0), settle_tries = r.settle_tries,
      dirty_version = t.dirty_version + r.dirty::int,
      dirty_hint = case when not r.dirty then t.dirty_hint when t.dirty_version > t.handled_version then least(t.dirty_hint, coalesce(t.desired, 0)) else coalesce(t.desired, 0) end,
      version = t.version + 1`;

export const shownShape = `org_id uuid, id uuid, base int, base_at float8, effects jsonb, effect_seq bigint, unknown boolean,
      pending_value int, pending_from int, pending_seq bigint, pending_settled_at float8, written_at float8, unseen int, unseen_at float8,
      surplus int, surplus_at float8,
      observed int, observed_at float8, raise_after float8, observed_source text, expected int, expected_high int, settles_at float8, settle_tries int,
      look text, look_ms int, dirty boolean`;

/** When it is read again, and since when it waits to be published. */
export const lookDue = `case when r.look = 'now' then n.at when r.look = 'soon' then coalesce(least(t.read_due, n.at + r.look_ms * interval '1 ms'), n.at + r.look_ms * interval '1 ms')
        when r.look = 'seen' then null else t.read_due end`;
export const dirtySince = `case when r.dirty then coalesce(t.dirty_since, n.at) else t.dirty_since end`;

/** Writes what core made of the locked rows, of any organizations, in one statement. `now`: our clock; default the database's. */
export async function saveShown(tx: Tx, rows: readonly ShownRow[], options: { now?: number } = {}): Promise<void> {
  if (rows.length === 0) return;
  await tx.query(
    {
      name: 'shown_save',
      text: `
    update targets t set ${shownSets}, read_due = ${lookDue}, dirty_since = ${dirtySince}
    from jsonb_to_recordset($1::jsonb) as r(${shownShape}),
      (select coalesce(to_timestamp($2::float8 / 1000.0), clock_timestamp()) as at) n
    where t.org_id = r.org_id and t.id = r.id`,
    },
    [JSON.stringify(rows.map(fromShownRow)), options.now ?? null],
  );
}

export function fromShownRow(row: ShownRow): Record<string, unknown> {
  const { shown } = row;
  return {
    org_id: row.orgId,
    id: row.id,
    base: shown.base,
    base_at: shown.baseAt,
    effects: shown.effects,
    effect_seq: row.effectSeq,
    unknown: shown.unknown,
    pending_value: shown.pending?.value ?? null,
    pending_from: shown.pending?.from ?? null,
    pending_seq: shown.pending?.seq ?? null,
    pending_settled_at: shown.pending?.settledAt ?? null,
    written_at: shown.writtenAt,
    unseen: shown.unseen,
    unseen_at: shown.unseenAt,
    surplus: shown.surplus,
    surplus_at: shown.surplusAt,
    observed: shown.observed,
    observed_at: shown.observedAt,
    raise_after: shown.raiseAfter,
    observed_source: row.observedSource,
    expected: expectedOf(shown),
    expected_high: expectedHighOf(shown),
    settles_at: row.settlesAt,
    settle_tries: row.settleTries,
    look: row.lookNow ? 'now' : row.lookSoon ? 'soon' : row.looked ? 'seen' : null,
    look_ms: row.compareAndSet ? lookMs : 3 * lookMs,
    dirty: row.dirty,
  };
}
