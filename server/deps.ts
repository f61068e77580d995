/**
 * The one place that wires real things: clock, chance, ids, log, database, connectors, flows.
 * Everything else takes what it needs as a parameter, so that the same code runs in tests and in the simulated world.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { amazon } from '#connectors/amazon/index.ts';
import { createBudgets } from '#connectors/kit/budget.ts';
import type { ConnectionContext, Connector } from '#connectors/kit/ports.ts';
import type { SharedLimits } from '#connectors/kit/sharing.ts';
import { type CallLogEntry, type ConnectionTransport, createTransport } from '#connectors/kit/transport.ts';
import { tuned } from '#connectors/kit/tuning.ts';
import { shopify } from '#connectors/shopify/index.ts';
import type { Clock, Ids, Random } from '#core/effects.ts';
import { ConnectorError } from '#core/errors.ts';
import { uuidv7 } from '#core/uuid.ts';
import { createIdempotency } from '#store/access/idempotency.ts';
import { findApiKey } from '#store/access/keys.ts';
import { type Connection, getConnection } from '#store/connections/connections.ts';
import { exchangeLimits } from '#store/connections/limits.ts';
import { keepOutsideCalls } from '#store/connections/outside-calls.ts';
import { post } from '#store/ledger/post.ts';
import { createStore, type Store } from '#store/tx.ts';
import { cachedFigures } from '#store/views/figures.ts';
import type { ApiDeps } from './api/deps.ts';
import type { Config, SecretKey } from './config.ts';
import { type Credentials, credentialRenewal, openCredentials } from './credentials.ts';
import { createEventHub } from './events.ts';
import { type ImportFormat, openImport } from './files.ts';
import { intakeMetrics, laneMetrics } from './flow-metrics.ts';
import { createIntake, type Intake } from './flows/intake.ts';
import { createPressure, type Pressure } from './flows/pressure.ts';
import { createPublisher } from './flows/publisher.ts';
import type { ConnectionRef, OpenedConnection, Publisher } from './flows/publisher-types.ts';
import { catalogImport, undoCatalog } from './flows/run-kinds/catalog-import.ts';
import { type ImportFileOptions, importFile } from './flows/run-kinds/import-file.ts';
import { undoImport } from './flows/run-kinds/undo-import.ts';
import { createRunner, type Runner } from './flows/runs.ts';
import { tracing } from './flows/tracing.ts';
import { createHealth } from './health.ts';
import { type Alarms, createAlarms } from './jobs/alarms.ts';
import { createPruner, type Pruner } from './jobs/prune.ts';
import { createMetrics } from './metrics.ts';
import { createOutsideCallLog } from './outside-call-log.ts';
import { createRefusedWebhooks } from './refused-webhooks.ts';
import { createVault, keptOnce, type Vault } from './secrets.ts';
import { version } from './version.ts';

export const realClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const done = () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal?.addEventListener('abort', done);
    }),
};
export const realRandom: Random = { next: () => Math.random() };
export const realIds: Ids = { uuid: () => uuidv7(Date.now(), chance()) };

const chanceBytes = 10;
let pool = new Uint8Array(0);

/** From the system in larger pieces: asking it for ten bytes costs more than all else of an id. */
function chance(): Uint8Array {
  if (pool.length < chanceBytes) pool = randomBytes(1_000 * chanceBytes);
  const bytes = pool.subarray(0, chanceBytes);
  pool = pool.subarray(chanceBytes);
  return bytes;
}

export const connectors: Readonly<Record<string, Connector>> = { shopify, amazon };

export interface Deps {
  config: Config;
  store: Store;
  clock: Clock;
  random: Random;
  ids: Ids;
  vault: Vault;
  intake: Intake;
  publisher: Publisher;
  /** Whether a burst comes in, as both of them are told. */
  pressure: Pressure;
  runs: Runner;
  pruner: Pruner;
  alarms: Alarms;
  api: ApiDeps;
  openConnection(ref: ConnectionRef): Promise<OpenedConnection | null>;
  /**
   * Asks the channel whether it lets us in with these, without storing them.
   * @returns what is to be stored: they, or what the channel exchanged them for
   * @throws ConnectorError when it does not
   */
  tryCredentials(ref: ConnectionRef, credentials: Credentials): Promise<Credentials>;
  /** /ready answers 200 from now on. */
  ready(): void;
  /** Open streams end themselves; nothing new is begun. */
  announceStop(): void;
  end(): Promise<void>;
}

