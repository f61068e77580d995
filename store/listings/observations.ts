/**
 * Observations: a channel's number as a read or a stock webhook shows it, judged in core under the target's row lock.
 *
 * Called by the lane after its reads and by the import of stock webhooks in its own transaction. A counted observation
 * that moves what we know marks the target dirty, so that the lane compares again; one of the same instant as our base
 * asks for a read; what is kept as a row is what changed something or explains why it did not.
 */
import type { Ids } from '#core/effects.ts';
import { type Observed, observe, type Shown, writeAccepted, writeNotSeen } from '#core/stock/observe.ts';
import { type DriftDraft, openDrifts } from '../drift/record.ts';
import type { Tx } from '../tx.ts';
import { dropSettledUnplaced } from './effects.ts';
import { lockByIds, lockByStockKeys, type ShownRow, saveShown, triesOfUnknown } from './shown.ts';
import { announce } from './states.ts';

export interface ChannelObservation {
  stockKey: string;
  channelLocation: string;
  value: number;
  /** Vendor's time, Unix ms. */
  vendorAt: number;
}

export interface ObservationResult {
  /** null: no such target. */
  targetId: string | null;
  verdict: Observed['verdict'] | 'no_target';
  counted: boolean;
}

/** A stock webhook's number. `now`: our clock. Same transaction as the inbox row it came from. */
export async function recordObservation(
  tx: Tx,
  orgId: string,
  connectionId: string,
  observation: ChannelObservation,
  context: { ids: Ids; now: number },
): Promise<ObservationResult> {
  const [result] = await recordObservations(tx, orgId, connectionId, [observation], context);
  return result ?? { targetId: null, verdict: 'no_target', counted: false };
}

/** Several webhooks' numbers, folded to the newest per target by the caller or not. */
export async function recordObservations(
  tx: Tx,
  orgId: string,
  connectionId: string,
  observations: readonly ChannelObservation[],
  context: { ids: Ids; now: number },
): Promise<ObservationResult[]> {
  const rows = await lockByStockKeys(tx, orgId, connectionId, [
    ...new Set(observations.map(({ stockKey }) => stockKey)),
  ]);
  const book = await Judgement.open(tx, orgId, connectionId, rows, context);
  const changed: string[] = [];
  const results = observations.map((observation): ObservationResult => {
    const row = rows.find(
      ({ stockKey, channelLocation }) =>
        stockKey === observation.stockKey && channelLocation === observation.channelLocation,
    );
    if (!row) return { targetId: null, verdict: 'no_target', counted: false };
    const before = row.shown.observed;
    const seen = book.judge(row, { value: observation.value, at: observation.vendorAt, askedAfter: false }, 'webhook');
    if (row.shown.observed !== before) changed.push(row.id);
    return { targetId: row.id, verdict: seen.verdict, counted: seen.counted };
  });
  await book.save();
  await announce(tx, orgId, changed);
  return results;
}

export interface ReadObservation {
  targetId: string;
  value: number;
  vendorAt: number;
  /** `seen_version` when the read was asked for. */
  askedAt: number;
  /** Another number than the one last observed: screens are told. */
  changed: boolean;
}

export interface ReadResult {
  verdict: Observed['verdict'];
  counted: boolean;
  gap: number;
  write: Observed['write'];
  /** Accepted several settle times ago, and still the old number: it was never applied. */
  rejected: boolean;
}

/** A lane's own reads, many at once. Attempts that this proves are settled here too. */
export async function recordReads(
  tx: Tx,
  orgId: string,
  connectionId: string,
  reads: readonly ReadObservation[],
  context: { ids: Ids; now: number; settle?: { settleMs: number; rejectAfter: number } },
): Promise<Map<string, ReadResult>> {
  const rows = await lockByIds(
    tx,
    orgId,
    reads.map(({ targetId }) => targetId),
  );
  const book = await Judgement.open(tx, orgId, connectionId, rows, context);
  const results = new Map<string, ReadResult>();
  const changed: string[] = [];
  for (const read of reads) {
    const row = rows.find(({ id }) => id === read.targetId);
    if (!row) continue;
    const observation = { value: read.value, at: read.vendorAt, askedAfter: row.seenVersion === read.askedAt };
    const before = row.shown;
    let seen = book.judge(row, observation, 'read');
    let rejected = false;
    if (seen.verdict === 'not_applied') {
      const end = endOfWaiting(row, context.now, context.settle ?? { settleMs: 0, rejectAfter: 1 });
      if (end !== 'wait') {
        rejected = end === 'rejected';
        row.shown = rejected ? { ...before, pending: null } : writeNotSeen(before, read.vendorAt);
        seen = book.judge(row, observation, 'read');
        book.proven.set(row.id, 'proven_not_applied');
        // It is said and left alone: nothing is sent again before something changes.
        if (rejected) {
          row.dirty = false;
          book.drifted(row, before, {
            units: read.value - (before.pending?.value ?? read.value),
            observed: read.value,
            at: read.vendorAt,
            cause: 'rejected_write',
          });
        }
      }
    }
    results.set(read.targetId, {
      verdict: seen.verdict,
      counted: seen.counted,
      gap: seen.gap,
      write: seen.write,
      rejected,
    });
  }
  await book.save();
  await announce(tx, orgId, changed);
  return results;
}

