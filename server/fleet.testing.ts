/**
 * A fleet: several `syncstate server` and `syncstate worker` processes on one PostgreSQL, for rounds of real concurrency.
 *
 *   const fleet = await startFleet({ dataDir, servers: 2, workers: 2 });
 *   await rampage(fleet, …); await settled(fleet, …);     actors and judge are those of one product (chaos.testing.ts)
 *   await fleet.stop();
 *
 * In this process, and never hurt: the simulated channels, a front that shares calls out to the servers that are up, and
 * whoever starts PostgreSQL again (store/embedded). A vendor's patience is a second or two here, so that leases end within the
 * time of a test: by `requestTimeoutMs` in the connections' own settings.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import pg from 'pg';
import { type EmbeddedPostgres, startEmbedded } from '#store/embedded/index.ts';
import { appUrl, migrate } from '#store/migrate.ts';
import { type Dice, gone, type Product, rest, root } from './chaos.testing.ts';
import { readConfig } from './config.ts';
import { openDemo } from './demo.ts';
import { createDeps } from './deps.ts';

export interface Member {
  name: string;
  role: 'server' | 'worker';
  child: ChildProcess;
  /** Where it listens, from its first start on. */
  port: number | null;
  /** Serving; also while frozen. */
  up: boolean;
}

export type Disaster = 'worker killed' | 'server killed' | 'database killed' | 'worker frozen' | 'server frozen';
export const everyDisaster: readonly Disaster[] = [
  'worker killed',
  'server killed',
  'database killed',
  'worker frozen',
  'server frozen',
];

export interface Fleet extends Product {
  members: Member[];
  postgres: EmbeddedPostgres;
  /** As the owner; a connection of its own each time, since the database may have been killed meanwhile. */
  query<R extends object>(text: string, values?: readonly unknown[]): Promise<R[]>;
  start(member: Member): Promise<void>;
  kill(member: Member): Promise<void>;
  killDatabase(): Promise<void>;
  /** What `disaster` chooses from. */
  disasters: readonly Disaster[];
  /** How long a lane's lease lasts: twice the patience and a second (lane.ts). Who takes over a dead one waits as long, and the patience. */
  leaseMs: number;
  stop(): Promise<void>;
}

export async function startFleet(options: {
  dataDir: string;
  servers: number;
  workers: number;
  /** How long a call is waited for. */
  patienceMs?: number;
}): Promise<Fleet> {
  const { dataDir, patienceMs = 1_000 } = options;
  const postgres = await startEmbedded({ dataDir, log: () => undefined });
  const undo: (() => Promise<unknown>)[] = [() => postgres.stop()];
  const stop = async (): Promise<void> => {
    for (const step of undo.splice(0).reverse()) await step();
  };
  try {
    await migrate(postgres.url);
    const members = [
      ...Array.from({ length: options.servers }, (_, n) => member(`server ${n + 1}`, 'server')),
      ...Array.from({ length: options.workers }, (_, n) => member(`worker ${n + 1}`, 'worker')),
    ];
    const front = await openFront(() => members.flatMap(({ up, port }) => (up && port !== null ? [port] : [])));
    undo.push(() => front.close());
    const demo = await openChannels(postgres.url, dataDir, { front: front.url, patienceMs }, undo);
    const fleet = new RealFleet({ dataDir, postgres, members, demo, stop, leaseMs: 2 * patienceMs + 1_000 });
    undo.push(() => fleet.stopMembers());
    await Promise.all(members.map((one) => fleet.start(one)));
    await compared(fleet);
    return fleet;
  } catch (error) {
    await stop();
    throw error;
  }
}

/** As a product that says ready: every number was read once, so that whatever is sold from now on is missed against it. */
async function compared(fleet: Fleet): Promise<void> {
  const open = `select 1 from targets where state not in ('in_sync', 'read_only', 'unmapped') limit 1`;
  for (const until = performance.now() + 180_000; (await fleet.query(open)).length > 0; await rest(50))
    if (performance.now() > until) throw new Error(`the numbers were not compared; see ${fleet.dataDir}.log`);
}

const member = (name: string, role: Member['role']): Member => ({
  name,
  role,
  child: undefined as unknown as ChildProcess,
  port: null,
  up: false,
});

/** The demo organization with its simulated channels, as `syncstate start` has it, but not in a process of the fleet. */
async function openChannels(
  url: string,
  dataDir: string,
  { front, patienceMs }: { front: string; patienceMs: number },
  undo: (() => Promise<unknown>)[],
) {
  const config = readConfig({
    DATABASE_URL: url,
    SYNCSTATE_DATA_DIR: dataDir,
    SYNCSTATE_DEMO: 'on',
    LOG_LEVEL: 'fatal',
  });
  const deps = await createDeps({ config, dataDir, appUrl: appUrl(url), soleProcess: false });
  undo.push(() => deps.end());
  const demo = await openDemo(deps, dataDir, front);
  undo.push(() => demo.close());
  await ask(url, `update connections set settings = settings || $1`, [{ requestTimeoutMs: patienceMs }]);
  return demo.describe();
}

