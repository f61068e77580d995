/**
 * The targets of one connection in memory: what store/listings keeps in SQL, stated again, row for row, without locks, leases, halts
 * and feeds, which a sale does not meet. Each method names its statement; what is computed in them is the product's own
 * (core/stock/observe.ts).
 *
 *   mark          expand.ts, `marked`                          claim, load    work.ts, `claimSql`, `idsSql`
 *   effect        effects.ts, `book` with one place            begin          attempts.ts, `recordAttempts`
 *   observe       observations.ts, `Judgement.judge`           finish         attempts.ts, `recordOutcomes`
 *   save          shown.ts, `saveShown`                        find           states.ts, `recordFindings`
 */
import { assert } from '#core/errors.ts';
import {
  applyEffect,
  beginWrite,
  expectedHighOf,
  expectedOf,
  nothingShown,
  type Observation,
  type Observed,
  observe,
  presumeSold,
  type Shown,
  writeApplied,
  writeNotDone,
  writeStale,
} from '#core/stock/observe.ts';
import { fewUnits } from '#core/stock/urgency.ts';
import type { AttemptDraft, AttemptResult } from '#store/listings/attempts.ts';
import { lookMs } from '#store/listings/shown.ts';
import type { Finding } from '#store/listings/states.ts';
import type { WorkTarget } from '#store/listings/work.ts';

export interface Row {
  sku: number;
  target: WorkTarget;
  shown: Shown;
  handledVersion: number;
  dirtyHint: number;
  nextTryAt: number | null;
}

type Look = 'now' | 'soon' | 'seen' | null;

/** Both channels refuse a write that names another number than theirs. */
const compareAndSet = true;
const place = 'MAIN';
const agedMs = 30_000;

export class Rows {
  readonly #rows: Row[];
  /** Those with something to be found by `claim`. */
  readonly #dirty = new Set<Row>();
  readonly #due = new Set<Row>();
  /** Told when a row is to be looked at by itself at some time. */
  readonly #later: (at: number) => void;

  constructor(options: {
    skus: number;
    shows: number;
    at: number;
    later: (at: number) => void;
  }) {
    this.#later = options.later;
    this.#rows = Array.from({ length: options.skus }, (_, sku) => rowOf(sku, options.shows, options.at));
  }

  get waiting(): number {
    return this.#dirty.size;
  }

  mark(sku: number, hint: number, now: number): void {
    const row = this.#row(sku);
    const { target } = row;
    row.dirtyHint = target.dirty ? Math.min(row.dirtyHint, hint) : hint;
    target.dirtyVersion += 1;
    target.dirtySince ??= now;
    row.nextTryAt = null;
    if (target.state === 'in_sync') target.state = 'pending';
    this.#settleDirty(row);
  }

  /** The last units are offered elsewhere: a cut to zero, first of all. */
  hintZero(sku: number): void {
    const row = this.#row(sku);
    if (row.target.dirty) row.dirtyHint = 0;
  }

  /** The channel sold one unit at `at`, by its own time. */
  effect(sku: number, at: number, now: number): void {
    const row = this.#row(sku);
    row.target.effectSeq += 1;
    const effect = { units: 1, from: at, to: at, seq: row.target.effectSeq };
    this.#save(row, applyEffect(row.shown, effect, compareAndSet), { look: 'soon', dirty: false }, now);
  }

  /** A number that came by itself, or was read when `seen_version` was `askedAt`. */
  observe(sku: number, value: number, at: number, askedAt: number | null, now: number): Observed {
    const row = this.#row(sku);
    const { target, shown: before } = row;
    const observation: Observation = { value, at, askedAfter: askedAt !== null && askedAt === target.seenVersion };
    const seen = observe(before, observation, {
      compareAndSet,
      settling: false,
      unplaced: null,
    });
    // Nobody edits numbers here and nothing is given back: a channel can never show more than we know.
    assert(seen.verdict !== 'higher' && seen.verdict !== 'not_applied', 'a number nothing explains', { sku, value });
    let look: Look = null;
    if (seen.verdict === 'same_instant') look = 'now';
    else if ((seen.counted || seen.verdict === 'as_expected') && seen.shown.effects.length === 0) look = 'seen';
    const dirty = seen.counted && (seen.verdict !== 'as_expected' || before.unknown || before.pending !== null);
    this.#save(row, seen.shown, { look, dirty }, now);
    return seen;
  }