/**
 * The old number stands after a write without compare-and-set. Accepted: wait another settle time, and after several
 * call it rejected. Outcome unknown: one settle time is proof that it never arrived.
 */
function endOfWaiting(
  row: ShownRow,
  now: number,
  settle: { settleMs: number; rejectAfter: number },
): 'wait' | 'not_applied' | 'rejected' {
  const again = (tries: number): 'wait' => {
    row.settleTries = tries;
    row.settlesAt = now + Math.max(settle.settleMs, quickestSettleMs);
    return 'wait';
  };
  const never = row.shown.pending?.settledAt === null;
  if (row.settleTries === triesOfUnknown || (never && settle.settleMs === 0)) return 'not_applied';
  if (never) {
    row.shown = writeAccepted(row.shown, now + settle.settleMs);
    return again(triesOfUnknown);
  }
  return row.settleTries + 1 < settle.rejectAfter ? again(row.settleTries + 1) : 'rejected';
}

/** A vendor said to apply at once is still given this long before it is asked again. */
const quickestSettleMs = 200;

/** Units of unknown place among a stock key's numbers, and what this transaction makes of them. */
interface Unplaced {
  units: number;
  at: number;
  used: number;
  /** A number was lower than they explain. */
  unexplainedAt: number | null;
}

/** One transaction's judging of locked targets: keeps the unplaced units, the rows to write and the attempts proven. */
class Judgement {
  readonly proven = new Map<string, 'proven_applied' | 'proven_not_applied'>();
  readonly #tx: Tx;
  readonly #orgId: string;
  readonly #connectionId: string;
  readonly #context: { ids: Ids; now: number };
  readonly #unplaced: Map<string, Unplaced>;
  readonly #kept: Record<string, unknown>[] = [];
  readonly #drifts: DriftDraft[] = [];
  readonly #touched = new Set<ShownRow>();
  /** A write of theirs was open when they were locked. */
  readonly #open = new Set<ShownRow>();

  constructor(
    tx: Tx,
    orgId: string,
    connectionId: string,
    context: { ids: Ids; now: number },
    unplaced: Map<string, Unplaced>,
  ) {
    this.#tx = tx;
    this.#orgId = orgId;
    this.#connectionId = connectionId;
    this.#context = context;
    this.#unplaced = unplaced;
  }

  static async open(
    tx: Tx,
    orgId: string,
    connectionId: string,
    rows: ShownRow[],
    context: { ids: Ids; now: number },
  ): Promise<Judgement> {
    const { rows: unplaced } = await tx.query<{ stock_key: string; units: number; last_at: Date }>(
      {
        name: 'unplaced_lock',
        text: `select stock_key, units, last_at from unplaced_effects
               where org_id = $1 and connection_id = $2 and stock_key = any($3) order by stock_key for update`,
      },
      [orgId, connectionId, [...new Set(rows.map(({ stockKey }) => stockKey))]],
    );
    const byKey = new Map(
      unplaced.map((row) => [
        row.stock_key,
        { units: row.units, at: row.last_at.getTime(), used: 0, unexplainedAt: null },
      ]),
    );
    return new Judgement(tx, orgId, connectionId, context, byKey);
  }

