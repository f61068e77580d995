/**
 * Credentials of a connection, opened and exchanged.
 *
 * A channel that exchanges tokens gets one exchange at a time for all processes, and what it gives is stored, sealed, before it is
 * used. Whoever comes later gets what the first one stored instead of asking. A process that dies between the channel's answer and
 * the commit has lost the answer: its lease ends after a while, the next one exchanges the token that is stored again, which Shopify
 * allows until the new one is used (fact sheet §2.3).
 */
import type { Clock, Ids } from '#core/effects.ts';
import { ConnectorError } from '#core/errors.ts';
import { giveRenewalBack, keepRenewed, takeRenewal } from '#store/connections/renewal.ts';
import type { Store } from '#store/tx.ts';
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

/** @returns what `ConnectionContext.renewCredentials` asks for */
export function credentialRenewal({ store, vault, clock, ids, onKept }: RenewalDeps, ref: ConnectionRef) {
  const { orgId, connectionId } = ref;
  return async (held: Credentials, exchange: (stored: Credentials) => Promise<Credentials>): Promise<Credentials> => {
    const holder = ids.uuid();
    const giveUpAt = clock.monotonicMs() + 2 * LEASE_MS;
    for (;;) {
      const now = clock.now();
      const renewal = await store.tenant(orgId, (tx) =>
        takeRenewal(tx, orgId, connectionId, { holder, now, untilMs: now + LEASE_MS }),
      );
      if (renewal === null) throw new ConnectorError('connector.unauthorized', 'The connection was removed.');
      const stored = openCredentials(vault, ref, renewal.credentials);
      const release = () => store.tenant(orgId, (tx) => giveRenewalBack(tx, orgId, connectionId, holder));
      if (!same(stored, held)) {
        if (renewal.mine) await release();
        return stored;
      }
      if (renewal.mine) {
        let given: Credentials;
        try {
          given = await exchange(stored);
        } catch (error) {
          await release();
          throw error;
        }
        const after = sealCredentials(vault, ref, given);
        const kept = await store.tenant(orgId, (tx) =>
          keepRenewed(tx, orgId, connectionId, { holder, before: renewal.credentials, after }),
        );
        if (kept?.equals(after)) onKept?.(kept);
        return openCredentials(vault, ref, kept);
      }
      if (clock.monotonicMs() > giveUpAt)
        throw new ConnectorError('connector.unavailable', 'Another process renews the token and does not end.');
      await clock.sleep(LOOK_MS);
    }
  };
}
