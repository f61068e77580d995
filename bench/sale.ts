/**
 * From a sale at one shop to the sibling shop's own number: 50 orders a second, each of another SKU, simulators that take 5 ms to
 * answer, profile open. Measured from outside, by the simulators' own clocks: the order is placed → the sibling has carried out a
 * write of that SKU. One process of simulators, one of ours, its database; fsync on.
 *
 * Yardstick beside it: bare steps without our code, as many as the loop has (bench/loop.ts): two HTTP round trips and four durable
 * writes of 8 KiB, one after the other, plus the simulator's 5 ms.
 */
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { met, pause, quantiles, round, until } from './kit/figures.ts';
import { type Market, openMarket } from './kit/market.ts';
import type { BenchResult } from './run.ts';

const skus = 600;
const warm = 100;
const perSecond = 50;
const latencyMs = 5;
const bar = { p50: 50, p99: 250 };

export async function run(): Promise<BenchResult> {
  const market = await openMarket({ skus, shops: 2, units: 1_000, profile: 'open', latencyMs });
  try {
    const [own = '', sibling = ''] = market.shopNames;
    const { next } = await market.calls(sibling);
    const before = market.product.cpu();
    const placed = await market.sell(own, skus, perSecond);
    await until('both shops are right', market.settled, 60_000, 100);
    const cpu = market.product.cpu();
    const per = (spent: number) => round((spent * 1_000) / skus, 2);
    const loop = quantiles(await delays(market, sibling, next, placed));
    const yard = await yardstick();
    const { counts } = await market.calls(sibling, next);
    return {
      title: `From a sale to the sibling shop's own number, ${perSecond} orders/s, ms`,
      rows: [
        {
          figure: 'sale → sibling',
          ...loop,
          'server ms/order': per(cpu.server - before.server),
          'database ms/order': per(cpu.database - before.database),
          ratio: round(loop.p50 / yard.p50),
          bar: `p50 < ${bar.p50}, p99 < ${bar.p99}`,
          is: met(loop.n === skus - warm && loop.p50 < bar.p50 && loop.p99 < bar.p99),
        },
        { figure: 'yardstick: 2 HTTP round trips + 4 durable writes + 5 ms', ...yard, ratio: 1, bar: '', is: '' },
      ],
      settings: { ...(await market.settings()), perSecond, sales: skus, notCounted: warm, siblingCalls: counts },
    };
  } finally {
    await market.close();
  }
}

/** Of each sale after the first ones: until the first write of its SKU that came after it. */
async function delays(market: Market, sibling: string, since: number, placed: readonly number[]): Promise<number[]> {
  const items = await market.items(sibling);
  const { writes } = await market.calls(sibling, since);
  const first = new Map<number, number>();
  for (const { at, items: named } of writes)
    for (const item of named) {
      const sku = items[item];
      if (sku !== undefined && at >= (placed[sku] ?? Number.POSITIVE_INFINITY) && !first.has(sku)) first.set(sku, at);
    }
  return placed.flatMap((at, sku) => (sku < warm || !first.has(sku) ? [] : [(first.get(sku) ?? 0) - at]));
}

async function yardstick(): Promise<ReturnType<typeof quantiles>> {
  const dir = mkdtempSync(join(tmpdir(), 'syncstate-bench-'));
  const server = createServer((request, response) => {
    request.resume();
    request.on('end', () => response.end('{}'));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const file = openSync(join(dir, 'yardstick'), 'w');
  const block = Buffer.alloc(8_192, 1);
  const times: number[] = [];
  for (let index = 0; index < 100; index += 1) {
    const from = performance.now();
    for (let write = 0; write < 4; write += 1) {
      writeSync(file, block);
      fdatasyncSync(file);
    }
    for (let trip = 0; trip < 2; trip += 1) await (await fetch(url, { method: 'POST', body: '{}' })).text();
    await pause(latencyMs);
    times.push(performance.now() - from);
  }
  closeSync(file);
  rmSync(dir, { recursive: true, force: true });
  server.closeAllConnections();
  server.close();
  return quantiles(times);
}