  judge(
    row: ShownRow,
    observation: { value: number; at: number; askedAfter: boolean },
    source: 'read' | 'webhook',
  ): Observed {
    const before = row.shown;
    const unplaced = this.#unplaced.get(row.stockKey);
    const seen = observe(before, observation, {
      compareAndSet: row.compareAndSet,
      settling: row.settlesAt !== null && this.#context.now < row.settlesAt,
      unplaced: unplaced ? { units: unplaced.units - unplaced.used, at: unplaced.at } : null,
    });
    row.shown = seen.shown;
    this.#touched.add(row);
    if (before.pending !== null) this.#open.add(row);
    if (seen.verdict === 'higher')
      this.drifted(row, before, {
        units: seen.shown.surplus - before.surplus,
        observed: observation.value,
        at: observation.at,
        cause: 'unknown',
      });
    if (unplaced) {
      unplaced.used += seen.unplacedUsed;
      if (seen.gap > 0) unplaced.unexplainedAt = Math.max(unplaced.unexplainedAt ?? 0, observation.at);
    }
    if (seen.counted || seen.verdict === 'settling' || seen.verdict === 'as_expected') row.observedSource = source;
    if (seen.verdict === 'same_instant') row.lookNow = true;
    // An effect later than this reading still waits for its own look.
    else if ((seen.counted || seen.verdict === 'as_expected') && seen.shown.effects.length === 0) row.looked = true;
    if (seen.counted) {
      row.settlesAt = null;
      row.settleTries = 0;
      if (seen.write) this.proven.set(row.id, seen.write === 'applied' ? 'proven_applied' : 'proven_not_applied');
      // In this very commit: the look is no longer due, and whoever was to act on it may be killed before the next.
      if (seen.verdict !== 'as_expected' || before.unknown || before.pending) row.dirty = true;
    }
    if (seen.verdict !== 'as_expected' || before.observed !== observation.value) {
      this.#kept.push({
        id: this.#context.ids.uuid(),
        target_id: row.id,
        value: observation.value,
        vendor_at: observation.at,
        source,
        counted: seen.counted,
        verdict: seen.verdict,
      });
    }
    return seen;
  }

  /** A number that nothing we know explains; what stands now is the evidence. */
  drifted(
    row: ShownRow,
    before: Shown,
    found: { units: number; observed: number; at: number; cause: DriftDraft['cause'] },
  ): void {
    const { base, baseAt, effects } = before;
    const expected = found.observed - found.units;
    this.#drifts.push({ targetId: row.id, base, baseAt, effects, expected, ...found, observedAt: found.at });
  }

  async save(): Promise<void> {
    await Promise.all([
      saveShown(this.#tx, [...this.#touched], { now: this.#context.now }),
      this.#keep(),
      this.#settleAttempts(),
    ]);
    await this.#settleUnplaced();
    await openDrifts(this.#tx, this.#orgId, this.#drifts, this.#context);
  }

  async #keep(): Promise<void> {
    if (this.#kept.length > 0) {
      await this.#tx.query(
        {
          name: 'observations_insert',
          text: `insert into observations (org_id, id, target_id, value, vendor_at, recorded_at, source, counted, verdict)
         select $1, r.id, r.target_id, r.value, to_timestamp(r.vendor_at / 1000.0), to_timestamp($3::float8 / 1000.0), r.source, r.counted, r.verdict
         from jsonb_to_recordset($2::jsonb) as r(id uuid, target_id uuid, value int, vendor_at float8, source text, counted boolean, verdict text)`,
        },
        [this.#orgId, JSON.stringify(this.#kept), this.#context.now],
      );
    }
  }

  /**
   * A number is known again: the last write is proven or not, and no earlier one is still open: one that is left
   * (by an earlier release, which let cuts overtake) has no answer of its own to come, and would count as on the wire for ever.
   */
  async #settleAttempts(): Promise<void> {
    const based = [...this.#open].filter(({ shown }) => shown.pending === null).map(({ id }) => id);
    if (based.length === 0) return;
    await this.#tx.query(
      {
        name: 'attempts_prove',
        text: `
      with last as (
        select p.target_id, p.outcome as proven, (select a.id from attempts a where a.org_id = $1 and a.target_id = p.target_id order by a.sent_at desc, a.id desc limit 1) as id
        from unnest($2::uuid[], $3::text[]) as p(target_id, outcome)),
      settled as (
        select l.id, coalesce(l.proven, 'proven_not_applied') as outcome, l.proven is not null as proven from last l
        union all
        select a.id, 'proven_not_applied', false from last l join attempts a on a.org_id = $1 and a.connection_id = $5 and a.target_id = l.target_id
          and a.id <> l.id where a.outcome is null or a.outcome = 'unknown')
      update attempts a set outcome = s.outcome, finished_at = to_timestamp($4::float8 / 1000.0)
      from settled s where a.org_id = $1 and a.id = s.id and (a.outcome is null or a.outcome = 'unknown' or (a.outcome = 'accepted' and s.proven))`,
      },
      [this.#orgId, based, based.map((id) => this.proven.get(id) ?? null), this.#context.now, this.#connectionId],
    );
  }

  /**
   * Units of unknown place that showed are gone; the rest too, once every level was read: what shows later is a gap. The row stands
   * until then, and where a level lacked more than they explain, until orders are known past that: whose sale it was is open.
   */
  async #settleUnplaced(): Promise<void> {
    if (this.#unplaced.size === 0) return;
    const entries = [...this.#unplaced].sort(([a], [b]) => (a < b ? -1 : 1));
    await this.#tx.query(
      `update unplaced_effects u set units = case when o.open then u.units - r.used else 0 end,
         unexplained_at = greatest(u.unexplained_at, to_timestamp(r.unexplained_at / 1000.0))
       from unnest($3::text[], $4::int[], $5::float8[]) as r(stock_key, used, unexplained_at)
       cross join lateral (select exists (select from targets t where t.org_id = $1 and t.connection_id = $2
         and t.stock_key = r.stock_key and (t.unknown or t.base_at is null)) as open) o
       where u.org_id = $1 and u.connection_id = $2 and u.stock_key = r.stock_key
         and (r.used > 0 or r.unexplained_at is not null or not o.open)`,
      [
        this.#orgId,
        this.#connectionId,
        entries.map(([key]) => key),
        entries.map(([, { used }]) => used),
        entries.map(([, { unexplainedAt }]) => unexplainedAt),
      ],
    );
    const keys = entries.map(([key]) => key);
    await dropSettledUnplaced(this.#tx, this.#orgId, this.#connectionId, { keys, readTo: null });
  }
}
