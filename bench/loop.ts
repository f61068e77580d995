/**
 * How fast the loop is, from outside: a buyer buys at a simulated shop; how long until the sibling shop and Amazon have
 * taken the corrected number. The product runs as a user runs it (`syncstate start`, embedded database, fsync on), its
 * simulators in the same process; times are read from the simulators' own call logs.
 *
 * Yardstick beside it: the same number of bare steps without any of our code: two loopback HTTP round trips and four
 * durable writes of 8 KiB to the same disk (webhook, order, attempt, outcome are the four commits of the loop).
 */
import { spawn } from 'node:child_process';
import { closeSync, existsSync, fdatasyncSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BenchResult } from './run.ts';

const sales = 120;
/** Below Amazon's documented 5 writes a second, which our budget keeps to: this measures the loop, not the limit. */
const gapMs = 260;

interface Connection {
  simulatorUrl: string;
}
interface Call {
  at: string;
  operation: string;
  status: number;
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const quantile = (sorted: readonly number[], part: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;
const figures = (values: number[]) => {
  const sorted = [...values].sort((a, b) => a - b);
  return { n: sorted.length, p50: quantile(sorted, 0.5), p95: quantile(sorted, 0.95), p99: quantile(sorted, 0.99) };
};

export async function run(): Promise<BenchResult> {
  const dir = mkdtempSync(join(tmpdir(), 'syncstate-bench-'));
  const launcher = join(import.meta.dirname, '..', 'apps', 'cli', 'main.ts');
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', launcher, 'start'], {
    env: {
      ...process.env,
      PORT: '0',
      SYNCSTATE_DATA_DIR: dir,
      LOG_LEVEL: 'warn',
      SYNCSTATE_SIM_PROFILE: 'open',
      SYNCSTATE_DEMO: 'on',
      NODE_ENV: 'development',
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  try {
    for (let waited = 0; !existsSync(join(dir, 'demo.json')); waited += 100) {
      if (waited > 60_000 || child.exitCode !== null) throw new Error('the server did not start');
      await pause(100);
    }
    const demo = JSON.parse(readFileSync(join(dir, 'demo.json'), 'utf8')) as {
      connections: [Connection, Connection, Connection];
    };
    const loop = await measure(demo.connections);
    const yard = await yardstick(dir);
    return {
      title: 'From a sale at one shop to the corrected number at its siblings, ms',
      rows: [
        { figure: 'sibling shop took the number', ...loop.shop, ratio: loop.shop.p50 / yard.p50 },
        { figure: 'Amazon took the number', ...loop.amazon, ratio: loop.amazon.p50 / yard.p50 },
        { figure: 'yardstick: 2 HTTP round trips + 4 durable writes', ...yard, ratio: 1 },
      ],
      settings: { sales, gapMs, simulatorProfile: 'open', callsPerSale: loop.callsPerSale },
    };
  } finally {
    child.kill('SIGTERM');
    await new Promise<void>((resolve) => (child.exitCode === null ? child.once('exit', () => resolve()) : resolve()));
    rmSync(dir, { recursive: true, force: true });
  }
}

async function control<T>(connection: Connection, path: string, body?: unknown): Promise<T> {
  const answer = await fetch(
    `${connection.simulatorUrl}/_sim${path}`,
    body === undefined
      ? {}
      : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) },
  );
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as T;
}

async function measure([a, b, c]: [Connection, Connection, Connection]) {
  const buy = (index: number) =>
    control(a, '/orders', { lines: [{ sku: `DEMO-${String((index % 20) + 1).padStart(3, '0')}`, quantity: 1 }] });
  for (let index = 0; index < 20; index += 1) {
    await buy(index);
    await pause(gapMs);
  }
  await pause(1_000);
  const before = await Promise.all(
    [b, c].map((connection) => control<{ next: number }>(connection, '/calls?since=0').then(({ next }) => next)),
  );
  const placed: number[] = [];
  for (let index = 0; index < sales; index += 1) {
    placed.push(Date.now());
    await buy(index);
    await pause(gapMs);
  }
  await pause(2_000);
  const took = async (connection: Connection, since: number, operation: string) => {
    const { calls } = await control<{ calls: Call[] }>(connection, `/calls?since=${since}`);
    const writes = calls
      .filter((call) => call.operation === operation && call.status === 200)
      .map((call) => Date.parse(call.at));
    const times: number[] = [];
    let next = 0;
    for (const [index, at] of placed.entries()) {
      while (next < writes.length && (writes[next] ?? 0) < at) next += 1;
      const write = writes[next];
      if (write !== undefined && write < (placed[index + 1] ?? Number.POSITIVE_INFINITY) + gapMs * 20)
        times.push(write - at);
    }
    return { ...figures(times), calls: calls.length };
  };
  const { calls: shopCalls, ...shop } = await took(b, before[0] ?? 0, 'inventorySetQuantities');
  const { calls: amazonCalls, ...amazon } = await took(c, before[1] ?? 0, 'patchListingsItem');
  return { shop, amazon, callsPerSale: { siblingShop: shopCalls / sales, amazon: amazonCalls / sales } };
}

async function yardstick(dir: string) {
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => response.end('{}'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const file = openSync(join(dir, 'yardstick'), 'w');
  const block = Buffer.alloc(8_192, 1);
  const times: number[] = [];
  for (let index = 0; index < sales; index += 1) {
    const from = performance.now();
    for (let write = 0; write < 4; write += 1) {
      writeSync(file, block);
      fdatasyncSync(file);
    }
    for (let trip = 0; trip < 2; trip += 1) await (await fetch(url, { method: 'POST', body: '{}' })).text();
    times.push(performance.now() - from);
  }
  closeSync(file);
  await new Promise((resolve) => server.close(resolve));
  return figures(times);
}
