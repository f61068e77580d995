/**
 * One simulated process of ours: the flows as server/deps.ts wires them (real intake and publisher with all their loops),
 * over the world's store, clock, chance and wire. It can be killed at any step and another one started.
 *
 * Left out of the wiring: what only shows (metrics, live events, logs, the stored log of outside calls).
 */
import { amazon } from '#connectors/amazon/index.ts';
import { createBudgets } from '#connectors/kit/budget.ts';
import type { Connector } from '#connectors/kit/ports.ts';
import { type ConnectionTransport, createTransport } from '#connectors/kit/transport.ts';
import { tuned } from '#connectors/kit/tuning.ts';
import { shopify } from '#connectors/shopify/index.ts';
import type { RawRow } from '#core/catalog/import-rows.ts';
import type { Clock, Ids, Random } from '#core/effects.ts';
import { createIntake, type Intake } from '#server/flows/intake.ts';
import { createPressure } from '#server/flows/pressure.ts';
import { createPublisher } from '#server/flows/publisher.ts';
import type { ConnectionRef, FlowLog, OpenedConnection, Publisher } from '#server/flows/publisher-types.ts';
import { importFile, type OpenedFile } from '#server/flows/run-kinds/import-file.ts';
import { undoImport } from '#server/flows/run-kinds/undo-import.ts';
import { createRunner, type Runner } from '#server/flows/runs.ts';
import { createVault, type Vault } from '#server/secrets.ts';
import { seededIds } from '#sim/kit/chance.ts';
import type { Message } from '#sim/kit/sender.ts';
import { getConnection } from '#store/connections/connections.ts';
import type { Store } from '#store/tx.ts';
import type { Owner, Scheduler } from './scheduler.ts';
import { steppedStore } from './store.ts';
import type { Trace } from './trace.ts';
import type { Wire } from './wire.ts';

export const connectors: Readonly<Record<string, Connector>> = { shopify, amazon };
export const vault: Vault = createVault([{ id: 'world', key: new Uint8Array(32).map((_, n) => n + 1) }]);

export interface SimProcess {
  readonly owner: Owner;
  readonly store: Store;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly intake: Intake;
  readonly publisher: Publisher;
  readonly runs: Runner;
  open(ref: ConnectionRef): Promise<OpenedConnection | null>;
  start(): void;
  /** The webhook route: resolve, verify, identify, store. Never answers when it dies meanwhile. */
  webhook(message: Message): Promise<boolean>;
  wake(): void;
}

export interface ProcessOptions {
  name: string;
  scheduler: Scheduler;
  inner: Store;
  trace: Trace;
  wire: Wire;
  random: Random;
  soleProcess: boolean;
  /** Targets that a lane claims in one look; null: the product's own number. */
  slice: number | null;
  /** What flows log as errors, for the trace and the judge. */
  onError(fields: Record<string, unknown>, message: string): void;
}

/** Nobody hurries: commits of this process wake its loops, these look for what others and time leave. */
const pollMs = 15_000;
/** Instead of 6 hours, so that quiet passes a stock sweep soon. */
export const stockSweepMs = 900_000;
/** Sleeps up to so long are looks (a lane's is a third of its lease, an idle drain's twenty times `pollMs`). */
const longestLookMs = 90_000;
/** Nobody of the world changes a connection's credentials: its row is read now and then. */
const openedForMs = 60_000;

