/**
 * One more process that wants the same numbers for a feed, for tests of two at once: started with a job as JSON, says "ready",
 * sets targets aside at each line on its input, and answers with their ids as JSON.
 */

import type { LaneHold } from '#store/listings/attempts.ts';
import { beginFeed } from '#store/listings/feeds.ts';
import { realClock, realRandom } from '#store/testing/database.ts';
import { createStore } from '#store/tx.ts';

export interface FeedJob {
  appUrl: string;
  hold: LaneHold;
}

const { appUrl, hold } = JSON.parse(process.argv[2] ?? '') as FeedJob;
const store = createStore(appUrl, { clock: realClock, random: realRandom, max: 2 });
await store.tenant(hold.orgId, (tx) => tx.query('select 1'));
process.stdout.write('ready\n');
process.stdin.on('data', async (line: Buffer) => {
  const { feedId, now } = JSON.parse(line.toString()) as { feedId: string; now: number };
  const wanted = { leastUnits: 1, rows: 100, exclude: [], now };
  const ids = await store.tenant(hold.orgId, (tx) => beginFeed(tx, hold, feedId, wanted));
  process.stdout.write(`${JSON.stringify(ids)}\n`);
});
process.stdin.on('end', async () => {
  await store.end();
  process.exit(0);
});
