/**
 * A lane's decisions: from a loaded slice to what is to be done about each target. Pure; core computes, this assembles.
 *
 *   target → finding (nothing to send: state, reason, when again) | read | send
 *
 * Called by lane.ts for a claimed slice, and again for the same targets after a read or a refused write.
 */
import type { Manifest } from '#connectors/kit/ports.ts';
import { type DriftPolicy, stepOf } from '#core/stock/drift.ts';
import { goalFrom, nextWrite } from '#core/stock/next-write.ts';
import {
  type PolicyFields,
  type Publishable,
  type PublishTarget,
  publishable,
  resolvePolicy,
} from '#core/stock/publishable.ts';
import { withheldFor } from '#core/stock/scarcity.ts';
import { type Urgency, urgency } from '#core/stock/urgency.ts';
import { lookMs } from '#store/listings/shown.ts';
import type { Finding } from '#store/listings/states.ts';
import type { LateLooks, Work, WorkPolicy, WorkTarget } from '#store/listings/work.ts';

/** What this turn has already learned about the targets it works on. */
export interface Turn {
  reads: ReadonlyMap<string, { value: number; at: number; verdict: string }>;
  readFailed: ReadonlySet<string>;
  /** How often these targets were decided in this turn. */
  round: number;
  /** At most this many rows per call: a refused call is halved until the bad row stands alone. */
  maxRows: number;
}

export const firstTurn: Turn = { reads: new Map(), readFailed: new Set(), round: 0, maxRows: Number.MAX_SAFE_INTEGER };

export interface DecisionContext {
  now: number;
  monotonicMs: number;
  manifest: Manifest;
  quietUntil: number | null;
  /** The channel limits our calls just now. */
  limited: boolean;
  turn: Turn;
  /** In a burst; default: no look waits. */
  lateLooks?: LateLooks | null;
  /** For a feed, whose numbers are read as a whole before it is built; default: as nextWrite has it. */
  readForMs?: number;
}

export interface PlannedSend {
  target: WorkTarget;
  value: number;
  from: number | null;
  blind: boolean;
  desired: number;
  steps: Publishable['steps'];
  urgency: Urgency;
}

export interface DriftDecision {
  driftId: string;
  target: WorkTarget;
  /** null: it stays as it is. */
  to: 'healing' | 'asked' | 'adopting' | null;
  stand: boolean;
  policy: DriftPolicy;
  desired: number;
  flapping: boolean;
}

export interface Decisions {
  findings: Finding[];
  reads: WorkTarget[];
  sends: PlannedSend[];
  /** Gaps that orders were read past: they become drift first, then the policy decides. */
  released: WorkTarget[];
  /** What the policy made of drifts. */
  drifts: DriftDecision[];
}

const silent: WorkPolicy = { buffer: null, shareBp: null, cap: null, lastUnits: null, drift: null };

export function decide(work: Work, context: DecisionContext): Decisions {
  const decisions: Decisions = { findings: [], reads: [], sends: [], released: [], drifts: [] };
  const numbers = numbersOf(work);
  for (const target of work.targets) {
    if (!target.picked) continue;
    const standing = standingOf(work, target);
    if (standing) settle(decisions, target, standing, context);
    else decideOne(decisions, target, numbers.get(target.id), work, context);
  }
  return decisions;
}

/** The number of every loaded target; a stock key's targets are computed together. */
export function numbersOf(work: Work): Map<string, Publishable> {
  const numbers = new Map<string, Publishable>();
  for (const stockKey of new Set(work.targets.map((target) => target.stockKey))) {
    const group = work.targets.filter((target) => target.stockKey === stockKey);
    const variant = work.variants.find(({ id }) => id === group[0]?.variantId);
    const listing = work.listings.find((one) => one.stockKey === stockKey && one.variantId !== null);
    const fields = (scope: string, scopeId?: string) =>
      work.policies.find((one) => one.scope === scope && (scopeId === undefined || one.scopeId === scopeId))?.fields ??
      silent;
    const { targets } = publishable({
      components: variant?.parts ?? [],
      policy: resolvePolicy({
        listing: listing ? fields('listing', listing.id) : silent,
        variant: variant ? fields('variant', variant.id) : silent,
        connection: fields('connection'),
        organization: fields('organization'),
      }),
      targets: group.map((target) => placed(target, work, fields('target', target.id))),
      partsMayTravel: work.connection?.settings.bundlePartsMayTravel === true,
      withheld: withheldFor(work.connection?.id ?? '', fields('connection').lastUnits, variant?.parts ?? []),
    });
    for (const one of targets) numbers.set(one.targetId, one);
  }
  return numbers;
}

