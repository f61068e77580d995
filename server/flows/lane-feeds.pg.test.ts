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
    const { shop, skus, stock, feeds, numbers, callsSince, states } = await feedStage(stage, 5_000, { bulk: { bulkRowsMin: 500 } });
    await stock(skus.slice(0, 1_000), 70);
    const publisher = stage.publisher([shop]);
    await publisher.drain();
    console.log(await callsSince(), await feeds(), await states());
    stage.clock.advance(2_000);
    await publisher.drain();
    console.log(await callsSince(), await feeds(), await states());
    stage.clock.advance(2_000);
    await publisher.drain();
    console.log(await callsSince(), await feeds(), await states());
    console.log([...(await numbers())].filter(([, n]) => n === 70).length);
  });
});
