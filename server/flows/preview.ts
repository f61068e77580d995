/**
 * Preview: what would be sent if nothing halted it now. The lane's own calculation over what waits, judged against the
 * channel's number as far as it is known; nothing is read from a channel, nothing is written.
 */
import { goalOf } from '#core/stock/next-write.ts';
import { waitingTargets } from '#store/listings/system.ts';
import { loadWork } from '#store/listings/work.ts';
import type { Store } from '#store/tx.ts';
import { numbersOf } from './lane-decision.ts';

/** Targets computed at once, and at most in all: beyond it the counts are of the most urgent ones, and `complete` is false. */
const atOnce = 500;
const atMost = 5_000;

export interface Preview {
  cuts: number;
  raises: number;
  unitsCut: number;
  unitsRaised: number;
  /** The channel shows the right number already. */
  equal: number;
  /** Read first: the channel's number is not known. */
  unknown: number;
  complete: boolean;
}

export async function previewPushes(store: Store, orgId: string, connectionId: string, now: number): Promise<Preview> {
  const preview = { cuts: 0, raises: 0, unitsCut: 0, unitsRaised: 0, equal: 0, unknown: 0 };
  const waiting = await store.tenant(orgId, (tx) => waitingTargets(tx, orgId, connectionId, atMost + 1));
  for (let from = 0; from < Math.min(waiting.length, atMost); from += atOnce) {
    const ids = waiting.slice(from, Math.min(from + atOnce, atMost));
    const work = await store.tenant(orgId, (tx) => loadWork(tx, orgId, connectionId, now, { kind: 'ids', ids }));
    const numbers = numbersOf(work);
    for (const target of work.targets) {
      if (!target.picked) continue;
      const unseen = target.unseenReleased ? 0 : target.unseen;
      count(preview, goalOf(numbers.get(target.id)?.desired ?? 0, unseen), target.expected ?? target.observed);
    }
  }
  return { ...preview, complete: waiting.length <= atMost };
}

function count(preview: Omit<Preview, 'complete'>, goal: number, shown: number | null): void {
  if (shown === null) preview.unknown += 1;
  else if (goal === Math.max(0, shown)) preview.equal += 1;
  else if (goal < shown) {
    preview.cuts += 1;
    preview.unitsCut += shown - goal;
  } else {
    preview.raises += 1;
    preview.unitsRaised += goal - Math.max(0, shown);
  }
}