/** The keys of SYNCSTATE_SECRET_KEYS; in development one is made and kept in the data folder. */
export function secretKeys(config: Config, dataDir: string): readonly SecretKey[] {
  if (config.secretKeys.length > 0) return config.secretKeys;
  const kept = keptOnce(join(dataDir, 'secret-key'), () => randomBytes(32).toString('base64'));
  return [{ id: 'local', key: new Uint8Array(Buffer.from(kept, 'base64')) }];
}

/** @param options.soleProcess this process holds the data folder of the embedded database: no other can be at work on it */
export async function createDeps(options: {
  config: Config;
  dataDir: string;
  appUrl: string;
  soleProcess: boolean;
}): Promise<Deps> {
  const { config, dataDir } = options;
  const clock = realClock;
  const random = realRandom;
  const ids = realIds;
  const log = pino(
    {
      level: config.logLevel,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: ['*.authorization', '*.accessToken', '*.credentials'],
    },
    pino.destination(2),
  );
  const metrics = createMetrics();
  const store = createStore(options.appUrl, {
    clock,
    random,
    max: config.databasePool,
    scopeTimeoutsMs: config.statementTimeoutsMs,
    slowMs: config.slowStatementMs,
    onSlow: (slow) => log.warn({ ...slow, correlationId: tracing.getStore()?.correlationIds.at(-1) }, 'slow statement'),
  });
  const vault = createVault(secretKeys(config, dataDir));
  const events = createEventHub({ store, clock, onError: (error) => log.error({ err: error }, 'live events') });
  const calls = createOutsideCallLog({
    clock,
    ids,
    keep: (orgId, entries) => store.tenant(orgId, (tx) => keepOutsideCalls(tx, orgId, entries)),
    onError: (error) => log.warn({ err: error }, 'outside-call log'),
  });
  const onCall = (ref: ConnectionRef, entry: CallLogEntry) => {
    const trace = tracing.getStore();
    calls.add(ref, entry, trace);
    const { operation, method, status, outcome, fault, attempt, durationMs, waitedMs } = entry;
    log.debug(
      {
        ...ref,
        correlationId: trace?.correlationIds.at(-1),
        ...((trace?.correlationIds.length ?? 0) > 1 && { correlationIds: trace?.correlationIds }),
        callKey: trace?.callKey,
        skus: trace?.skus,
        operation,
        method,
        status,
        outcome,
        fault,
        attempt,
        tookMs: Math.round(durationMs),
        waitedMs: Math.round(waitedMs),
      },
      'outside call',
    );
  };
  const openConnection = createOpener({
    config,
    store,
    vault,
    clock,
    random,
    ids,
    soleProcess: options.soleProcess,
    onCall,
    metrics,
  });

  const wake = () => {
    publisher.wake();
    intake.wake();
    events.wake();
  };
  const pressure = createPressure(clock);
  const intake = createIntake({
    pressure,
    store,
    connectorOf: (platform) => connectors[platform] ?? null,
    platforms: Object.keys(connectors),
    openConnection: openConnection.open,
    vault,
    clock,
    random,
    ids,
    log,
    soleProcess: options.soleProcess,
    metrics: intakeMetrics(metrics),
    onCommitted: () => {
      publisher.wake();
      events.wake();
    },
  });
  const publisher = createPublisher({
    pressure,
    store,
    clock,
    random,
    ids,
    log,
    openConnection: openConnection.open,
    soleProcess: options.soleProcess,
    metrics: laneMetrics(metrics),
    requestOrderSweep: (ref) =>
      void intake.requestSweep(ref).catch((error: unknown) => log.warn({ err: error, ...ref }, 'order sweep')),
    completeUnmapped: (ref) =>
      void intake
        .completeUnmapped(ref)
        .catch((error: unknown) => log.warn({ err: error, ...ref }, 'complete unmapped orders')),
  });

  const compareAndSetOf = (platform: string) => connectors[platform]?.manifest.stock.compareAndSet ?? false;
  const fileOptions: ImportFileOptions = {
    openFile: (bytes, kind, format) => openImport(bytes, kind, format as ImportFormat),
    compareAndSetOf,
  };
  const mapped = (orgId: string, connectionId: string) =>
    intake
      .completeUnmapped({ orgId, connectionId })
      .then(wake, (error: unknown) => log.error({ err: error, orgId, connectionId }, 'complete unmapped orders'));
  const catalogOptions = {
    openConnection: openConnection.open,
    completeUnmapped: (ref: ConnectionRef) => intake.completeUnmapped(ref),
  };
  const runs = createRunner({
    store,
    clock,
    ids,
    log,
    kinds: {
      'import-stock': importFile('stock', fileOptions),
      'import-products': importFile('products', fileOptions),
      'import-mapping': importFile('mapping', fileOptions),
      'undo-import': undoImport({ compareAndSetOf }),
      'catalog-import': catalogImport(catalogOptions),
      'undo-catalog-import': undoCatalog(catalogOptions),
    },
    wake,
    mapped,
  });
  const figures = cachedFigures(store, clock);
  metrics.connect({ figures, store: () => store.metrics(), transports: openConnection.transports });
  const health = createHealth({
    store,
    clock,
    figures,
    databaseFolder: config.databaseUrl === null ? dataDir : null,
    openBreakers: () =>
      openConnection
        .transports()
        .filter(({ breaker }) => breaker === 'open')
        .map(({ connectionId }) => connectionId),
    // The start of this process brought the database to its release.
    pendingMigrations: 0,
  });
  const alarms = createAlarms({ store, clock, ids, log, limits: config.alarms });
  const pruner = createPruner({ store, clock, log, pruned: (kind, rows) => metrics.pruned.inc({ kind }, rows) });

  let isReady = false;
  const stops = new Set<() => void>();
  const api: ApiDeps = {
    config,
    store,
    clock,
    ids,
    log,
    metrics,
    health,
    refusedWebhook: createRefusedWebhooks({
      store,
      clock,
      onError: (error) => log.warn({ err: error }, 'refused webhook'),
    }),
    version,
    webDir: webDir(),
    keys: { find: (hash) => findApiKey(store, hash) },
    idempotency: createIdempotency(store),
    events,
    intake,
    registry: { connector: (platform) => connectors[platform] ?? null },
    isReady: () => isReady,
    databaseAnswers: () =>
      store
        .system((tx) => tx.query('select 1'))
        .then(
          () => true,
          () => false,
        ),
    async command(caller, command) {
      const [posted] = await store.tenant(
        caller.orgId,
        (tx) => post(tx, caller.orgId, [command], { actor: caller.actor, now: clock.now(), ids }),
        { idempotent: true },
      );
      wake();
      if (!posted) throw new Error('the ledger answered nothing');
      return posted;
    },
    wake,
    mapped: (orgId, connectionId) => void mapped(orgId, connectionId),
    runs,
    syncNow: (orgId, connectionId) => void syncNow({ orgId, connectionId }),
    openConnection: openConnection.open,
    buyAt,
    onStop(stop) {
      stops.add(stop);
      return () => stops.delete(stop);
    },
  };

  async function syncNow(ref: ConnectionRef): Promise<void> {
    try {
      await intake.requestSweep(ref);
      await publisher.requestStockSweep(ref);
    } catch (error) {
      log.warn({ err: error, ...ref }, 'sync');
    }
    wake();
  }

  return {
    config,
    store,
    clock,
    random,
    ids,
    vault,
    intake,
    publisher,
    pressure,
    runs,
    pruner,
    alarms,
    api,
    openConnection: openConnection.open,
    tryCredentials: openConnection.tryOut,
    ready() {
      isReady = true;
    },
    announceStop() {
      isReady = false;
      for (const stop of stops) stop();
    },
    async end() {
      await events.stop();
      await calls.stop();
      await openConnection.close();
      await store.end();
    },
  };
}

