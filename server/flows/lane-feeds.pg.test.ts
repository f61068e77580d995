/** Feeds on a simulated Amazon: many changed numbers as one document, followed to its report (C-26, C-32, U-37; races 5 to 9). */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { feedStage } from './feeds.testing.ts';
import { failures, publishingStage, type Stage } from './publishing.testing.ts';

let db: TestDatabase;
let stage: Stage;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());
beforeEach(async () => {
  failures.length = 0;
  stage = await publishingStage(db);
});
afterEach(async () => {
  await stage.close();
  expect(failures).toEqual([]);
});

describe('many changed numbers', () => {
  test('1,000 changed of 5,000 travel as one feed: read in bulk, submitted once, followed, read back; 107 calls in all', async () => {
    const many = await feedStage(stage, 5_000, { bulk: { bulkRowsMin: 500 } });
    const publisher = stage.publisher([many.shop]);
    await many.stock(many.skus.slice(0, 1_000), 70);
    await publisher.drain();
    expect(await many.callsSince()).toEqual({
      'lwa.token': 1,
      searchListingsItems: 50,
      createFeedDocument: 1,
      uploadDocument: 1,
      createFeed: 1,
    });
    expect(await many.states()).toEqual({ in_sync: 4_000, settling: 1_000 });
    stage.clock.advance(2_000);
    await publisher.drain();
    expect(await many.callsSince()).toEqual({
      getFeed: 1,
      getFeedDocument: 1,
      downloadDocument: 1,
      searchListingsItems: 50,
    });
    expect(await many.states()).toEqual({ in_sync: 5_000 });
    expect(await many.feeds()).toMatchObject([
      { state: 'done', rows: 1_000, accepted: 1_000, rejected: 0, unknown: 0 },
    ]);
    const numbers = [...(await many.numbers()).values()];
    expect([numbers.filter((n) => n === 70).length, numbers.filter((n) => n === 100).length]).toEqual([1_000, 4_000]);
    await publisher.drain();
    expect(await many.callsSince()).toEqual({});
  });
});
