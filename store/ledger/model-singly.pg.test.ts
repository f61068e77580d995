import { afterAll, beforeAll, test } from 'vitest';
import { type TestDatabase, testDatabase } from '../testing/database.ts';
import { live } from './model-life.testing.ts';

let db: TestDatabase;

beforeAll(async () => {
  db = await testDatabase();
});
afterAll(async () => {
  await db.drop();
});

test('the commands of the same 1,000 batches, posted one by one in order, do the same', async () => {
  await Promise.all([11, 12].map((seed) => live(db, { seed, batches: 500, most: 10, how: 'singly' })));
}, 120_000);
