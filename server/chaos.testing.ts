/**
 * Chaos from outside: the real product as child processes, random actors at every simulated channel, faults, disasters.
 *
 *   const product = await launch({ dataDir, profile: 'open' });   one process; of several: fleet.testing.ts
 *   await rampage(product, { seed: 7, ms: 20_000, kills: 2 })     buyers, staff, gremlins, then quiet
 *   await settled(product, history, 60_000)                       waits until the judge (chaos-judge.testing.ts) has nothing to say
 *
 * A seed fixes what every actor wants to do and when the process is killed; what it meets depends on the machine.
 *
 * By hand, longer (each seed on a fresh data folder, which is kept when something broke):
 *   node_modules/.bin/node --disable-warning=ExperimentalWarning server/chaos-explore.testing.ts --seeds 1-20 --seconds 20 --kills 3 [--profile vendor] [--settle 90] [--keep]
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { DemoFile } from './testing/demo.ts';

export const places = ['shopA', 'shopB', 'amazon'] as const;
export type Place = (typeof places)[number];

/** mulberry32 */
export function dice(seed: number) {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    below: (limit: number) => Math.floor(next() * limit),
    one: <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)] as T,
    happens: (share: number) => next() < share,
  };
}
export type Dice = ReturnType<typeof dice>;

export const rest = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

// ── the product ──

/** What actors and judge need to know of it, of however many processes it consists. */
export interface Product {
  /** Its embedded PostgreSQL lies there. */
  dataDir: string;
  demo: DemoFile;
  /** Up and serving; false between a kill of all of it and the next start. */
  alive: boolean;
  /** Each compares all numbers. */
  starts: number;
  /** Something terrible happens to it, and it is made whole again. @returns what it was */
  disaster(random: Dice): Promise<string>;
}

/** A fleet of one: everything dies at once. */
export interface OneProcess extends Product {
  profile: 'open' | 'vendor';
  child: ChildProcess;
}

export async function launch(options: { dataDir: string; profile: 'open' | 'vendor' }): Promise<OneProcess> {
  const product = {
    ...options,
    alive: false,
    starts: 0,
    async disaster(random: Dice) {
      const database = random.happens(0.5);
      await killAndRestart(product, { database });
      return database ? 'everything killed' : 'the server killed';
    },
  } as OneProcess;
  await start(product);
  return product;
}

export const root = join(import.meta.dirname, '..');

async function start(product: OneProcess): Promise<void> {
  const file = join(product.dataDir, 'demo.json');
  rmSync(file, { force: true });
  product.starts += 1;
  const errors = openSync(`${product.dataDir}.log`, 'a');
  const child = spawn(
    join(root, 'node_modules/.bin/node'),
    ['--disable-warning=ExperimentalWarning', 'apps/cli/main.ts', 'start'],
    {
      cwd: root,
      stdio: ['ignore', 'ignore', errors],
      env: {
        PATH: process.env.PATH,
        HOME: process.env.HOME,
        PORT: '0',
        SYNCSTATE_DATA_DIR: product.dataDir,
        SYNCSTATE_SIM_PROFILE: product.profile,
        LOG_LEVEL: 'warn',
      },
    },
  );
  product.child = child;
  const until = performance.now() + 60_000;
  while (!existsSync(file)) {
    if (child.exitCode !== null || performance.now() > until)
      throw new Error(`start ${product.starts} did not come up (exit ${child.exitCode}); see ${product.dataDir}.log`);
    await rest(25);
  }
  product.demo = JSON.parse(readFileSync(file, 'utf8')) as DemoFile;
  product.alive = true;
}

export const gone = (child: ChildProcess): Promise<void> =>
  child.exitCode !== null || child.signalCode !== null
    ? Promise.resolve()
    : new Promise((done) => child.once('exit', () => done()));

/** kill -9 of the server, and of its database too; then a start on the same folder, on whatever port is free. */
export async function killAndRestart(product: OneProcess, options: { database: boolean }): Promise<void> {
  product.alive = false;
  const postmaster = options.database ? postmasterOf(product.dataDir) : null;
  product.child.kill('SIGKILL');
  if (postmaster !== null) {
    try {
      process.kill(postmaster, 'SIGKILL');
    } catch {
      // It died with its parent.
    }
  }
  await gone(product.child);
  await start(product);
}