  claim(now: number, limit: number, urgentOnly: boolean, busy: ReadonlySet<number>): Row[] {
    const free = (row: Row) => !busy.has(row.sku);
    const ready = [...this.#dirty].filter((row) => free(row) && (row.nextTryAt === null || row.nextTryAt <= now));
    const found = new Map<Row, { rank: number; since: number }>();
    const add = (row: Row, rank: number, since: number) => {
      const known = found.get(row);
      found.set(row, { rank: Math.min(rank, known?.rank ?? rank), since: Math.min(since, known?.since ?? since) });
    };
    const since = ({ target }: Row) => target.dirtySince ?? now;
    for (const row of ready
      .filter(({ dirtyHint }) => !urgentOnly || dirtyHint <= fewUnits)
      .sort((a, b) => a.dirtyHint - b.dirtyHint)
      .slice(0, limit))
      add(row, row.dirtyHint <= 0 ? 0 : row.dirtyHint <= fewUnits ? 1 : 2, since(row));
    if (!urgentOnly) {
      for (const row of ready
        .filter((one) => since(one) < now - agedMs)
        .sort((a, b) => since(a) - since(b))
        .slice(0, Math.max(1, Math.floor(limit / 4))))
        add(row, 1, since(row));
      const due = (row: Row) => row.target.readDue ?? Number.MAX_SAFE_INTEGER;
      for (const row of [...this.#due]
        .filter((one) => due(one) <= now && free(one))
        .sort((a, b) => due(a) - due(b))
        .slice(0, limit))
        add(row, 3, due(row));
    }
    return [...found]
      .sort(([, a], [, b]) => a.rank - b.rank || a.since - b.since)
      .slice(0, Math.max(1, Math.floor((limit * 5) / 4)))
      .map(([row]) => row);
  }

  row(sku: number): Row {
    return this.#row(sku);
  }

  /** @returns false when the target has changed since it was looked at: nothing is sent */
  begin(draft: AttemptDraft, now: number): boolean {
    const row = this.#row(Number(draft.targetId));
    const { target } = row;
    if (target.seenVersion !== draft.seenVersion || target.effectSeq !== draft.effectSeq) return false;
    const before = draft.blind ? presumeSold(row.shown, now) : row.shown;
    row.shown = beginWrite(before, { value: draft.value, from: draft.from, seq: target.effectSeq });
    target.desired = draft.desired;
    target.state = 'sent';
    target.version += 1;
    this.#reflect(row);
    return true;
  }

  finish(result: AttemptResult, now: number): void {
    const row = this.#row(Number(result.targetId));
    const { target } = row;
    const landed = result.outcome === 'applied';
    const look: Look = landed ? 'soon' : null;
    this.#save(row, shownAfter(row.shown, result), { look, dirty: false }, now);
    target.state = result.state === 'in_sync' && target.dirtyVersion > result.dirtyVersion ? 'pending' : result.state;
    target.reason = result.reason;
    if (landed) {
      target.accepted = result.value;
      row.handledVersion = Math.max(row.handledVersion, result.dirtyVersion);
      if (target.dirtyVersion === result.dirtyVersion) target.dirtySince = null;
    }
    row.nextTryAt = result.nextTryAt;
    target.tries = landed ? 0 : target.tries + 1;
    this.#settleDirty(row);
  }

  find(finding: Finding): void {
    const row = this.#row(Number(finding.targetId));
    const { target } = row;
    target.desired = finding.desired ?? target.desired;
    const handled = finding.handledVersion ?? row.handledVersion;
    target.state = finding.state === 'in_sync' && target.dirtyVersion > handled ? 'pending' : finding.state;
    target.reason = finding.reason;
    row.handledVersion = Math.max(row.handledVersion, handled);
    if (finding.handledVersion !== null && finding.handledVersion >= target.dirtyVersion) target.dirtySince = null;
    row.nextTryAt = finding.nextTryAt;
    if (row.nextTryAt !== null) this.#later(row.nextTryAt);
    const readAt = typeof finding.readDue === 'number' ? finding.readDue : null;
    const kept = finding.readDue === 'keep' || target.version !== finding.version;
    this.#readAt(row, kept ? (target.readDue ?? readAt) : readAt);
    target.version += 1;
    this.#settleDirty(row);
  }

  #row(sku: number): Row {
    const row = this.#rows[sku];
    assert(row !== undefined, 'an unknown SKU', { sku });
    return row;
  }

  #save(row: Row, shown: Shown, { look, dirty }: { look: Look; dirty: boolean }, now: number): void {
    const { target, shown: before } = row;
    if (
      before.base !== shown.base ||
      before.baseAt !== shown.baseAt ||
      (before.observedAt !== shown.observedAt && shown.observedAt !== null)
    )
      target.seenVersion += 1;
    row.shown = shown;
    if (look === 'now') this.#readAt(row, now);
    else if (look === 'soon') {
      const at = now + lookMs;
      this.#readAt(row, Math.min(target.readDue ?? at, at));
    } else if (look === 'seen') this.#readAt(row, null);
    if (dirty) {
      const hint = target.desired ?? 0;
      row.dirtyHint = target.dirty ? Math.min(row.dirtyHint, hint) : hint;
      target.dirtyVersion += 1;
      target.dirtySince ??= now;
      this.#later(now);
    }
    target.version += 1;
    this.#reflect(row);
    this.#settleDirty(row);
  }

