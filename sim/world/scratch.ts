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

export interface ScratchDatabases {
  /** Owner URL of the database that the template is made in. */
  ownerUrl: string;
  databases: WorldDatabases;
  end(): Promise<void>;
}

/**
 * On a server that others use a run would not repeat: their transactions hold back what PostgreSQL may clear away, so rows
 * come to lie elsewhere, and those that are equal in a query's order come out otherwise.
 */
export async function openScratch(): Promise<ScratchDatabases> {
  const server = await startScratchServer();
  const databases = await openWorldDatabases(server.ownerUrl).catch(async (error) => {
    await server.end();
    throw error;
  });
  return {
    ownerUrl: server.ownerUrl,
    databases,
    end: () => databases.close().finally(server.end),
  };
}

/** The server alone; its database is empty. */
export async function startScratchServer(): Promise<Pick<ScratchDatabases, 'ownerUrl' | 'end'>> {
  const dataDir = scratchFolder('syncstate-world-');
  const embedded = await startEmbedded({ dataDir, log: () => undefined, settings });
  const end = async () => {
    await embedded.stop();
    rmSync(dataDir, { recursive: true, force: true });
  };
  return { ownerUrl: embedded.url, end };
}

export async function withDatabases<T>(work: (databases: WorldDatabases) => Promise<T>): Promise<T> {
  const { databases, end } = await openScratch();
  return work(databases).finally(end);
}