function postmasterOf(dataDir: string): number | null {
  const file = join(dataDir, 'postgres', 'data', 'postmaster.pid');
  if (!existsSync(file)) return null;
  const pid = Number(readFileSync(file, 'utf8').split('\n')[0]);
  return Number.isInteger(pid) && pid > 1 ? pid : null;
}

export async function stop(product: OneProcess): Promise<void> {
  product.alive = false;
  product.child.kill('SIGTERM');
  await Promise.race([gone(product.child), rest(8_000)]);
  product.child.kill('SIGKILL');
  await gone(product.child);
}

export interface Reply<T> {
  status: number;
  body: T;
}

/** What may be asked twice is asked again when a kept connection was just closed under it. */
async function request<T>(
  ...ask: [url: string, method: string, headers: Record<string, string>, body: unknown]
): Promise<Reply<T>> {
  const [url, method] = ask;
  if (method === 'POST' && !url.endsWith('/sync')) return requestOnce<T>(...ask);
  return requestOnce<T>(...ask).catch(async () => {
    await rest(50);
    return requestOnce<T>(...ask);
  });
}

async function requestOnce<T>(
  url: string,
  method: string,
  headers: Record<string, string>,
  body: unknown,
): Promise<Reply<T>> {
  const response = await fetch(url, {
    method,
    headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(15_000),
  });
  const text = await response.text();
  return { status: response.status, body: (text === '' ? null : JSON.parse(text)) as T };
}

export function api<T>(product: Product, path: string, body?: unknown, key?: string): Promise<Reply<T>> {
  const { demo } = product;
  return request(
    `${demo.url}${path}`,
    body === undefined ? 'GET' : 'POST',
    { authorization: `Bearer ${demo.apiKey}`, ...(key === undefined ? {} : { 'idempotency-key': key }) },
    body,
  );
}

export const connectionOf = (product: Product, place: Place): DemoFile['connections'][number] =>
  product.demo.connections[places.indexOf(place)] as DemoFile['connections'][number];

export function sim<T>(
  product: Product,
  place: Place,
  path: string,
  body?: unknown,
  method?: string,
): Promise<Reply<T>> {
  return request(
    `${connectionOf(product, place).simulatorUrl}/_sim${path}`,
    method ?? (body === undefined ? 'GET' : 'POST'),
    {},
    body,
  );
}

// ── what happened, as the actors know it: for the judge ──

/** An order a simulator confirmed. Times are this machine's, as the simulators' logs are. */
export interface Placed {
  place: Place;
  id: string;
  lines: { sku: string; quantity: number }[];
  /** Confirmed by then. */
  at: number;
  /** Somebody began to take units off it (a cancel, an edit, a refund); from then on nothing is claimed of it. */
  loosenedAt: number | null;
}

/** Goods of ours that came or went: sent at, answered at; the change in sellable units. */
export interface Goods {
  sku: string;
  units: number;
  sentAt: number;
}

/** Somebody changed a channel's own number there: from what it was by a look right before, asked at; done at. */
export interface Meddled {
  place: Place;
  sku: string;
  location: string;
  before: number;
  quantity: number;
  askedAt: number;
  at: number;
}

export interface History {
  placed: Placed[];
  goods: Goods[];
  meddled: Meddled[];
  /** SKUs somebody counted: their goods cannot be told from outside. */
  counted: Set<string>;
  acts: number;
  disasters: string[];
  calls: Record<string, number>;
  /** Answers nobody should get. */
  strange: string[];
}

export const emptyHistory = (): History => ({
  placed: [],
  goods: [],
  meddled: [],
  counted: new Set(),
  acts: 0,
  disasters: [],
  calls: {},
  strange: [],
});

// ── actors ──

