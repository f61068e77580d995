/**
 * One mutant in a process of its own: runs seed after seed until a promise is found broken. Last line: JSON `Seen`, with seed null
 * when no seed showed it.
 *
 *   --database URL   of an empty database that is used up; without it, on a PostgreSQL of its own
 */
import { parseArgs } from 'node:util';
import pg from 'pg';
import { openWorldDatabases, type WorldDatabases } from './database.ts';
import { mutantNamed, mutated } from './mutants.ts';
import { withDatabases } from './scratch.ts';
import { runWorld } from './world.ts';

/** What a mutant's run came to. */
export interface Seen {
  mutant: string;
  seed: number | null;
  promise: string | null;
  words: string | null;
}

const { values } = parseArgs({
  options: {
    mutant: { type: 'string', default: '' },
    seeds: { type: 'string', default: '10' },
    steps: { type: 'string', default: '80' },
    first: { type: 'string', default: '1' },
    lean: { type: 'string' },
    database: { type: 'string' },
  },
});
const mutant = mutantNamed(values.mutant);

/** The database of each seed with the mutant's functions in it. */
function withMutant(databases: WorldDatabases): WorldDatabases {
  return {
    ...databases,
    async make() {
      const database = await databases.make();
      const client = new pg.Client({ connectionString: database.ownerUrl });
      await client.connect();
      for (const edit of mutant.edits) {
        if (edit.function === undefined) continue;
        const { rows } = await client.query<{ text: string }>(
          'select pg_get_functiondef(oid) as text from pg_proc where proname = $1',
          [edit.function],
        );
        await client.query(mutated(rows.map(({ text }) => text).join('\n'), [edit]));
      }
      await client.end();
      return database;
    },
  };
}

async function seen(databases: WorldDatabases) {
  for (let n = 0; n < Number(values.seeds); n += 1) {
    const seed = Number(values.first) + n;
    const { broken } = await runWorld({
      seed,
      steps: Number(values.steps),
      lean: values.lean,
      databases: withMutant(databases),
    });
    if (broken) return { seed, ...broken };
  }
  return null;
}

const found =
  values.database === undefined ? await withDatabases(seen) : await seen(await openWorldDatabases(values.database));
const told: Seen = {
  mutant: mutant.name,
  seed: found?.seed ?? null,
  promise: found?.promise ?? null,
  words: found?.words ?? null,
};
process.stdout.write(`${JSON.stringify(told)}\n`);
process.exit(0);
