/** Files over HTTP: what is read, what is refused per row, and that a dry run and a refusal leave nothing. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Demo, startDemo } from '../testing/demo.ts';

let demo: Demo;
beforeAll(async () => {
  demo = await startDemo();
});
afterAll(() => demo?.stop());

interface Result {
  rows: number;
  succeeded: number;
  failed: number;
  unchanged: number;
  errors: { row: number; field: string; value: string; reason: string }[];
  errorFile: string | null;
  code?: string;
}
const send = (path: string, body: unknown, type = 'text/csv') =>
  demo.api<Result>(path, { method: 'POST', body, headers: { 'content-type': type } });
const stock = (body: string, query = '') => send(`/api/inventory/bulk${query}`, body);
const counts = ({ rows, succeeded, failed, unchanged }: Result) => [rows, succeeded, failed, unchanged];
const physical = async (sku: string) =>
  (await demo.ok<{ physical: number }>(`/api/inventory/${encodeURIComponent(sku)}`)).physical;
const booked = async () =>
  (await demo.db.owner.query<{ n: number }>('select count(*)::int as n from movements')).rows[0]?.n;

test.each([
  ['commas and CRLF', 'sku,quantity\r\nDEMO-001,90\r\n', 'DEMO-001', 90],
  ['a BOM', '\uFEFFSKU,Qty\nDEMO-001,91\n', 'DEMO-001', 91],
  ['semicolons', 'sku;qty;Warehouse Code\nDEMO-001;92;MAIN', 'DEMO-001', 92],
  ['tabs', 'QUANTITY\tSKU\n93\tDEMO-001\n', 'DEMO-001', 93],
  [
    'quotes, line breaks and unknown columns',
    'sku,"a ""note""",quantity\n"DEMO-001","two\nlines, one cell",94\n\n',
    'DEMO-001',
    94,
  ],
  ['old Mac line ends', 'sku,quantity\rDEMO-001,95\r', 'DEMO-001', 95],
  ['the same column twice with one value', 'sku,qty,quantity\nDEMO-001,96,96\n', 'DEMO-001', 96],
  ['columns named like parts of an object', 'sku,constructor,__proto__,quantity\nDEMO-001,1,2,97\n', 'DEMO-001', 97],
])('a stock file with %s is read', async (_, csv, sku, units) => {
  const answer = await stock(csv);
  expect([answer.status, answer.body]).toEqual([
    200,
    { rows: 1, succeeded: 1, failed: 0, unchanged: 0, errors: [], errorFile: null },
  ]);
  expect(await physical(sku)).toBe(units);
});

test('rows = succeeded + failed + unchanged; each bad row is named by its number, our field and a reason', async () => {
  const csv = [
    'SKU,Qty,Warehouse',
    'DEMO-002,50,MAIN',
    'DEMO-003,100,',
    'DEMO-004,-1,MAIN',
    'NO-SUCH,5,MAIN',
    'DEMO-005,1.5,MAIN',
    'DEMO-006,,MAIN',
    ',5,MAIN',
    'DEMO-007,5,MOON',
    'KIT-2,5,MAIN',
    'DEMO-008,99999999999,MAIN',
  ].join('\n');
  const before = await booked();
  const dry = await stock(csv, '?mode=set&dryRun=true');
  expect(counts(dry.body)).toEqual([10, 1, 8, 1]);
  expect(dry.body.errorFile).toBe(null);
  expect([await booked(), await physical('DEMO-002')]).toEqual([before, 100]);
  const live = await stock(csv, '?mode=set');
  expect(counts(live.body)).toEqual([10, 1, 8, 1]);
  expect(live.body.errors).toEqual(dry.body.errors);
  expect(live.body.errors.map(({ row, field }) => [row, field])).toEqual([
    [4, 'quantity'],
    [5, 'sku'],
    [6, 'quantity'],
    [7, 'quantity'],
    [8, 'sku'],
    [9, 'location'],
    [10, 'sku'],
    [11, 'quantity'],
  ]);
  expect(await physical('DEMO-002')).toBe(50);
  expect(await booked()).toBe((before ?? 0) + 1);
  const again = await stock(csv, '?mode=set');
  expect(counts(again.body)).toEqual([10, 0, 8, 2]);
  const file = await demo.api(live.body.errorFile ?? '');
  expect(file.status).toBe(200);
  expect(file.headers.get('content-type')).toBe('text/csv; charset=utf-8');
  expect(file.headers.get('content-disposition')).toContain('stock-errors.csv');
  expect(file.text.split('\r\n').slice(0, 2)).toEqual([
    '"sku","quantity","location","row","field","reason"',
    '"DEMO-004","-1","MAIN","4","quantity","must not be negative"',
  ]);
  expect(file.text.trim().split('\r\n')).toHaveLength(9);
});

test('add is relative, refused beyond what is free, and a file sent again with its key adds nothing twice', async () => {
  const csv = 'sku,quantity\nDEMO-009,5\nDEMO-010,-3\nDEMO-011,-101\nDEMO-012,0\n';
  const headers = { 'content-type': 'text/csv', 'idempotency-key': 'file-1' };
  const first = await demo.api<Result>('/api/inventory/bulk?mode=add', { body: csv, headers });
  expect(counts(first.body)).toEqual([4, 2, 1, 1]);
  expect(first.body.errors).toEqual([{ row: 4, field: 'quantity', value: '-101', reason: '1 more than is free' }]);
  const again = await demo.api<Result>('/api/inventory/bulk?mode=add', { body: csv, headers });
  expect([again.body, again.headers.get('idempotency-replayed')]).toEqual([first.body, 'true']);
  expect([await physical('DEMO-009'), await physical('DEMO-010'), await physical('DEMO-011')]).toEqual([105, 97, 100]);
  expect((await demo.api('/api/inventory/bulk?mode=add', { body: `${csv}DEMO-013,1\n`, headers })).status).toBe(422);
});

test('the same column twice with different values fails the row, not the file', async () => {
  const answer = await stock('sku,qty,quantity\nDEMO-014,1,2\nDEMO-015,3,\n');
  expect(counts(answer.body)).toEqual([2, 1, 1, 0]);
  expect(answer.body.errors).toEqual([{ row: 2, field: 'quantity', value: '1', reason: 'is told twice, differently' }]);
  expect([await physical('DEMO-014'), await physical('DEMO-015')]).toEqual([100, 3]);
});

test.each([
  ['nothing', '', 400],
  ['blank lines', '\n\n  \n', 400],
  ['no quantity column', 'sku,title\nDEMO-016,5', 400],
  ['no header', 'DEMO-016,5', 400],
  ['an open quote', 'sku,quantity\n"DEMO-016,5\n', 400],
  ['JSON that is no list', '{"sku":"DEMO-016"}', 400],
])('a file with %s is refused whole', async (what, body, status) => {
  const before = await booked();
  const answer = await send('/api/inventory/bulk', body, what.startsWith('JSON') ? 'application/json' : 'text/csv');
  expect([answer.status, answer.body.code]).toEqual([status, 'import.unreadable']);
  expect(await booked()).toBe(before);
});

test('a header alone is a file of no rows; another content type is 415; an unknown mode 400', async () => {
  for (const path of ['/api/inventory/bulk', '/api/products/bulk']) {
    expect((await send(path, 'sku,quantity\n')).body).toEqual({
      rows: 0,
      succeeded: 0,
      failed: 0,
      unchanged: 0,
      errors: [],
      errorFile: null,
    });
    expect((await send(path, '[]', 'application/json')).body).toMatchObject({ rows: 0 });
    expect((await send(path, '<x/>', 'application/xml')).status).toBe(415);
  }
  expect((await stock('sku,quantity\n', '?mode=replace')).status).toBe(400);
  expect((await stock('sku,quantity\n', '?dryRun=perhaps')).status).toBe(400);
});

test('JSON rows are read like a file: same names, same numbers, same reasons', async () => {
  const rows = [
    { SKU: 'DEMO-017', Qty: 7 },
    { sku: 'DEMO-018', quantity: '8', warehouse_code: 'EAST' },
    { sku: 'DEMO-019', quantity: -1 },
    { sku: 'DEMO-019', quantity: 1e21 },
    { sku: 'DEMO-019', quantity: true },
    null,
    7,
    { sku: 'DEMO-019\u0000', quantity: 1 },
  ];
  const answer = await send('/api/inventory/bulk', JSON.stringify({ rows }), 'application/json');
  expect(counts(answer.body)).toEqual([8, 2, 6, 0]);
  expect(answer.body.errors.map(({ row, field, reason }) => [row, field, reason])).toEqual([
    [4, 'quantity', 'must not be negative'],
    [5, 'quantity', 'must be a whole number'],
    [6, 'quantity', 'must be a whole number'],
    [7, 'sku', 'is missing'],
    [8, 'sku', 'is missing'],
    [9, 'sku', 'must not contain NUL or broken Unicode'],
  ]);
  expect([await physical('DEMO-017'), await physical('DEMO-019')]).toEqual([7, 100]);
});

test('formulas in a refused row are defused in the error file, and numbers are left alone', async () => {
  const answer = await stock(
    'sku,quantity,location\n"=cmd|\' /C calc\'!A0",1,MAIN\n"+SUM(A1)",1,\n@x,1,\n"-1+2",1,\nplain,-4,\n"tab\there",1,\n',
  );
  expect(answer.body.failed).toBe(6);
  const { text } = await demo.api(answer.body.errorFile ?? '');
  const first = text
    .trim()
    .split('\r\n')
    .slice(1)
    .map((line) => /^"((?:[^"]|"")*)"/.exec(line)?.[1]);
  expect(first).toEqual(["'=cmd|' /C calc'!A0", "'+SUM(A1)", "'@x", "'-1+2", 'plain', 'tab\there']);
  expect(text).toContain('"plain","-4"');
  const { key } = await demo.stranger();
  expect((await demo.api(answer.body.errorFile ?? '', { key })).status).toBe(404);
  expect((await demo.api(answer.body.errorFile ?? '', { key: null })).status).toBe(401);
});

test('products: new, changed and unchanged rows; bundles by their parts; a bad row leaves the others', async () => {
  const csv =
    'sku,title,barcode,components\nP-1,One,4006381333931,\nP-2,Two,,\nP-KIT,Kit,,P-1:2; P-2\nP-BAD,Bad,,NO-SUCH:1\n';
  const first = await send('/api/products/bulk', csv);
  expect(counts(first.body)).toEqual([4, 3, 1, 0]);
  expect(first.body.errors).toEqual([
    { row: 5, field: 'components', value: 'NO-SUCH:1', reason: 'NO-SUCH is not known' },
  ]);
  expect(counts((await send('/api/products/bulk', csv)).body)).toEqual([4, 0, 1, 3]);
  expect(await demo.ok('/api/inventory/P-KIT')).toMatchObject({
    title: 'Kit',
    bundle: {
      components: [
        { sku: 'P-1', units: 2 },
        { sku: 'P-2', units: 1 },
      ],
    },
  });
  const dry = await send('/api/products/bulk?dryRun=true', 'sku,title\nP-9,Nine\n');
  expect(counts(dry.body)).toEqual([1, 1, 0, 0]);
  expect((await demo.api('/api/inventory/P-9')).status).toBe(404);
});

test('50,000 products and files of more than 10 MB are taken; beyond the limit is 413 and nothing', async () => {
  const lines = Array.from({ length: 50_000 }, (_, n) => `BIG-${n},Title of ${n} ${'x'.repeat(200)}`);
  const products = `sku,title\n${lines.join('\n')}\n`;
  expect(products.length).toBeGreaterThan(10 * 1_048_576);
  let start = performance.now();
  expect(counts((await send('/api/products/bulk', products)).body)).toEqual([50_000, 50_000, 0, 0]);
  expect(performance.now() - start).toBeLessThan(30_000);
  expect((await demo.ok<{ totalSkus: number }>('/api/inventory?search=BIG-')).totalSkus).toBe(50_000);
  start = performance.now();
  expect((await demo.ok<{ items: unknown[] }>('/api/inventory?search=BIG-49999')).items).toMatchObject([
    { sku: 'BIG-49999', physical: 0 },
  ]);
  expect(performance.now() - start).toBeLessThan(3_000);
  const filler = 'y'.repeat(75_000);
  const stockFile = `sku,quantity,note\n${Array.from({ length: 150 }, (_, n) => `BIG-${n},${n % 100},${filler}`).join('\n')}\n`;
  expect(stockFile.length).toBeGreaterThan(10 * 1_048_576);
  expect(counts((await stock(stockFile)).body)).toEqual([150, 148, 0, 2]);
  const many = Array.from({ length: 50_000 }, (_, n) => `BIG-${n},${(n % 100) + 1}`);
  expect(counts((await stock(`sku,quantity\n${many.join('\n')}\n`)).body)).toEqual([50_000, 50_000, 0, 0]);
  expect(await demo.ok('/api/inventory/BIG-49999')).toMatchObject({ physical: 100, available: 100 });
  const before = await booked();
  expect((await stock(`sku,quantity\n${'BIG-1,7\n'.repeat(100_001)}`)).status).toBe(413);
  const rows = JSON.stringify(Array.from({ length: 100_001 }, () => ({ sku: 'BIG-1', quantity: 7 })));
  expect((await send('/api/inventory/bulk', rows, 'application/json')).status).toBe(413);
  expect((await stock(`sku,quantity,note\nBIG-1,7,${'z'.repeat(33 * 1_048_576)}\n`)).status).toBe(413);
  expect(await booked()).toBe(before);
}, 120_000);