/** Sold at every channel, and few of them. */
export const scarce = ['DEMO-001', 'DEMO-002', 'DEMO-003', 'DEMO-LAST', 'DEMO-ZERO'];
/** Sold at every channel, plenty; goods come and go only in ways that add up. */
export const plenty = ['DEMO-005', 'DEMO-006', 'DEMO-007'];
/** Parts of KIT-2 and KIT-3. */
export const parts = ['DEMO-021', 'DEMO-022', 'DEMO-023'];
/** Sold at one channel only: there every unit given back is a unit it has sold. */
export const own: Record<Place, string> = { shopA: 'DEMO-010', shopB: 'DEMO-011', amazon: 'DEMO-012' };

interface Run {
  product: Product;
  history: History;
  over: () => boolean;
}

/** Asks until somebody answers: the process may be dead just now. @returns null when the run is over first. */
async function insist<T>(run: Run, ask: () => Promise<Reply<T>>): Promise<Reply<T> | null> {
  for (;;) {
    if (run.product.alive) {
      try {
        const reply = await ask();
        // "Still running": what a killed process left under this key is taken over after half a minute.
        if (reply.status !== 503 && (reply.body as { code?: string } | null)?.code !== 'store.conflict') return reply;
      } catch {
        // Killed under us.
      }
    }
    if (run.over()) return null;
    await rest(30);
  }
}

/** Once: a person at a channel's page does not repeat what may have worked. */
async function once<T>(run: Run, ask: () => Promise<Reply<T>>): Promise<Reply<T> | null> {
  if (!run.product.alive) {
    await rest(30);
    return null;
  }
  run.history.acts += 1;
  return ask().catch(() => null);
}

function count(history: History, name: string): void {
  history.calls[name] = (history.calls[name] ?? 0) + 1;
}

async function shopper(run: Run, place: Place, random: Dice, pause: number): Promise<void> {
  const mine: Placed[] = [];
  const { product, history } = run;
  const goods = [...scarce, ...scarce, ...plenty, ...parts, 'KIT-2', 'KIT-3', 'KIT-2', own[place], own[place]];
  if (place === 'shopA') goods.push('DEMO-UNMAPPED');
  while (!run.over()) {
    await rest(random.below(2 * pause));
    const roll = random.next();
    const order = mine.length > 0 ? random.one(mine) : null;
    if (roll < 0.6 || order === null) {
      const lines = [...new Set(Array.from({ length: 1 + random.below(3) }, () => random.one(goods)))].map((sku) => ({
        sku,
        quantity: 1 + random.below(3),
      }));
      const status = random.happens(0.25) ? 'pending' : 'paid';
      const oversell = random.happens(0.05);
      const wanted = place === 'amazon' && random.happens(0.05) ? [{ sku: 'DEMO-FBA', quantity: 1 }] : lines;
      const reply = await once(run, () =>
        sim<{ id: string; lines: { sku: string; quantity: number }[] }>(product, place, '/orders', {
          lines: wanted,
          status,
          oversell,
        }),
      );
      count(history, `order ${reply?.status ?? 'lost'}`);
      if (reply?.status !== 201) continue;
      const at = Date.now();
      // Sold beyond the channel's own number: those units never stood there, so none of them can be given back.
      const placed: Placed = {
        place,
        id: reply.body.id,
        lines: reply.body.lines,
        at,
        loosenedAt: oversell ? at : null,
      };
      history.placed.push(placed);
      mine.push(placed);
    } else if (roll < 0.68) {
      const reply = await once(run, () => sim(product, place, '/payments', { order: order.id }));
      count(history, `payment ${reply?.status ?? 'lost'}`);
    } else if (roll < 0.78) {
      order.loosenedAt ??= Date.now();
      const restock = random.happens(0.7);
      const reply = await once(run, () => sim(product, place, '/cancellations', { order: order.id, restock }));
      count(history, `cancel ${reply?.status ?? 'lost'}`);
    } else if (roll < 0.86) {
      order.loosenedAt ??= Date.now();
      const line = random.one(order.lines);
      const lines = [{ sku: line.sku, quantity: random.below(place === 'amazon' ? line.quantity + 1 : 5) }];
      const reply = await once(run, () => sim(product, place, '/edits', { order: order.id, lines }));
      count(history, `edit ${reply?.status ?? 'lost'}`);
    } else if (roll < 0.96) {
      const reply = await once(run, () => sim(product, place, '/fulfillments', { order: order.id }));
      count(history, `ship ${reply?.status ?? 'lost'}`);
    } else {
      order.loosenedAt ??= Date.now();
      const line = random.one(order.lines);
      const reply = await once(run, () =>
        sim(product, place, '/returns', {
          order: order.id,
          lines: [{ sku: line.sku, quantity: 1, disposition: 'SELLABLE' }],
          restock: random.happens(0.5),
        }),
      );
      count(history, `return ${reply?.status ?? 'lost'}`);
    }
  }
}

