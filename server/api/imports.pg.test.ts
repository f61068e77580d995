/** Files as runs over HTTP: every format, hostile ones too, progress, the error file sent again, cancel, undo. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Demo, startDemo } from '../testing/demo.ts';
import { workbook, zip } from '../testing/workbook.ts';

let demo: Demo;
beforeAll(async () => {
  demo = await startDemo();
  await demo.ok('/api/products/bulk', {
    body: Array.from({ length: 40 }, (_, i) => ({ sku: `F-${i}`, title: `File ${i}` })),
  });
});
afterAll(() => demo?.stop());

interface Run {
  id: string;
  state: string;
  dryRun: boolean;
  total: number | null;
  done: number;
  succeeded: number;
  failed: number;
  unchanged: number;
  errorCode: string | null;
  message: string | null;
  errorFile: string | null;
  inverseOf: string | null;
  undoneBy: string | null;
}

async function send(
  query: string,
  body: Buffer | string,
  options: { type?: string; key?: string } = {},
): Promise<{ status: number; body: Run & { code?: string; detail?: string }; replayed: boolean }> {
  const answer = await fetch(`${demo.url}/api/imports?${query}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${demo.demo.apiKey}`,
      'content-type': options.type ?? 'application/octet-stream',
      ...(options.key && { 'idempotency-key': options.key }),
    },
    body: typeof body === 'string' ? body : new Uint8Array(body),
  });
  return {
    status: answer.status,
    body: (await answer.json()) as Run,
    replayed: answer.headers.get('idempotency-replayed') === 'true',
  };
}

async function ended(id: string): Promise<Run> {
  const look = () => demo.ok<Run>(`/api/runs/${id}`);
  await demo.until(async () => !['receiving', 'waiting', 'running'].includes((await look()).state), 60_000);
  return look();
}
async function imported(query: string, body: Buffer | string, type?: string): Promise<Run> {
  const sent = await send(query, body, type === undefined ? {} : { type });
  expect(sent.status).toBe(202);
  return ended(sent.body.id);
}
const items = (id: string, outcome = 'failed') =>
  demo.ok<{ items: { item: number; subject: string; field: string; value: string; reason: string }[] }>(
    `/api/runs/${id}/items?outcome=${outcome}`,
  );
const sellable = async (sku: string) =>
  (await demo.ok<{ physical: number }>(`/api/inventory/${encodeURIComponent(sku)}`)).physical;

test('a workbook is read as it looks: numbers keep their digits, a formula counts with its value, failed rows are named', async () => {
  const rows = workbook([
    ['SKU', 'Qty', 'Location'],
    ['F-0', 12, 'MAIN'],
    ['F-1', { formula: '6*7', value: 42 }, ''],
    ['F-2', 1.5, ''],
    ['F-none', 3, ''],
  ]);
  const run = await imported(
    'kind=stock&mode=set&name=stock.xlsx',
    rows,
    'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet',
  );
  expect(run).toMatchObject({ state: 'done', total: 4, done: 4, succeeded: 2, failed: 2, unchanged: 0, message: null });
  expect([await sellable('F-0'), await sellable('F-1'), await sellable('F-2')]).toEqual([12, 42, 0]);
  expect((await items(run.id)).items).toEqual([
    { item: 4, outcome: 'failed', subject: 'F-2', field: 'quantity', value: '1.5', reason: 'must be a whole number' },
    {
      item: 5,
      outcome: 'failed',
      subject: 'F-none',
      field: 'sku',
      value: 'F-none',
      reason: 'is not known; import it as a product first',
    },
  ]);
});

test('the file of failed rows is mended and sent again, and then all of it is good', async () => {
  const run = await imported('kind=stock', 'sku,quantity\nF-3,8\nF-4,-1\n=F-5,9\n');
  expect(run).toMatchObject({ succeeded: 1, failed: 2 });
  const file = await fetch(`${demo.url}${run.errorFile}`, { headers: { authorization: `Bearer ${demo.demo.apiKey}` } });
  const text = await file.text();
  expect(text.split('\r\n')).toEqual([
    '"sku","quantity","row","field","reason"',
    '"F-4","-1","3","quantity","must not be negative"',
    `"'=F-5","9","4","sku","is not known; import it as a product first"`,
    '',
  ]);
  const again = await imported('kind=stock', text.replace('-1', '1').replace("'=F-5", 'F-5'));
  expect(again).toMatchObject({ total: 2, succeeded: 2, failed: 0, errorFile: null });
  expect([await sellable('F-4'), await sellable('F-5')]).toEqual([1, 9]);
});

test('a file of failed rows that is megabytes long comes whole, every row in its place', async () => {
  const sku = (n: number) => `F-${'x'.repeat(150)}-${n}`;
  const many = 9_000;
  const csv = `sku,quantity\n${Array.from({ length: many }, (_, n) => `${sku(n)},-1`).join('\n')}\nF-12,3\n`;
  const run = await imported('kind=stock', csv);
  expect(run).toMatchObject({ total: many + 1, succeeded: 1, failed: many });
  const file = await fetch(`${demo.url}${run.errorFile}`, { headers: { authorization: `Bearer ${demo.demo.apiKey}` } });
  expect(file.headers.get('content-type')).toBe('text/csv; charset=utf-8');
  const text = await file.text();
  expect(text.length).toBeGreaterThan(1_500_000);
  expect(text.split('\r\n')).toEqual([
    '"sku","quantity","row","field","reason"',
    ...Array.from({ length: many }, (_, n) => `"${sku(n)}","-1","${n + 2}","quantity","must not be negative"`),
    '',
  ]);
  const parts = await demo.db.owner.query('select part from import_file_parts where file_id = $1 order by part', [
    run.id,
  ]);
  expect(parts.rows).toEqual([{ part: 1 }]);
});

test('a dry run says what would happen and changes nothing; live it happens; undone it is as it was', async () => {
  const csv = 'sku,quantity\nF-6,10\nF-7,0\nF-8,x\n';
  const dry = await imported('kind=stock&dryRun=true', csv);
  expect(dry).toMatchObject({ dryRun: true, succeeded: 1, unchanged: 1, failed: 1, errorFile: null });
  expect(await sellable('F-6')).toBe(0);
  const refused = await demo.api(`/api/runs/${dry.id}/undo`, { body: {} });
  expect(refused).toMatchObject({ status: 409, body: { detail: 'It was a dry run: nothing was changed.' } });
  const live = await imported('kind=stock', csv);
  expect(live).toMatchObject({ dryRun: false, succeeded: 1, unchanged: 1, failed: 1 });
  const undo = await demo.api<Run>(`/api/runs/${live.id}/undo`, { body: {} });
  expect(undo.status).toBe(202);
  expect(await ended(undo.body.id)).toMatchObject({ state: 'done', succeeded: 1, failed: 0, inverseOf: live.id });
  expect(await demo.ok<Run>(`/api/runs/${live.id}`)).toMatchObject({ state: 'undone', undoneBy: undo.body.id });
  expect(await sellable('F-6')).toBe(0);
  expect((await demo.api(`/api/runs/${live.id}/undo`, { body: {} })).status).toBe(409);
  expect((await demo.api(`/api/runs/${live.id}/cancel`, { body: {} })).status).toBe(409);
});

test('the same key is the same run, whatever the body; another organization sees neither run nor items', async () => {
  const first = await send('kind=stock&mode=add', 'sku,quantity\nF-9,5\n', { key: 'delivery-1' });
  await ended(first.body.id);
  const second = await send('kind=stock&mode=add', 'sku,quantity\nF-9,50\n', { key: 'delivery-1' });
  expect([second.status, second.body.id, second.replayed]).toEqual([202, first.body.id, true]);
  expect(await sellable('F-9')).toBe(5);
  const { key } = await demo.stranger();
  for (const path of ['', '/items', '/cancel', '/undo'])
    expect(
      (
        await demo.api(`/api/runs/${first.body.id}${path}`, {
          key,
          ...(path.length > 6 || path === '/undo' ? { body: {} } : {}),
        })
      ).status,
      path,
    ).toBe(404);
  expect((await demo.ok<{ items: Run[] }>('/api/runs?limit=1', { key })).items).toEqual([]);
});

test.each<[string, string, Buffer | string, RegExp]>([
  ['text that says it is a workbook', 'kind=stock&format=xlsx', 'sku,quantity\nF-1,1\n', /no workbook|cannot be read/],
  ['a zip that is no workbook', 'kind=stock', zip({ 'a.txt': Buffer.from('hello') }), /workbook cannot be read/],
  [
    'a quote that never ends',
    'kind=stock',
    'sku,quantity\n"F-1,1\nF-2,2\n',
    /CSV cannot be read .*Quote Not Closed.* at line 3/,
  ],
  ['a header of other columns', 'kind=stock', 'name,count\nF-1,1\n', /must name the column sku and quantity/],
  [
    'more columns than any file has',
    'kind=stock',
    `sku,quantity${',x'.repeat(3_000)}\nF-1,1\n`,
    /more than 2000 columns/,
  ],
  ['JSON of something else', 'kind=stock', '{"stock": 7}', /Send an array of rows/],
  [
    'a Shopify inventory export as products',
    'kind=products&format=shopify-inventory',
    'sku,title\n',
    /holds no products/,
  ],
])('%s ends the run with words, and nothing is booked', async (_, query, body, words) => {
  const before = await sellable('F-1');
  const run = await imported(query, body);
  expect(run).toMatchObject({ state: 'failed', errorCode: 'import.unreadable', done: 0, succeeded: 0 });
  expect(run.message).toMatch(words);
  expect(await sellable('F-1')).toBe(before);
});

test('a workbook that unpacks to far more than it is, is refused before it fills the memory', async () => {
  const bomb = zip({
    'xl/worksheets/sheet1.xml': Buffer.alloc(300 * 1_048_576),
    'xl/workbook.xml': Buffer.from('<workbook/>'),
  });
  expect(bomb.length).toBeLessThan(1_048_576);
  expect(await imported('kind=stock', bomb)).toMatchObject({
    state: 'failed',
    errorCode: 'api.too_large',
    message: 'The workbook is too large when unpacked.',
  });
});

test('odd cells fail their row and nothing else: NUL, broken Unicode, a SKU of 1,000 characters, a column told twice', async () => {
  const csv = Buffer.concat([
    Buffer.from(`sku,quantity,qty\nF-10,1,\nF-\0,1,\n${'x'.repeat(1_000)},1,\nF-11,2,3\n`),
    Buffer.from([0x46, 0x2d, 0xff, 0x2c, 0x31, 0x2c, 0x0a]),
  ]);
  const run = await imported('kind=stock', csv);
  expect(run).toMatchObject({ state: 'done', total: 5, succeeded: 1, failed: 4 });
  expect((await items(run.id)).items.map(({ item, field, reason }) => [item, field, reason])).toEqual([
    [3, 'sku', 'must not contain NUL or broken Unicode'],
    [4, 'sku', 'must have 1 to 200 characters'],
    [5, 'quantity', 'is told twice, differently'],
    [6, 'sku', 'is not known; import it as a product first'],
  ]);
});

test('an empty upload, a kind nobody knows, and a caller without key are refused before anything is made', async () => {
  const count = async () => (await demo.ok<{ items: Run[] }>('/api/runs?limit=500')).items.length;
  const before = await count();
  expect((await send('kind=prices', 'x')).status).toBe(400);
  expect((await fetch(`${demo.url}/api/imports?kind=stock`, { method: 'POST', body: 'sku,quantity' })).status).toBe(
    401,
  );
  expect(await count()).toBe(before);
  expect(await send('kind=stock', '')).toMatchObject({ status: 400, body: { code: 'import.unreadable' } });
});

test('a finished run was told to live pages as it went', async () => {
  const { rows } = await demo.db.owner.query(
    `select count(*)::int as n, count(distinct e.version)::int as versions from events e join runs r on r.id::text = e.key where e.type = 'run' and r.title = 'stock.xlsx'`,
  );
  expect(rows[0].n).toBeGreaterThanOrEqual(4);
  expect(rows[0].versions).toBe(rows[0].n);
});
