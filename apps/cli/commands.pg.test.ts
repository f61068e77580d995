/** The commands on a real database, beside the real server with its demo: what they print, and what they change or leave. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Demo } from '#server/testing/demo.ts';
import { type Ran, syncstate } from './cli.testing.ts';
import { startDemoForCommands } from './demo.testing.ts';

let demo: Demo;
let folder: string;

beforeAll(async () => {
  demo = await startDemoForCommands();
  folder = mkdtempSync(join(tmpdir(), 'syncstate-cli-'));
});

afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await demo?.stop();
});

const run = (...argv: string[]): Promise<Ran> => syncstate('--org', 'demo', ...argv);
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const stockOf = async (sku: string) =>
  (await run('stock', sku, '--json')).json<{
    available: number;
    onHand: number;
    positions: { location: string; sellable: number }[];
  }>();

describe('verify', () => {
  test('prints exactly the promised document and exits 0 when the ledger adds up', async () => {
    const ran = await syncstate('verify', '--json');
    expect(ran).toMatchObject({ exit: 0, stderr: '' });
    const verdict = ran.json<{ checked: Record<string, number> }>();
    expect(verdict).toEqual({
      ok: true,
      checked: { positions: expect.any(Number), movements: expect.any(Number), claims: 0 },
      faults: [],
    });
    expect(verdict.checked.positions).toBeGreaterThan(50);
  });

  test('a planted fault is named and exits 1', async () => {
    const planted = `update positions p set damaged = damaged + $1 from variants v, locations l
      where v.org_id = p.org_id and v.id = p.variant_id and l.org_id = p.org_id and l.id = p.location_id and v.sku = 'DEMO-020' and l.code = 'EAST'`;
    await demo.db.owner.query(planted, [3]);
    try {
      const ran = await syncstate('verify', '--json');
      expect(ran.exit).toBe(1);
      expect(ran.json()).toMatchObject({
        ok: false,
        faults: [{ kind: 'bucket', sku: 'DEMO-020', location: 'EAST', expected: 0, found: 3 }],
      });
      expect(Object.keys(ran.json<{ faults: object[] }>().faults[0] ?? {})).toEqual([
        'kind',
        'sku',
        'location',
        'expected',
        'found',
      ]);
      expect((await syncstate('verify')).stdout).toContain('does NOT add up: 1 fault');
    } finally {
      await demo.db.owner.query(planted, [-3]);
    }
  });
});

describe('files', () => {
  test('a dry run counts as the real run and books nothing, the real run books and leaves the failed rows beside the file', async () => {
    const input = file(
      'stock.csv',
      'SKU;Qty;Warehouse\r\nDEMO-010;120;\r\nDEMO-011;100;MAIN\r\nDEMO-012;-1;\r\nNOPE;1;\r\n',
    );
    const dry = await run('import', 'stock', input, '--dry-run', '--json');
    const counts = { rows: 4, succeeded: 1, failed: 2, unchanged: 1 };
    expect(dry.exit).toBe(1);
    expect(dry.json()).toMatchObject({ ...counts, dryRun: true, errorFile: null });
    expect((await stockOf('DEMO-010')).onHand).toBe(100);
    expect(existsSync(join(folder, 'stock-errors.csv'))).toBe(false);

    const ran = await run('import', 'stock', input, '--json');
    expect(ran.exit).toBe(1);
    expect(ran.json()).toMatchObject({
      ...counts,
      dryRun: false,
      errorFile: join(folder, 'stock-errors.csv'),
      errors: [
        { row: 4, field: 'quantity', value: '-1', reason: 'must not be negative' },
        { row: 5, field: 'sku', value: 'NOPE', reason: 'is not known; import it as a product first' },
      ],
    });
    expect((await stockOf('DEMO-010')).onHand).toBe(120);
    const kept = readFileSync(join(folder, 'stock-errors.csv'), 'utf8');
    expect(kept.trim().split('\r\n')).toHaveLength(3);
    expect(kept).toContain('must not be negative');

    expect((await run('import', 'stock', input)).stdout).toContain(`${join(folder, 'stock-errors-2.csv')}`);
    expect(readFileSync(join(folder, 'stock-errors.csv'), 'utf8')).toBe(kept);
  });

  test('an import under the same key books no row twice, under another key it does', async () => {
    const input = file('delivery.json', JSON.stringify([{ sku: 'DEMO-013', quantity: 5, location: 'EAST' }]));
    const add = (key: string) => run('import', 'stock', input, '--mode', 'add', '--key', key, '--json');
    expect((await add('delivery-1')).json()).toMatchObject({ succeeded: 1, failed: 0 });
    await add('delivery-1');
    expect((await stockOf('DEMO-013')).onHand).toBe(105);
    await add('delivery-2');
    expect((await stockOf('DEMO-013')).onHand).toBe(110);
  });

  test('products come in, become bundles, and a SKU like a formula survives export and import', async () => {
    const products = file(
      'products.csv',
      'sku,title,components\n=SUM(1),Odd one,\nPACK,A pack,DEMO-001:2; DEMO-002:1\n',
    );
    expect((await run('import', 'products', products, '--json')).json()).toMatchObject({
      rows: 2,
      succeeded: 2,
      failed: 0,
    });
    await run('import', 'stock', file('odd.csv', 'sku,quantity\n=SUM(1),4\n'));
    const out = join(folder, 'inventory.csv');
    const exported = (await run('export', 'inventory', '-o', out, '--json')).json<{ rows: number }>();
    const text = readFileSync(out, 'utf8');
    expect(text.split('\r\n')).toHaveLength(exported.rows + 2);
    expect(text).toContain('\r\n=SUM(1),Odd one,MAIN,4,0,0,4,0,0,0,0\r\n');
    expect(text).not.toContain('PACK');
    expect((await run('import', 'stock', out, '--json')).json()).toMatchObject({
      rows: exported.rows,
      succeeded: 0,
      failed: 0,
      unchanged: exported.rows,
    });
  });

  test('what cannot be read is said in one line, and nothing is booked', async () => {
    expect(await run('import', 'stock', join(folder, 'none.csv'))).toMatchObject({
      exit: 1,
      stdout: '',
      stderr: expect.stringContaining('none.csv cannot be read'),
    });
    expect(await run('import', 'stock', file('bad.csv', 'name,count\nx,1\n'))).toMatchObject({
      exit: 1,
      stderr: 'The header must name the column sku and quantity. Found: name, count\n',
    });
    expect((await run('export', 'inventory', '-o', join(folder, 'no', 'such', 'x.csv'))).stderr).toContain(
      'cannot be written',
    );
  });
});

describe('keys and organizations', () => {
  test('a key works from when it is made until it is revoked', async () => {
    const made = (await run('key', 'create', 'robot', '--rate', '60', '--json')).json<{ key: string; id: string }>();
    expect((await demo.api('/api/connections', { key: made.key })).status).toBe(200);
    const listed = await run('key', 'list', '--json');
    expect(listed.stdout).not.toContain(made.key);
    expect(listed.json<{ items: object[] }>().items).toContainEqual(
      expect.objectContaining({ id: made.id, name: 'robot', ratePerMinute: 60, revokedAt: null }),
    );
    expect((await run('key', 'revoke', 'robot')).exit).toBe(0);
    expect((await demo.api('/api/connections', { key: made.key })).status).toBe(401);
    expect((await run('key', 'revoke', 'robot')).exit).toBe(1);
  });

  test('with a second organization one must be named, and each sees its own', async () => {
    expect((await syncstate('org', 'create', 'Ada’s Teas', '--location', 'BERLIN', '--json')).json()).toMatchObject({
      slug: 'adas-teas',
      location: 'BERLIN',
    });
    expect((await syncstate('org', 'create', 'Adas Teas')).stderr).toContain(
      'There is an organization "adas-teas" already',
    );
    const unnamed = await syncstate('stock', 'DEMO-001');
    expect(unnamed).toMatchObject({ exit: 2, stdout: '' });
    expect(unnamed.stderr).toContain('There are: demo, adas-teas');
    expect((await syncstate('--org', 'adas-teas', 'stock', 'DEMO-001')).stderr).toBe('There is no SKU DEMO-001.\n');
    expect((await syncstate('--org', 'adas-teas', 'location', 'list', '--json')).json()).toMatchObject({
      items: [{ code: 'BERLIN', isDefault: true }],
    });
  });
});

describe('channels', () => {
  test('a simulated buyer buys, sync waits until every channel shows it, and the export names the order', async () => {
    const order = (await run('simulate', 'order', 'demo-a', 'DEMO-005=3', '--json')).json<{ id: string }>();
    const synced = await run('sync', 'demo-b', '--json');
    await demo.until(async () => (await stockOf('DEMO-005')).available === 97);
    expect(synced).toMatchObject({ exit: 0 });
    await run('sync', 'demo-b');
    expect(
      (await run('simulate', 'state', 'demo-b', '--sku', 'DEMO-005', '--json')).json<{
        items: { quantity: number }[];
      }>().items[0]?.quantity,
    ).toBe(97);
    const orders = (await run('export', 'orders', '--connection', 'demo-a', '--json')).json<{
      items: Record<string, unknown>[];
    }>().items;
    expect(orders).toEqual([
      expect.objectContaining({
        external_id: order.id,
        connection: 'Shopify Demo A',
        sku: 'DEMO-005',
        quantity: 3,
        committed: 3,
        missing: 0,
      }),
    ]);
    expect((await run('simulate', 'cancel', 'demo-a', order.id, '--restock')).exit).toBe(0);
    await demo.until(async () => (await stockOf('DEMO-005')).available === 100);
  });

  test('a refused credential links nothing; a good one links a paused connection that writes nothing', async () => {
    const { simulatorUrl, shopDomain, accessToken } = demo.connection('shopB');
    const add = (token: string) =>
      syncstate(
        '--org',
        'adas-teas',
        'connection',
        'add',
        'shopify',
        'Tea shop',
        '--shop',
        shopDomain ?? '',
        '--access-token-file',
        file('token', token),
        '--simulator',
        simulatorUrl,
        '--json',
      );
    await syncstate('--org', 'adas-teas', 'import', 'products', file('teas.csv', 'sku\nDEMO-001\n'));
    const mark = await demo.mark('shopB');

    const refused = await add('shpat_wrong');
    expect(refused.exit).toBe(1);
    expect(refused.json()).toMatchObject({ error: { code: 'connector.unauthorized' } });
    expect((await syncstate('--org', 'adas-teas', 'connection', 'list', '--json')).json()).toEqual({ items: [] });

    const linked = await add(accessToken);
    expect(linked.exit).toBe(0);
    expect(linked.stdout).not.toContain(accessToken);
    expect(linked.json()).toMatchObject({ kind: 'simulated', paused: true, mapped: 1, locations: [] });
    expect((await add(accessToken)).stderr).toContain('its orders would be booked twice');
    await new Promise((done) => setTimeout(done, 500));
    expect(await demo.writes('shopB', mark)).toEqual([]);
    expect((await syncstate('--org', 'adas-teas', 'connection', 'test', 'tea')).exit).toBe(0);
  });

  test('the last units go to one connection: set by command, seen by API, explained by command now and then, and taken back', async () => {
    const wrong = await run('scarcity', 'set', '2', '--sku', 'DEMO-006', '--connection', 'demo-a');
    expect(wrong).toMatchObject({ exit: 2, stderr: 'Name a SKU or a connection, not both.\n' });
    expect((await run('scarcity', 'set', '2', '--sku', 'DEMO-NONE')).stderr).toContain('DEMO-NONE');
    expect((await run('scarcity', 'show')).stdout).toContain('Off: every connection offers the last unit.');
    const set = await run('scarcity', 'set', '2', '--sku', 'DEMO-006', '--json');
    expect(set.json()).toEqual({
      settings: [{ scope: 'variant', connectionId: null, connection: null, sku: 'DEMO-006', lastUnits: 2, to: null }],
    });
    const asShown = async () =>
      Promise.all(['shopA', 'shopB', 'amazon'].map((name) => demo.shown(name as 'shopA', 'DEMO-006')));
    await run('sync', 'demo-a');
    const before = Date.now();
    // A shop's clock tells whole seconds.
    await new Promise((done) => setTimeout(done, 1_100));
    const set2 = { sku: 'DEMO-006', location: 'MAIN', set: 2, reason: 'cycle_count' };
    await demo.ok('/api/inventory/adjustments', { body: set2 });
    const scarce = () => demo.ok<{ items: { connection: string }[] }>('/api/scarcity');
    await demo.until(async () => (await scarce()).items.length === 1);
    await demo.until(async () => (await asShown()).toSorted().join() === '0,0,2');
    const [chosen] = (await scarce()).items;
    expect((await asShown()).toSorted()).toEqual([0, 0, 2]);
    const told = (await run('explain', 'DEMO-006')).stdout;
    expect(told.split(`the last 2 of DEMO-006 are offered on ${chosen?.connection} only`)).toHaveLength(
      chosen?.connection.startsWith('Amazon') ? 5 : 4,
    );
    const past = (await run('explain', 'DEMO-006', '--at', new Date(before).toISOString(), '--json')).json<{
      targets: { desired: number; channel: null; past: { observed: number } }[];
    }>();
    expect(past.targets.map(({ desired }) => desired).toSorted((a, b) => a - b)).toEqual([0, 0, 100, 100, 100]);
    expect(past.targets.map(({ channel, past: seen }) => [channel, seen.observed]).sort()).toEqual([
      [null, 0],
      [null, 0],
      [null, 100],
      [null, 100],
      [null, 100],
    ]);
    expect((await demo.api('/api/scarcity', { method: 'PUT', body: { lastUnits: -1 } })).body).toMatchObject({
      code: 'api.invalid',
      errors: [{ field: 'lastUnits', message: 'must not be negative' }],
    });
    const stranger = { connectionId: '01890000-0000-7000-8000-000000000000', lastUnits: 1 };
    expect((await demo.api('/api/scarcity', { method: 'PUT', body: stranger })).status).toBe(404);
    const off = await demo.ok('/api/scarcity', { method: 'PUT', body: { sku: 'DEMO-006', lastUnits: null } });
    expect(off).toEqual({ settings: [] });
    await demo.until(async () => (await asShown()).every((units) => units === 2));
    await demo.ok('/api/inventory/adjustments', { body: { ...set2, set: 100 } });
    await demo.until(async () => (await asShown()).every((units) => units === 100));
  });

  test('pause and resume are seen by the server', async () => {
    expect((await run('connection', 'pause', 'amazon', '--json')).json()).toMatchObject({
      name: 'Amazon Demo',
      paused: true,
    });
    const paused = async () =>
      (await demo.ok<{ items: { name: string; paused: boolean }[] }>('/api/connections')).items.find(
        ({ name }) => name === 'Amazon Demo',
      )?.paused;
    expect(await paused()).toBe(true);
    await run('connection', 'resume', 'amazon');
    expect(await paused()).toBe(false);
  });

  test('nothing is simulated on a live connection', async () => {
    await demo.db.owner.query(`update connections set kind = 'live' where name = 'Tea shop'`);
    const refused = await syncstate('--org', 'adas-teas', 'simulate', 'order', 'tea', 'DEMO-001', '--json');
    await demo.db.owner.query(`update connections set kind = 'simulated' where name = 'Tea shop'`);
    expect(refused.exit).toBe(1);
    expect(refused.json()).toMatchObject({ error: { code: 'domain.not_simulated' } });
  });
});

describe('the past', () => {
  test('a position at a past time, and as the book knew it then', async () => {
    const past = (await run('stock', 'DEMO-010', '--at', '2020-01-01', '--json')).json();
    expect(past).toMatchObject({ at: '2020-01-01T00:00:00.000Z', knownAt: null, available: 0, positions: [] });
    const now = (await run('stock', 'DEMO-010', '--at', '0s', '--json')).json();
    expect(now).toMatchObject({ available: 120 });
    const unknown = (await run('stock', 'DEMO-010', '--at', '0s', '--known-at', '2020-01-01', '--json')).json();
    expect(unknown).toMatchObject({ knownAt: '2020-01-01T00:00:00.000Z', available: 0 });
    expect((await run('stock', 'DEMO-010', '--known-at', '2999-01-01')).stderr).toContain('not final yet');
    expect((await run('stock', 'KIT-2', '--at', '1h')).stderr).toContain('is a bundle');
  });
});

describe('what waits for a person', () => {
  test('dead letters are listed with why, and retried or discarded all together or not at all', async () => {
    const connectionId = demo.connection('shopA').id;
    const ids = ['01a1fd81-0000-7000-8000-000000000001', '01a1fd81-0000-7000-8000-000000000002'];
    for (const id of ids)
      await demo.db.owner.query(
        `insert into inbox (org_id, id, connection_id, kind, external_id, topic, source, body_hash, body, received_at, state, next_at, error, error_code)
         values ($1, $2::uuid, $3, 'other', $2::text, 'x/unknown', 'webhook', '\\x00', '{}', now(), 'dead', now(), 'cannot be read', 'connector.unreadable')`,
        [demo.demo.organizationId, id, connectionId],
      );
    const states = async () =>
      (
        await demo.db.owner.query<{ state: string }>('select state from inbox where id = any ($1) order by id', [ids])
      ).rows.map(({ state }) => state);
    expect(
      (await run('dead-letters', 'list', '--json'))
        .json<{ items: { id: string; reason: string }[] }>()
        .items.map(({ id, reason }) => [id, reason])
        .sort(),
    ).toEqual(ids.map((id) => [id, 'cannot be read']));
    expect(await run('dead-letters', 'discard', ids[0] ?? '', 'nonsense')).toMatchObject({
      exit: 1,
      stderr: 'There is no dead letter nonsense. Nothing was changed.\n',
    });
    expect(await states()).toEqual(['dead', 'dead']);
    expect((await run('dead-letters', 'discard')).exit).toBe(2);
    expect((await run('dead-letters', 'discard', '--all', '--json')).json()).toMatchObject({ discarded: 2 });
    expect(await states()).toEqual(['superseded', 'superseded']);
  });

  test('alerts are listed and read', async () => {
    const id = '01a1fd81-0000-7000-8000-000000000003';
    await demo.db.owner.query(
      `insert into alerts (org_id, id, kind, severity, message, dedupe_key) values ($1, $2, 'test', 'critical', 'Sold twice', 'test')`,
      [demo.demo.organizationId, id],
    );
    expect((await run('alerts', 'list', '--severity', 'critical', '--unread')).stdout).toContain('Sold twice');
    expect((await run('alerts', 'read', id, '--json')).json()).toEqual({ read: 1, ids: [id] });
    expect((await run('alerts', 'list', '--unread', '--severity', 'critical', '--json')).json()).toMatchObject({
      items: [],
    });
  });
});

describe('the installation', () => {
  test('doctor tells what it looked at, and migrate has nothing to do', async () => {
    const told = await syncstate('doctor', '--json');
    const { ok, findings } = told.json<{ ok: boolean; findings: { check: string; state: string; detail: string }[] }>();
    expect(findings.filter(({ state }) => state === 'failed')).toEqual([]);
    expect({ ok, exit: told.exit }).toEqual({ ok: true, exit: 0 });
    expect(findings.map(({ check }) => check)).toEqual(
      expect.arrayContaining([
        'Node.js',
        'data folder',
        'database',
        'server',
        'demo: ledger',
        'demo: credentials',
        'demo: Amazon Demo',
      ]),
    );
    expect((await syncstate('migrate', '--json')).json()).toEqual({ applied: [] });
  });

  test('a lost sealing key is what doctor finds', async () => {
    const other = join(folder, 'other');
    mkdirSync(other);
    const told = await syncstate('doctor', '--data-dir', other, '--json');
    expect(told.exit).toBe(1);
    expect(told.json<{ findings: object[] }>().findings).toContainEqual(
      expect.objectContaining({
        check: 'demo: credentials',
        state: 'failed',
        detail: expect.stringContaining('cannot be opened: Shopify Demo A'),
      }),
    );
  });

  test('a database that cannot be reached is said, with what to look at', async () => {
    const url = process.env.DATABASE_URL;
    process.env.DATABASE_URL = 'postgres://x:y@127.0.0.1:1/none';
    const ran = await syncstate('verify');
    if (url !== undefined) process.env.DATABASE_URL = url;
    expect(ran).toMatchObject({
      exit: 1,
      stdout: '',
      stderr: 'The database cannot be reached (ECONNREFUSED). Is it running, and is DATABASE_URL right?\n',
    });
  });
});
