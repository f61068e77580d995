/** Operating a running server from outside: pauses, shadow mode, one listing now, one stop for all; by command and by API. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Demo } from '#server/testing/demo.ts';
import { syncstate } from './cli.testing.ts';
import { startDemoForCommands } from './demo.testing.ts';

let demo: Demo;
let folder: string;

beforeAll(async () => {
  demo = await startDemoForCommands();
  folder = mkdtempSync(join(tmpdir(), 'syncstate-operation-'));
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await demo?.stop();
});

const run = (...argv: string[]) => syncstate('--org', 'demo', ...argv);
const count = (sku: string, set: number) =>
  demo.ok('/api/inventory/adjustments', { body: { sku, location: 'MAIN', set, reason: 'cycle_count' } });
const shopA = () => demo.connection('shopA').id;
const shown = (sku: string) => Promise.all((['shopA', 'shopB', 'amazon'] as const).map((at) => demo.shown(at, sku)));
const listing = async (sku: string, connectionId: string) =>
  (
    await demo.ok<{ listings: { id: string; connectionId: string; state: string }[] }>(`/api/inventory/${sku}`)
  ).listings.find((one) => one.connectionId === connectionId);

test('a pause shows by whom, why and until when; a time in the past is refused', async () => {
  const until = new Date(Date.now() + 3_600_000).toISOString();
  const past = await demo.api(`/api/connections/${shopA()}/pause`, { body: { until: '2020-01-01T00:00:00Z' } });
  expect([past.status, past.body]).toMatchObject([400, { code: 'api.invalid', errors: [{ field: 'until' }] }]);
  const paused = await demo.ok(`/api/connections/${shopA()}/pause`, { body: { reason: 'stock take', until } });
  expect(paused).toMatchObject({
    paused: true,
    pause: { reason: 'stock take', until, by: expect.stringMatching(/^key:/) },
  });
  await count('DEMO-001', 90);
  await demo.until(async () => (await demo.shown('amazon', 'DEMO-001')) === 90);
  expect(await shown('DEMO-001')).toEqual([100, 90, 90]);
  expect((await run('connection', 'show', 'demo-a')).stdout).toContain(`: stock take, until ${until}`);
  expect((await run('connection', 'resume', 'demo-a', '--json')).json()).toMatchObject({ paused: false });
  await demo.until(async () => (await shown('DEMO-001')).join() === '90,90,90');
  expect(await demo.ok(`/api/connections/${shopA()}`)).toMatchObject({ paused: false, pause: null });
  expect((await demo.api('/api/connections/0/pause', { body: {} })).status).toBe(404);
});

test('one listing is paused, refused a sync, resumed and synced from the command line', async () => {
  const at = ['DEMO-002', '--on', 'demo-a', '--json'];
  const paused = (await run('listing', 'pause', ...at)).json<{ items: { id: string }[] }>();
  expect(paused).toMatchObject({ items: [{ sku: 'DEMO-002', paused: true }] });
  await count('DEMO-002', 50);
  await demo.until(async () => (await demo.shown('shopB', 'DEMO-002')) === 50);
  expect(await demo.shown('shopA', 'DEMO-002')).toBe(100);
  const refused = await run('listing', 'sync', ...at);
  expect([refused.exit, refused.json()]).toMatchObject([1, { error: { code: 'domain.paused' } }]);
  const byApi = await demo.api(`/api/listings/${paused.items[0]?.id}/sync`, { body: {} });
  expect([byApi.status, byApi.body]).toMatchObject([409, { code: 'domain.paused' }]);
  await run('listing', 'resume', ...at);
  const synced = await run('listing', 'sync', ...at);
  expect([synced.exit, synced.json()]).toMatchObject([
    0,
    {
      ok: true,
      items: [
        { desired: 50, state: 'in_sync' },
        { desired: 0, state: 'in_sync' },
      ],
    },
  ]);
  expect(await demo.shown('shopA', 'DEMO-002')).toBe(50);
  const again = await demo.api(`/api/listings/${paused.items[0]?.id}/sync`, { body: {} });
  expect([again.status, again.body]).toMatchObject([202, { ok: true, connectionId: shopA(), targets: 2 }]);
  expect((await run('listing', 'pause', 'DEMO-NONE')).exit).toBe(1);
});

test('shadow mode shows what would be sent and sends it when it is switched off', async () => {
  expect((await run('connection', 'shadow', 'on', 'demo-a', '--json')).json()).toMatchObject({ shadow: true });
  await count('DEMO-003', 70);
  await demo.until(async () => (await demo.shown('shopB', 'DEMO-003')) === 70);
  const report = () =>
    demo.ok<{ items: object[]; totals: { equal: number } }>(`/api/connections/${shopA()}/shadow?limit=10`);
  await demo.until(async () => (await report()).items.length === 1);
  expect(await report()).toMatchObject({
    totals: { wouldCut: 1, unitsCut: 30, wouldRaise: 0 },
    items: [{ sku: 'DEMO-003', state: 'shadow', desired: 70, wouldSend: { value: 70, from: 100 } }],
    nextCursor: null,
  });
  expect(await demo.shown('shopA', 'DEMO-003')).toBe(100);
  expect((await run('connection', 'shadow', 'show', 'demo-a')).stdout).toContain('1 cut (30 units)');
  await demo.ok(`/api/connections/${shopA()}/shadow`, { body: { on: false } });
  await demo.until(async () => (await demo.shown('shopA', 'DEMO-003')) === 70);
  expect(await demo.ok(`/api/connections/${shopA()}`)).toMatchObject({ shadowSince: null });
  expect((await run('connection', 'shadow', 'maybe', 'demo-a')).exit).toBe(2);
  expect((await demo.api(`/api/connections/${shopA()}/shadow?cursor=nonsense`)).status).toBe(400);
});

test('stop-pushes stops every channel; resume-pushes shows what would be sent and sends only with --yes', async () => {
  const stopped = (await syncstate('stop-pushes', '--reason', 'wrong file', '--json')).json();
  expect(stopped).toMatchObject({ stopped: true, changed: true, scope: 'installation', onTheWire: 0 });
  await count('DEMO-004', 40);
  await count('DEMO-005', 140);
  const pushes = () =>
    demo.ok<{ stopped: boolean; connections: { preview: { cuts: number; raises: number } }[] }>('/api/pushes');
  await demo.until(async () =>
    (await pushes()).connections.every(({ preview }) => preview.cuts === 1 && preview.raises === 1),
  );
  expect(await pushes()).toMatchObject({ stopped: true, installation: { by: 'cli', reason: 'wrong file' } });
  expect(await shown('DEMO-004')).toEqual([100, 100, 100]);
  const looked = await syncstate('resume-pushes');
  expect(looked).toMatchObject({ exit: 1 });
  expect(looked.stdout).toContain('Nothing was resumed. To send this: syncstate resume-pushes --yes');
  expect(await shown('DEMO-004')).toEqual([100, 100, 100]);
  expect(await syncstate('resume-pushes', '--yes')).toMatchObject({ exit: 0 });
  await demo.until(async () => (await shown('DEMO-004')).join() === '40,40,40');
  await demo.until(async () => (await shown('DEMO-005')).join() === '140,140,140');
  const alerts = await demo.ok<{ items: { kind: string; resolvedAt: string | null }[] }>('/api/alerts?limit=50');
  expect(alerts.items.find(({ kind }) => kind === 'installation_stopped')?.resolvedAt).not.toBeNull();
});

test('the organization is stopped and resumed by API, once however often it is said', async () => {
  for (let time = 0; time < 2; time += 1)
    expect(await demo.ok('/api/pushes/stop', { body: { reason: 'audit' } })).toMatchObject({
      stopped: true,
      organization: { reason: 'audit' },
      installation: null,
    });
  await count('DEMO-006', 10);
  await demo.until(async () => (await listing('DEMO-006', shopA()))?.state === 'paused');
  expect(await shown('DEMO-006')).toEqual([100, 100, 100]);
  expect(await demo.ok('/api/pushes/resume', { body: {} })).toMatchObject({ stopped: false });
  await demo.until(async () => (await shown('DEMO-006')).join() === '10,10,10');
  const { rows } = await demo.db.owner.query(
    `select count(*)::int as n from audit where action = 'pushes.stop' and details ->> 'reason' = 'audit'`,
  );
  expect(rows).toEqual([{ n: 1 }]);
});

test('a connection shows what is used of its channel’s limits, and its breaker', async () => {
  await count('DEMO-007', 60);
  await demo.until(async () => (await demo.shown('shopA', 'DEMO-007')) === 60);
  const found = await demo.ok<{ budget: { bucket: string; processes: number; used: number }[] }>(
    `/api/connections/${shopA()}`,
  );
  expect(found).toMatchObject({ breaker: { state: 'closed' } });
  expect(found.budget.find(({ bucket }) => bucket === 'graphql')).toMatchObject({ refusals: 0, blockedUntil: null });
  expect((await run('connection', 'show', 'demo-a')).stdout).toContain('graphql');
});

test('a dead token is renewed from the command line: a wrong one is refused and changes nothing, the right one sends what waited', async () => {
  const { id, accessToken } = demo.connection('shopB');
  const stored = async () =>
    (await demo.db.owner.query('select credentials, state from connections where id = $1', [id])).rows[0];
  const before = await stored();
  const refused = await run('connection', 'renew', 'demo-b', '--access-token', 'shpat_wrong', '--json');
  expect([refused.exit, refused.json()]).toMatchObject([1, { error: { code: 'connector.unauthorized' } }]);
  expect(refused.stdout + refused.stderr).not.toContain('shpat_wrong');
  expect(await stored()).toEqual(before);
  expect(await run('connection', 'renew', 'demo-b')).toMatchObject({ exit: 2, stdout: '' });

  await run('connection', 'renew', 'demo-b', '--access-token', 'shpat_dead', '--no-test');
  // A running server takes them within a second; what is sent before still goes with the old token.
  let other = 100;
  await demo.until(async () => {
    other -= 1;
    await count('DEMO-009', other);
    return (await stored()).state === 'unauthorized';
  });
  await count('DEMO-008', 55);
  await demo.until(async () => (await demo.shown('amazon', 'DEMO-008')) === 55);
  expect(await demo.shown('shopB', 'DEMO-008')).toBe(100);
  expect((await run('alerts', 'list', '--unread')).stdout).toMatch(
    /critical .* unread +\S+ +Shopify Demo B +The channel no longer accepts[\s\S]*`syncstate connection renew/,
  );

  const renewed = await run('connection', 'renew', 'demo-b', '--access-token', accessToken, '--json');
  expect(renewed.json()).toEqual({ id, name: 'Shopify Demo B', renewed: true, tested: true });
  await demo.until(async () => (await demo.shown('shopB', 'DEMO-008')) === 55);
  await demo.until(async () => (await stored()).state === 'connected');
  const alerts = (await run('alerts', 'list', '--severity', 'critical')).stdout;
  expect(alerts).toMatch(/critical .* unread, over .* Shopify Demo B +The channel no longer accepts/);
  expect(alerts).not.toContain('connection renew');
  const { rows } = await demo.db.owner.query(`select actor, details from audit where action = 'connection.renew'`);
  expect(rows).toEqual(Array(2).fill({ actor: 'cli', details: {} }));
});

test('a new grant or another app is proved by a token of its own, whether or not the old token still works', async () => {
  const { id, simulatorUrl, webhookSecret } = demo.connection('shopB');
  const asked = new URLSearchParams({ client_id: 'demo-shop-b', redirect_uri: 'http://127.0.0.1:9/back', state: 's' });
  const installed = async () => {
    const redirect = await fetch(`${simulatorUrl}/admin/oauth/authorize?${asked}`, { redirect: 'manual' });
    const code = new URL(redirect.headers.get('location') ?? '').searchParams.get('code');
    const app = { client_id: 'demo-shop-b', client_secret: webhookSecret, code, expiring: '1' };
    const granted = await fetch(`${simulatorUrl}/admin/oauth/access_token`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(app),
    });
    return (await granted.json()) as { access_token: string; refresh_token: string };
  };
  const renew = (...given: string[]) => run('connection', 'renew', 'demo-b', ...given, '--json');
  const app = ['--client-id', 'demo-shop-b', '--client-secret', webhookSecret ?? ''];
  const stored = async () =>
    (await demo.db.owner.query('select credentials from connections where id = $1', [id])).rows[0].credentials;
  expect((await renew(...app, '--refresh-token', (await installed()).refresh_token)).exit).toBe(0);
  const before = await stored();
  for (const wrong of [
    ['--refresh-token', 'shprt_wrong'],
    ['--client-secret', 'wrong'],
  ]) {
    const refused = await renew(...wrong);
    expect([wrong, refused.exit, refused.json()]).toMatchObject([
      wrong,
      1,
      { error: { code: 'connector.unauthorized' } },
    ]);
    expect(await stored()).toEqual(before);
  }
  await count('DEMO-008', 54);
  await demo.until(async () => (await demo.shown('shopB', 'DEMO-008')) === 54);
});