async function staff(run: Run, random: Dice, seed: number): Promise<void> {
  const { product, history } = run;
  const ours = [...plenty, ...parts, ...Object.values(own)];
  for (let n = 0; !run.over(); n += 1) {
    await rest(random.below(240));
    const key = `chaos-${seed}-${n}`;
    const location = random.happens(0.25) ? 'EAST' : 'MAIN';
    const roll = random.next();
    const sentAt = Date.now();
    const book = async (sku: string, units: number, path: string, body: object): Promise<void> => {
      // Sent, and sent again until it is answered: it may take effect at any time from now on.
      const goods = { sku, units, sentAt };
      if (units > 0) history.goods.push(goods);
      const reply = await insist(run, () => api(product, path, body, key));
      history.acts += 1;
      count(history, `${path} ${reply?.status ?? 'lost'}`);
      if (reply === null) history.counted.add(sku);
      else if (reply.status >= 300 && units > 0) history.goods.splice(history.goods.indexOf(goods), 1);
      else if (reply.status < 300 && units < 0) history.goods.push(goods);
      if (reply !== null && ![200, 201, 202, 409].includes(reply.status))
        history.strange.push(`${path}: ${reply.status} ${JSON.stringify(reply.body)}`);
    };
    if (roll < 0.35) {
      const sku = random.one([...scarce, ...ours]);
      const quantity = 1 + random.below(4);
      await book(sku, quantity, '/api/receipts', { sku, location, quantity });
    } else if (roll < 0.5) {
      const sku = random.one(ours);
      const change = -1 - random.below(3);
      await book(sku, change, '/api/inventory/adjustments', { sku, location, change, reason: 'correction' });
    } else if (roll < 0.65) {
      const sku = random.one(scarce);
      history.counted.add(sku);
      const quantity = random.below(9);
      history.goods.push({ sku, units: quantity, sentAt });
      const reply = await insist(run, () => api(product, '/api/counts', { sku, location, quantity }, key));
      count(history, `count ${reply?.status ?? 'lost'}`);
    } else if (roll < 0.75) {
      const sku = random.one([...plenty, 'KIT-2', 'DEMO-002', 'DEMO-023']);
      const bufferQty = random.below(6);
      const reply = await insist(run, () => api(product, `/api/buffer/${sku}`, { bufferQty }, key));
      count(history, `buffer ${reply?.status ?? 'lost'}`);
    } else if (roll < 0.9) {
      const sku = random.one(ours);
      const quantity = 1 + random.below(2);
      await book(sku, quantity, '/webhook/amazon/return', {
        sku,
        quantity,
        disposition: 'SELLABLE',
        returnOrderId: key,
      });
    } else {
      const sku = random.one(ours);
      const quantity = 1 + random.below(2);
      const reply = await insist(run, () => api(product, '/api/holds', { sku, quantity, expiresInSeconds: 2 }, key));
      count(history, `hold ${reply?.status ?? 'lost'}`);
    }
  }
}

/** The channel's own number, and where it is changed when no place is named. */
async function shownAt(product: Product, place: Place, sku: string): Promise<{ location: string; before: number }> {
  const { body } = await sim<{ items: { sku: string; location: string; quantity: number }[] }>(
    product,
    place,
    '/state',
  );
  const location = connectionOf(product, place).locations.find(({ code }) => code === 'MAIN')?.externalId ?? '';
  const item = body.items.find((one) => one.sku === sku && one.location === location);
  return { location, before: item?.quantity ?? 0 };
}

