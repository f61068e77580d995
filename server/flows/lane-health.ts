/**
 * A lane's channel as a whole: when it may be called again, and what people are told.
 *
 *   rate limited  → that class waits as long as the vendor says; said (one alert) after three refusals in a row
 *   unreachable   → backs off, doubling with jitter to half a minute; said (state and one alert) after three in a row;
 *                   the next answer ends it. Calls that fail together are one failure: what fails while it backs off left before
 *   unauthorized  → the connection's state and a critical alert; nothing is sent while it stands, nothing is lost. The lane
 *                   asks again, with pauses that double from one second to a minute: a renewed access, or a refusal that
 *                   was none, ends it
 */
import type { BudgetClass } from '#connectors/kit/ports.ts';
import { raiseAlerts, resolveAlerts } from '#store/attention/alerts.ts';
import { retryReads } from '#store/inbox/settle.ts';
import { setConnectionState } from '#store/listings/states.ts';
import type { LaneOptions } from './publisher-types.ts';

/** Unreachable is said after this many calls in a row failed to get there. */
const failuresToSay = 3;
const longestBackOffMs = 30_000;
/** A channel that limits us is told of after this many refusals in a row: now and then one is part of the trade. */
const limitsToSay = 3;
/** A channel that refused us is asked again after this, then ever more rarely. */
const soonestAskMs = 1_000;
const longestRefusalMs = 60_000;
const all: readonly BudgetClass[] = ['urgent', 'bulk', 'read'];

export class LaneHealth {
  readonly #options: LaneOptions;
  readonly #wake: () => void;
  readonly #stopping: AbortSignal;
  /** By class: not before this monotonic time. */
  readonly #slowUntil: Record<BudgetClass, number> = { urgent: 0, bulk: 0, read: 0 };
  #failures = 0;
  #limits = 0;
  #limitedUntil = 0;
  #backsOffUntil = 0;
  #refusals = 0;
  #askAgainAt: number | null = null;

  constructor(options: LaneOptions, wake: () => void, stopping: AbortSignal) {
    this.#options = options;
    this.#wake = wake;
    this.#stopping = stopping;
  }

  isSlow(kind: BudgetClass): boolean {
    return this.#options.clock.monotonicMs() < this.#slowUntil[kind];
  }

  /** One more failure and it is said, or it is already. */
  get unreachable(): boolean {
    return this.#failures >= failuresToSay - 1;
  }

