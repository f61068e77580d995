/** Feeds and dry runs as people reach them: the API and the commands, beside the real server with its demo. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Demo } from '#server/testing/demo.ts';
import { type Ran, syncstate } from './cli.testing.ts';
import { startDemoForCommands } from './demo.testing.ts';

let demo: Demo;
beforeAll(async () => {
  demo = await startDemoForCommands();
});
afterAll(async () => {
  await demo?.stop();
});

const run = (...argv: string[]): Promise<Ran> => syncstate('--org', 'demo', ...argv);
async function listingOf(sku: string, place: 'shopA' | 'amazon'): Promise<string> {
  const { listings } = await demo.ok<{ listings: { id: string; connectionId: string }[] }>(`/api/inventory/${sku}`);
  return listings.find(({ connectionId }) => connectionId === demo.connection(place).id)?.id ?? '';
}
const preview = (id: string, body: object = {}, key?: string) =>
  demo.api<{ code: string; items: { verdict: string; quantity: number; issues: { code: string }[] }[] }>(
    `/api/listings/${id}/preview`,
    { body, ...(key !== undefined && { key }) },
  );

describe('a dry run of a number', () => {
  test('is the channel’s own verdict, and changes nothing there: only a preview was called, and every number stands', async () => {
    await demo.quiet();
    const state = async () => (await demo.sim<{ items: object[] }>('amazon', '/state')).items;
    const [stood, mark] = [await state(), await demo.mark('amazon')];
    const { status, body } = await preview(await listingOf('DEMO-001', 'amazon'), { quantity: 7 });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      items: [
        {
          sku: 'DEMO-001',
          channelSku: 'DEMO-001',
          channelLocation: 'DEFAULT',
          quantity: 7,
          verdict: 'valid',
          issues: [],
        },
      ],
      nextCursor: null,
    });
    expect(await state()).toEqual(stood);
    const { calls } = await demo.sim<{
      calls: { method: string; path: string; applied: boolean; response: { status?: string } }[];
    }>('amazon', `/calls?since=${mark}`);
    const asked = calls.filter(({ method, path }) => method !== 'GET' && path.includes('/listings/'));
    // VALID is what a preview answers; a write would be ACCEPTED.
    expect(asked.map(({ applied, response }) => [applied, response.status])).toEqual([[false, 'VALID']]);
    const { rows } = await demo.db.owner.query(`select count(*)::int as n from attempts where value = 7`);
    expect(rows).toEqual([{ n: 0 }]);
  });

  test('without a number asks about the one it should show', async () => {
    const { body } = await preview(await listingOf('DEMO-002', 'amazon'));
    expect(body.items).toMatchObject([{ quantity: 100, verdict: 'valid' }]);
  });

  test('of goods that the channel keeps is refused before it is asked', async () => {
    const { body } = await preview(await listingOf('DEMO-FBA', 'amazon'), { quantity: 3 });
    expect(body.items).toMatchObject([{ verdict: 'invalid', issues: [{ code: 'fulfilled_by_amazon' }] }]);
  });

  test('is refused where a channel cannot be asked, for a stranger, and for what is no listing', async () => {
    expect(await preview(await listingOf('DEMO-001', 'shopA'))).toMatchObject({
      status: 409,
      body: { code: 'domain.no_preview' },
    });
    const { key } = await demo.stranger();
    expect((await preview(await listingOf('DEMO-001', 'amazon'), {}, key)).status).toBe(404);
    expect((await preview(randomUUID())).status).toBe(404);
    expect((await preview('nothing')).status).toBe(404);
    expect((await preview(await listingOf('DEMO-001', 'amazon'), { quantity: -1 })).status).toBe(400);
  });

  test('says so when the channel does not answer', async () => {
    const fault = { kind: 'status', match: { operation: 'patchListingsItem' }, status: 503, times: 9 };
    const { id } = await demo.sim<{ id: string }>('amazon', '/faults', fault);
    expect(await preview(await listingOf('DEMO-001', 'amazon'))).toMatchObject({
      status: 503,
      body: { code: 'domain.channel_unanswered' },
    });
    await demo.sim('amazon', `/faults/${id}`, undefined, 'DELETE');
  });

  test('by command: exit 0 for a number the channel takes, 1 for one it refuses', async () => {
    const amazon = demo.connection('amazon').name;
    const taken = await run('listing', 'preview', 'DEMO-003', '--connection', amazon, '--quantity', '9', '--json');
    expect(taken.exit).toBe(0);
    expect(taken.json()).toMatchObject({ ok: true, items: [{ sku: 'DEMO-003', quantity: 9, verdict: 'valid' }] });
    const refused = await run('listing', 'preview', 'DEMO-FBA', '--connection', amazon);
    expect(refused).toMatchObject({ exit: 1 });
    expect(refused.stdout).toContain('fulfilled_by_amazon');
    expect((await run('listing', 'preview', 'NOBODY', '--json')).exit).toBe(1);
  });
});

describe('feeds', () => {
  const feedId = randomUUID();
  beforeAll(async () => {
    // As the lane leaves one: server/flows/lane-feeds-faults.pg.test.ts.
    const { organizationId: org } = demo.demo;
    const { id: connection } = demo.connection('amazon');
    await demo.db.owner.query(
      `insert into feeds (org_id, id, connection_id, state, lease_generation, rows, accepted, rejected, submission_id, created_at, submitted_at, ended_at, read_at, applied_by)
       values ($1, $2, $3, 'done', 1, 3, 2, 1, '900000000077', '2026-11-21T08:00:00Z', '2026-11-21T08:00:20Z', '2026-11-21T08:09:40Z', '2026-11-21T08:00:10Z', '2026-11-21T08:09:30Z')`,
      [org, feedId, connection],
    );
    await demo.db.owner.query(
      `update targets set feed_id = $2 where org_id = $1 and connection_id = $3 and stock_key in ('DEMO-010', 'DEMO-011', 'DEMO-012')`,
      [org, feedId, connection],
    );
    await demo.db.owner.query(
      `insert into attempts (org_id, id, target_id, connection_id, value, from_value, call_key, lane, lease_generation, sent_at, derivation, outcome, error_code, error, feed_id, message_id, dirty_version)
       select $1, gen_random_uuid(), t.id, t.connection_id, 70, 100, $2, $2, 1, '2026-11-21T08:00:20Z', '[]', case when n = 2 then 'rejected' else 'proven_applied' end,
         case when n = 2 then '90220' end, case when n = 2 then 'Required, but not supplied.' end, $2, n, 1
       from (select t.*, row_number() over (order by stock_key) as n from targets t where t.org_id = $1 and t.feed_id = $2) t`,
      [org, feedId],
    );
    await demo.db.owner.query(`update targets set feed_id = null where org_id = $1 and feed_id = $2`, [org, feedId]);
  });

  test('are listed, and shown row by row with the channel’s words and the window between reading and application', async () => {
    const list = await demo.ok<{ items: { id: string }[]; nextCursor: null }>('/api/feeds');
    expect(list).toMatchObject({
      items: [
        {
          id: feedId,
          submissionId: '900000000077',
          state: 'done',
          rows: 3,
          accepted: 2,
          rejected: 1,
          windowSeconds: 560,
        },
      ],
      nextCursor: null,
    });
    const first = await demo.ok<{ items: object[]; nextCursor: string }>(`/api/feeds/${feedId}?limit=2`);
    expect(first).toMatchObject({
      id: feedId,
      items: [
        { messageId: 1, sku: 'DEMO-010', value: 70, from: 100, outcome: 'proven_applied', code: null, reason: null },
        { messageId: 2, sku: 'DEMO-011', outcome: 'rejected', code: '90220', reason: 'Required, but not supplied.' },
      ],
    });
    const rest = await demo.ok<{ items: object[] }>(`/api/feeds/900000000077?limit=2&cursor=${first.nextCursor}`);
    expect(rest).toMatchObject({ items: [{ messageId: 3, sku: 'DEMO-012' }], nextCursor: null });
    const refused = await demo.ok<{ items: object[] }>(`/api/feeds/${feedId}?outcome=rejected`);
    expect(refused.items).toMatchObject([{ messageId: 2 }]);
  });

  test('of others are not there, and what is no cursor of ours is refused', async () => {
    const { key } = await demo.stranger();
    expect(await demo.ok('/api/feeds', { key })).toEqual({ items: [], nextCursor: null });
    expect((await demo.api(`/api/feeds/${feedId}`, { key })).status).toBe(404);
    expect((await demo.api('/api/feeds/none')).status).toBe(404);
    expect((await demo.api(`/api/feeds/${feedId}?cursor=x`)).status).toBe(400);
  });

  test('by command', async () => {
    const list = await run('feed', 'list', '--json');
    expect(list.json()).toMatchObject({ items: [{ submissionId: '900000000077', rejected: 1 }] });
    const shown = await run('feed', 'show', '900000000077', '--outcome', 'rejected');
    expect(shown).toMatchObject({ exit: 0, stderr: '' });
    expect(shown.stdout).toContain('DEMO-011');
    expect(shown.stdout).toContain('Required, but not supplied.');
    expect(shown.stdout).not.toContain('DEMO-010');
    expect((await run('feed', 'show', 'none')).exit).toBe(1);
  });
});
