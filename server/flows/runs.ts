/**
 * Runs: long work with items, progress, cancel and an inverse. Any number of processes may run a runner on one database.
 *
 *   receiving → waiting → running → done | failed | cancelled          done → undone (by its inverse run)
 *
 * A runner takes a run under a lease, keeps it with a heartbeat and executes its kind. Each step of a kind is one
 * transaction that ends with `context.advance`: its work, its items, the counts and the mark where the next step begins are
 * one commit. Killed between any two steps, the lease runs out, another runner takes the run up and goes on at the mark:
 * nothing twice, nothing skipped, the counts add up. A holder that wakes after its lease finds that its step is refused.
 *
 * A run whose upload died is `receiving` without a sign of life: it ends as failed, and its key is free again.
 *
 * Cancel is seen by the heartbeat and between steps: what was done stays done (undo takes it back).
 * A failure that time heals (no database, a lost race, a channel that is away) leaves the run to the next runner, after a
 * pause; any other ends it, with its words. A runner that stops gives its runs back: the next one goes on at once. A run
 * whose holders die one after the other without a step between is given up: it would end every process.
 *
 * A runner executes a few runs at once, of one organization fewer than that: nobody's long file holds up all others.
 */

import type { Clock, Ids } from '#core/effects.ts';
import { CodedError, StoreError } from '#core/errors.ts';
import { failureClassOf, failurePolicies } from '#core/failure/retry.ts';
import {
  advanceRun,
  finishRun,
  giveUpUpload,
  type HeldRun,
  holdRun,
  leaveRun,
  openRuns,
  type Step,
  takeRun,
} from '#store/runs/runs.ts';
import type { Store, Tx } from '#store/tx.ts';
import { failureOf } from './failure.ts';
import type { FlowLog } from './publisher-types.ts';

export interface RunContext {
  run: HeldRun;
  store: Store;
  clock: Clock;
  ids: Ids;
  /** Aborted when the run was cancelled, its lease lost, or the process stops: no further step begins. */
  signal: AbortSignal;
  /** Ends a step, in the step's transaction. */
  advance(tx: Tx, step: Step): Promise<void>;
  /** After a committed step: something may have to be published. */
  wake(): void;
  /** Listings became mapped: orders that waited for them are booked. */
  mapped(orgId: string, connectionId: string): Promise<void>;
}

export interface RunKind {
  /** Continues at `context.run.mark`; returns what to say at the end, and the file of failed rows. Throws for what ends the run. */
  execute(context: RunContext): Promise<{ message: string | null; errorFile: string | null }>;
  /** It has ended, in whatever way: what was kept for its steps is not needed any more. */
  ended?(run: Pick<RunContext, 'run' | 'store'>): Promise<void>;
}

/** Which run takes this one back, or why none can. */
export function undoKindOf(run: {
  kind: string;
  state: string;
  dryRun: boolean;
  succeeded: number;
  undoneBy: string | null;
}): { kind: 'undo'; undo: string } | { kind: 'refused'; reason: string } {
  const refused = (reason: string) => ({ kind: 'refused' as const, reason });
  const undo = /^import-(stock|products|mapping)$/.test(run.kind)
    ? 'undo-import'
    : run.kind === 'catalog-import'
      ? 'undo-catalog-import'
      : null;
  if (undo === null) return refused('Runs of this kind cannot be taken back.');
  if (run.dryRun) return refused('It was a dry run: nothing was changed.');
  if (run.undoneBy !== null) return refused(`It is taken back already, by run ${run.undoneBy}.`);
  if (!['done', 'failed', 'cancelled'].includes(run.state)) return refused('It has not ended yet: cancel it first.');
  if (run.succeeded === 0) return refused('It changed nothing.');
  return { kind: 'undo', undo };
}

export interface RunnerOptions {
  store: Store;
  clock: Clock;
  ids: Ids;
  log: FlowLog;
  kinds: Readonly<Record<string, RunKind>>;
  wake(): void;
  mapped(orgId: string, connectionId: string): Promise<void>;
  leaseMs?: number;
  pollMs?: number;
  /** Runs in work at once. */
  atOnce?: number;
}

