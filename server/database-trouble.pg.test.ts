/**
 * The database in trouble under a running server: its disk fills up, or it dies and is started again under load. Writes stop
 * with words, nothing is half booked or lost, and everything goes on by itself afterwards.
 * A small tmpfs stands for the disk: mounting one needs root.
 */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type EmbeddedPostgres, startEmbedded } from '#store/embedded/index.ts';
import { verify } from '#store/ledger/verify.ts';
import { appUrl } from '#store/migrate.ts';
import { realClock, realRandom } from '#store/testing/database.ts';
import { createStore } from '#store/tx.ts';
import { type Demo, startDemo } from './testing/demo.ts';
import { shopOrder } from './testing/shop-order.ts';

const folder = mkdtempSync(join(tmpdir(), 'syncstate-full-'));
// PostgreSQL's own account must reach it; behind a closed folder its files would lie elsewhere.
chmodSync(folder, 0o755);
const disk = join(folder, 'disk');
const canMount = (() => {
  try {
    mkdirSync(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=160m,mode=755', 'tmpfs', disk], { stdio: 'ignore' });
    return true;
  } catch {
    process.stderr.write('A disk that is full is not tested: mounting a small one needs root.\n');
    return false;
  }
})();

afterAll(() => {
  if (canMount) execFileSync('umount', ['-l', disk]);
  rmSync(folder, { recursive: true, force: true });
});

describe.skipIf(!canMount)('a database of its own', () => {
  let small: EmbeddedPostgres;
  let demo: Demo;
  let owner: pg.Pool;
  beforeAll(async () => {
    small = await startEmbedded({ dataDir: disk, log: () => undefined });
    demo = await startDemo({ DATABASE_URL: small.url });
    owner = new pg.Pool({ connectionString: small.url, max: 2 });
    owner.on('error', () => undefined);
    owner.on('connect', (client) => client.on('error', () => undefined));
  });
  afterAll(async () => {
    await demo?.stop();
    await owner?.end();
    await small?.stop();
  });

  const free = () => Number(statfsSync(disk).bavail) * Number(statfsSync(disk).bsize);
  /** The database writes meanwhile: what does not fit any more is no mistake. */
  const fill = () => {
    try {
      writeFileSync(join(disk, 'ballast'), Buffer.alloc(free()));
    } catch (error) {
      if ((error as { code?: string }).code !== 'ENOSPC') throw error;
    }
  };
  const makeRoom = () => rmSync(join(disk, 'ballast'), { force: true });
  const rows = (n: number) =>
    JSON.stringify(Array.from({ length: n }, (_, i) => ({ sku: `NEW-${Math.random()}-${i}`, title: 'x'.repeat(200) })));
  const adjust = (set: number) =>
    demo.api('/api/inventory/adjustments', { body: { sku: 'DEMO-001', location: 'MAIN', set, reason: 'cycle_count' } });

  test('on a full disk writes are refused in words, reads go on, a webhook is asked for again; with room everything continues and adds up', async () => {
    expect((await adjust(90)).status).toBe(200);
    await demo.until(async () => (await demo.shown('shopB', 'DEMO-001')) === 90);
    fill();
    // Pages and log that are there already still take a little.
    let refused: Awaited<ReturnType<typeof adjust>> | null = null;
    for (let i = 0; refused === null && i < 200; i += 1) {
      const answer = await demo.api('/api/products/bulk', {
        body: rows(500),
        headers: { 'content-type': 'application/json' },
      });
      if (answer.status >= 300) refused = answer;
    }
    expect(refused).toMatchObject({ status: 503, body: { code: 'store.unavailable' } });
    expect(refused?.headers.get('retry-after')).toBe('2');
    expect(refused?.body.detail).toMatch(
      /^(The disk of the database is full|The database cannot be reached)\. Nothing was booked/,
    );
    const before = await demo.api<{ available: number }>('/api/inventory/DEMO-002');
    const told: number[] = [];
    for (let set = 1; set <= 300; set += 1) {
      const answer = await adjust(set);
      if (answer.status === 200) told.push(set);
      else expect(answer).toMatchObject({ status: 503, body: { code: 'store.unavailable' } });
    }
    const { text, externalId } = await shopOrder(demo, 'shopA', [{ sku: 'DEMO-002', quantity: 4 }]);
    const delivered = await demo.deliver('shopA', text);
    expect([200, 503]).toContain(delivered.status);
    makeRoom();
    await demo.until(async () => (await adjust(77)).status === 200, 60_000);
    if (delivered.status === 503) expect((await demo.deliver('shopA', text)).status).toBe(200);
    await demo.until(
      async () =>
        (await demo.ok<{ items: object[] }>(`/api/orders?externalId=${encodeURIComponent(externalId)}`)).items
          .length === 1,
      60_000,
    );
    await demo.until(
      async () =>
        (await demo.ok<{ available: number }>('/api/inventory/DEMO-002')).available === before.body.available - 4,
      60_000,
    );
    for (const place of ['shopA', 'shopB', 'amazon'] as const)
      await demo.until(async () => (await demo.shown(place, 'DEMO-001')) === 77, 60_000);
    const posted = await owner.query(
      `select count(*)::int as n from movements m join variants v on v.org_id = m.org_id and v.id = m.variant_id where v.sku = 'DEMO-001'`,
    );
    // Every count that was answered with 200 is there: each moved units, the first stock and the two counts around it too.
    expect(posted.rows[0].n).toBe(told.filter((set) => set !== 90).length + 3);
    const store = createStore(appUrl(small.url), { clock: realClock, random: realRandom, max: 2 });
    try {
      const { organizationId } = demo.demo;
      expect(await store.readOnly(organizationId, (tx) => verify(tx, organizationId))).toMatchObject({
        ok: true,
        faults: [],
      });
      expect((await owner.query('select count(*)::int as n from inbox where state = $1', ['dead'])).rows[0].n).toBe(0);
    } finally {
      await store.end();
    }
  }, 120_000);

  test('that dies twice under load: what was answered with 200 is booked once, what was not is repeated under its key, every channel ends right', async () => {
    const count = 60;
    const pidFile = join(disk, 'postgres', 'data', 'postmaster.pid');
    const kill = async () => {
      await demo.until(() => existsSync(pidFile));
      const pid = Number(readFileSync(pidFile, 'utf8').split('\n')[0]);
      process.kill(pid, 'SIGKILL');
      killed.add(pid);
    };
    const killed = new Set<number>();
    const take = async (i: number): Promise<void> => {
      for (;;) {
        const answer = await demo.api('/api/inventory/adjustments', {
          body: { sku: 'DEMO-003', location: 'MAIN', change: 1, reason: 'received' },
          headers: { 'idempotency-key': `load-${i}` },
        });
        if (answer.status === 200) return;
        expect([409, 503]).toContain(answer.status);
        await new Promise((done) => setTimeout(done, 100));
      }
    };
    const sold: Promise<unknown>[] = [];
    const load = Array.from({ length: count }, async (_, i) => {
      await new Promise((done) => setTimeout(done, i * 40));
      if (i === 10 || i === 50) await kill();
      if (i % 3 === 0) sold.push(demo.sim('shopA', '/orders', { lines: [{ sku: 'DEMO-004', quantity: 1 }] }));
      await take(i);
    });
    await Promise.all(load);
    await Promise.all(sold);
    expect(killed.size).toBe(2);
    await demo.ok(`/api/connections/${demo.connection('shopA').id}/sync`, { body: {} });
    for (const place of ['shopA', 'shopB', 'amazon'] as const) {
      await demo.until(async () => (await demo.shown(place, 'DEMO-003')) === 100 + count, 60_000);
      await demo.until(async () => (await demo.shown(place, 'DEMO-004')) === 100 - count / 3, 60_000);
    }
    expect(await demo.ok('/api/inventory/DEMO-004')).toMatchObject({ committed: count / 3 });
    const store = createStore(appUrl(small.url), { clock: realClock, random: realRandom, max: 2 });
    try {
      const { organizationId } = demo.demo;
      expect(await store.readOnly(organizationId, (tx) => verify(tx, organizationId))).toMatchObject({ ok: true });
    } finally {
      await store.end();
    }
  }, 120_000);
});