/** Opens connections and remembers them while nothing about them changed. */
function createOpener(deps: {
  config: Config;
  store: Store;
  vault: Vault;
  clock: Clock;
  random: Random;
  ids: Ids;
  soleProcess: boolean;
  metrics: ReturnType<typeof createMetrics>;
  onCall(ref: ConnectionRef, entry: CallLogEntry): void;
}) {
  const open = new Map<string, { stamp: string; transport: ConnectionTransport; opened: OpenedConnection }>();

  function build(
    ref: ConnectionRef,
    row: Connection,
    connector: Connector,
    credentials: Credentials,
    renewCredentials: NonNullable<ConnectionContext['renewCredentials']>,
  ): { transport: ConnectionTransport; opened: OpenedConnection } {
    const manifest = tuned(connector.manifest, row.settings);
    const transport = createTransport({
      clock: deps.clock,
      random: deps.random,
      kind: row.kind,
      baseUrl: row.baseUrl,
      allowedHosts: manifest.hosts,
      allowCustomEndpoints: deps.config.allowCustomEndpoints,
      budgets: createBudgets(deps.clock, manifest.budgets),
      shared: sharedLimits(deps, ref),
      log: (entry) => {
        deps.metrics.outsideSeconds.observe(
          { platform: row.platform, operation: entry.operation, outcome: entry.outcome },
          entry.durationMs / 1000,
        );
        deps.metrics.budgetWait.observe({ platform: row.platform, budget: entry.budget }, entry.waitedMs / 1000);
        if (entry.outcome === 'connector.rate_limited')
          deps.metrics.rateLimited.inc({ platform: row.platform, bucket: entry.bucket });
        deps.onCall(ref, entry);
      },
    });
    const channel = connector.open({
      connectionId: row.id,
      kind: row.kind,
      baseUrl: row.baseUrl,
      settings: row.settings,
      credentials,
      renewCredentials,
      transport,
      clock: deps.clock,
      random: deps.random,
    });
    return { transport, opened: { manifest, channel } };
  }

  const find = async (ref: ConnectionRef) => {
    const row = await deps.store.tenant(ref.orgId, (tx) => getConnection(tx, ref.orgId, ref.connectionId));
    const connector = row === null ? undefined : connectors[row.platform];
    return row === null || connector === undefined ? null : { row, connector };
  };

  async function openNow(ref: ConnectionRef): Promise<OpenedConnection | null> {
    const found = await find(ref);
    if (found === null) return null;
    const { row, connector } = found;
    const stampOf = (sealed: Uint8Array | null) =>
      JSON.stringify([row.kind, row.baseUrl, row.settings, sealed && Buffer.from(sealed).toString('base64')]);
    const known = open.get(row.id);
    if (known?.stamp === stampOf(row.credentials)) return known.opened;
    void known?.transport.close();
    const renewal = credentialRenewal(
      {
        ...deps,
        // Its channel has them already: it goes on.
        onKept: (sealed) => {
          const mine = open.get(row.id);
          if (mine?.opened === built.opened) mine.stamp = stampOf(sealed);
        },
      },
      ref,
    );
    const built = build(ref, row, connector, openCredentials(deps.vault, ref, row.credentials), renewal);
    open.set(row.id, { stamp: stampOf(row.credentials), ...built });
    return built.opened;
  }

  const opening = new Map<string, Promise<OpenedConnection | null>>();

  return {
    /** Calls at the same time get the same: a connection opened twice would look changed to whoever has the first. */
    open(ref: ConnectionRef): Promise<OpenedConnection | null> {
      const under = opening.get(ref.connectionId) ?? openNow(ref).finally(() => opening.delete(ref.connectionId));
      opening.set(ref.connectionId, under);
      return under;
    },
    async tryOut(ref: ConnectionRef, credentials: Credentials): Promise<Credentials> {
      const found = await find(ref);
      if (found === null) throw new ConnectorError('connector.rejected', 'There is no such connection.');
      let latest = credentials;
      const { transport, opened } = build(ref, found.row, found.connector, credentials, async (held, exchange) => {
        latest = await exchange(held);
        return latest;
      });
      try {
        await opened.channel.test({ budget: 'read', signal: AbortSignal.timeout(30_000) });
        return latest;
      } finally {
        await transport.close();
      }
    },
    transports: () =>
      [...open].map(([connectionId, { transport }]) => ({
        connectionId,
        breaker: transport.breaker().kind,
        budgets: transport.budgets(),
      })),
    async close() {
      await Promise.all([...open.values()].map(({ transport }) => transport.close()));
    },
  };
}

