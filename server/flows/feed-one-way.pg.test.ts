/** A number travels in one way at a time: singly or in a feed, never both, whoever asks (design §4.2; held by the database). */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type AttemptDraft, type LaneHold, recordAttempts } from '#store/listings/attempts.ts';
import { expandDirty } from '#store/listings/expand.ts';
import { acquireLane } from '#store/listings/lease.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import type { FeedJob } from './feed-process.testing.ts';
import { feedStage } from './feeds.testing.ts';
import { publishingStage, type Stage } from './publishing.testing.ts';

let db: TestDatabase;
let stage: Stage;
let child: ChildProcess | null = null;
beforeAll(async () => {
  db = await testDatabase();
  stage = await publishingStage(db);
});
afterAll(async () => {
  child?.kill('SIGKILL');
  await stage.close();
  await db.drop();
});

interface Row {
  id: string;
  seen_version: number;
  effect_seq: number;
  dirty_version: number;
}

test('two processes that both believe they hold the lane want the same numbers, one singly, one for a feed: each number goes one way', async () => {
  const many = await feedStage(stage, 60);
  const { connection } = many.shop;
  const holder = stage.ids.uuid();
  const times = { ttlMs: 600_000, requestTimeoutMs: 1_000 };
  const lease = await db.store.tenant(stage.orgId, (tx) =>
    acquireLane(tx, stage.orgId, connection.connectionId, holder, times),
  );
  const hold: LaneHold = { ...connection, holder, generation: lease?.generation ?? 0 };
  const job: FeedJob = { appUrl: db.appUrl, hold };
  const running = spawn(process.execPath, [join(import.meta.dirname, 'feed-process.testing.ts'), JSON.stringify(job)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  child = running;
  const lines = createInterface({ input: running.stdout })[Symbol.asyncIterator]();
  const heard = async (): Promise<string> => String((await lines.next()).value);
  expect(await heard()).toBe('ready');

  let [singly, fed] = [0, 0];
  for (let round = 0; round < 12; round += 1) {
    const rows = await changedRows(round);
    const feedId = stage.ids.uuid();
    running.stdin.write(`${JSON.stringify({ feedId, now: stage.clock.now() })}\n`);
    // A call of its own for each, as many lanes' calls in flight; in a random order of start against the other process.
    const patched = new Set<string>();
    await Promise.all(
      rows.map(async (row) => {
        const drafts = [draft(row)];
        const done = await db.store.tenant(stage.orgId, (tx) =>
          recordAttempts(tx, hold, stage.ids.uuid(), drafts, stage.clock.now()),
        );
        for (const id of done ?? []) patched.add(id);
      }),
    );
    const taken = new Set(JSON.parse(await heard()) as string[]);
    expect([...taken].filter((id) => patched.has(id))).toEqual([]);
    expect(new Set([...taken, ...patched]).size).toBe(rows.length);
    singly += patched.size;
    fed += taken.size;
    await undo();
  }
  expect(singly + fed).toBe(12 * 60);
  running.stdin.end();

  async function changedRows(round: number): Promise<Row[]> {
    await many.stock(many.skus, 200 + round);
    while ((await db.store.tenant(stage.orgId, (tx) => expandDirty(tx, stage.orgId))).more);
    const { rows } = await db.owner.query(
      `select id, seen_version::int, effect_seq::int, dirty_version::int from targets where org_id = $1 order by random()`,
      [stage.orgId],
    );
    return rows;
  }

  function draft(row: Row): AttemptDraft {
    return {
      attemptId: stage.ids.uuid(),
      targetId: row.id,
      value: 50,
      from: 100,
      seenVersion: row.seen_version,
      effectSeq: row.effect_seq,
      derivation: [],
      desired: 50,
      blind: false,
      releaseUnseen: false,
      dirtyVersion: row.dirty_version,
    };
  }

  async function undo(): Promise<void> {
    await db.owner.query(
      `update targets set feed_id = null, pending_value = null, next_try_at = null where org_id = $1`,
      [stage.orgId],
    );
    await db.owner.query(`update feeds set state = 'not_sent' where org_id = $1`, [stage.orgId]);
  }
});

test('the database refuses an attempt that travels otherwise than its target, whoever writes it', async () => {
  const { rows } = await db.owner.query(`select id, connection_id from targets where org_id = $1 order by id limit 2`, [
    stage.orgId,
  ]);
  const { rows: feeds } = await db.owner.query(`select id from feeds where org_id = $1 limit 1`, [stage.orgId]);
  const attempt = (target: string, feed: string | null) =>
    db.owner.query(
      `insert into attempts (org_id, id, target_id, connection_id, value, call_key, lane, lease_generation, sent_at, derivation, feed_id, message_id)
       values ($1, gen_random_uuid(), $2, $3, 1, gen_random_uuid(), gen_random_uuid(), 1, now(), '[]', $4, 1)`,
      [stage.orgId, target, rows[0].connection_id, feed],
    );
  await db.owner.query(`update targets set feed_id = $2 where org_id = $1 and id = $3`, [
    stage.orgId,
    feeds[0].id,
    rows[0].id,
  ]);
  await expect(attempt(rows[0].id, null)).rejects.toMatchObject({ constraint: 'attempts_one_way' });
  await expect(attempt(rows[1].id, feeds[0].id)).rejects.toMatchObject({ constraint: 'attempts_one_way' });
  await attempt(rows[0].id, feeds[0].id);
  await attempt(rows[1].id, null);
  // And one feed at a time per connection.
  const second = `insert into feeds (org_id, id, connection_id, state, lease_generation, created_at) select org_id, gen_random_uuid(), connection_id, 'gathering', 1, now() from feeds where org_id = $1 limit 1`;
  await db.owner.query(second, [stage.orgId]);
  await expect(db.owner.query(second, [stage.orgId])).rejects.toMatchObject({ constraint: 'feeds_one_open' });
});