export interface Runner {
  start(): void;
  stop(): Promise<void>;
  /** A run was made or released. */
  wake(): void;
  /** Takes this run up and executes it to its end here. @returns false when somebody else has it */
  execute(orgId: string, id: string): Promise<boolean>;
  /** Executes what is open until nothing is. */
  drain(): Promise<void>;
}

const defaultLeaseMs = 30_000;
/** Failures that are not the run's own: it goes on with the next runner. */
const passing = new Set(['store.unavailable', 'store.conflict', 'connector.unavailable', 'connector.rate_limited']);

class Stopped extends Error {}

/** Runs in work at once, and of one organization. Each takes up to three database connections. */
const defaultAtOnce = 4;
const ofOneAtOnce = 2;
const longestPauseMs = 30_000;
const deathsAtMost = 5;

const cancelledWords = 'Cancelled; what was done until then stays done.';
const deathWords =
  'Its worker died five times at the same place; it was given up. What was done until then stays done.';

type End = Parameters<typeof finishRun>[2];
/** How it went here: ended; left, and when it may be taken up again; or somebody else has it. */
type Outcome = { end: Omit<End, 'now'> } | { leave: Parameters<typeof leaveRun>[2] } | 'lost';

export function createRunner(options: RunnerOptions): Runner {
  const { store, clock, ids, log, kinds, leaseMs = defaultLeaseMs, pollMs = 1_000, atOnce = defaultAtOnce } = options;
  const stopping = new AbortController();
  /** What is in work here: the organization by run. */
  const working = new Map<string, string>();
  let loop: Promise<void> | null = null;
  let woken = false;
  let wakeUp: (() => void) | null = null;

  async function execute(orgId: string, id: string): Promise<boolean> {
    const holder = ids.uuid();
    const run = await store.tenant(orgId, (tx) => takeRun(tx, orgId, id, { holder, now: clock.now(), forMs: leaseMs }));
    if (run === null) return store.tenant(orgId, (tx) => giveUpUpload(tx, orgId, id, clock.now()));
    const outcome = run.cancelRequested
      ? ended('cancelled', cancelledWords)
      : run.deaths >= deathsAtMost
        ? failed('run.given_up', deathWords)
        : await held(run);
    if (outcome === 'lost') return true;
    if ('leave' in outcome) {
      await store.tenant(orgId, (tx) => leaveRun(tx, run, outcome.leave), { idempotent: true });
      return true;
    }
    const end = { ...outcome.end, now: clock.now() };
    const isOurs = await store.tenant(orgId, (tx) => finishRun(tx, run, end), { idempotent: true });
    if (!isOurs) return true;
    log.info({ orgId, runId: id, kind: run.kind, state: end.state }, 'A run ended.');
    // What is left is pruned later.
    await kinds[run.kind]
      ?.ended?.({ run, store })
      .catch((error: unknown) => log.warn({ err: error, orgId, runId: id }, 'rows of a run'));
    return true;
  }

  /** Works on it while its lease is kept. */
  async function held(run: HeldRun): Promise<Outcome> {
    const over = new AbortController();
    let cancelled = false;
    const beat = heartbeat(run, over.signal, (heard) => {
      cancelled ||= heard === 'cancel';
      over.abort();
    });
    const halt = () => over.abort();
    stopping.signal.addEventListener('abort', halt);
    if (stopping.signal.aborted) halt();
    try {
      return await work(run, over.signal, () => cancelled);
    } finally {
      stopping.signal.removeEventListener('abort', halt);
      over.abort();
      await beat;
    }
  }

  async function heartbeat(run: HeldRun, signal: AbortSignal, told: (heard: 'cancel' | 'lost') => void): Promise<void> {
    while (!signal.aborted) {
      await clock.sleep(Math.min(1_000, leaseMs / 3), signal);
      if (signal.aborted) return;
      const heard = await store
        .tenant(run.orgId, (tx) => holdRun(tx, run, clock.now() + leaseMs), { idempotent: true })
        // The database may be away for a moment; the lease decides.
        .catch(() => 'held' as const);
      if (heard !== 'held') return told(heard);
    }
  }

  async function work(run: HeldRun, signal: AbortSignal, cancelled: () => boolean): Promise<Outcome> {
    const kind = kinds[run.kind];
    if (!kind) return failed('run.unknown_kind', `This release does not know runs of the kind "${run.kind}".`);
    try {
      const { message, errorFile } = await kind.execute({
        run,
        store,
        clock,
        ids,
        signal,
        advance: async (tx, step) => {
          if (signal.aborted) throw new Stopped();
          await advanceRun(tx, run, step);
        },
        wake: options.wake,
        mapped: options.mapped,
      });
      return ended('done', message, errorFile);
    } catch (error) {
      if (cancelled()) return ended('cancelled', cancelledWords);
      if (stopping.signal.aborted) return { leave: null };
      if (error instanceof Stopped || signal.aborted) return 'lost';
      if (error instanceof StoreError && error.code === 'store.mismatch') return 'lost';
      const code = error instanceof CodedError ? error.code : (error as { code?: unknown }).code;
      log.error({ orgId: run.orgId, runId: run.id, kind: run.kind, err: error }, 'A run failed.');
      const words = inWords(error);
      if (typeof code === 'string' && passing.has(code))
        return { leave: { until: clock.now() + Math.min(leaseMs, longestPauseMs), why: `Waits: ${words}` } };
      return failed(failureOf(error).code, words);
    }
  }

  /** Begins what there is room for. @returns what became of each: whether it was ours */
  async function takeUp(): Promise<Promise<boolean>[]> {
    if (working.size >= atOnce || stopping.signal.aborted) return [];
    const open = await store.system((tx) => openRuns(tx, clock.now(), 50));
    return open.flatMap(({ orgId, id, kind }) => {
      const ofOne = [...working.values()].filter((other) => other === orgId).length;
      if (!kinds[kind] || working.has(id) || working.size >= atOnce || ofOne >= ofOneAtOnce) return [];
      working.set(id, orgId);
      return [execute(orgId, id).finally(() => working.delete(id))];
    });
  }

  async function drain(): Promise<void> {
    for (let round = 0; round < 1_000 && !stopping.signal.aborted; round += 1)
      if (!(await Promise.all(await takeUp())).some(Boolean)) return;
  }

  async function keepRunning(): Promise<void> {
    const begun = new Set<Promise<void>>();
    const failed = (error: unknown) => log.error({ err: error }, 'Runs; they go on at the next look.');
    while (!stopping.signal.aborted) {
      woken = false;
      const runs = await takeUp().catch((error: unknown) => {
        failed(error);
        return [];
      });
      for (const run of runs) {
        const ended: Promise<void> = run.then(wake, failed).finally(() => begun.delete(ended));
        begun.add(ended);
      }
      if (woken || stopping.signal.aborted) continue;
      const idle = new AbortController();
      wakeUp = () => idle.abort();
      await clock.sleep(pollMs, idle.signal);
      wakeUp = null;
    }
    await Promise.all(begun);
  }

  function wake(): void {
    woken = true;
    wakeUp?.();
  }

  return {
    start() {
      loop ??= keepRunning();
    },
    async stop() {
      stopping.abort();
      wakeUp?.();
      await loop;
    },
    wake,
    execute,
    drain,
  };
}

const ended = (state: 'done' | 'cancelled', message: string | null, errorFile: string | null = null): Outcome => ({
  end: { state, code: null, message, errorFile },
});
const failed = (code: string, message: string): Outcome => ({
  end: { state: 'failed', code, message, errorFile: null },
});

/** As the database can hold it and a page can show it. The database's own words come after what they mean. */
function inWords(error: unknown): string {
  const { code, message } = failureOf(error);
  const words = /^database\.[0-9A-Z]{5}$/.test(code)
    ? `${failurePolicies[failureClassOf(code)].means} (${message}; ${code})`
    : message;
  return words.replaceAll('\0', '').toWellFormed().slice(0, 2_000);
}
