/** A lane's lease: one holder at a time, and a quiet time after one that did not hand over. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type TestDatabase, testDatabase, testOrganization } from '../testing/database.ts';
import { acquireLane, releaseLane } from './lease.ts';

let db: TestDatabase;
let orgId: string;
beforeAll(async () => {
  db = await testDatabase();
  orgId = await testOrganization(db);
});
afterAll(() => db.drop());

const times = { ttlMs: 60_000, requestTimeoutMs: 20_000 };

async function lane() {
  const id = randomUUID();
  await db.owner.query(
    `insert into connections (org_id, id, platform, kind, name, webhook_token) values ($1, $2, 'shopify', 'simulated', 'lease', $3)`,
    [orgId, id, id],
  );
  return {
    acquire: (holder: string) => db.store.tenant(orgId, (tx) => acquireLane(tx, orgId, id, holder, times)),
    release: (holder: string, generation: number) =>
      db.store.tenant(orgId, (tx) => releaseLane(tx, orgId, id, holder, generation)),
    expire: () =>
      db.owner.query(`update lanes set expires_at = '-infinity' where org_id = $1 and connection_id = $2`, [orgId, id]),
  };
}
const [first, second, third] = [randomUUID(), randomUUID(), randomUUID()];

test('a lease has one holder; renewed it is the same, given back it is free at once', async () => {
  const { acquire, release } = await lane();
  expect(await acquire(first)).toEqual({ generation: 1, quietMs: 0 });
  expect(await acquire(second)).toBeNull();
  expect(await acquire(first)).toEqual({ generation: 1, quietMs: 0 });
  await release(first, 1);
  expect(await acquire(second)).toEqual({ generation: 2, quietMs: 0 });
});

test('a dead holder is succeeded with a quiet time, which stands when the successor gives the lease back meanwhile', async () => {
  const { acquire, release, expire } = await lane();
  await acquire(first);
  await expire();
  const taken = await acquire(second);
  expect(taken?.generation).toBe(2);
  expect(taken?.quietMs).toBeGreaterThan(60_000);
  expect(taken?.quietMs).toBeLessThanOrEqual(80_000);
  await release(second, 2);
  const next = await acquire(third);
  expect(next?.generation).toBe(3);
  expect(next?.quietMs).toBeGreaterThan(40_000);
  expect(next?.quietMs).toBeLessThanOrEqual(taken?.quietMs ?? 0);
});
