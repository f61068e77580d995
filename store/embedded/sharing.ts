/**
 * A database that a command started for itself may be used by other commands meanwhile. Who starts it must not stop it
 * under them, and who attaches must not attach to one that is being stopped.
 *
 *   shareEmbedded       every command that attached: an advisory lock, shared, for as long as it works
 *   whenUnshared        the command that started it: the same lock, alone, from before the stop until the database is gone
 *
 * So there is no moment between looking and stopping: an attached command is seen, and a later one is refused. PostgreSQL
 * drops the locks of a killed command itself.
 */
import pg from 'pg';

/** The lock's name within the database; any number that nothing else takes. */
const inUse = 7_290_114_400_000_001n;

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({
    connectionString: url,
    application_name: 'syncstate command',
    connectionTimeoutMillis: 3_000,
  });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

async function take(client: pg.Client, kind: 'shared' | 'alone'): Promise<boolean> {
  const name = kind === 'shared' ? 'pg_try_advisory_lock_shared' : 'pg_try_advisory_lock';
  const { rows } = await client.query<{ taken: boolean }>(`select ${name}($1) as taken`, [inUse]);
  return rows[0]?.taken === true;
}

const end = (client: pg.Client) => client.end().catch(() => undefined);

/**
 * Keeps the database of another command running until the returned function is called.
 * Null when that command is stopping it. Throws pg's error when it cannot be reached (any more).
 */
export async function shareEmbedded(url: string): Promise<(() => Promise<void>) | null> {
  const client = await connect(url);
  const shared = await take(client, 'shared').catch(async (error) => {
    await end(client);
    throw error;
  });
  if (shared) return () => end(client);
  await end(client);
  return null;
}

/**
 * Waits until no other command uses the database, then runs `stop`; nobody can attach from then on.
 * `waiting` is called once when that takes longer than `patienceMs`.
 */
export async function whenUnshared(
  url: string,
  stop: () => Promise<void>,
  { patienceMs, waiting }: { patienceMs: number; waiting: () => void },
): Promise<void> {
  const client = await connect(url).catch(() => null);
  try {
    let sayAt: number | null = performance.now() + patienceMs;
    // A database that does not answer any more has no users.
    while (client && (await take(client, 'alone').catch(() => true)) === false) {
      if (sayAt !== null && performance.now() > sayAt) {
        waiting();
        sayAt = null;
      }
      await new Promise((done) => setTimeout(done, 100));
    }
    await stop();
  } finally {
    if (client) await end(client);
  }
}