function placed(target: WorkTarget, work: Work, policy: PolicyFields): PublishTarget {
  const places = work.places.filter(({ channelLocation }) => channelLocation === target.channelLocation);
  return {
    targetId: target.id,
    channelLocation: target.channelLocation,
    locationIds: places.map(({ locationId }) => locationId),
    isDefault: places.some(({ isDefault }) => isDefault),
    priority: Math.min(...places.map(({ priority }) => priority), Number.MAX_SAFE_INTEGER),
    policy,
    held: 0,
    withheld: outdatedReason(target, work),
  };
}

/** Stock of a place behind it is older than its limit; null = all is fresh, or the ledger's own. */
function outdatedReason(target: WorkTarget, work: Work, action?: 'suspend'): string | null {
  const place = work.places.find(
    (one) =>
      one.channelLocation === target.channelLocation && one.outdated && (!action || one.outdated.action === action),
  );
  if (!place?.outdated) return null;
  const { code, readAt, limitMs } = place.outdated;
  return `Stock of ${code} was last read at ${new Date(readAt).toISOString()}, longer ago than its limit of ${Math.round(limitMs / 60_000)} minutes.`;
}

interface Standing {
  state: string;
  reason: string | null;
  /** The number is still looked at. */
  readable: boolean;
  /** The change is dealt with; false = it waits. */
  handled: boolean;
}

/** Why nothing may be written here, whatever the numbers. */
function standingOf(work: Work, target: WorkTarget): Standing | null {
  const listings = work.listings.filter(({ stockKey }) => stockKey === target.stockKey);
  if (target.readOnly)
    return { state: 'read_only', reason: 'The channel keeps this number itself.', readable: true, handled: true };
  if (work.connection?.paused)
    return { state: 'paused', reason: 'Publishing to this connection is paused.', readable: false, handled: false };
  if (listings.some(({ paused }) => paused))
    return { state: 'paused', reason: 'Publishing of this listing is paused.', readable: false, handled: false };
  if (target.variantId === null)
    return { state: 'unmapped', reason: 'No SKU of ours is mapped to this listing.', readable: true, handled: true };
  const suspended = outdatedReason(target, work, 'suspend');
  if (suspended !== null) return { state: 'suspended', reason: suspended, readable: true, handled: true };
  return null;
}

const due = (target: WorkTarget, context: DecisionContext): boolean =>
  target.readDue !== null &&
  target.readDue <= context.now &&
  !context.turn.reads.has(target.id) &&
  !context.turn.readFailed.has(target.id);

/** Its look is due and may be late. */
const mayBeLate = (target: WorkTarget, { lateLooks, now }: DecisionContext): boolean =>
  lateLooks != null &&
  target.readDue !== null &&
  target.readDue > now - lateLooks.ms &&
  (target.desired ?? 0) > lateLooks.above;

function settle(decisions: Decisions, target: WorkTarget, standing: Standing, context: DecisionContext): void {
  if (standing.readable && due(target, context)) decisions.reads.push(target);
  else
    decisions.findings.push(
      finding(target, {
        state: standing.state,
        reason: standing.reason,
        handled: standing.handled,
        readDue: 'clear',
        releaseUnseen: target.unseenReleased,
      }),
    );
}

