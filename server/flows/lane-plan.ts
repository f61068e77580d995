/**
 * A lane's calls and notes, shaped from decisions: which rows travel together, what is committed before a call, what a
 * reading comes to when nothing is to be sent. Pure.
 */
import type { Manifest, StockReading } from '#connectors/kit/ports.ts';
import { isUrgent } from '#core/stock/urgency.ts';
import type { Refusal } from '#store/attention/rejected.ts';
import type { DriftStepRow } from '#store/drift/decide.ts';
import type { DriftDraft } from '#store/drift/record.ts';
import type { AttemptDraft, AttemptResult } from '#store/listings/attempts.ts';
import type { ReadObservation, ReadResult } from '#store/listings/observations.ts';
import type { Finding } from '#store/listings/states.ts';
import type { SweptOutcome } from '#store/listings/sweeps.ts';
import type { Work, WorkTarget } from '#store/listings/work.ts';
import type { DriftDecision, PlannedSend } from './lane-decision.ts';
import type { SentRow } from './lane-outcome.ts';
import type { SentCall } from './publisher-types.ts';

export interface SendCall {
  budget: 'urgent' | 'bulk';
  sends: PlannedSend[];
}

/**
 * No more is taken at once than soon leaves: what is taken keeps its place in the line, and a number is not taken again before its whole
 * slice has ended. Without compare-and-set, no more than can be read and written while the reading is fresh.
 */
export const sliceOf = ({ stock }: Manifest): number =>
  Math.max(4 * stock.callsInFlight, stock.compareAndSet ? stock.bulkRows : 0);

/** Without compare-and-set a write follows right after its read: those are read in calls as small as the writes. */
export function readCalls(targets: readonly WorkTarget[], { stock }: Manifest, now: number): WorkTarget[][] {
  const before = targets.filter(
    (target) => !stock.compareAndSet && target.dirty && !(target.readDue !== null && target.readDue <= now),
  );
  const looks = targets.filter((target) => !before.includes(target));
  return [...chunks(before, stock.urgentRows), ...chunks(looks, stock.readRows)];
}

/** Urgent first, in small calls; a call names one channel location where the vendor wants that. */
export function sendCalls(sends: readonly PlannedSend[], { stock }: Manifest, maxRows: number): SendCall[] {
  const ordered = [...sends].sort((a, b) => a.urgency - b.urgency);
  return (['urgent', 'bulk'] as const).flatMap((budget) => {
    const mine = ordered.filter((send) => isUrgent(send.urgency) === (budget === 'urgent'));
    const places = stock.oneLocationPerCall ? [...new Set(mine.map(({ target }) => target.channelLocation))] : [null];
    const rows = Math.min(maxRows, budget === 'urgent' ? stock.urgentRows : stock.bulkRows);
    return places.flatMap((place) =>
      chunks(
        mine.filter(({ target }) => place === null || target.channelLocation === place),
        rows,
      ).map((chunk) => ({ budget, sends: chunk })),
    );
  });
}

export function chunks<T>(items: readonly T[], size: number): T[][] {
  const parts: T[][] = [];
  for (let start = 0; start < items.length; start += size) parts.push(items.slice(start, start + size));
  return parts;
}

export function draftOf({ attemptId, send }: SentRow): AttemptDraft {
  return {
    attemptId,
    targetId: send.target.id,
    value: send.value,
    from: send.from,
    seenVersion: send.target.seenVersion,
    effectSeq: send.target.effectSeq,
    derivation: send.steps,
    desired: send.desired,
    blind: send.blind,
    releaseUnseen: send.target.unseenReleased,
    dirtyVersion: send.target.dirtyVersion,
  };
}

export function sentCall(key: string, budget: 'urgent' | 'bulk', rows: readonly SentRow[]): SentCall {
  return {
    key,
    budget,
    rows: rows.map(({ send }) => ({
      targetId: send.target.id,
      stockKey: send.target.stockKey,
      channelLocation: send.target.channelLocation,
      value: send.value,
      from: send.from,
    })),
  };
}

export interface FoundReading {
  target: WorkTarget;
  reading: StockReading | undefined;
}

export function pairReadings(targets: readonly WorkTarget[], readings: readonly StockReading[]): FoundReading[] {
  return targets.map((target) => ({
    target,
    reading: readings.find(
      ({ ref }) => ref.stockKey === target.stockKey && ref.channelLocation === target.channelLocation,
    ),
  }));
}

/** The numbers among the readings, as of what was known when they were asked for. */
export function numbersRead(found: readonly FoundReading[]): ReadObservation[] {
  return found.flatMap(({ target, reading }) =>
    !reading || reading.kind === 'missing' || reading.value === null
      ? []
      : [
          {
            targetId: target.id,
            value: reading.value,
            vendorAt: reading.vendorAt,
            askedAt: target.seenVersion,
            changed: reading.value !== target.observed,
          },
        ],
  );
}