  /** The columns that follow from what is shown. */
  #reflect({ target, shown }: Row): void {
    target.expected = expectedOf(shown);
    target.expectedHigh = expectedHighOf(shown);
    target.unknown = shown.unknown;
    target.base = shown.base;
    target.unseen = shown.unseen;
    target.pendingValue = shown.pending?.value ?? null;
    target.observed = shown.observed;
  }

  #settleDirty(row: Row): void {
    row.target.dirty = row.target.dirtyVersion > row.handledVersion;
    if (row.target.dirty) this.#dirty.add(row);
    else this.#dirty.delete(row);
  }

  #readAt(row: Row, at: number | null): void {
    if (row.target.readDue === at) return;
    row.target.readDue = at;
    if (at === null) this.#due.delete(row);
    else {
      this.#due.add(row);
      this.#later(at);
    }
  }
}

/** As attempts.ts has it for outcomes that a sale meets. */
function shownAfter(shown: Shown, result: AttemptResult): Shown {
  if (result.outcome === 'applied')
    return writeApplied(shown, { value: result.value, seq: result.seq, at: result.vendorAt ?? 0 });
  return result.outcome === 'stale' ? writeStale(shown) : writeNotDone(shown);
}

function rowOf(sku: number, shows: number, at: number): Row {
  const target: WorkTarget = {
    id: String(sku),
    picked: true,
    stockKey: String(sku),
    channelLocation: place,
    variantId: String(sku),
    expected: shows,
    expectedHigh: shows,
    unknown: false,
    base: shows,
    unseen: 0,
    unseenReleased: false,
    unbooked: 0,
    raiseAfter: null,
    raiseOpen: false,
    pendingValue: null,
    openAttempt: false,
    settlesAt: null,
    observed: shows,
    desired: shows,
    accepted: shows,
    state: 'in_sync',
    reason: null,
    readOnly: false,
    seenVersion: 1,
    effectSeq: 0,
    dirtyVersion: 0,
    dirty: false,
    dirtySince: null,
    readDue: null,
    tries: 0,
    version: 1,
    feedId: null,
    sweepId: null,
    drift: null,
    causes: [],
    sku: String(sku),
  };
  const shown: Shown = { ...nothingShown, base: shows, baseAt: at, observed: shows, observedAt: at };
  return { sku, target, shown, handledVersion: 0, dirtyHint: 0, nextTryAt: null };
}
