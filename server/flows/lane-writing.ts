/**
 * Writing: one call with its rows, whose attempts are recorded. Leave is asked for right before it goes, its outcome is booked at
 * once; a lease that is found lost makes what was sent unknown, for a successor to read back. Used by the lane.
 */
import { settleRefused, tellRefused } from '#store/attention/rejected.ts';
import { endHealed, openDrifts } from '#store/drift/record.ts';
import { type AttemptResult, type LaneHold, recordOutcomes } from '#store/listings/attempts.ts';
import { mayLeave } from '#store/listings/halts.ts';
import { announce } from '#store/listings/states.ts';
import type { Tx } from '#store/tx.ts';
import type { LaneLease } from './lane-lease.ts';
import { notSent, resultsOf, resultsOfFailure, type SentRow } from './lane-outcome.ts';
import { refusals, refusedDrifts, sentCall } from './lane-plan.ts';
import type { LaneOptions, SentCall } from './publisher-types.ts';
import { tellAnswered } from './telling.ts';
import { traceOf, tracing } from './tracing.ts';

/** The leave that was given with the attempt is asked for again after this. */
const leaveForMs = 25;

export interface MadeCall {
  results: AttemptResult[];
  followUp: ReturnType<typeof resultsOfFailure>['followUp'];
}

type Options = LaneOptions & {
  lease: LaneLease;
  /** The channel stands as not reached. */
  unreachable(): boolean;
  /** As a killed process: nothing more is sent or recorded. */
  dead(): boolean;
  deadline<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T>;
};

export class LaneWriting {
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  /** @param leaveAt when leave was given with the attempts. @returns null: nothing more is to be done, or nothing went out */
  async make(
    hold: LaneHold,
    key: string,
    budget: 'urgent' | 'bulk',
    rows: SentRow[],
    leaveAt: number,
  ): Promise<MadeCall | null> {
    const { clock, opened, hooks, lease, unreachable, dead, deadline } = this.#options;
    const call = sentCall(key, budget, rows);
    await hooks?.beforeSend?.(call);
    if (dead()) return null;
    if (!lease.mayStillSend()) {
      const renewed = await lease.hold(true);
      if (dead()) return null;
      if (!renewed || renewed.generation !== hold.generation || !lease.mayStillSend()) {
        await this.#notSent(renewed ?? hold, rows);
        return null;
      }
    }
    await hooks?.atSend?.(call);
    const writes = call.rows.map(({ stockKey, channelLocation, value, from }) => ({
      ref: { stockKey, channelLocation },
      value,
      from,
    }));
    this.#measure(rows);
    const leave = this.#leave(hold, call, leaveAt);
    const trace = traceOf(
      rows.map(({ send }) => send.target),
      key,
    );
    let results: AttemptResult[];
    let followUp: MadeCall['followUp'] = { kind: 'again' };
    try {
      const outcomes = await deadline((signal) =>
        tracing.run(trace, () => opened.channel.stock.write(writes, key, { budget, signal, mayLeave: leave })),
      );
      results = resultsOf(rows, outcomes, opened.manifest, clock.now());
    } catch (error) {
      ({ results, followUp } = resultsOfFailure(rows, error, opened.manifest, clock.now(), unreachable()));
    }
    await hooks?.afterSend?.(call);
    if (dead()) return null;
    await this.#book(hold, rows, results);
    await hooks?.afterRecord?.(call);
    return { results, followUp };
  }

  /** Asked by the transport when the call's turn has come. Leave was given when the attempt was committed; older leave is asked for again. */
  #leave(hold: LaneHold, { rows }: SentCall, givenAt: number): () => Promise<boolean> {
    const ids = rows.map(({ targetId }) => targetId);
    return async () => {
      if (this.#options.dead()) return false;
      if (this.#options.clock.monotonicMs() - givenAt < leaveForMs) return true;
      return this.#tx((tx) => mayLeave(tx, hold, ids));
    };
  }

  #measure(rows: readonly SentRow[]): void {
    const { metrics, clock } = this.#options;
    if (!metrics?.sent) return;
    const now = clock.now();
    for (const { send } of rows)
      if (send.target.dirtySince !== null) metrics.sent(this.#options.connection, now - send.target.dirtySince);
  }

  async #book(hold: LaneHold, rows: readonly SentRow[], results: readonly AttemptResult[]): Promise<void> {
    const { clock, metrics, ids } = this.#options;
    const { connectionId } = this.#options.connection;
    const now = clock.now();
    const targetIds = results.map(({ targetId }) => targetId);
    const right = results
      .filter(({ outcome, state }) => outcome === 'applied' && state === 'in_sync')
      .map(({ targetId }) => targetId);
    const held = await this.#tx(async (tx) => {
      const still = await recordOutcomes(tx, hold, results, now);
      await announce(tx, hold.orgId, targetIds);
      await tellRefused(tx, hold.orgId, connectionId, refusals(results), { ids, now });
      await settleRefused(tx, hold.orgId, connectionId, right, now);
      await endHealed(
        tx,
        hold.orgId,
        right.filter((id) => rows.some(({ send }) => send.target.id === id && send.target.drift !== null)),
        now,
      );
      await openDrifts(tx, hold.orgId, refusedDrifts(results, now), { ids, now });
      return still;
    });
    for (const { outcome } of results) metrics?.outcome?.(this.#options.connection, held ? outcome : 'unknown');
    if (held) tellAnswered(this.#options, rows, results, now);
    if (!held) this.#options.lease.lost();
  }

  /** The lease would not outlast the request: nothing went out. */
  async #notSent(hold: LaneHold, rows: readonly SentRow[]): Promise<void> {
    const now = this.#options.clock.now();
    await this.#tx((tx) => recordOutcomes(tx, hold, rows.map(notSent), now));
    this.#options.lease.lost();
  }

  #tx<T>(work: (tx: Tx) => Promise<T>): Promise<T> {
    return this.#options.store.tenant(this.#options.connection.orgId, work);
  }
}