  /** What the database says of the connection: a predecessor may have called it unreachable. */
  told(state: string): void {
    if (state === 'unreachable' && this.#failures === 0) this.#failures = failuresToSay;
  }

  /** The connection is unauthorized, whoever said so: is it time to ask the channel again? */
  asksAgain(): boolean {
    const mono = this.#options.clock.monotonicMs();
    this.#askAgainAt ??= mono + soonestAskMs;
    return mono >= this.#askAgainAt;
  }

  slow(kinds: readonly BudgetClass[], forMs: number): void {
    const { clock, random } = this.#options;
    const until = clock.monotonicMs() + forMs * (1 + random.next() / 4);
    for (const kind of kinds) this.#slowUntil[kind] = Math.max(this.#slowUntil[kind], until);
    void clock.sleep(until - clock.monotonicMs(), this.#stopping).then(() => this.#wake());
  }

  /** It waits because the channel limits our calls. */
  get isLimited(): boolean {
    return this.#options.clock.monotonicMs() < this.#limitedUntil;
  }

  /** The channel refused a call for rate. */
  async limited(kinds: readonly BudgetClass[], forMs: number): Promise<void> {
    const { clock, ids, log, store, connection } = this.#options;
    const { orgId, connectionId } = connection;
    this.slow(kinds, forMs);
    this.#limitedUntil = Math.max(...kinds.map((kind) => this.#slowUntil[kind]));
    this.#limits += 1;
    if (this.#limits !== limitsToSay) return;
    log.warn({ ...connection, forMs }, 'The channel keeps limiting our calls.');
    const alert = {
      kind: 'connection_limited' as const,
      message: `The channel limits our calls again and again; the last time for ${Math.ceil(forMs / 1_000)} s. Numbers follow later than usual; nothing is lost.`,
      subject: { kind: 'connection', id: connectionId },
    };
    await store.tenant(orgId, (tx) => raiseAlerts(tx, orgId, [alert], { ids, now: clock.now() }));
  }

  pause(forMs: number): void {
    this.slow(all, forMs);
  }

  async notReached(reason: string): Promise<void> {
    const { clock, ids, log, store, connection } = this.#options;
    const { orgId, connectionId } = connection;
    const mono = clock.monotonicMs();
    if (mono < this.#backsOffUntil) return;
    this.#failures += 1;
    const backOffMs = Math.min(longestBackOffMs, 100 * 2 ** this.#failures);
    this.#backsOffUntil = mono + backOffMs;
    this.slow(all, backOffMs);
    if (this.#failures !== failuresToSay) return;
    log.warn({ ...connection, reason }, 'The channel cannot be reached.');
    const alert = {
      kind: 'connection_unreachable' as const,
      message: `The channel cannot be reached: ${reason}`,
      subject: { kind: 'connection', id: connectionId },
    };
    await store.tenant(orgId, async (tx) => {
      await setConnectionState(tx, orgId, connectionId, 'unreachable', reason, clock.now());
      await raiseAlerts(tx, orgId, [alert], { ids, now: clock.now() });
    });
  }

  async reached(): Promise<void> {
    const { clock, store, connection } = this.#options;
    const { orgId, connectionId } = connection;
    const said = this.#failures >= failuresToSay;
    const limited = this.#limits >= limitsToSay;
    this.#failures = 0;
    this.#backsOffUntil = 0;
    this.#limits = 0;
    if (limited)
      await store.tenant(orgId, (tx) => resolveAlerts(tx, orgId, 'connection_limited', [connectionId], clock.now()));
    if (!said) return;
    await store.tenant(orgId, async (tx) => {
      await setConnectionState(tx, orgId, connectionId, 'connected', null, clock.now());
      await resolveAlerts(tx, orgId, 'connection_unreachable', [connectionId], clock.now());
      await retryReads(tx, orgId, connectionId, clock.now());
    });
  }

  /** Stock and orders were just read: whatever was said of the channel is over. */
  async working(): Promise<void> {
    const { clock, log, store, connection } = this.#options;
    const { orgId, connectionId } = connection;
    this.#failures = 0;
    this.#refusals = 0;
    this.#askAgainAt = null;
    const changed = await store.tenant(orgId, async (tx) => {
      await resolveAlerts(tx, orgId, 'connection_unreachable', [connectionId], clock.now());
      await resolveAlerts(tx, orgId, 'connection_unauthorized', [connectionId], clock.now());
      await retryReads(tx, orgId, connectionId, clock.now());
      return setConnectionState(tx, orgId, connectionId, 'connected', null, clock.now());
    });
    if (changed) log.info({ ...connection }, 'The channel works again.');
    this.#wake();
  }

  async unauthorized(reason: string): Promise<void> {
    const { clock, ids, log, store, connection } = this.#options;
    const { orgId, connectionId } = connection;
    this.#askAgainAt = clock.monotonicMs() + Math.min(longestRefusalMs, soonestAskMs * 2 ** this.#refusals);
    this.#refusals += 1;
    log.warn({ ...connection, reason }, 'The channel no longer accepts our authorisation.');
    const alert = {
      kind: 'connection_unauthorized' as const,
      message: `The channel no longer accepts our authorisation: ${reason.replace(/\.$/, '')}. Nothing is published there until it is renewed; nothing is lost.`,
      subject: { kind: 'connection', id: connectionId },
    };
    await store.tenant(orgId, async (tx) => {
      const changed = await setConnectionState(tx, orgId, connectionId, 'unauthorized', reason, clock.now());
      if (changed) await raiseAlerts(tx, orgId, [alert], { ids, now: clock.now() });
    });
  }
}