async function ask<R extends object>(url: string, text: string, values: readonly unknown[] = []): Promise<R[]> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return (await client.query<R>(text, [...values])).rows;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** One address before all servers, as a load balancer: every new connection goes to the next one that is up. */
async function openFront(ports: () => number[]): Promise<{ url: string; close(): Promise<void> }> {
  let turn = 0;
  const sockets = new Set<Socket>();
  const server = createServer((caller) => {
    const open = ports();
    const port = open[turn++ % Math.max(1, open.length)];
    if (port === undefined) return caller.destroy();
    const callee = connect(port, '127.0.0.1');
    for (const [one, other] of [
      [caller, callee],
      [callee, caller],
    ] as const) {
      sockets.add(one);
      one.on('error', () => undefined);
      one.on('close', () => {
        sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

class RealFleet implements Fleet {
  readonly dataDir: string;
  readonly postgres: EmbeddedPostgres;
  readonly members: Member[];
  readonly demo: Product['demo'];
  readonly stop: () => Promise<void>;
  /** Whoever asks finds a server sooner or later. */
  readonly alive = true;
  starts = 0;
  disasters = everyDisaster;
  readonly leaseMs: number;
  #stopping = false;

  constructor(parts: Pick<Fleet, 'dataDir' | 'postgres' | 'members' | 'demo' | 'stop' | 'leaseMs'>) {
    ({
      dataDir: this.dataDir,
      postgres: this.postgres,
      members: this.members,
      demo: this.demo,
      stop: this.stop,
      leaseMs: this.leaseMs,
    } = parts);
  }

  query<R extends object>(text: string, values?: readonly unknown[]): Promise<R[]> {
    return ask<R>(this.postgres.url, text, values);
  }

  /** Again and again, as whoever looks after processes does: the database may be away just now. */
  async start(one: Member): Promise<void> {
    for (let tries = 0; !this.#stopping; tries += 1) {
      this.starts += 1;
      const url = await this.#startOnce(one);
      if (url !== undefined) {
        if (url !== null) one.port = Number(new URL(url).port);
        one.up = true;
        return;
      }
      if (tries >= 30) throw new Error(`${one.name} does not come up; see ${this.dataDir}.log`);
      await rest(200);
    }
  }

  /** @returns where it answers, null for a worker, undefined when it did not come up */
  #startOnce(one: Member): Promise<string | null | undefined> {
    const errors = openSync(`${this.dataDir}.log`, 'a');
    const child = spawn(
      join(root, 'node_modules/.bin/node'),
      ['--disable-warning=ExperimentalWarning', 'apps/cli/main.ts', one.role, '--json'],
      {
        cwd: root,
        stdio: ['ignore', 'pipe', errors],
        env: {
          PATH: process.env.PATH,
          HOME: process.env.HOME,
          DATABASE_URL: this.postgres.url,
          SYNCSTATE_DATA_DIR: this.dataDir,
          // All of them together stay below what PostgreSQL takes.
          SYNCSTATE_DB_POOL: '10',
          PORT: String(one.port ?? 0),
          LOG_LEVEL: 'warn',
        },
      },
    );
    one.child = child;
    return new Promise((done) => {
      let text = '';
      child.stdout?.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
        if (!text.endsWith('}\n')) return;
        done((JSON.parse(text) as { url: string | null }).url);
      });
      child.once('exit', () => {
        one.up = false;
        done(undefined);
      });
    });
  }

  async kill(one: Member): Promise<void> {
    one.up = false;
    one.child.kill('SIGKILL');
    await gone(one.child);
  }

  /** Until it answers again. */
  async killDatabase(): Promise<void> {
    const { pid } = this.postgres;
    process.kill(pid, 'SIGKILL');
    while (this.postgres.pid === pid) await rest(20);
    while (
      !(await this.query('select 1').then(
        () => true,
        () => false,
      ))
    )
      await rest(50);
  }

  async disaster(random: Dice): Promise<string> {
    const what = random.one(this.disasters);
    const [role, how] = what.split(' ');
    if (role === 'database') {
      await this.killDatabase();
      return what;
    }
    const one = random.one(this.members.filter((each) => each.role === role));
    if (how === 'killed') {
      await this.kill(one);
      await rest(random.below(1_000));
      await this.start(one);
    } else {
      one.child.kill('SIGSTOP');
      await rest(this.leaseMs + random.below(2_000));
      one.child.kill('SIGCONT');
    }
    return `${one.name} ${how}`;
  }

  async stopMembers(): Promise<void> {
    this.#stopping = true;
    const started = this.members.filter(({ child }) => child !== undefined);
    for (const { child } of started) child.kill('SIGCONT');
    for (const { child } of started) child.kill('SIGTERM');
    const over = rest(8_000).then(() => {
      for (const { child } of started) child.kill('SIGKILL');
    });
    await Promise.all(started.map(({ child }) => gone(child)));
    void over;
  }
}