function decideOne(
  decisions: Decisions,
  target: WorkTarget,
  number: Publishable | undefined,
  work: Work,
  context: DecisionContext,
): void {
  const desired = number?.desired ?? 0;
  const steps = number?.steps ?? [];
  if (target.unseenReleased && target.unseen > 0) {
    decisions.released.push(target);
    return;
  }
  const { unseen, unbooked } = target;
  const raiseHeld = target.raiseAfter !== null;
  const isRight = (shown: number) => goalFrom(shown, { desired, unseen, unbooked, raiseHeld }) === shown;
  const read = context.turn.reads.get(target.id);
  const with_ = { desired, steps };
  const drift = driftDecision(work, target, desired);
  if (drift?.to) decisions.drifts.push(drift);
  if (drift?.stand) {
    // It may have gone back by itself.
    if (due(target, context)) {
      decisions.reads.push(target);
      return;
    }
    decisions.findings.push(
      finding(target, { ...with_, state: 'drifted', reason: driftReason(target), handled: true, readDue: 'clear' }),
    );
    return;
  }
  const pending = target.pendingValue !== null;
  const settling =
    pending && target.settlesAt !== null ? { value: target.pendingValue ?? 0, until: target.settlesAt } : null;
  const next = nextWrite({
    desired,
    unseen,
    unbooked,
    raiseHeld,
    expected: target.expected,
    lastRead: read ? { value: read.value, ageMs: context.monotonicMs - read.at } : null,
    settling,
    openAttempt: target.openAttempt || (pending && settling === null),
    readFailed: context.turn.readFailed.has(target.id),
    quietUntil: context.quietUntil,
    now: context.now,
    compareAndSet: context.manifest.stock.compareAndSet,
    ...(context.readForMs !== undefined && { readForMs: context.readForMs }),
  });
  switch (next.kind) {
    case 'read':
      decisions.reads.push(target);
      return;
    case 'send':
      // Claimed to be looked at: a write follows from what is seen.
      if (due(target, context) && !target.dirty) {
        decisions.reads.push(target);
        return;
      }
      if (work.connection?.shadow) {
        const readDue = nextLook(target, read !== undefined, context);
        decisions.findings.push(finding(target, { ...with_, ...wouldSend(next), handled: true, readDue }));
        return;
      }
      decisions.sends.push({
        target,
        value: next.value,
        from: next.from,
        blind: next.from === null,
        desired,
        steps,
        urgency: urgency(
          read?.value ?? target.expected,
          next.value,
          target.dirtySince === null ? 0 : context.now - target.dirtySince,
        ),
      });
      return;
    case 'wait': {
      if (due(target, context) && settling) {
        decisions.reads.push(target);
        return;
      }
      const away = work.connection?.state === 'unreachable';
      const onItsWay = settling !== null && isRight(settling.value);
      // What it shows is known, and so is that nothing is on its way: the change waits for its turn.
      const waits = context.limited && target.expected !== null && target.pendingValue === null;
      const unproven = settling !== null && target.openAttempt;
      const state =
        settling && !unproven
          ? 'settling'
          : unproven
            ? 'unknown'
            : away
              ? 'unreachable'
              : waits
                ? 'pending'
                : 'unknown';
      const reason = waitingFor(target, settling, away, context.limited);
      decisions.findings.push(
        finding(target, {
          ...with_,
          state,
          reason,
          handled: onItsWay,
          nextTryAt: onItsWay ? null : next.until,
          readDue: next.until,
        }),
      );
      return;
    }
    case 'nothing':
      if (due(target, context) && !mayBeLate(target, context)) decisions.reads.push(target);
      else
        decisions.findings.push(
          finding(target, {
            ...with_,
            readDue: nextLook(target, read !== undefined, context),
            ...(work.connection?.shadow ? wouldSend(null) : inSync(target, desired, context)),
            ...outdatedState(target, work),
            handled: true,
          }),
        );
  }
}

/** Whatever was lost on the way: a number that was not observed as it should be by now is looked at. */
function nextLook(target: WorkTarget, read: boolean, context: DecisionContext): Finding['readDue'] {
  const { now, manifest } = context;
  const seen = target.observed !== null && Math.max(0, target.observed) === Math.max(0, target.expected ?? -1);
  if (seen) return read ? 'clear' : 'keep';
  const waits = target.readDue !== null && (target.readDue > now || (!read && mayBeLate(target, context)));
  return waits ? 'keep' : now + (manifest.stock.compareAndSet ? lookMs : 3 * lookMs);
}

function waitingFor(target: WorkTarget, settling: { value: number } | null, away: boolean, limited: boolean): string {
  if (away) return 'The channel cannot be reached.';
  if (settling && !target.openAttempt)
    return `Accepted by the channel; it shows ${settling.value} within its settle time.`;
  // What is known of it was said when it became unknown: a feed that does not end, an answer that did not come.
  if (settling && target.state === 'unknown' && target.reason !== null) return target.reason;
  if (limited) return 'The channel limits our calls; it goes on as soon as it may.';
  return target.pendingValue === null
    ? 'The channel’s number cannot be read just now.'
    : 'The outcome of a write is not known; it is read back before anything else is sent.';
}

