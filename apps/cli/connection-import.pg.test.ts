/** A channel's catalogue in, from outside: over HTTP and by the command line, beside the real server with its demo. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Demo } from '#server/testing/demo.ts';
import type { CatalogImportView, ItemView } from '#store/catalog/channel-import-runs.ts';
import { syncstate } from './cli.testing.ts';
import { startDemoForCommands } from './demo.testing.ts';

let demo: Demo;
let shop: { id: string; name: string };

beforeAll(async () => {
  demo = await startDemoForCommands();
  shop = demo.connection('shopA');
});
afterAll(async () => {
  await demo?.stop();
});

const path = (more = '') => `/api/connections/${shop.id}/import${more}`;
const ask = (body: object) => demo.api<CatalogImportView>(path(), { method: 'POST', body });
const look = (id: string) => demo.ok<CatalogImportView>(path(`s/${id}`));
const ended = async (id: string, state = 'done'): Promise<CatalogImportView> => {
  await demo.until(async () => (await look(id)).state === state, 60_000);
  return look(id);
};
const post = (id: string, verb: string) =>
  demo.api<{ id: string; state: string }>(`/api/runs/${id}/${verb}`, { method: 'POST', body: {} });
const known = async (sku: string) => (await demo.api(`/api/inventory/${sku}`)).status;

describe('over HTTP', () => {
  test('a dry run says what the live run does, the live run does it, and undoing takes it back', async () => {
    await demo.sim('shopA', '/products', { sku: 'FRESH-1', title: 'Fresh one' });
    const asked = await ask({ createProducts: true, dryRun: true });
    expect(asked.status).toBe(202);
    expect(asked.body).toMatchObject({
      kind: 'catalog-import',
      connectionId: shop.id,
      dryRun: true,
      report: null,
    });
    const dry = await ended(asked.body.id);
    expect(dry.report?.created).toBeGreaterThanOrEqual(1);
    expect(await known('FRESH-1')).toBe(404);

    const active = await ask({ createProducts: true });
    expect([active.status, (active.body as unknown as { code: string }).code]).toEqual([
      409,
      'domain.connection_active',
    ]);
    await demo.ok(`/api/connections/${shop.id}/pause`, { method: 'POST', body: {} });
    const live = await ended((await ask({ createProducts: true })).body.id);
    expect(live.report).toEqual(dry.report);
    expect(live.processed).toBe(live.report?.processed);
    expect(await known('FRESH-1')).toBe(200);
    const { items } = await demo.ok<{ items: ItemView[] }>(path(`s/${live.id}/items?outcome=mapped&limit=500`));
    expect(items.find(({ channelSku }) => channelSku === 'FRESH-1')).toMatchObject({
      sku: 'FRESH-1',
      newListing: true,
      newProduct: true,
      undo: null,
    });

    expect((await post(live.id, 'undo')).status).toBe(202);
    const undone = await ended(live.id, 'undone');
    expect(undone.undo?.report).toMatchObject({ kept: 0, productsKept: 0, productsRemoved: dry.report?.created });
    expect(await known('FRESH-1')).toBe(404);
    expect((await demo.api(`/api/inventory/DEMO-001`)).status).toBe(200);
  });

  test('a shop that lets nobody in ends the run with its words; importing again afterwards adds nothing twice', async () => {
    await demo.sim('shopA', '/faults', { kind: 'revoke', match: { operation: 'productVariants' } });
    const { id } = (await ask({})).body;
    expect(await ended(id, 'failed')).toMatchObject({ state: 'failed', pages: 0, report: null });
    expect((await look(id)).message).toContain('token');
    await demo.sim('shopA', '/faults', undefined, 'DELETE');
    const again = await ended((await ask({})).body.id);
    expect(again.report).toMatchObject({ created: 0, gone: 0 });
    const over = await post(again.id, 'cancel');
    expect([over.status, (over.body as unknown as { code: string }).code]).toEqual([409, 'domain.nothing_to_do']);
  });

  test('a second import beside one that has not ended is refused; a cancelled one ends', async () => {
    await demo.sim('shopA', '/faults', { kind: 'status', status: 503, match: { operation: 'productVariants' } });
    const { id } = (await ask({})).body;
    const second = await ask({});
    expect([second.status, (second.body as unknown as { code: string }).code]).toEqual([409, 'domain.import_running']);
    expect((await post(id, 'cancel')).status).toBe(200);
    await ended(id, 'cancelled');
    await demo.sim('shopA', '/faults', undefined, 'DELETE');
    expect((await look(id)).report).toBe(null);
  });

  test('what is none of ours or of that connection answers 404, a replay without answers 409, a dry run cannot be undone', async () => {
    const { key } = await demo.stranger();
    const { items } = await demo.ok<{ items: CatalogImportView[]; nextCursor: string }>(path('s?limit=1'));
    const id = items[0]?.id ?? '';
    const other = demo.connection('shopB').id;
    for (const [url, init] of [
      [path(), { method: 'POST', body: {}, key }],
      [path('s'), { key }],
      [path(`s/${id}`), { key }],
      [`/api/connections/${other}/imports/${id}`, {}],
      [path(`s/nonsense`), {}],
    ] as const)
      expect([url, (await demo.api(url, init)).status]).toEqual([url, 404]);
    const unknown = await ask({ replay: other });
    expect([unknown.status, (unknown.body as unknown as { code: string }).code]).toEqual([409, 'domain.no_raw_pages']);
    const dry = await ended((await ask({ dryRun: true })).body.id);
    expect((await post(dry.id, 'undo')).status).toBe(409);
    expect((await ask({ mode: 'sometimes' })).status).toBe(400);
  });

  test('the list goes newest first and page by page', async () => {
    const all = await demo.ok<{ items: CatalogImportView[]; nextCursor: string | null }>(path('s?limit=500'));
    const first = await demo.ok<{ items: CatalogImportView[]; nextCursor: string }>(path('s?limit=2'));
    const rest = await demo.ok<{ items: CatalogImportView[] }>(path(`s?limit=500&cursor=${first.nextCursor}`));
    expect([...first.items, ...rest.items].map(({ id }) => id)).toEqual(all.items.map(({ id }) => id));
    expect(all.nextCursor).toBe(null);
  });
});

describe('by the command line', () => {
  const run = (...argv: string[]) => syncstate('--org', 'demo', 'connection', ...argv);

  test('a dry run is done for real from the same answers, and undone', async () => {
    await demo.sim('shopA', '/products', { sku: 'FRESH-2', title: 'Fresh two' });
    const dry = await run('import', shop.name, '--dry-run', '--create-products', '--json');
    expect(dry).toMatchObject({ exit: 0, stderr: '' });
    const { id, report } = dry.json<CatalogImportView>();
    await demo.ok(`/api/connections/${shop.id}/resume`, { method: 'POST', body: {} });
    const active = await run('import', shop.name, '--replay', id, '--create-products');
    expect([active.exit, active.stderr.includes('would show 0')]).toEqual([1, true]);
    await demo.ok(`/api/connections/${shop.id}/pause`, { method: 'POST', body: {} });
    const real = await run('import', shop.name, '--replay', id, '--create-products');
    expect(real.exit).toBe(0);
    expect(real.stdout).toContain(`${shop.name}: ${report?.processed} items`);
    expect(await known('FRESH-2')).toBe(200);
    const [newest] = (await run('imports', shop.name, '--json')).json<{ items: CatalogImportView[] }>().items;
    expect(newest).toMatchObject({ state: 'done', replayOf: id });
    const undone = await run('import', shop.name, '--undo', newest?.id ?? '');
    expect(undone.exit).toBe(0);
    expect(undone.stdout).toContain('0 kept; 3 products removed, 0 kept.');
    expect(await known('FRESH-2')).toBe(404);
    expect((await run('imports', shop.name)).stdout).toContain('undone');
  });

  test('a channel that ends it exits 1 and says why', async () => {
    await demo.sim('shopA', '/faults', { kind: 'revoke', match: { operation: 'productVariants' } });
    const ran = await run('import', shop.name);
    expect(ran.exit).toBe(1);
    expect(ran.stdout).toContain(`The import of ${shop.name} is failed after 0 items`);
    await demo.sim('shopA', '/faults', undefined, 'DELETE');
    expect((await run('import', shop.name)).exit).toBe(0);
    expect((await run('import', shop.name, '--undo', 'x')).exit).toBe(2);
  });
});