/** Buckets and breaker of a connection, shared with every other process on this database. Each opening is a holder of its own. */
export function sharedLimits(
  { store, clock, ids, soleProcess = false }: { store: Store; clock: Clock; ids: Ids; soleProcess?: boolean },
  { orgId, connectionId }: ConnectionRef,
): SharedLimits {
  const holder = ids.uuid();
  let alone = soleProcess;
  return {
    async exchange(asked) {
      const context = { now: clock.now(), ids, alone };
      const answer = await store.tenant(
        orgId,
        (tx) => exchangeLimits(tx, orgId, connectionId, holder, asked, context),
        { statementTimeoutMs: 2_000 },
      );
      alone = false;
      return answer;
    },
  };
}

/** Lets a simulated buyer buy, through the simulator's control. Only ever called with a simulated connection's address. */
async function buyAt(
  baseUrl: string,
  lines: { sku: string; quantity: number }[],
): Promise<{ status: number; id: string; error: string }> {
  const answer = await fetch(`${baseUrl}/_sim/orders`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ lines }),
    signal: AbortSignal.timeout(5_000),
  });
  const body = (await answer.json()) as { id?: unknown; error?: unknown };
  return { status: answer.status, id: String(body.id ?? ''), error: String(body.error ?? '') };
}

function webDir(): string | null {
  const dir = join(import.meta.dirname, '..', 'apps', 'web', 'dist');
  return existsSync(dir) ? dir : null;
}
