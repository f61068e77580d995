/**
 * Coalescer: many single API commands, one transaction.
 *
 *   waiting → (2 ms after the first, or 200) → posting: one transaction per organization → answered
 *
 * A unit is a command and the rows that must stand or fall with it (idempotency, audit): `write` gets all units of the batch
 * with their answers, in the same transaction, and writes them set-wise. A batch that throws is halved until the culprit is
 * alone: only its caller sees the fault. Organizations never share a batch, so a tenant's faults cost only itself.
 * Callers are answered after the commit, never before. Used by API routes for commands that write nothing else.
 */

import type { Clock, Ids } from '#core/effects.ts';
import { assert, StoreError } from '#core/errors.ts';
import { type Command, MAX_COMMANDS, type Posted } from '#core/stock/movement.ts';
import type { Store, Tx } from '../tx.ts';
import { post } from './post.ts';

/** The longest a command waits for company. */
const gatherMs = 2;
/** Batches of different organizations (and successive ones) that run at once. */
const writers = 3;

export interface Unit<Row> {
  command: Command;
  actor: string;
  /** What `write` needs to store beside the command. */
  row: Row;
}

export interface Coalescer<Row> {
  /** Resolves after the commit. Rejects with the fault of this unit alone. */
  submit(orgId: string, unit: Unit<Row>): Promise<Posted>;
  /** Takes nothing more; resolves when everything taken is answered. */
  stop(): Promise<void>;
}

export interface CoalescerOptions<Row> {
  store: Store;
  clock: Clock;
  ids: Ids;
  /** Stores the rows of a batch, set-wise, in the transaction that posts it. */
  write(tx: Tx, orgId: string, done: readonly { unit: Unit<Row>; answer: Posted }[]): Promise<void>;
}

interface Waiting<Row> {
  unit: Unit<Row>;
  resolve(answer: Posted): void;
  reject(error: unknown): void;
}

export function createCoalescer<Row>(options: CoalescerOptions<Row>): Coalescer<Row> {
  const queues = new Map<string, Waiting<Row>[]>();
  const running = new Set<Promise<void>>();
  let stopped = false;
  let gathering: Promise<void> | null = null;

  /** Takes batches off the queues, the longest waiting organization first, while a writer is free. */
  function dispatch(): void {
    for (const [orgId, queue] of queues) {
      if (running.size >= writers) return;
      const batch = queue.splice(0, MAX_COMMANDS);
      queues.delete(orgId);
      if (queue.length > 0) queues.set(orgId, queue);
      const work: Promise<void> = settle(options, orgId, batch).finally(() => {
        running.delete(work);
        if (queues.size > 0) dispatch();
      });
      running.add(work);
    }
  }

  async function gather(): Promise<void> {
    await options.clock.sleep(gatherMs);
    gathering = null;
    dispatch();
  }

  return {
    submit(orgId, unit) {
      if (stopped) return Promise.reject(new StoreError('store.unavailable', 'The ledger is shutting down.'));
      return new Promise((resolve, reject) => {
        const queue = queues.get(orgId) ?? [];
        queue.push({ unit, resolve, reject });
        queues.set(orgId, queue);
        if (queue.length >= MAX_COMMANDS) dispatch();
        else gathering ??= gather();
      });
    },
    async stop() {
      stopped = true;
      while (gathering || running.size > 0 || queues.size > 0) {
        await gathering;
        await Promise.all(running);
      }
    },
  };
}

/** Posts a batch and answers its callers; halves it when it throws. Never rejects. */
async function settle<Row>(
  options: CoalescerOptions<Row>,
  orgId: string,
  batch: readonly Waiting<Row>[],
): Promise<void> {
  try {
    const answers = await postUnits(
      options,
      orgId,
      batch.map(({ unit }) => unit),
    );
    for (const [i, waiting] of batch.entries()) waiting.resolve(answers[i] as Posted);
  } catch (error) {
    if (batch.length === 1 || unreachable(error)) {
      for (const { reject } of batch) reject(error);
      return;
    }
    const half = batch.length >> 1;
    await settle(options, orgId, batch.slice(0, half));
    await settle(options, orgId, batch.slice(half));
  }
}

/** Nobody's fault in particular: halving would only knock on a closed door. */
const unreachable = (error: unknown) => error instanceof StoreError && error.code === 'store.unavailable';

function postUnits<Row>(
  { store, clock, ids, write }: CoalescerOptions<Row>,
  orgId: string,
  units: readonly Unit<Row>[],
): Promise<Posted[]> {
  return store.tenant(orgId, async (tx) => {
    const commands = units.map(({ command, actor }) => ({ actor, ...command }));
    const answers = await post(tx, orgId, commands, { actor: 'api', now: clock.now(), ids });
    assert(answers.length === units.length, 'every command has an answer');
    await write(
      tx,
      orgId,
      units.map((unit, i) => ({ unit, answer: answers[i] as Posted })),
    );
    return answers;
  });
}
