/** The world itself: it replays exactly, and nothing in its database asks the machine for time or chance. */
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { replaced, type WorldDatabases } from './database.ts';
import { openScratch } from './scratch.ts';
import { runWorld } from './world.ts';

let databases: WorldDatabases;
let end: () => Promise<void>;
beforeAll(async () => {
  ({ databases, end } = await openScratch());
});
afterAll(() => end());

test('two runs of one seed agree in every step and every row', { timeout: 300_000 }, async () => {
  const [first, second] = [
    await runWorld({ seed: 7, steps: 12, databases }),
    await runWorld({ seed: 7, steps: 12, databases }),
  ];
  expect(first.broken).toBe(null);
  expect(second).toEqual(first);
  expect((await runWorld({ seed: 8, steps: 12, databases })).hash).not.toBe(first.hash);
});

test('nothing in the world’s database asks the machine for time or chance', async () => {
  const database = await databases.make();
  const client = new pg.Client({ connectionString: database.ownerUrl });
  await client.connect();
  const names = replaced.join('|');
  // What is bound to pg_catalog's own is shown with its schema: public comes first in the search path.
  const { rows } = await client.query<{ place: string }>(
    `with text(place, body) as (
       select 'default of ' || d.adrelid::regclass || '.' || a.attname, pg_get_expr(d.adbin, d.adrelid)
         from pg_attrdef d join pg_attribute a on a.attrelid = d.adrelid and a.attnum = d.adnum
       union all select 'check of ' || conrelid::regclass, pg_get_constraintdef(oid) from pg_constraint where conrelid <> 0
       union all select 'policy of ' || polrelid::regclass, pg_get_expr(polqual, polrelid) from pg_policy where polqual is not null
       union all select 'view ' || oid::regclass, pg_get_viewdef(oid) from pg_class where relkind = 'v' and relnamespace = 'public'::regnamespace
       union all select 'index ' || indexrelid::regclass, pg_get_indexdef(indexrelid) from pg_index where indrelid::regclass::text !~ '^pg_'
       union all select 'function ' || oid::regprocedure, pg_get_functiondef(oid) from pg_proc where pronamespace = 'public'::regnamespace and prokind in ('f', 'p'))
     select place from text
     where body ~* ('\\mpg_catalog\\.(?:${names})\\s*\\(') or body ~* '\\m(?:current_timestamp|current_date|current_time|localtime|localtimestamp|timeofday|uuidv7|uuidv4)\\M'`,
  );
  const { rows: unbound } = await client.query<{ place: string }>(
    `select oid::regprocedure::text as place from pg_proc, unnest(proconfig) c
     where pronamespace = 'public'::regnamespace and c like 'search_path=%' and c not like 'search_path=public, pg_catalog%'`,
  );
  const { rows: now } = await client.query<{ same: boolean }>(
    `select now() = to_timestamp(current_setting('world.now')::float8 / 1000) and clock_timestamp() = now() as same`,
  );
  await client.end();
  await database.drop();
  expect([rows, unbound, now]).toEqual([[], [], [{ same: true }]]);
});
