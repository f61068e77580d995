/**
 * What waits, at every moment (P5), and what must be true when things are quiet (P4): every target shows its number, or
 * stands in a named state with its reason and an alert; nothing waits and no outcome is unknown.
 */
import type { Finding } from './audit-finding.ts';
import { type Index, numbersOf } from './audit-numbers.ts';
import type { Evidence, TargetRow } from './evidence.ts';

const shown = (units: number): number => Math.max(0, units);

/** Waiting work never exceeds variants + targets, whatever the number of events. A changed policy waits once, as itself. */
export function auditBacklog({ rows, step }: Evidence): Finding[] {
  const targets = rows.targets.filter(({ dirtyVersion, handledVersion }) => dirtyVersion > handledVersion).length;
  const waiting = rows.dirty.length + targets;
  const most = rows.variants.length + rows.targets.length;
  if (waiting <= most) return [];
  const words = `${rows.dirty.length} variants and ${targets} targets wait`;
  return [
    { promise: 'P5', sku: null, channel: null, expected: `at most ${most}`, found: `${waiting}`, words, steps: [step] },
  ];
}

/** States a target may stand in for good, and which alerts tell people of it; null: whoever did it knows. */
const named: Record<string, readonly string[] | null> = {
  paused: null,
  shadow: null,
  suspended: null,
  read_only: null,
  rejected: ['listing_rejected', 'listings_rejected'],
  drifted: ['drift', 'drift_flapping'],
  unauthorized: ['connection_unauthorized'],
  unreachable: ['connection_unreachable'],
};

export function auditQuiet(evidence: Evidence, index: Index): Finding[] {
  const { rows, channels, step, now } = evidence;
  const findings: Finding[] = [];
  const find = (finding: Omit<Finding, 'steps' | 'promise'> & { promise?: Finding['promise'] }) =>
    findings.push({ promise: 'P4', steps: [step], ...finding });
  const nobody = { sku: null, channel: null };

  for (const channel of channels) {
    const numbers = new Map(channel.items.map((item) => [`${item.stockKey}@${item.location}`, item]));
    for (const target of rows.targets) {
      if (target.connectionId !== channel.connectionId || target.variantId === null) continue;
      const item = numbers.get(`${target.stockKey}@${target.channelLocation}`);
      if (item?.itsOwn) continue;
      judgeTarget(target, channel.name, item?.quantity ?? null);
    }
  }
  for (const attempt of rows.attempts) {
    if (attempt.outcome !== null && attempt.outcome !== 'unknown') continue;
    const target = rows.targets.find(({ id }) => id === attempt.targetId);
    const at = { sku: index.sku(target?.variantId ?? null), channel: index.channelName(attempt.connectionId) };
    const words = `the write of ${attempt.value}`;
    find({ ...at, promise: 'P10', words, expected: 'a known outcome', found: attempt.outcome ?? 'open' });
  }
  for (const { variantId } of rows.dirty)
    find({ sku: index.sku(variantId), channel: null, words: 'a variant', expected: 'published', found: 'waits' });
  for (const { kind, externalId, state, connectionId } of rows.inbox)
    if (state === 'waiting' || state === 'dead')
      find({
        sku: null,
        channel: index.channelName(connectionId),
        words: `an event of ${kind} ${externalId}`,
        expected: 'applied',
        found: state,
      });
  for (const { kind, subjectId, dueAt } of rows.due)
    if (dueAt <= now) find({ ...nobody, words: `${kind} ${subjectId}`, expected: 'done when due', found: 'due' });
  return findings;

  function judgeTarget(target: TargetRow, channel: string, truth: number | null): void {
    const at = { sku: index.sku(target.variantId), channel };
    const place = target.channelLocation.split('/').at(-1) ?? target.channelLocation;
    // Behind a pause, or a channel that cannot be had, what has changed waits.
    if (target.dirtyVersion > target.handledVersion && !(target.state in named))
      find({ ...at, words: `the number at ${place}`, expected: 'handled', found: 'waits' });
    if (target.state !== 'in_sync') {
      judgeState(target, at, place);
      return;
    }
    if (truth === null) {
      find({ ...at, words: `the number at ${place}`, expected: 'a number there', found: 'none' });
      return;
    }
    const wanted = numbersOf(index, target.connectionId, target.variantId ?? '').get(target.id) ?? 0;
    if (shown(truth) !== wanted)
      find({ ...at, words: `what the channel shows at ${place}`, expected: `${wanted}`, found: `${truth}` });
    if (target.observed === null || shown(target.observed) !== shown(truth))
      find({ ...at, words: `what we last saw at ${place}`, expected: `${truth}`, found: `${target.observed}` });
  }

  function judgeState(target: TargetRow, at: { sku: string | null; channel: string }, place: string): void {
    const { state, reason } = target;
    const alerts = named[state];
    const words = `the target at ${place} is ${state}`;
    if (alerts === undefined) {
      find({ ...at, words, expected: 'in sync or a named state', found: state });
      return;
    }
    if (reason === null || reason === '') find({ ...at, words, expected: 'a reason', found: 'none' });
    if (alerts !== null && !rows.alerts.some(({ kind }) => alerts.includes(kind)))
      find({ ...at, words, expected: `an alert (${alerts.join(' or ')})`, found: 'none' });
    const listing = rows.listings.find(
      ({ connectionId, stockKey }) => connectionId === target.connectionId && stockKey === target.stockKey,
    );
    const connection = rows.connections.find(({ id }) => id === target.connectionId);
    if (state === 'paused' && !listing?.pausedAt && !connection?.pausedAt)
      find({ ...at, words, expected: 'somebody who paused it', found: 'nobody' });
  }
}
