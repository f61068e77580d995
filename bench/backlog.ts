/**
 * The backlog is state, not events: 100,000 sales are booked in the ledger (in batches of 200, as an import does) over 1,000 SKUs
 * listed at two shops that are paused meanwhile; then both go on.
 *
 * Sampled while running: waiting work (dirty variants + dirty targets), never more than variants + targets. Then: calls made
 * against calls needed, which are one row per target that changed, in calls of as many rows as the channel takes for writes that
 * are not urgent (the yardstick; reads count as made, never as needed).
 */
import pg from 'pg';
import { LineId, OrgId, type VariantId } from '#core/ids.ts';
import { realIds } from '#server/deps.ts';
import { testStore } from '#store/ledger/ledger.testing.ts';
import { post } from '#store/ledger/post.ts';
import { appUrl } from '#store/migrate.ts';
import { met, pause, round, until } from './kit/figures.ts';
import { type Market, openMarket } from './kit/market.ts';
import type { BenchResult } from './run.ts';

const skus = 1_000;
const shops = 2;
const events = 100_000;
const batch = 200;
/** Rows of one write that is not urgent (connectors/shopify/manifest.ts). */
const rowsPerCall = 100;

async function sell(market: Market): Promise<void> {
  const store = testStore(appUrl(market.product.ownerUrl), 2);
  const { rows } = await market.product.owner.query<{ id: VariantId }>('select id from variants where org_id = $1', [
    market.orgId,
  ]);
  let sold = 0;
  const next = () => {
    sold += 1;
    const lines = [
      {
        lineId: LineId(realIds.uuid()),
        variantId: rows[sold % rows.length]?.id as VariantId,
        units: 1,
        locationId: null,
      },
    ];
    return {
      kind: 'commit' as const,
      wish: false,
      key: `bench:${sold}`,
      businessAt: Date.now(),
      reason: 'order',
      lines,
    };
  };
  const writer = async () => {
    while (sold < events) {
      const commands = Array.from({ length: batch }, next);
      await store.tenant(market.orgId, (tx) =>
        post(tx, OrgId(market.orgId), commands, { actor: 'bench', now: Date.now(), ids: realIds }),
      );
    }
  };
  await Promise.all([writer(), writer()]);
  await store.end();
}

export async function run(): Promise<BenchResult> {
  const market = await openMarket({ skus, shops, units: 1_000, profile: 'open', latencyMs: 0 });
  const sampler = new pg.Client({ connectionString: market.product.ownerUrl });
  await sampler.connect();
  try {
    const pauseAll = (at: string) =>
      market.product.owner.query(`update connections set paused_at = ${at} where org_id = $1`, [market.orgId]);
    const marks = await Promise.all(market.shopNames.map((name) => market.calls(name)));
    await pauseAll('now()');
    let most = 0;
    let samples = 0;
    let over = false;
    const sampling = (async () => {
      while (!over) {
        const { rows } = await sampler.query<{ waiting: number }>(
          `select (select count(*) from dirty_variants)::int + (select count(*) from targets where dirty_version > handled_version)::int as waiting`,
        );
        most = Math.max(most, rows[0]?.waiting ?? 0);
        samples += 1;
        await pause(50);
      }
    })();
    const from = performance.now();
    await sell(market);
    const booked = (performance.now() - from) / 1_000;
    await pauseAll('null');
    await until('both shops are right', market.settled, 60_000, 100);
    const seconds = (performance.now() - from) / 1_000;
    // Looks that no echo made unnecessary would still come.
    await pause(3_000);
    over = true;
    await sampling;
    const wrong = await market.differences();
    if (wrong.length > 0) throw new Error(`not converged: ${wrong.slice(0, 3).join('; ')}`);
    const counts = await Promise.all(
      market.shopNames.map((name, index) => market.calls(name, marks[index]?.next ?? 0).then((calls) => calls.counts)),
    );
    const made = counts
      .flatMap((one) => Object.entries(one))
      .reduce((sum, [name, n]) => sum + (name === 'orders' ? 0 : n), 0);
    const needed = shops * Math.ceil(skus / rowsPerCall);
    const limit = skus + skus * shops;
    return {
      title: `${events} sales of ${skus} SKUs at ${shops} shops: what waits, and what it costs the channels`,
      rows: [
        {
          figure: 'most work waiting',
          value: most,
          against: limit,
          ratio: round(most / limit),
          bar: '<= 1 x (variants + targets)',
          is: met(most <= limit),
        },
        {
          figure: 'calls made',
          value: made,
          against: needed,
          ratio: round(made / needed),
          bar: '<= 1.1 x calls needed',
          is: met(made / needed <= 1.1),
        },
        { figure: 'events/s booked', value: Math.round(events / booked), against: '', ratio: '', bar: '', is: '' },
        { figure: 's to convergence', value: round(seconds), against: '', ratio: '', bar: '', is: '' },
      ],
      settings: { ...(await market.settings()), events, samples, calls: counts },
    };
  } finally {
    await sampler.end();
    await market.close();
  }
}
