/**
 * What we count, for /metrics; names and meanings in docs/metrics.md, word for word (server/metrics.test.ts).
 *
 * Labels are few and bounded: platforms, routes, outcomes, and ids of connections; no SKU, no order, no name. Beyond `mostConnections`
 * different connections (or pairs of them) the rest is counted as "other". What is a fact of the database is read from it at scrape time,
 * at most every few seconds, so that whichever process is scraped tells the same; everything else is of this process.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { BudgetState } from '#connectors/kit/budget.ts';
import type { StoreMetrics } from '#store/tx.ts';
import type { Figure } from '#store/views/figures.ts';

const mostConnections = 200;

/** What is asked at scrape time; set once everything is wired. */
export interface MetricSources {
  figures(): Promise<readonly Figure[]>;
  store(): StoreMetrics;
  transports(): { connectionId: string; breaker: 'closed' | 'half_open' | 'open'; budgets: BudgetState[] }[];
}

/** The name itself while there are few; then "other". */
function bounded(): (name: string) => string {
  const known = new Set<string>();
  return (name) => {
    if (known.has(name)) return name;
    if (known.size >= mostConnections) return 'other';
    known.add(name);
    return name;
  };
}

const seconds = [0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 30, 60, 120, 300, 900];

export function createMetrics() {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  let sources: MetricSources | null = null;
  const histogram = <L extends string>(name: string, help: string, labelNames: L[], buckets = seconds) =>
    new Histogram({ name, help, labelNames, buckets, registers });
  const counter = <L extends string>(name: string, help: string, labelNames: L[]) =>
    new Counter({ name, help, labelNames, registers });

  const metrics = {
    registry,
    httpSeconds: histogram(
      'syncstate_http_seconds',
      'Time to answer a request',
      ['method', 'route', 'status'],
      [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    ),
    webhooks: counter('syncstate_webhooks_total', 'Webhooks by what became of them', ['platform', 'outcome']),
    outsideSeconds: histogram(
      'syncstate_outside_call_seconds',
      'Time a vendor took to answer',
      ['platform', 'operation', 'outcome'],
      [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    ),
    budgetWait: histogram(
      'syncstate_budget_wait_seconds',
      'Time calls waited for their turn under a vendor’s rate limit',
      ['platform', 'budget'],
    ),
    rateLimited: counter('syncstate_rate_limited_total', 'Calls a vendor refused for rate', ['platform', 'bucket']),
    events: counter('syncstate_inbox_events_total', 'Stored events by what applying them came to', ['outcome']),
    eventSeconds: histogram(
      'syncstate_inbox_seconds',
      'From the arrival of an event to the commit of what it changed',
      [],
    ),
    batchOrders: histogram(
      'syncstate_inbox_batch_orders',
      'Orders applied in one transaction',
      [],
      [1, 2, 5, 10, 20, 50, 100, 200],
    ),
    attempts: counter('syncstate_attempts_total', 'Numbers sent to a channel by outcome', ['connection', 'outcome']),
    changeToSend: histogram(
      'syncstate_change_to_send_seconds',
      'From a change of stock to the moment its call leaves',
      ['connection'],
    ),
    saleToSibling: histogram(
      'syncstate_sale_to_sibling_seconds',
      'From a sale on one connection to the number another has accepted for it; since: channel = the sale’s time at the channel, receipt = the arrival of its event here',
      ['from', 'to', 'since'],
    ),
    lanesInFlight: new Gauge({
      name: 'syncstate_lane_calls_in_flight',
      help: 'Calls a lane has under way',
      labelNames: ['connection', 'budget'],
      registers,
    }),
    pruned: counter('syncstate_pruned_rows_total', 'Old rows thrown away', ['kind']),
    connection: bounded(),
    pair: bounded(),
    connect(to: MetricSources): void {
      sources = to;
    },
  };
  scraped(registry, () => sources);
  return metrics;
}

/** Gauges that are filled when somebody looks. */
function scraped(registry: Registry, sourcesOf: () => MetricSources | null): void {
  const registers = [registry];
  const gauge = <L extends string>(
    name: string,
    help: string,
    labelNames: L[],
    read: (
      sources: MetricSources,
      set: (labels: Partial<Record<L, string>>, value: number) => void,
    ) => Promise<void> | void,
  ) =>
    new Gauge({
      name,
      help,
      labelNames,
      registers,
      async collect() {
        this.reset();
        const sources = sourcesOf();
        if (sources) await read(sources, (labels, value) => this.set(labels as Record<L, string>, value));
      },
    });
  for (const [figure, help, perConnection] of databaseFigures)
    gauge(`syncstate_${figure}`, help, perConnection ? ['connection'] : [], async (sources, set) => {
      let kept = 0;
      for (const { figure: name, connectionId, value } of await sources.figures()) {
        if (name !== figure || (perConnection && ++kept > mostConnections)) continue;
        set(connectionId === null ? {} : { connection: connectionId }, value);
      }
    });
  gauge(
    'syncstate_db_connections',
    'Database connections of this process: used, idle, and callers waiting for one',
    ['state'],
    (sources, set) => {
      const { connections, idle, waiting } = sources.store();
      set({ state: 'used' }, connections - idle);
      set({ state: 'idle' }, idle);
      set({ state: 'waiting' }, waiting);
    },
  );
  gauge(
    'syncstate_db_transactions',
    'Transactions of this process since its start: committed, repeated, failed',
    ['outcome'],
    (sources, set) => {
      const { committed, retried, failed } = sources.store();
      set({ outcome: 'committed' }, committed);
      set({ outcome: 'repeated' }, retried);
      set({ outcome: 'failed' }, failed);
    },
  );
  gauge(
    'syncstate_db_statements',
    'Statements of this process since its start that were slow, or ended for their time limit',
    ['kind'],
    (sources, set) => {
      const { slow, timedOut } = sources.store();
      set({ kind: 'slow' }, slow);
      set({ kind: 'timed_out' }, timedOut);
    },
  );
  gauge(
    'syncstate_breaker_open',
    'Whether calls to a channel are held back because it does not answer: 0 no, 0.5 one call is asking, 1 yes',
    ['connection'],
    (sources, set) => {
      for (const { connectionId, breaker } of sources.transports().slice(0, mostConnections))
        set({ connection: connectionId }, { closed: 0, half_open: 0.5, open: 1 }[breaker]);
    },
  );
  gauge(
    'syncstate_budget_remaining',
    'Share left of a vendor’s rate limit, 0 to 1',
    ['connection', 'bucket'],
    (sources, set) => {
      for (const { connectionId, budgets } of sources.transports().slice(0, mostConnections))
        for (const { bucket, tokens, capacity } of budgets)
          set({ connection: connectionId, bucket }, capacity > 0 ? Math.max(0, tokens) / capacity : 0);
    },
  );
  gauge(
    'syncstate_budget_waiting',
    'Calls that wait for their turn under a vendor’s rate limit',
    ['connection', 'bucket', 'budget'],
    (sources, set) => {
      for (const { connectionId, budgets } of sources.transports().slice(0, mostConnections))
        for (const { bucket, waiting } of budgets)
          for (const [budget, n] of Object.entries(waiting)) set({ connection: connectionId, bucket, budget }, n);
    },
  );
}

/** Rows of system_figures (migrations/0042): figure, help, whether per connection. */
const databaseFigures: readonly [figure: string, help: string, perConnection: boolean][] = [
  ['inbox_waiting', 'Stored events that wait to be applied', false],
  ['inbox_oldest_seconds', 'Age of the oldest event that waits and asks no channel', false],
  ['dirty_waiting', 'Variants whose listings must be looked at', false],
  ['dead_letters', 'Events that could not be applied and wait for a person', false],
  ['alerts_unread', 'Open alerts nobody has read', false],
  ['ledger_commands', 'Commands the ledger has taken, as counted by the database since its last crash', false],
  ['runs_open', 'Long work that waits or is under way: runs, imports of channels’ catalogues', false],
  ['targets_waiting', 'Numbers that wait to be written', true],
  ['targets_oldest_seconds', 'Age of the oldest change that waits to be written', true],
  ['attempts_open', 'Numbers sent whose outcome is not known yet', true],
  ['orders_swept_seconds', 'Time since the last order sweep', true],
  ['stock_swept_seconds', 'Time since the last stock sweep', true],
  ['connection_up', '1: the channel works with us; 0: it refuses us or cannot be reached', true],
];

export type Metrics = ReturnType<typeof createMetrics>;
