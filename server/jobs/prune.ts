/**
 * Pruning: what is thrown away when, and the loop that does it. The table below is the one place (docs/retention.md shows it to people).
 *
 * Small batches, each its own transaction, oldest first, passing over rows that somebody holds: nothing waits for it, and a process that
 * dies has lost nothing. One process at a time: the advisory lock inside system_prune is the lease (migrations/0041).
 * Never pruned, so not in the table: the ledger (positions, movements, claims, effect keys), orders with their history, open attempts, dead
 * letters, alerts, audit.
 */
import type { Clock } from '#core/effects.ts';
import type { Store } from '#store/tx.ts';
import type { FlowLog } from '../flows/publisher-types.ts';

export const retention = [
  { kind: 'outside_calls', days: 90, what: 'calls to vendors with their answers' },
  {
    kind: 'inbox',
    days: 30,
    what: 'events that were applied, superseded or repeated, with their bodies; dead letters stay',
  },
  { kind: 'idempotency_keys', days: 30, what: 'answers kept for a caller’s own key' },
  { kind: 'events', days: 1, what: 'the live feed' },
  { kind: 'observations', days: 180, what: 'numbers seen at channels; the newest of each stays' },
  { kind: 'attempts', days: 180, what: 'numbers sent; open ones stay, and the newest of each' },
  { kind: 'import_files', days: 30, what: 'files of failed rows made for people to fetch' },
  { kind: 'catalog_pages', days: 90, what: 'a channel’s raw answers of an imported catalogue' },
  { kind: 'run_files', days: 30, what: 'files a run was given' },
  { kind: 'run_items', days: 90, what: 'what a run did to each item; it can be undone until then' },
  { kind: 'run_rows', days: 1, what: 'rows of a file that a run ended without' },
] as const;

export interface PrunerOptions {
  store: Store;
  clock: Clock;
  log: FlowLog;
  /** Rows went. */
  pruned?(kind: string, rows: number): void;
  /** Between two rounds; default an hour. */
  everyMs?: number;
  /** Rows per transaction; default 500. */
  batch?: number;
  /** Between two batches; default 100. */
  pauseMs?: number;
}

const dayMs = 86_400_000;
/** A start has other things to do. */
const firstAfterMs = 60_000;

export function createPruner(options: PrunerOptions) {
  const { store, clock, log, everyMs = 3_600_000, batch = 500, pauseMs = 100 } = options;
  const stopping = new AbortController();
  let loop: Promise<void> | null = null;

  /** @returns rows thrown away; null: another process is at it */
  const step = (kind: string, before: number): Promise<number | null> =>
    store.system(
      async (tx) => {
        const { rows } = await tx.query<{ gone: number | null }>(
          { name: 'prune', text: 'select system_prune($1, to_timestamp($2::float8 / 1000.0), $3) as gone' },
          [kind, before, batch],
        );
        return rows[0]?.gone ?? null;
      },
      { idempotent: true, statementTimeoutMs: 10_000 },
    );

  /** One round over every kind. @returns rows thrown away by kind; what another process is at is left out */
  async function run(): Promise<Record<string, number>> {
    const total: Record<string, number> = {};
    for (const { kind, days } of retention) {
      const before = clock.now() - days * dayMs;
      for (let gone: number | null = batch; gone === batch && !stopping.signal.aborted; ) {
        gone = await step(kind, before);
        if (gone === null) return total;
        total[kind] = (total[kind] ?? 0) + gone;
        if (gone > 0) options.pruned?.(kind, gone);
        if (gone === batch) await clock.sleep(pauseMs, stopping.signal);
      }
    }
    return total;
  }

  async function forever(): Promise<void> {
    await clock.sleep(firstAfterMs, stopping.signal);
    while (!stopping.signal.aborted) {
      try {
        const pruned = await run();
        if (Object.values(pruned).some((rows) => rows > 0)) log.info({ pruned }, 'old rows were thrown away');
      } catch (error) {
        log.warn({ error: error instanceof Error ? error.message : String(error) }, 'pruning failed; again in an hour');
      }
      await clock.sleep(everyMs, stopping.signal);
    }
  }

  return {
    run,
    start(): void {
      loop ??= forever();
    },
    async stop(): Promise<void> {
      stopping.abort();
      await loop;
    },
  };
}

export type Pruner = ReturnType<typeof createPruner>;
