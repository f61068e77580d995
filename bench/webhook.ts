/**
 * How many webhooks a second are accepted: real Shopify order bodies, verified, stored in one durable commit with their
 * neighbours, and answered 200; from a load generator in another process, over 8 and 32 connections. The product runs whole:
 * what is accepted is booked and published at the same time.
 *
 * Yardstick beside it, interleaved: a bare Fastify that reads the same bodies, writes those of concurrent requests to one file
 * with one fdatasync (as a group commit) and answers: no signature, no database, no order.
 */

import { startHelper } from './kit/child.ts';
import { median, met, round, until } from './kit/figures.ts';
import type { LoadAnswer, LoadQuestion, Post } from './kit/load.ts';
import { openMarket } from './kit/market.ts';
import { countingStatements, takeStatements } from './kit/product.ts';
import type { BenchResult } from './run.ts';

const skus = 1_000;
const perRun = 3_000;
const rounds = 3;
const bar = { perSecond: 3_000, p99: 30 };

async function startLoad(url: string, posts: Post[]) {
  const helper = startHelper('load.ts');
  await helper.ask({ do: 'prepare', url, posts } satisfies LoadQuestion);
  return {
    run: (connections: number, count: number) =>
      helper.ask<LoadAnswer>({ do: 'run', connections, count } satisfies LoadQuestion),
    stop: () => helper.stop(),
  };
}

export async function run(): Promise<BenchResult> {
  const market = await openMarket({ skus, shops: 1, units: 1_000, profile: 'open', latencyMs: 0 });
  const bare = startHelper('bare-receiver.ts');
  try {
    const bareUrl = await bare.ask<string>({});
    await market.hold(true);
    const [shop = ''] = market.shopNames;
    const needed = 1_000 + 2 * rounds * perRun;
    await market.buy(
      shop,
      Array.from({ length: needed }, (_, index) => [index % skus]),
    );
    const posts = (await market.take()).filter(
      ({ headers }) => headers['x-shopify-topic'] === 'orders/create' || headers['X-Shopify-Topic'] === 'orders/create',
    );
    const ours = await startLoad(market.product.url, posts);
    const yard = await startLoad(bareUrl, posts);
    const rows: BenchResult['rows'] = [];
    await ours.run(8, 500);
    await yard.run(8, 500);
    if (countingStatements()) await takeStatements(market.product.owner);
    for (const connections of [8, 32]) {
      const mine: LoadAnswer[] = [];
      const others: LoadAnswer[] = [];
      for (let round = 0; round < rounds; round += 1) {
        mine.push(await ours.run(connections, perRun));
        others.push(await yard.run(connections, perRun));
        await until('the inbox is empty', async () => (await market.backlog()).inbox === 0, 60_000);
      }
      const of = (answers: LoadAnswer[]) => ({
        perSecond: median(answers.map((answer) => answer.perSecond)),
        p50: median(answers.map((answer) => answer.latency.p50)),
        p99: median(answers.map((answer) => answer.latency.p99)),
      });
      const own = of(mine);
      const theirs = of(others);
      const refused = mine.reduce((sum, { requests, statuses }) => sum + requests - (statuses['200'] ?? 0), 0);
      rows.push({
        case: `${connections} connections`,
        'accepted/s': own.perSecond,
        'p50 ms': own.p50,
        'p99 ms': own.p99,
        'not 200': refused,
        'bare/s': theirs.perSecond,
        'bare p99': theirs.p99,
        ratio: round(own.perSecond / theirs.perSecond),
        bar: `≥ ${bar.perSecond}/s, p99 < ${bar.p99}`,
        is: met(own.perSecond >= bar.perSecond && own.p99 < bar.p99 && refused === 0),
      });
    }
    await ours.stop();
    await yard.stop();
    return {
      title:
        'Webhooks accepted, verified and durable, while the product books and publishes them (closest rival: 967/s, p99 16.6 ms at 8)',
      rows,
      settings: {
        ...(await market.settings()),
        perRun,
        rounds,
        bodyBytes: Buffer.byteLength(posts[0]?.body ?? ''),
        ...(countingStatements() && { statements: await takeStatements(market.product.owner) }),
      },
    };
  } finally {
    await bare.stop();
    await market.close();
  }
}
