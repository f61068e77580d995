/**
 * The burst against channels as slow as they are (profile vendor): one shop sells, an Amazon seller lists the same SKUs. From the
 * first delivery until Amazon has taken every number.
 *
 * Bound: calls ÷ rate. Every listing needs at least one patchListingsItem; Amazon lets five go at once and then five a second
 * (documented), so n numbers take (n − 5) ÷ 5 seconds, whatever the software. Not in the bound: reading orders and our own work.
 * Taken, not shown: that Amazon shows a number two minutes later is its own. Numbers travel singly here (a feed would be another bound).
 */
import { letLoose, sell } from './burst.ts';
import { met, round, until } from './kit/figures.ts';
import { openMarket } from './kit/market.ts';
import type { BenchResult } from './run.ts';

const skus = 250;
const ordersEach = 4;
const plan = { perSecond: 5, burst: 5 };
const bar = 1.2;

export async function run(): Promise<BenchResult> {
  const market = await openMarket({ skus, shops: 1, units: 1_000, profile: 'vendor', latencyMs: 0, seller: true });
  try {
    const posts = await sell(market, skus * ordersEach, skus);
    const before = await market.sellerCalls();
    const from = Date.now();
    const load = await letLoose(market.product.url, posts);
    await market.hold(false);
    await until('the seller has taken every number', market.taken, 180_000, 100);
    const { counts, lastWriteAt } = await market.sellerCalls(before.next);
    const seconds = (lastWriteAt - from) / 1_000;
    const bound = (skus - plan.burst) / plan.perSecond;
    const patches = counts.patchListingsItem ?? 0;
    const wrong = await market.differences();
    if (wrong.length > 0) throw new Error(`not converged: ${wrong.slice(0, 3).join('; ')}`);
    return {
      title: `A burst of ${posts.length} deliveries (${skus * ordersEach} orders) over ${skus} listings, as fast as Amazon takes numbers`,
      rows: [
        {
          figure: 'seconds until Amazon has taken every number',
          seconds: round(seconds, 1),
          'bound s': round(bound, 1),
          ratio: round(seconds / bound),
          'calls needed': skus,
          'calls made': patches,
          bar: `≤ ${bar} × bound`,
          is: met(seconds <= bar * bound),
        },
      ],
      settings: { ...(await market.settings()), plan, statuses: load.statuses, calls: counts },
    };
  } finally {
    await market.close();
  }
}
