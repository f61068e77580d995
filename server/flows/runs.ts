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
 * A failure that time heals (no database, a lost race) leaves the run to the next runner; any other ends it, with its words.
 */

import type { Clock, Ids } from '#core/effects.ts';
import { CodedError, StoreError } from '#core/errors.ts';
import {
  advanceRun,
  finishRun,
  giveUpUpload,
  type HeldRun,
  holdRun,
  openRuns,
  type Step,
  takeRun,
} from '#store/runs/runs.ts';
import type { Store, Tx } from '#store/tx.ts';
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

export function createRunner(options: RunnerOptions): Runner {
  const { store, clock, ids, log, kinds, leaseMs = defaultLeaseMs, pollMs = 1_000 } = options;
  const stopping = new AbortController();
  let loop: Promise<void> | null = null;
  let woken = false;
  let wakeUp: (() => void) | null = null;

  async function execute(orgId: string, id: string): Promise<boolean> {
    const holder = ids.uuid();
    const run = await store.tenant(orgId, (tx) => takeRun(tx, orgId, id, { holder, now: clock.now(), forMs: leaseMs }));
    if (run === null) return store.tenant(orgId, (tx) => giveUpUpload(tx, orgId, id, clock.now()));
    const over = new AbortController();
    let cancelled = false;
    const beat = heartbeat(run, over.signal, (heard) => {
      cancelled ||= heard === 'cancel';
      over.abort();
    });
    const halt = () => over.abort();
    stopping.signal.addEventListener('abort', halt);
    let end: Parameters<typeof finishRun>[2] | null;
    try {
      end = await work(run, over.signal, () => cancelled);
    } finally {
      stopping.signal.removeEventListener('abort', halt);
      over.abort();
      await beat;
    }
    if (end !== null) {
      const settled = end;
      await store.tenant(orgId, (tx) => finishRun(tx, run, settled), { idempotent: true });
      log.info({ orgId, runId: id, kind: run.kind, state: settled.state }, 'A run ended.');
    }
    return true;
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

  /** Null: the run stays open for the next runner. */
  async function work(
    run: HeldRun,
    signal: AbortSignal,
    cancelled: () => boolean,
  ): Promise<Parameters<typeof finishRun>[2] | null> {
    const kind = kinds[run.kind];
    const ended = (
      state: 'done' | 'failed' | 'cancelled',
      message: string | null,
      errorFile: string | null = null,
    ) => ({
      state,
      message,
      errorFile,
      now: clock.now(),
    });
    if (!kind) return ended('failed', `This release does not know runs of the kind "${run.kind}".`);
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
      if (cancelled()) return ended('cancelled', 'Cancelled; what was done until then stays done.');
      if (error instanceof Stopped || signal.aborted) return null;
      if (error instanceof StoreError && error.code === 'store.mismatch') return null;
      const code = error instanceof CodedError ? error.code : (error as { code?: unknown }).code;
      log.error({ orgId: run.orgId, runId: run.id, kind: run.kind, err: error }, 'A run failed.');
      if (typeof code === 'string' && passing.has(code)) return null;
      return ended('failed', error instanceof Error ? error.message : String(error));
    }
  }

  async function drain(): Promise<void> {
    for (let round = 0; round < 1_000 && !stopping.signal.aborted; round += 1) {
      const open = (await store.system((tx) => openRuns(tx, clock.now(), 50))).filter(({ kind }) => kinds[kind]);
      let any = false;
      for (const { orgId, id } of open) if (!stopping.signal.aborted && (await execute(orgId, id))) any = true;
      if (!any) return;
    }
  }

  async function keepRunning(): Promise<void> {
    while (!stopping.signal.aborted) {
      woken = false;
      await drain().catch((error: unknown) => log.error({ err: error }, 'Runs; they go on at the next look.'));
      if (woken || stopping.signal.aborted) continue;
      const idle = new AbortController();
      wakeUp = () => idle.abort();
      await clock.sleep(pollMs, idle.signal);
      wakeUp = null;
    }
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
    wake() {
      woken = true;
      wakeUp?.();
    },
    execute,
    drain,
  };
}
