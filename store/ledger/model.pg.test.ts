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

test('1,000 random batches, each posted as one, answer as the naive model does, leave its numbers and claims, and verify finds no fault', async () => {
  await Promise.all([11, 12].map((seed) => live(db, { seed, batches: 500, most: 10, how: 'together' })));
}, 120_000);
