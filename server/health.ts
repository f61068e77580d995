/**
 * Health with reasons: each part of the installation as one organization meets it, ok | degraded | down, why, and since when.
 *
 * Asked by GET /api/health and `syncstate status`. /health and /ready stay one word each (routes/health.ts): a load balancer needs no more.
 * `since` is the database's where it is a fact there (the oldest waiting change, the last sweep), else when this process first saw it.
 */
import { statfsSync } from 'node:fs';
import { inTime } from '#core/duration.ts';
import type { Clock } from '#core/effects.ts';
import type { Store, StoreMetrics } from '#store/tx.ts';
import { type ConnectionItem, readConnections } from '#store/views/connections.ts';
import type { Figure } from '#store/views/figures.ts';

export type HealthState = 'ok' | 'degraded' | 'down';

export interface HealthPart {
  part: string;
  state: HealthState;
  reason: string;
  /** ISO; null: not known. */
  since: string | null;
}

export interface Health {
  state: HealthState;
  parts: HealthPart[];
}

export interface HealthSources {
  store: Store;
  clock: Clock;
  figures(): Promise<readonly Figure[]>;
  /** Where the embedded database lies; null: the database is elsewhere. */
  databaseFolder: string | null;
  /** Connections of this process whose breaker is open. */
  openBreakers(): readonly string[];
  /** Migrations this release has and the database lacks. */
  pendingMigrations: number;
}

/** From here on: degraded, down. */
export const limits = {
  inboxSeconds: [60, 600],
  laneSeconds: [60, 600],
  clockMs: [5_000, 60_000],
  freeMb: [500, 100],
  ordersSweptSeconds: [3_600, 86_400],
  stockSweptSeconds: [43_200, 172_800],
} as const;

const rank: Record<HealthState, number> = { ok: 0, degraded: 1, down: 2 };
const above = (value: number, [degraded, down]: readonly [number, number]): HealthState =>
  value >= down ? 'down' : value >= degraded ? 'degraded' : 'ok';
const ago = (seconds: number): string => inTime(seconds * 1_000);

export function createHealth(sources: HealthSources) {
  const seen = new Map<string, { state: HealthState; at: string }>();
  const { clock, store } = sources;

  const part = (orgId: string, name: string, state: HealthState, reason: string, since?: string | null): HealthPart => {
    const key = `${orgId}/${name}`;
    const known = seen.get(key);
    const at = known?.state === state ? known.at : new Date(clock.now()).toISOString();
    seen.set(key, { state, at });
    return { part: name, state, reason, since: since ?? at };
  };

  async function check(orgId: string): Promise<Health> {
    const told = (name: string, state: HealthState, reason: string, since?: string | null) =>
      part(orgId, name, state, reason, since);
    const parts: HealthPart[] = [];
    let connections: ConnectionItem[] = [];
    let figures: readonly Figure[] = [];
    try {
      const before = clock.now();
      const { rows } = await store.system((tx) => tx.query<{ now: Date }>('select clock_timestamp() as now'), {
        statementTimeoutMs: 5_000,
      });
      const apart = Math.abs((rows[0]?.now.getTime() ?? 0) - (before + clock.now()) / 2);
      connections = await store.tenant(orgId, (tx) => readConnections(tx, orgId, null));
      figures = await sources.figures();
      parts.push(told('database', 'ok', 'answers'));
      parts.push(
        told('clock', above(apart, limits.clockMs), `${Math.round(apart)} ms between this machine and the database`),
      );
    } catch (error) {
      parts.push(
        told('database', 'down', `does not answer: ${error instanceof Error ? error.message : String(error)}`),
      );
    }
    parts.push(pool(told, store.metrics()));
    parts.push(
      sources.pendingMigrations === 0
        ? told('migrations', 'ok', 'the database is at this release')
        : told('migrations', 'down', `${sources.pendingMigrations} are missing: syncstate migrate`),
    );
    if (sources.databaseFolder !== null) parts.push(disk(told, sources.databaseFolder));
    if (parts[0]?.state === 'ok') {
      parts.push(inbox(told, figures, clock.now()));
      for (const connection of connections)
        parts.push(...channel(told, connection, figures, sources.openBreakers(), clock.now()));
    }
    const state = parts.reduce<HealthState>((worst, one) => (rank[one.state] > rank[worst] ? one.state : worst), 'ok');
    return { state, parts };
  }
  return { check };
}

