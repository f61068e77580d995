/** Databases of the world on a PostgreSQL of their own that ends with the work. */
import { rmSync } from 'node:fs';
import { startEmbedded } from '#store/embedded/index.ts';
import { scratchFolder } from '#store/testing/scratch.ts';
import { openWorldDatabases, type WorldDatabases } from './database.ts';

/** Nothing outlives the run, so nothing waits for the disk. */
const settings = {
  fsync: 'off',
  full_page_writes: 'off',
  synchronous_commit: 'off',
  wal_level: 'minimal',
  max_wal_senders: '0',
  autovacuum: 'off',
  jit: 'off',
  track_activities: 'off',
  track_counts: 'off',
  update_process_title: 'off',
};

export async function withDatabases<T>(work: (databases: WorldDatabases) => Promise<T>): Promise<T> {
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
