/**
 * `npm run world -- --seed N --steps M`: one seed, on a PostgreSQL of its own. The last line is
 * `seed=N steps=M hash=H ok`, or `… FAILED <promise>`; nothing in it differs between runs.
 */
import { rmSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { startEmbedded } from '#store/embedded/index.ts';
import { scratchFolder } from '#store/testing/scratch.ts';
import { openWorldDatabases, type WorldDatabases } from './database.ts';
import { runWorld, type WorldResult } from './world.ts';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    steps: { type: 'string', default: '200' },
    trace: { type: 'boolean', default: false },
  },
});

const say = (line: string) => process.stdout.write(`${line}\n`);

/** Nothing outlives the run, so nothing waits for the disk. */
const settings = { fsync: 'off', full_page_writes: 'off', wal_level: 'minimal', max_wal_senders: '0', jit: 'off' };

async function withDatabases<T>(work: (databases: WorldDatabases) => Promise<T>): Promise<T> {
  const dataDir = scratchFolder('syncstate-world-');
  const embedded = await startEmbedded({ dataDir, log: () => undefined, settings });
  try {
    const databases = await openWorldDatabases(embedded.url);
    try {
      return await work(databases);
    } finally {
      await databases.close();
    }
  } finally {
    await embedded.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

export const lastLine = ({ seed, steps, hash, broken }: WorldResult): string =>
  `seed=${seed} steps=${steps} hash=${hash} ${broken ? `FAILED ${broken.promise}` : 'ok'}`;

const result = await withDatabases((databases) =>
  runWorld({
    seed: Number(values.seed),
    steps: Number(values.steps),
    databases,
    ...(values.trace && { told: say }),
  }),
);
if (result.broken) say(`After act ${result.broken.step}: ${result.broken.words}`);
say(lastLine(result));
process.exitCode = result.broken ? 1 : 0;
