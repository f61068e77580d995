/** A migrated database for benches below the server: SYNCSTATE_TEST_DATABASE_URL, else an embedded one of its own, fsync on. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbedded } from '#store/embedded/index.ts';
import { migrate } from '#store/migrate.ts';

export async function scratchDatabase(): Promise<{ url: string; stop(): Promise<void> }> {
  const given = process.env.SYNCSTATE_TEST_DATABASE_URL;
  if (given) {
    await migrate(given);
    return { url: given, stop: async () => {} };
  }
  const dataDir = mkdtempSync(join(tmpdir(), 'syncstate-bench-'));
  const embedded = await startEmbedded({ dataDir, log: () => {} });
  await migrate(embedded.url);
  return {
    url: embedded.url,
    stop: async () => {
      await embedded.stop();
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}