/** It shows 0 because of it: said with the state. */
function outdatedState(target: WorkTarget, work: Work): { state?: string; reason?: string } {
  const reason = outdatedReason(target, work);
  return reason === null ? {} : { state: 'suspended', reason };
}

/** A number that is held for its orders is looked at again by then, whatever was lost; an order sweep sets it free long before. */
const heldLookMs = 6 * 3_600_000;
/** How soon a number is compared again that waits for another one of its stock key. */
const openMs = 1_000;
/** How soon a number is compared again that waits for lines to be booked; their booking marks it at once. */
const bookedMs = 5_000;

/** The number shows what it should for now; when that is not what is desired, why not. */
function inSync(
  { expected, unseen, unbooked, raiseAfter, raiseOpen, readDue }: WorkTarget,
  desired: number,
  { now }: DecisionContext,
): { state: string; reason: string | null; nextTryAt?: number; readDue?: Finding['readDue'] } {
  const shown = Math.max(0, expected ?? 0);
  if (shown === desired) return { state: 'in_sync', reason: null };
  const held = raiseAfter !== null && goalFrom(shown, { desired, unseen, unbooked, raiseHeld: false }) > shown;
  if (held)
    return {
      state: 'pending',
      reason: `Seen at ${new Date(raiseAfter).toISOString()}: the channel’s orders up to then are being read before it is raised.`,
      // Another number of its stock key may settle it, and nothing marks this one then.
      ...(raiseOpen
        ? { nextTryAt: now + openMs }
        : { readDue: readDue !== null && readDue > now ? 'keep' : now + heldLookMs }),
    };
  if (unseen > 0)
    return {
      state: 'pending',
      reason: `${unseen} presumed sold at the channel; its orders are being read before these units are offered again.`,
    };
  return {
    state: 'pending',
    reason: `${unbooked} sold at the channel before this listing had its SKU; they are being booked before these units are offered again.`,
    nextTryAt: now + bookedMs,
  };
}

/** Shadow mode: what would be sent is recorded with the finding; null: the channel shows the right number already. */
function wouldSend(write: { value: number; from: number | null } | null) {
  const reason = write
    ? `Shadow mode: ${write.value} would be sent now.`
    : 'Shadow mode: nothing would be sent, the channel shows the right number.';
  return { state: 'shadow', reason, wouldSend: write && { value: write.value, from: write.from } };
}

/** What the most specific policy makes of a drift; null = there is none, or nothing is to be decided. */
function driftDecision(work: Work, target: WorkTarget, desired: number): DriftDecision | null {
  if (target.drift === null) return null;
  const listing = work.listings.find((one) => one.stockKey === target.stockKey && one.variantId !== null);
  const ids = [target.id, listing?.id, target.variantId, work.connection?.id];
  const named = ids.map((id) => work.policies.find((one) => one.scopeId === id && one.fields.drift !== null));
  const whole = work.policies.find((one) => one.scope === 'organization');
  const policy = named.find((one) => one !== undefined)?.fields.drift ?? whole?.fields.drift ?? 'heal';
  const step = stepOf(target.drift, policy, desired);
  const base = { driftId: target.drift.id, target, desired, policy };
  if (step.kind === 'go') return null;
  if (step.kind === 'heal') return { ...base, to: 'healing', stand: false, flapping: false };
  return { ...base, to: step.to, stand: true, flapping: step.flapping };
}

const driftReason = (target: WorkTarget): string =>
  `The channel shows ${target.observed ?? 'another number'}, which no order explains; someone changed it there.`;

export function finding(
  target: WorkTarget,
  what: {
    state: string;
    reason: string | null;
    handled: boolean;
    readDue: Finding['readDue'];
    desired?: number;
    steps?: Publishable['steps'];
    nextTryAt?: number | null;
    releaseUnseen?: boolean;
    wouldSend?: Finding['wouldSend'];
  },
): Finding {
  return {
    targetId: target.id,
    desired: what.desired ?? null,
    steps: what.steps ?? null,
    state: what.state,
    reason: what.reason,
    handledVersion: what.handled ? target.dirtyVersion : null,
    nextTryAt: what.nextTryAt ?? null,
    releaseUnseen: what.releaseUnseen ?? false,
    readDue: what.readDue,
    version: target.version,
    ...(what.wouldSend !== undefined && { wouldSend: what.wouldSend }),
  };
}