/** How the numbers compared that a stock sweep waits for. */
export function sweptLooks(
  found: readonly FoundReading[],
  results: ReadonlyMap<string, ReadResult>,
): { targetId: string; outcome: SweptOutcome }[] {
  return found
    .filter(({ target }) => target.sweepId !== null)
    .map(({ target, reading }) => {
      const result = results.get(target.id);
      if (!reading || reading.kind === 'missing') return { targetId: target.id, outcome: 'missing' };
      if (result && result.gap > 0) return { targetId: target.id, outcome: 'lower' };
      if (result?.verdict === 'higher') return { targetId: target.id, outcome: 'higher' };
      const proved = !result || result.verdict === 'as_expected' || result.verdict === 'first';
      return { targetId: target.id, outcome: proved && !result?.rejected ? 'as_expected' : 'undecided' };
    });
}

export interface ReadOutcome {
  findings: Finding[];
  refusals: Refusal[];
  /** Targets with a number: decided again with it. */
  numbers: { targetId: string; value: number; verdict: string }[];
}

export function afterReading(
  found: readonly FoundReading[],
  results: ReadonlyMap<string, ReadResult>,
  /** When a write that was never applied is tried again: it may have been a cut. */
  againAt: number,
): ReadOutcome {
  const outcome: ReadOutcome = { findings: [], refusals: [], numbers: [] };
  const refused = (target: WorkTarget, reason: string, readDue: Finding['readDue'] = 'clear') => {
    outcome.findings.push({ ...note(target, { state: 'rejected', reason, handled: true }), readDue });
    outcome.refusals.push({
      targetId: target.id,
      message: `The channel refuses the number of ${target.stockKey}: ${reason}`,
    });
  };
  for (const { target, reading } of found) {
    const result = results.get(target.id);
    // A number that was read has been recorded since the target was loaded.
    const at = result ? { ...target, version: target.version + 1 } : target;
    if (reading?.kind === 'read_only') {
      const reason = 'The channel keeps this number itself.';
      outcome.findings.push({ ...note(at, { state: 'read_only', reason, handled: true }), readOnly: true });
    } else if (reading?.kind !== 'quantity') {
      refused(at, reading?.reason ?? 'The channel does not know this number.');
    } else if (result?.rejected) {
      refused(
        at,
        `The channel accepted ${target.pendingValue ?? 'a number'} and still shows ${reading.value}: it was never applied.`,
        againAt,
      );
    } else {
      outcome.numbers.push({ targetId: target.id, value: reading.value, verdict: result?.verdict ?? 'old' });
    }
  }
  return outcome;
}

function note(target: WorkTarget, what: { state: string; reason: string; handled: boolean }): Finding {
  return {
    targetId: target.id,
    desired: null,
    steps: null,
    state: what.state,
    reason: what.reason,
    handledVersion: what.handled ? target.dirtyVersion : null,
    nextTryAt: null,
    releaseUnseen: false,
    readDue: 'clear',
    version: target.version,
  };
}

/** Targets with a drift whose number is right by now. */
export const drifting = (findings: readonly Finding[], targets: readonly WorkTarget[]): string[] =>
  findings
    .filter(
      ({ state, targetId }) =>
        state === 'in_sync' && targets.some(({ id, drift }) => id === targetId && drift !== null),
    )
    .map(({ targetId }) => targetId);

export function driftSteps(decisions: readonly DriftDecision[]): DriftStepRow[] {
  return decisions.flatMap(({ driftId, target, to, policy, desired, flapping }) => {
    const shows = `${target.stockKey} shows ${target.observed ?? 'another number'} at the channel, ours is ${desired}`;
    const reason = flapping
      ? `${shows}. It was put right ${target.drift?.heals ?? 'several'} times within an hour and changed again: decide whether to heal or adopt it.`
      : `${shows}, and no order explains it. Decide whether to heal or adopt it.`;
    return to === null ? [] : [{ driftId, targetId: target.id, to, policy, desired, flapping, reason }];
  });
}

/** The channel refused our number: what stands there, as the target knows it, is other than we want, and we know why. */
export function refusedDrifts(results: readonly AttemptResult[], now: number): DriftDraft[] {
  return results
    .filter(({ outcome }) => outcome === 'rejected')
    .map(({ targetId, reason, value }) => ({
      targetId,
      units: 0,
      base: null,
      baseAt: null,
      effects: [],
      expected: value,
      observed: null,
      observedAt: now,
      cause: 'rejected_write' as const,
      reason,
    }));
}

export function refusals(results: readonly AttemptResult[]): Refusal[] {
  return results
    .filter(({ outcome }) => outcome === 'rejected')
    .map(({ targetId, reason, errorCode, value }) => ({
      targetId,
      message: `The channel refuses this number: ${reason ?? 'no reason given'}`,
      details: { code: errorCode, value },
    }));
}

/** Too many rounds without an end: something moves faster than we look. It stays dirty and waits. */
export function postponed(work: Work, until: number): Finding[] {
  const reason = 'The channel’s number changes faster than it can be compared; trying again.';
  return work.targets
    .filter(({ picked }) => picked)
    .map((target) => ({
      ...note(target, { state: 'pending', reason, handled: false }),
      nextTryAt: until,
      readDue: 'keep',
    }));
}

/** Findings that change what people see. */
export function visible(findings: readonly Finding[], targets: readonly WorkTarget[]): string[] {
  const before = new Map(targets.map((target) => [target.id, target]));
  return findings
    .filter(({ targetId, state, desired, releaseUnseen }) => {
      const target = before.get(targetId);
      return !target || target.state !== state || (desired !== null && target.desired !== desired) || releaseUnseen;
    })
    .map(({ targetId }) => targetId);
}