export function createProcess(options: ProcessOptions): SimProcess {
  const { scheduler, trace, wire, random, soleProcess, slice } = options;
  const owner: Owner = { name: options.name, alive: true, pollsMs: longestLookMs };
  const clock = scheduler.clock(owner);
  const ids = seededIds(clock, random);
  const store = steppedStore(options.inner, scheduler, owner, trace);
  const log: FlowLog = {
    info() {},
    warn: (fields, message) => trace.add(`${owner.name} warns: ${message} ${JSON.stringify(fields)}`),
    error: (fields, message) => {
      const told = 'err' in fields ? { ...fields, err: String(fields.err) } : fields;
      trace.add(`${owner.name} fails: ${message} ${JSON.stringify(told)}`);
      options.onError(told, message);
    },
  };
  const open = opener({ store, clock, random, wire, owner });
  const pressure = createPressure(clock);
  const common = { store, clock, random, ids, log, pressure, openConnection: open, soleProcess, pollMs };
  const intake: Intake = createIntake({
    ...common,
    connectorOf: (platform) => connectors[platform] ?? null,
    platforms: Object.keys(connectors),
    vault,
    workers: 2,
    onCommitted: () => publisher.wake(),
  });
  const publisher: Publisher = createPublisher({
    ...common,
    stockSweepMs,
    ...(slice !== null && { slice }),
    requestOrderSweep: (ref) =>
      void intake.requestSweep(ref).catch((error: unknown) => log.warn({ error: String(error) }, 'order sweep')),
    completeUnmapped: (ref) =>
      void intake
        .completeUnmapped(ref)
        .catch((error: unknown) => log.warn({ error: String(error) }, 'unmapped orders')),
  });

  const compareAndSetOf = (platform: string) => connectors[platform]?.manifest.stock.compareAndSet ?? false;
  const wake = () => {
    publisher.wake();
    intake.wake();
  };
  const runs: Runner = createRunner({
    store,
    clock,
    ids,
    log,
    kinds: {
      'import-stock': importFile('stock', { openFile, compareAndSetOf }),
      'undo-import': undoImport({ compareAndSetOf }),
    },
    wake,
    mapped: async (orgId, connectionId) => void (await intake.completeUnmapped({ orgId, connectionId })),
    pollMs,
  });

  return {
    owner,
    store,
    clock,
    ids,
    intake,
    publisher,
    runs,
    open,
    start() {
      intake.start();
      publisher.start();
      runs.start();
    },
    async webhook({ uri, headers: sent, body }) {
      const headers = Object.fromEntries(Object.entries(sent).map(([name, value]) => [name.toLowerCase(), value]));
      const raw = Buffer.from(body);
      const [platform = '', token = ''] = new URL(uri).pathname.split('/').slice(2);
      const connector = connectors[platform]?.webhook;
      const found = await intake.resolve(platform, token, headers['x-shopify-shop-domain'] ?? null);
      if (!found || !connector?.verify(raw, headers, found.secrets)) return false;
      const { orgId, connectionId } = found;
      const identity = connector.identify(raw, headers);
      const { kind } = await intake.receive({ orgId, connectionId, source: 'webhook', ...identity, body: raw });
      return kind !== 'foreign';
    },
    wake,
  };
}

/** The world's files are rows already: reading CSV takes real time, which no seed decides. */
async function openFile(bytes: () => AsyncIterable<Uint8Array>): Promise<OpenedFile> {
  const parts: Uint8Array[] = [];
  for await (const part of bytes()) parts.push(part);
  const rows = JSON.parse(Buffer.concat(parts).toString()) as RawRow[];
  async function* records() {
    for (const row of rows) yield { row: row.row, rows: [row], errors: [], cells: null };
  }
  return { header: null, records: records() };
}

function opener(deps: { store: Store; clock: Clock; random: Random; wire: Wire; owner: Owner }) {
  interface Opened {
    stamp: string;
    readAt: number;
    transport: ConnectionTransport;
    opened: OpenedConnection;
  }
  const open = new Map<string, Opened>();
  return async ({ orgId, connectionId }: ConnectionRef): Promise<OpenedConnection | null> => {
    const readAt = deps.clock.now();
    const fresh = open.get(connectionId);
    if (fresh && readAt - fresh.readAt < openedForMs) return fresh.opened;
    const row = await deps.store.tenant(orgId, (tx) => getConnection(tx, orgId, connectionId));
    const connector = row === null ? undefined : connectors[row.platform];
    if (row === null || connector === undefined) return null;
    const stamp = JSON.stringify([row.settings, row.credentials?.toString('base64')]);
    const known = open.get(row.id);
    if (known?.stamp === stamp) {
      known.readAt = readAt;
      return known.opened;
    }
    void known?.transport.close();
    const { kind, baseUrl, settings } = row;
    const manifest = tuned(connector.manifest, settings);
    const transport = createTransport({
      clock: deps.clock,
      random: deps.random,
      kind,
      baseUrl,
      allowedHosts: manifest.hosts,
      allowCustomEndpoints: true,
      budgets: createBudgets(deps.clock, manifest.budgets),
      exchanger: deps.wire.exchanger(deps.owner),
    });
    const sealed = row.credentials;
    const credentials =
      sealed === null
        ? {}
        : (JSON.parse(vault.open(sealed, { orgId, connectionId, column: 'credentials' }).reveal()) as Record<
            string,
            string
          >);
    const { clock, random } = deps;
    const channel = connector.open({ connectionId, kind, baseUrl, settings, credentials, transport, clock, random });
    const opened = { manifest, channel };
    open.set(row.id, { stamp, readAt, transport, opened });
    return opened;
  };
}