/** Somebody in a channel's admin. */
async function meddler(run: Run, random: Dice): Promise<void> {
  const { product, history } = run;
  while (!run.over()) {
    await rest(300 + random.below(1_200));
    const place = random.one(places);
    const sku = random.one([...scarce, ...plenty, 'KIT-2', own[place]]);
    const quantity = random.below(20);
    const askedAt = Date.now();
    const there = await shownAt(product, place, sku).catch(() => null);
    if (there === null) continue;
    const reply = await once(run, () => sim(product, place, '/stock', { sku, quantity }));
    count(history, `meddle ${reply?.status ?? 'lost'}`);
    // Without an answer it may have been done all the same.
    history.meddled.push({ place, sku, ...there, quantity, askedAt, at: Date.now() });
  }
}

async function gremlin(run: Run, random: Dice): Promise<void> {
  const { product, history } = run;
  const writes = { shopA: 'inventorySetQuantities', shopB: 'inventorySetQuantities', amazon: 'patchListingsItem' };
  const reads = { shopA: 'nodes', shopB: 'nodes', amazon: 'getListingsItem' };
  while (!run.over()) {
    await rest(100 + random.below(700));
    const place = random.one(places);
    const times = 1 + random.below(3);
    const operation = random.one([writes[place], writes[place], reads[place], undefined]);
    const match = operation === undefined ? {} : { match: { operation } };
    const fault = random.one<object>([
      { kind: 'drop', times },
      { kind: 'duplicate', times },
      { kind: 'delay', times, ms: random.below(3_000) },
      { kind: 'reorder', times, ms: random.below(1_500) },
      { kind: 'status', status: 429, retryAfter: 1, times, ...match },
      { kind: 'status', status: random.one([500, 502, 503]), times, ...match },
      { kind: 'timeout_before', times, ms: random.below(1_500), ...match },
      { kind: 'timeout_after', times, ms: random.below(1_500), ...match },
      { kind: 'timeout_after', times, ms: random.below(300), match: { operation: writes[place] } },
      { kind: 'half_batch', times, match: { operation: writes[place] } },
      { kind: 'revoke', times, ...match },
    ]);
    const reply = await once(run, () => sim(product, place, '/faults', fault));
    count(history, `fault ${(fault as { kind: string }).kind} ${reply?.status ?? 'lost'}`);
  }
}

export interface Rampage {
  seed: number;
  ms: number;
  /** Disasters. */
  kills: number;
  /** What happened before, to go on with. */
  history?: History;
  /** Milliseconds between a shopper's acts, on average. */
  pause?: number;
  faults?: boolean;
  meddling?: boolean;
}

/** Everything at once for `ms`, then every fault is taken away and what a person would do after a bad day: sync. */
export async function rampage(product: Product, options: Rampage): Promise<History> {
  const { seed, ms, kills, pause = 90, history = emptyHistory() } = options;
  const random = dice(seed);
  for (const sku of ['DEMO-001', 'DEMO-002', 'DEMO-003']) {
    const quantity = 4 + random.below(8);
    history.goods.push({ sku, units: quantity, sentAt: Date.now() });
    history.counted.add(sku);
    await api(product, '/api/counts', { sku, location: 'MAIN', quantity });
  }
  // The time a disaster takes does not count, and however slow the machine is, none is left out.
  let end = performance.now() + ms;
  let left = kills;
  const run: Run = { product, history, over: () => product.alive && left === 0 && performance.now() > end };
  const actors = [
    ...places.flatMap((place, n) => [
      shopper(run, place, dice(seed * 100 + n), pause),
      shopper(run, place, dice(seed * 100 + 10 + n), pause),
    ]),
    staff(run, dice(seed * 100 + 20), seed),
    ...(options.meddling === false ? [] : [meddler(run, dice(seed * 100 + 30))]),
    ...(options.faults === false ? [] : [gremlin(run, dice(seed * 100 + 40))]),
  ];
  for (; left > 0; left -= 1) {
    await rest((ms / (kills + 1)) * (0.5 + random.next()));
    const down = performance.now();
    history.disasters.push(await product.disaster(random));
    end += performance.now() - down;
  }
  await Promise.all(actors);
  await calm(product);
  return history;
}

export async function calm(product: Product): Promise<void> {
  for (const place of places) await sim(product, place, '/faults', undefined, 'DELETE');
  for (const place of places) await api(product, `/api/connections/${connectionOf(product, place).id}/sync`, {});
}
