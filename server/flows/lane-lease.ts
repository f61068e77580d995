/**
 * A lane's own view of its lease (store/listings/lease.ts): taken when there is work, renewed at half its time, given
 * back when idle. The view counts from before the question was asked, by the monotonic clock, so it always ends before
 * the database's: who may still send by it has the lease.
 */
import type { Clock } from '#core/effects.ts';
import type { LaneHold } from '#store/listings/attempts.ts';
import { acquireLane, releaseLane } from '#store/listings/lease.ts';
import type { Store } from '#store/tx.ts';
import type { ConnectionRef } from './publisher-types.ts';

export interface LaneLeaseOptions {
  store: Store;
  clock: Clock;
  connection: ConnectionRef;
  holder: string;
  ttlMs: number;
  requestTimeoutMs: number;
  soleProcess: boolean;
}

export class LaneLease {
  readonly #options: LaneLeaseOptions;
  #held: { generation: number; untilMono: number } | null = null;
  #everHeld = false;
  #quietUntilMono = 0;

  constructor(options: LaneLeaseOptions) {
    this.#options = options;
  }

  /** Ours, renewed when half of it is over (or when asked to); null while somebody else's. */
  async hold(renew = false): Promise<LaneHold | null> {
    const { clock, store, connection, holder, ttlMs, requestTimeoutMs, soleProcess } = this.#options;
    const asked = clock.monotonicMs();
    if (renew || !this.#held || this.#held.untilMono - asked < ttlMs / 2) {
      const times = { ttlMs, requestTimeoutMs, takeAtOnce: soleProcess && !this.#everHeld };
      const { orgId, connectionId } = connection;
      const lease = await store.tenant(orgId, (tx) => acquireLane(tx, orgId, connectionId, holder, times));
      if (!lease) {
        this.#held = null;
        return null;
      }
      this.#everHeld = true;
      if (this.#held?.generation !== lease.generation) this.#quietUntilMono = asked + lease.quietMs;
      this.#held = { generation: lease.generation, untilMono: asked + ttlMs };
    }
    return { ...connection, holder, generation: this.#held.generation };
  }

  /** The request must be over before anybody else may send. */
  mayStillSend(): boolean {
    const { clock, requestTimeoutMs } = this.#options;
    return this.#held !== null && this.#held.untilMono - clock.monotonicMs() > requestTimeoutMs;
  }

  /** Until then (business time) a former holder's requests may arrive; null = none. */
  quietUntil(): number | null {
    const { clock } = this.#options;
    const left = this.#quietUntilMono - clock.monotonicMs();
    return left > 0 ? clock.now() + left : null;
  }

  lost(): void {
    this.#held = null;
  }

  async giveBack(): Promise<void> {
    if (!this.#held) return;
    const { store, connection, holder } = this.#options;
    const { generation } = this.#held;
    this.#held = null;
    await store.tenant(connection.orgId, (tx) =>
      releaseLane(tx, connection.orgId, connection.connectionId, holder, generation),
    );
  }
}
