/**
 * Attempts against the calls that were made of them (P10): one open attempt per target, no call under a lease that somebody
 * else has taken over, and no outcome proven while the channel has not even carried the write out.
 *
 *   lost lease    a write arrives whose attempt is of an older lease than the one that stood at the look before. The holder must
 *                 be sure that its request is over before its lease ends, so the newer one cannot have begun while it travelled
 *   false proof   an attempt is settled as "did not happen" while the channel still has that write on its way
 *
 * A call names no attempt: it is taken for the newest one of its target and numbers that no call was made of.
 */
import type { Finding } from './audit-finding.ts';
import type { Index } from './audit-numbers.ts';
import type { ChannelCall, ChannelEvidence, Evidence, Rows, TargetRow } from './evidence.ts';

export type Attempt = Rows['attempts'][number];

export const isOpen = ({ outcome }: Attempt): boolean => outcome === null || outcome === 'unknown';

export interface AttemptsAudit {
  look(evidence: Evidence, index: Index): Finding[];
}

export function auditAttempts(): AttemptsAudit {
  /** Whose call was seen. */
  const made = new Set<string>();
  /** Leases as they stood at the look before, by connection. */
  let leases = new Map<string, number>();

  function look(evidence: Evidence, index: Index): Finding[] {
    const { rows, fresh } = evidence;
    const findings = evidence.channels.flatMap((channel) => {
      const mine = ({ connectionId }: Attempt) => connectionId === channel.connectionId;
      return [
        ...fresh.attempts.filter(mine).flatMap((attempt) => judgeOpen(evidence, channel, index, attempt)),
        ...channel.calls.flatMap((call) => judgeCall(evidence, channel, index, call)),
        ...fresh.attempts.filter(mine).flatMap((attempt) => judgeProof(evidence, channel, index, attempt)),
      ];
    });
    leases = new Map(rows.lanes.map(({ connectionId, generation }) => [connectionId, generation]));
    return findings;
  }

  function judgeCall(evidence: Evidence, channel: ChannelEvidence, index: Index, call: ChannelCall): Finding[] {
    if (call.kind !== 'write') return [];
    const target = evidence.rows.targets.find(
      (one) =>
        one.connectionId === channel.connectionId &&
        one.stockKey === call.stockKey &&
        one.channelLocation === call.location,
    );
    const attempt = target && attemptOf(evidence.rows, target, call);
    if (!target || !attempt) return [];
    made.add(attempt.id);
    const lease = leases.get(channel.connectionId) ?? 0;
    if (attempt.generation >= lease) return [];
    return [
      {
        ...at(evidence, channel, index, target),
        expected: `lease ${lease}`,
        found: `lease ${attempt.generation}`,
        words: `${call.value} was sent under a lease that somebody else had taken over`,
      },
    ];
  }

  function attemptOf({ attempts }: Rows, target: TargetRow, call: ChannelCall): Attempt | undefined {
    const same = attempts.filter(
      ({ targetId, value, from }) =>
        targetId === target.id && value === call.value && (call.from === null || from === null || from === call.from),
    );
    const left = same.filter(({ id }) => !made.has(id));
    return (left.length > 0 ? left : same).reduce<Attempt | undefined>(
      (newest, one) => (newest !== undefined && newest.sentAt > one.sentAt ? newest : one),
      undefined,
    );
  }

  return { look };
}

const at = ({ step }: Evidence, channel: ChannelEvidence, index: Index, target: TargetRow | undefined) => ({
  promise: 'P10' as const,
  sku: index.sku(target?.variantId ?? null),
  channel: channel.name,
  steps: [step],
});

function judgeOpen(evidence: Evidence, channel: ChannelEvidence, index: Index, attempt: Attempt): Finding[] {
  const { rows } = evidence;
  if (!isOpen(attempt)) return [];
  const others = rows.attempts.filter((one) => one.targetId === attempt.targetId && isOpen(one));
  const newest = others.reduce((a, b) => (b.sentAt > a.sentAt || (b.sentAt === a.sentAt && b.id > a.id) ? b : a));
  if (others.length < 2 || newest !== attempt) return [];
  const target = rows.targets.find(({ id }) => id === attempt.targetId);
  return [
    {
      ...at(evidence, channel, index, target),
      expected: 'one open attempt',
      found: others.map(({ value }) => `${value}`).join(' and '),
      words: 'a write was recorded while the outcome of another was unknown',
    },
  ];
}

function judgeProof(evidence: Evidence, channel: ChannelEvidence, index: Index, attempt: Attempt): Finding[] {
  if (attempt.outcome !== 'proven_not_applied') return [];
  const target = evidence.rows.targets.find(({ id }) => id === attempt.targetId);
  const onItsWay = channel.onItsWay.some(
    ({ stockKey, location, value }) =>
      stockKey === target?.stockKey && location === target.channelLocation && value === attempt.value,
  );
  // Another one of the same number may be the one on its way.
  const again = evidence.rows.attempts.some(
    ({ id, targetId, value, sentAt }) =>
      id !== attempt.id && targetId === attempt.targetId && value === attempt.value && sentAt >= attempt.sentAt,
  );
  if (!onItsWay || again) return [];
  return [
    {
      ...at(evidence, channel, index, target),
      expected: 'an open outcome',
      found: 'it did not happen',
      words: `${attempt.value} was judged before the channel had carried it out`,
    },
  ];
}
