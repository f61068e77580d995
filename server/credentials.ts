/**
 * Credentials of a connection, opened and exchanged.
 *
 * A channel that exchanges tokens gets one exchange at a time for all processes, and what it gives is stored, sealed, before it is
 * used. Whoever comes later gets what the first one stored instead of asking. A process that dies between the channel's answer and
 * the commit has lost the answer: its lease ends after a while, the next one exchanges the token that is stored again, which Shopify
 * allows until the new one is used (fact sheet §2.3).
 */
import type { Clock, Ids } from '#core/effects.ts';
import { ConnectorError, StoreError } from '#core/errors.ts';
import { giveRenewalBack, keepRenewed, type Renewal, takeRenewal } from '#store/connections/renewal.ts';
import type { Store, Tx } from '#store/tx.ts';
import type { ConnectionRef } from './flows/publisher-types.ts';
import type { Vault } from './secrets.ts';

export type Credentials = Record<string, string>;

/** Longer than an exchange with its repetitions takes. */
const LEASE_MS = 60_000;
const LOOK_MS = 200;

const owner = ({ orgId, connectionId }: ConnectionRef) => ({ orgId, connectionId, column: 'credentials' as const });

export function openCredentials(vault: Vault, ref: ConnectionRef, sealed: Uint8Array | null): Credentials {
  return sealed === null ? {} : (JSON.parse(vault.open(sealed, owner(ref)).reveal()) as Credentials);
}

export function sealCredentials(vault: Vault, ref: ConnectionRef, credentials: Credentials): Buffer {
  return vault.seal(JSON.stringify(credentials), owner(ref));
}

const same = (one: Credentials, other: Credentials): boolean => {
  const sorted = (values: Credentials) => JSON.stringify(Object.entries(values).sort(([a], [b]) => (a < b ? -1 : 1)));
  return sorted(one) === sorted(other);
};

export interface RenewalDeps {
  store: Store;
  vault: Vault;
  clock: Clock;
  ids: Ids;
  /** What is stored now, sealed: this process renewed it. */
  onKept?(sealed: Buffer | null): void;
}

/** One holder's way to the lease. */
function leaseOf({ store, clock, ids }: RenewalDeps, { orgId, connectionId }: ConnectionRef) {
  const holder = ids.uuid();
  const giveUpAt = clock.monotonicMs() + 2 * LEASE_MS;
  return {
    holder,
    async take(): Promise<Renewal> {
      const now = clock.now();
      const renewal = await store.tenant(orgId, (tx) =>
        takeRenewal(tx, orgId, connectionId, { holder, now, untilMs: now + LEASE_MS }),
      );
      if (renewal === null) throw new ConnectorError('connector.unauthorized', 'The connection was removed.');
      return renewal;
    },
    giveBack: () => store.tenant(orgId, (tx) => giveRenewalBack(tx, orgId, connectionId, holder)),
    /** Before the next look at another's lease. */
    async pause(): Promise<void> {
      if (clock.monotonicMs() > giveUpAt)
        throw new ConnectorError('connector.unavailable', 'Another process renews the token and does not end.');
      await clock.sleep(LOOK_MS);
    },
  };
}

/** @returns what `ConnectionContext.renewCredentials` asks for */
export function credentialRenewal(deps: RenewalDeps, ref: ConnectionRef) {
  const { store, vault, onKept } = deps;
  const { orgId, connectionId } = ref;
  return async (held: Credentials, exchange: (stored: Credentials) => Promise<Credentials>): Promise<Credentials> => {
    const lease = leaseOf(deps, ref);
    for (;;) {
      const renewal = await lease.take();
      const stored = openCredentials(vault, ref, renewal.credentials);
      if (!same(stored, held)) {
        if (renewal.mine) await lease.giveBack();
        return stored;
      }
      if (renewal.mine) {
        let given: Credentials;
        try {
          given = await exchange(stored);
        } catch (error) {
          await lease.giveBack();
          throw error;
        }
        const after = sealCredentials(vault, ref, given);
        const kept = await store.tenant(orgId, (tx) =>
          keepRenewed(tx, orgId, connectionId, { holder: lease.holder, before: renewal.credentials, after }),
        );
        if (kept?.equals(after)) onKept?.(kept);
        return openCredentials(vault, ref, kept);
      }
      await lease.pause();
    }
  };
}

/**
 * Stores what a person gives, under the same lease: no process exchanges meanwhile, so that neither loses what the channel gave the
 * other. Who waited finds the new ones.
 * @param make what is to be stored, of what is stored now; it may ask the channel, for less than the lease. Throws: nothing changes
 * @param along committed together with them
 */
export async function replaceCredentials(
  deps: RenewalDeps,
  ref: ConnectionRef,
  make: (stored: Credentials) => Promise<Credentials>,
  along: (tx: Tx) => Promise<void>,
): Promise<void> {
  const lease = leaseOf(deps, ref);
  let renewal = await lease.take();
  while (!renewal.mine) {
    await lease.pause();
    renewal = await lease.take();
  }
  try {
    const before = renewal.credentials;
    const after = sealCredentials(deps.vault, ref, await make(openCredentials(deps.vault, ref, before)));
    await deps.store.tenant(ref.orgId, async (tx) => {
      const kept = await keepRenewed(tx, ref.orgId, ref.connectionId, { holder: lease.holder, before, after });
      if (!kept?.equals(after))
        throw new StoreError('store.mismatch', 'Somebody else changed the credentials meanwhile; nothing was changed.');
      await along(tx);
    });
  } catch (error) {
    await lease.giveBack();
    throw error;
  }
}
