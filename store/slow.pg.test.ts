/** Slow statements are told by name and never with their values; each scope has its own time limit. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { realClock, realRandom, type TestDatabase, testDatabase, testOrganization } from './testing/database.ts';
import { createStore, type SlowStatement } from './tx.ts';

let db: TestDatabase;
let orgId: string;
beforeAll(async () => {
  db = await testDatabase();
  orgId = await testOrganization(db);
});
afterAll(() => db.drop());

test('a slow statement is told by its name or the beginning of its text, without values; a quick one is not', async () => {
  const slow: SlowStatement[] = [];
  const store = createStore(db.appUrl, {
    clock: realClock,
    random: realRandom,
    max: 1,
    slowMs: 150,
    onSlow: (one) => slow.push(one),
  });
  await store.tenant(orgId, async (tx) => {
    await tx.query({ name: 'nap', text: 'select pg_sleep(0.2), $1::text' }, ['Jane Doe']);
    await tx.query('select 1');
  });
  await store.system((tx) => tx.query('select\n  pg_sleep(0.2), $1::text', ['Jane Doe']));
  expect(slow.map(({ ms, ...one }) => ({ ...one, slow: ms >= 150 }))).toEqual([
    { statement: 'nap', rows: 1, scope: 'tenant', orgs: 1, slow: true },
    { statement: 'select pg_sleep(0.2), $1::text', rows: 1, scope: 'system', orgs: 0, slow: true },
  ]);
  expect(JSON.stringify(slow)).not.toContain('Jane');
  expect(store.metrics()).toMatchObject({ slow: 2, timedOut: 0 });
  await store.end();
});

test('a statement beyond the limit of its scope ends, is counted, and leaves other scopes alone', async () => {
  const store = createStore(db.appUrl, {
    clock: realClock,
    random: realRandom,
    max: 1,
    scopeTimeoutsMs: { readOnly: 100 },
  });
  await expect(store.readOnly(orgId, (tx) => tx.query('select pg_sleep(5)'))).rejects.toMatchObject({ code: '57014' });
  await store.tenant(orgId, (tx) => tx.query('select pg_sleep(0.3)'));
  expect(store.metrics()).toMatchObject({ committed: 1, failed: 1, timedOut: 1 });
  await store.end();
});