export type HealthCheck = ReturnType<typeof createHealth>;

type Told = (name: string, state: HealthState, reason: string, since?: string | null) => HealthPart;

function pool(told: Told, { connections, idle, waiting }: StoreMetrics): HealthPart {
  const used = `${connections - idle} of ${connections} connections at work`;
  if (waiting === 0) return told('database pool', 'ok', used);
  return told(
    'database pool',
    'degraded',
    `${waiting} wait for one, ${used}: raise SYNCSTATE_DB_POOL, or look at slow statements`,
  );
}

function disk(told: Told, folder: string): HealthPart {
  const { bavail, bsize } = statfsSync(folder);
  const free = Math.round((bavail * bsize) / 2 ** 20);
  const [degraded, down] = limits.freeMb;
  const state = free < down ? 'down' : free < degraded ? 'degraded' : 'ok';
  return told('disk', state, `${free} MB free in ${folder}`);
}

const figureOf = (figures: readonly Figure[], name: string, connectionId: string | null = null): number | null =>
  figures.find((one) => one.figure === name && one.connectionId === connectionId)?.value ?? null;

function inbox(told: Told, figures: readonly Figure[], now: number): HealthPart {
  const oldest = figureOf(figures, 'inbox_oldest_seconds') ?? 0;
  const waiting = figureOf(figures, 'inbox_waiting') ?? 0;
  const state = above(oldest, limits.inboxSeconds);
  const reason = waiting === 0 ? 'nothing waits' : `${waiting} events wait, the oldest for ${ago(oldest)}`;
  return told('inbox', state, reason, state === 'ok' ? undefined : new Date(now - oldest * 1_000).toISOString());
}

function channel(
  told: Told,
  connection: ConnectionItem,
  figures: readonly Figure[],
  openBreakers: readonly string[],
  now: number,
): HealthPart[] {
  const { id, name, state, stateReason } = connection;
  const named = (what: string) => `${name}: ${what}`;
  const seconds = (figure: string) => figureOf(figures, figure, id);
  const back = (age: number) => new Date(now - age * 1_000).toISOString();
  const access =
    state === 'connected'
      ? told(named('access'), 'ok', 'the channel works with us')
      : told(
          named('access'),
          'down',
          `${state}${stateReason === null ? '' : `: ${stateReason}`}; syncstate connection ${state === 'unauthorized' ? 'renew' : 'test'} "${name}"`,
        );
  const oldest = seconds('targets_oldest_seconds') ?? 0;
  const lag = connection.paused ? 'ok' : above(oldest, limits.laneSeconds);
  const lane = told(
    named('lane'),
    lag,
    connection.paused
      ? `paused, ${connection.waiting} waiting`
      : connection.waiting === 0
        ? 'every number is sent'
        : `${connection.waiting} numbers wait, the oldest for ${ago(oldest)}`,
    lag === 'ok' ? undefined : back(oldest),
  );
  const parts = [access, lane];
  const sweeps = [
    ['order sweep', seconds('orders_swept_seconds'), limits.ordersSweptSeconds],
    ['stock sweep', seconds('stock_swept_seconds'), limits.stockSweptSeconds],
  ] as const;
  for (const [what, age, limit] of sweeps)
    if (age !== null) {
      const late = above(age, limit);
      parts.push(told(named(what), late, `last ${ago(age)} ago`, late === 'ok' ? undefined : back(age)));
    }
  if (openBreakers.includes(id))
    parts.push(
      told(
        named('breaker'),
        'degraded',
        'open: the channel has not been answering, calls wait and it is asked now and then',
      ),
    );
  return parts;
}
