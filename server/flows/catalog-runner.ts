/**
 * Drives catalogue imports that were asked for by API, or that their driver left: due ones are taken under a lease of the
 * database, page by page, by whichever process is first. A lost process's import is taken up when its lease has passed.
 *
 * Faults of the channel are tried again later (a revoked token too: signing in again is all it takes), after the last try
 * the import stands as failed, with its reason, until somebody resumes it.
 */
import { CodedError } from '#core/errors.ts';
import { readCatalogImport } from '#store/catalog/channel-import.ts';
import { dueCatalogImports, faultsOf, leaseImport, leaveImport } from '#store/catalog/channel-import-runs.ts';
import { type CatalogImportOptions, continueCatalogImport, IMPORT_LEASE_MS } from './import-catalog.ts';
import type { FlowLog } from './publisher-types.ts';
import { createPulse } from './pulse.ts';
import { undoCatalogImport } from './undo-catalog.ts';

export interface CatalogRunner {
  start(): void;
  stop(): Promise<void>;
  /** Something was asked for. */
  wake(): void;
}

export type CatalogRunnerOptions = Omit<CatalogImportOptions, 'signal' | 'onProgress' | 'hooks'> & {
  log: FlowLog;
  /** How often it looks for imports that others left. */
  pollMs?: number;
};

const MOST_FAULTS = 12;
const FIRST_RETRY_MS = 30_000;
const LONGEST_RETRY_MS = 3_600_000;

export function createCatalogRunner(options: CatalogRunnerOptions): CatalogRunner {
  const { store, clock, log } = options;
  const pulse = createPulse(clock);
  const stopping = new AbortController();
  let running: Promise<void> | null = null;

  async function loop(): Promise<void> {
    while (!stopping.signal.aborted) {
      const beats = pulse.beats;
      try {
        for (const due of await dueCatalogImports(store, new Date(clock.now()), 20)) {
          if (stopping.signal.aborted) return;
          await driveCatalogImport({ ...options, signal: stopping.signal }, due.orgId, due.id);
        }
      } catch (error) {
        log.error({ err: error }, 'catalogue imports');
      }
      await pulse.wait(beats, options.pollMs ?? 15_000, stopping.signal);
    }
  }

  return {
    start() {
      running ??= loop();
    },
    async stop() {
      stopping.abort();
      await running;
    },
    wake: () => pulse.wake(),
  };
}

/**
 * One import, or its undoing, under the lease: to its end, to the signal's, or to a fault that is written down.
 * @returns false: somebody else is at it
 */
export async function driveCatalogImport(
  options: CatalogImportOptions & { log: FlowLog },
  orgId: string,
  id: string,
): Promise<boolean> {
  const { store, clock, log } = options;
  const now = clock.now();
  const until = new Date(now + IMPORT_LEASE_MS);
  if (!(await store.tenant(orgId, (tx) => leaseImport(tx, orgId, id, new Date(now), until)))) return false;
  const { undoing, faults } = await store.tenant(orgId, (tx) => faultsOf(tx, orgId, id));
  let fault: Parameters<typeof leaveImport>[3] = null;
  try {
    if (undoing) await undo(options, orgId, id);
    else {
      const outcome = await continueCatalogImport(options, orgId, id);
      if (outcome.kind === 'unavailable')
        throw new CodedError('connector.unavailable', 'The connection cannot be opened.');
    }
  } catch (error) {
    const code = error instanceof CodedError ? error.code : 'api.fault';
    const message = error instanceof Error ? error.message : String(error);
    log.warn({ err: error, orgId, importId: id }, 'catalogue import');
    const wait = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** faults);
    const again = faults + 1 < MOST_FAULTS && code !== 'domain.no_raw_pages' && code !== 'connector.rejected';
    fault = { code, message, nextTryAt: again ? new Date(clock.now() + wait) : null };
  }
  await store.tenant(orgId, (tx) => leaveImport(tx, orgId, id, fault));
  return true;
}

async function undo(options: CatalogImportOptions, orgId: string, id: string): Promise<void> {
  const row = await options.store.tenant(orgId, (tx) => readCatalogImport(tx, orgId, id));
  if (!row) return;
  const opened = await options.openConnection({ orgId, connectionId: row.connectionId });
  await undoCatalogImport({ ...options, compareAndSet: opened?.manifest.stock.compareAndSet ?? false }, orgId, id);
}
