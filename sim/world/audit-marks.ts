/**
 * What keeps numbers coming right without anybody looking again (P4): at every moment each target either waits to be published
 * (its variant, a part of it, a setting of it, or it itself is marked), or is in a state on its way, which its lane takes up by
 * itself, or was last computed from the stock and settings of now.
 *
 * A mark that is lost would be healed by the next sweep hours later, so it is looked for while it is missing, not at quiet.
 * Whether the channel shows that number is another question (audit-quiet.ts); so is one that is written late.
 */
import type { Finding } from './audit-finding.ts';
import { type Index, numbersOf } from './audit-numbers.ts';
import type { Evidence, Rows, TargetRow } from './evidence.ts';

/** Nothing moves these on but a mark. */
const atRest: readonly string[] = ['in_sync', 'drifted', 'rejected'];

export function auditMarks({ rows, step }: Evidence, index: Index): Finding[] {
  const marked = markedVariants(rows);
  const settings = rows.dirtyPolicies.length > 0;
  const numbers = new Map<string, ReadonlyMap<string, number>>();
  const numberOf = ({ id, connectionId, variantId }: TargetRow): number => {
    const at = `${connectionId}|${variantId}`;
    const known = numbers.get(at) ?? numbersOf(index, connectionId, variantId ?? '');
    numbers.set(at, known);
    return known.get(id) ?? 0;
  };
  return rows.targets.flatMap((target): Finding[] => {
    const { variantId, dirtyVersion, handledVersion } = target;
    if (variantId === null || !atRest.includes(target.state) || dirtyVersion > handledVersion) return [];
    if (settings || marked.has(variantId)) return [];
    const expected = numberOf(target);
    if (target.desired === expected) return [];
    return [
      {
        promise: 'P4',
        sku: index.sku(variantId),
        channel: index.channelName(target.connectionId),
        expected: `${expected}`,
        found: `${target.desired}`,
        words: 'nothing waits to publish it, yet its number was computed from other stock or settings',
        steps: [step],
      },
    ];
  });
}

/** Variants that are marked, and bundles with a marked part. */
function markedVariants(rows: Rows): ReadonlySet<string> {
  const marked = new Set(rows.dirty.map(({ variantId }) => variantId));
  const whole = rows.components.filter(({ componentId }) => marked.has(componentId)).map(({ variantId }) => variantId);
  return new Set([...marked, ...whole]);
}
