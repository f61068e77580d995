/** Commands that share one command's database: it is never stopped under one, and none attaches while it is stopped. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { emptyDatabase } from '../testing/database.ts';
import { shareEmbedded, whenUnshared } from './sharing.ts';

let db: Awaited<ReturnType<typeof emptyDatabase>>;
beforeAll(async () => {
  db = await emptyDatabase();
});
afterAll(() => db.drop());

const quietly = { patienceMs: 60_000, waiting: () => expect.unreachable('not so soon') };

test('the stop waits for the last command that attached, says so once when that takes long, and refuses later ones', async () => {
  const steps: string[] = [];
  const first = await shareEmbedded(db.ownerUrl);
  const second = await shareEmbedded(db.ownerUrl);
  let said: (() => void) | null = null;
  const waited = new Promise<void>((done) => (said = done));
  let letStop: (() => void) | null = null;
  const stopping = whenUnshared(
    db.ownerUrl,
    async () => {
      steps.push('stop');
      await new Promise<void>((done) => (letStop = done));
    },
    {
      patienceMs: 0,
      waiting: () => {
        steps.push('waiting');
        said?.();
      },
    },
  );
  await waited;
  await first?.();
  // Somebody still works: others may come.
  const third = await shareEmbedded(db.ownerUrl);
  expect(third).not.toBeNull();
  await second?.();
  await third?.();
  await expect.poll(() => letStop, { timeout: 25_000 }).not.toBeNull();
  expect(await shareEmbedded(db.ownerUrl)).toBeNull();
  (letStop as (() => void) | null)?.();
  await stopping;
  expect(steps).toEqual(['waiting', 'stop']);
});

test('a stop that fails is told, and others may attach again', async () => {
  await expect(
    whenUnshared(db.ownerUrl, () => Promise.reject(new Error('PostgreSQL does not stop.')), quietly),
  ).rejects.toThrow('PostgreSQL does not stop.');
  // PostgreSQL lets go of the lock a moment after the connection is closed.
  const again = async () => {
    const shared = await shareEmbedded(db.ownerUrl);
    await shared?.();
    return shared !== null;
  };
  await expect.poll(again, { timeout: 25_000 }).toBe(true);
});

test('a database that is gone has no users: it is stopped at once, and nobody attaches', async () => {
  const gone = db.ownerUrl.replace(/\/[^/?]+(\?|$)/, '/nobody_has_this$1');
  let stopped = 0;
  const stop = async () => {
    stopped += 1;
  };
  await whenUnshared(gone, stop, quietly);
  expect(stopped).toBe(1);
  await expect(shareEmbedded(gone)).rejects.toMatchObject({ code: '3D000' });
});
