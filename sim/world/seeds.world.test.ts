/** A fixed set of seeds: every promise holds after every act, at every recorded attempt and at quiet. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { emptyDatabase } from '#store/testing/database.ts';
import { openWorldDatabases, type WorldDatabases } from './database.ts';
import { runWorld } from './world.ts';

let databases: WorldDatabases;
let drop: () => Promise<void>;
beforeAll(async () => {
  const empty = await emptyDatabase();
  drop = empty.drop;
  databases = await openWorldDatabases(empty.ownerUrl);
});
afterAll(async () => {
  await databases.close();
  await drop();
});

for (const seed of [1, 2, 4, 5, 6, 7, 8, 9])
  test(`seed ${seed}: after 80 acts and faults, all promises hold`, { timeout: 300_000 }, async () => {
    const { broken } = await runWorld({ seed, steps: 80, databases });
    expect(broken).toBe(null);
  });
