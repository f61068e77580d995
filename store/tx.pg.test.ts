import { afterAll, beforeAll, expect, test } from 'vitest';
import type { TestDatabase } from './testing/database.ts';
import { testDatabase, testOrganization } from './testing/database.ts';

let db: TestDatabase;
beforeAll(async () => {
  db = await testDatabase();
});
afterAll(() => db.drop());

test('a tenant transaction sees its own organization and no other', async () => {
  const [a] = [await testOrganization(db, 'A'), await testOrganization(db, 'B')];
  const names = await db.store.tenant(
    a,
    async (tx) => (await tx.query<{ name: string }>('select name from organizations')).rows,
  );
  expect(names).toEqual([{ name: 'A' }]);
});
