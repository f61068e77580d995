/**
 * Drift's own time: when its cause can be settled, and when the channel's number becomes ours.
 *
 * One due row (kind "drift") per drift asks: are orders read past it? If not, they are asked for once they can answer, and
 * the row waits. Then, when the policy or a person wants it, the adoption: the difference is booked as a fact at the one
 * place behind the number, under the drift's own effect key, so that it happens once whatever dies in between.
 */
import type { Clock, Ids } from '#core/effects.ts';
import type { LocationId, OrgId, VariantId } from '#core/ids.ts';
import { adoptRefusal, type DriftCause } from '#core/stock/drift.ts';
import { type Adoptable, endAdopted, readAdoptable, refuseAdoption } from '#store/drift/decide.ts';
import { dropLate, settleDrift, waitingSince } from '#store/drift/record.ts';
import { post } from '#store/ledger/post.ts';
import { clearDue, postponeDue } from '#store/listings/system.ts';
import type { Store } from '#store/tx.ts';
import type { ConnectionRef } from './publisher-types.ts';

export interface DriftOptions {
  store: Store;
  clock: Clock;
  ids: Ids;
  requestOrderSweep?: (connection: ConnectionRef) => void;
}

/** Looked at again so often; orders are asked for at the first look that a channel's lag of some seconds allows to answer. */
const againMs = 10_000;
const askAfterMs = 20_000;

export async function serveDrift(options: DriftOptions, orgId: string, driftId: string): Promise<void> {
  const { store, clock } = options;
  const now = clock.now();
  const settled = await store.tenant(orgId, (tx) => settleDrift(tx, orgId, driftId, now));
  if (!settled) {
    await askForOrders(options, orgId, driftId, now);
    return;
  }
  await store.tenant(orgId, (tx) => dropLate(tx, orgId, driftId));
  const drift = await store.tenant(orgId, (tx) => readAdoptable(tx, orgId, driftId));
  if (drift?.state === 'adopting') await adopt(options, orgId, drift);
  // Decided later (a person, a policy that is asked at the lane's next look): that sets the row again.
  await store.tenant(orgId, (tx) => clearDue(tx, orgId, 'drift', driftId));
}

async function askForOrders(
  { store, requestOrderSweep }: DriftOptions,
  orgId: string,
  driftId: string,
  now: number,
): Promise<void> {
  const found = await store.tenant(orgId, async (tx) => {
    const waiting = await waitingSince(tx, orgId, driftId);
    // Nobody will ever read the orders of a connection that is gone.
    if (waiting) await postponeDue(tx, orgId, 'drift', driftId, now + againMs);
    else await clearDue(tx, orgId, 'drift', driftId);
    return waiting;
  });
  const age = found ? now - found.seenAt : 0;
  if (found && age >= askAfterMs && age < askAfterMs + againMs)
    requestOrderSweep?.({ orgId, connectionId: found.connectionId });
}

async function adopt({ store, clock, ids }: DriftOptions, orgId: string, drift: Adoptable): Promise<void> {
  const now = clock.now();
  const refusal = adoptRefusal({ ...drift, cause: drift.cause as DriftCause });
  if (refusal !== null || drift.locationId === null) {
    await store.tenant(orgId, (tx) => refuseAdoption(tx, orgId, drift, refusal ?? '', { ids, now }));
    return;
  }
  await store
    .tenant(orgId, async (tx) => {
      if (drift.units !== 0)
        await post(
          tx,
          orgId as OrgId,
          [
            {
              kind: 'adjust',
              key: `drift:${drift.id}:adopt`,
              variantId: drift.variantId as VariantId,
              locationId: drift.locationId as LocationId,
              change: drift.units,
              fact: true,
              businessAt: now,
              reason: 'channel_adopted',
              reference: drift.id,
            },
          ],
          { actor: 'drift', ids, now },
        );
      if (!(await endAdopted(tx, orgId, drift, now))) throw new DecidedOtherwise();
    })
    .catch((error: unknown) => {
      if (!(error instanceof DecidedOtherwise)) throw error;
    });
}

/** Undoes the booking: somebody decided otherwise in between. */
class DecidedOtherwise extends Error {}
