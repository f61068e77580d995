/**
 * A burst: 10,000 orders over the 1,000 listings of one shop come in as fast as we take them (the shop's own bodies and
 * signatures, its stock notices too); the time runs from the first delivery until both shops, by their own truth, show
 * what they should: every order booked, every sibling's number written.
 *
 * Yardstick beside it: the same bytes to a bare Fastify that keeps them (bench/kit/bare-receiver.ts): what this machine
 * needs to receive the burst at all. Beside the figures: processor time per order, which a busy machine changes little.
 */
import { startHelper } from './kit/child.ts';
import { met, round, until } from './kit/figures.ts';
import type { LoadAnswer, LoadQuestion, Post } from './kit/load.ts';
import { type Market, openMarket } from './kit/market.ts';
import { countingStatements, tableTotals, takeStatements } from './kit/product.ts';
import type { BenchResult } from './run.ts';

const skus = 1_000;
const orders = 10_000;
const bar = 1_000;

export async function run(): Promise<BenchResult> {
  const market = await openMarket({ skus, shops: 2, units: 1_000, profile: 'open', latencyMs: 0 });
  try {
    const posts = await sell(market, orders);
    const receive = await bareSeconds(posts);
    const marks = await Promise.all(market.shopNames.map((name) => market.calls(name)));
    if (countingStatements()) await takeStatements(market.product.owner);
    const cpuBefore = market.product.cpu();
    const shopsBefore = market.simulatorCpu();
    const from = performance.now();
    const load = await letLoose(market.product.url, posts);
    const acceptedSeconds = (performance.now() - from) / 1_000;
    await market.hold(false);
    await until('both shops are right', market.settled, 180_000, 50);
    const seconds = (performance.now() - from) / 1_000;
    const cpu = market.product.cpu();
    const shops = market.simulatorCpu() - shopsBefore;
    const wrong = await market.differences();
    if (wrong.length > 0) throw new Error(`not converged: ${wrong.slice(0, 3).join('; ')}`);
    const counts = await Promise.all(
      market.shopNames.map((name, index) => market.calls(name, marks[index]?.next ?? 0).then((calls) => calls.counts)),
    );
    const perSecond = orders / seconds;
    const per = (spent: number) => round((spent * 1_000) / orders, 3);
    return {
      title: `A burst of ${orders} orders over ${skus} listings, until both shops show what they should`,
      rows: [
        {
          figure: 'orders/s to convergence',
          value: Math.round(perSecond),
          seconds: round(seconds),
          'accepted in s': round(acceptedSeconds),
          'bare receiver s': round(receive),
          ratio: round(seconds / receive),
          'server ms/order': per(cpu.server - cpuBefore.server),
          'database ms/order': per(cpu.database - cpuBefore.database),
          'shops ms/order': per(shops),
          'load ms/order': per(load.cpuSeconds),
          bar: `≥ ${bar}`,
          is: met(perSecond >= bar),
        },
      ],
      settings: {
        ...(await market.settings()),
        deliveries: posts.length,
        statuses: load.statuses,
        calls: counts,
        ...(countingStatements() && {
          statements: await takeStatements(market.product.owner),
          tables: await tableTotals(market.product.owner),
        }),
      },
    };
  } finally {
    await market.close();
  }
}

/** Sold at the first shop, told to nobody yet. */
export async function sell(market: Market, count: number, over = skus): Promise<Post[]> {
  await market.hold(true);
  await market.buy(
    market.shopNames[0] ?? '',
    Array.from({ length: count }, (_, index) => [(index * 7) % over]),
  );
  return market.take();
}

export async function letLoose(url: string, posts: Post[]): Promise<LoadAnswer> {
  const helper = startHelper('load.ts');
  await helper.ask({ do: 'prepare', url, posts } satisfies LoadQuestion);
  const answer = await helper.ask<LoadAnswer>({
    do: 'run',
    connections: 32,
    count: posts.length,
  } satisfies LoadQuestion);
  await helper.stop();
  return answer;
}

async function bareSeconds(posts: Post[]): Promise<number> {
  const bare = startHelper('bare-receiver.ts');
  const answer = await letLoose(await bare.ask<string>({}), posts);
  await bare.stop();
  return answer.seconds;
}
