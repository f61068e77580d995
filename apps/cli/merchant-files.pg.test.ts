/** A merchant's first hour with the files there are: exports as the vendors make them, over HTTP and by the command line. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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
  folder = mkdtempSync(join(tmpdir(), 'syncstate-files-'));
});
afterAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  await demo?.stop();
});

interface Run {
  id: string;
  state: string;
  succeeded: number;
  failed: number;
  unchanged: number;
  errorFile: string | null;
}
const upload = async (kind: string, content: string | Buffer, more = ''): Promise<Run> => {
  const { body } = await demo.api<Run>(`/api/imports?kind=${kind}${more}`, {
    method: 'POST',
    body: content.toString(),
    headers: { 'content-type': 'text/csv' },
  });
  await demo.until(async () => ['done', 'failed'].includes((await demo.ok<Run>(`/api/runs/${body.id}`)).state), 60_000);
  return demo.ok<Run>(`/api/runs/${body.id}`);
};
const stock = async (sku: string) => (await demo.api<{ title: string; onHand: number }>(`/api/inventory/${sku}`)).body;

const shopify = `Handle,Title,Body (HTML),Vendor,Option1 Name,Option1 Value,Option2 Name,Option2 Value,Variant SKU,Variant Grams,Variant Inventory Tracker,Variant Inventory Qty,Variant Inventory Policy,Variant Price,Variant Barcode,Image Src,Image Position,Status
candle,Beeswax candle,"<p>Burns slowly, <b>smells</b> ""sweet"".</p>
<p>Two lines.</p>",Imker,Title,Default Title,,,CANDLE,120.0,shopify,14,deny,9.50,'4006381333931,https://cdn.example/candle-1.jpg,1,active
candle,,,,,,,,,,,,,,,https://cdn.example/candle-2.jpg,2,
sock,Wool sock,,Strick,Colour,Grün,Size,M,SOCK-G-M,80.0,shopify,3,deny,12.00,,https://cdn.example/sock.jpg,1,active
sock,,,,,Grün,,L,SOCK-G-L,90.0,shopify,0,deny,12.00,,,,
sock,,,,,Rot,,M,,80.0,shopify,5,deny,12.00,,,,
card,Gift card,,Imker,Title,Default Title,,,CARD,0.0,,,deny,25.00,,,,draft
`;

test("Shopify's product export brings products and then stock; the row without a SKU is named and can be mended", async () => {
  const dry = await upload('products', shopify, '&dryRun=true');
  expect(dry).toMatchObject({ state: 'done', succeeded: 4, failed: 1, unchanged: 0, errorFile: null });
  expect((await demo.api('/api/inventory/CANDLE')).status).toBe(404);
  const live = await upload('products', shopify);
  expect(live).toMatchObject({ state: 'done', succeeded: 4, failed: 1, unchanged: 0 });
  expect(await stock('SOCK-G-L')).toMatchObject({ title: 'Wool sock – Grün / L', onHand: 0 });
  const { items } = await demo.ok<{ items: object[] }>(`/api/runs/${live.id}/items?outcome=failed`);
  expect(items).toEqual([
    {
      item: 6,
      outcome: 'failed',
      subject: expect.any(String),
      field: 'Variant SKU',
      value: '',
      reason: 'is missing: give "Wool sock – Rot / M" a SKU in Shopify',
    },
  ]);
  expect(await upload('products', shopify)).toMatchObject({ succeeded: 0, failed: 1, unchanged: 4 });
  expect(await upload('stock', shopify)).toMatchObject({ state: 'done', succeeded: 2, failed: 1 });
  expect([(await stock('CANDLE')).onHand, (await stock('SOCK-G-M')).onHand, (await stock('CARD')).onHand]).toEqual([
    14, 3, 0,
  ]);
});

test("Shopify's inventory export counts each place by its name; an unknown place is refused, not booked elsewhere", async () => {
  const { items } = await demo.ok<{ items: { code: string; name: string }[] }>('/api/locations');
  const east = items.find(({ code }) => code === 'EAST')?.name;
  const text = `Handle,Title,Option1 Name,Option1 Value,SKU,HS Code,COO,Location,Incoming,Unavailable,Committed,Available,On hand
candle,Beeswax candle,Title,Default Title,CANDLE,,,${east},0,0,2,6,8
candle,Beeswax candle,Title,Default Title,CANDLE,,,Pop-up,0,0,0,not stocked,not stocked
candle,Beeswax candle,Title,Default Title,CANDLE,,,Nowhere,0,0,0,1,1
`;
  const run = await upload('stock', text);
  expect(run).toMatchObject({ succeeded: 1, failed: 1 });
  const { positions } = await demo.ok<{ positions: { location: string; sellable: number }[] }>('/api/inventory/CANDLE');
  expect(positions.map(({ location, sellable }) => [location, sellable]).sort()).toEqual([
    ['EAST', 6],
    ['MAIN', 14],
  ]);
});

test("Amazon's all-listings report in Windows-1252 brings products, the stock we ship ourselves, and mappings, by the command line", async () => {
  const header =
    'item-name\titem-description\tlisting-id\tseller-sku\tprice\tquantity\topen-date\tproduct-id-type\tasin1\tproduct-id\tfulfillment-channel\tstatus';
  const row = (name: string, sku: string, quantity: string, asin: string, channel: string) =>
    `${name}\t\t1126A\t${sku}\t9.99\t${quantity}\t01/02/2026 10:00:00 GMT\t1\t${asin}\t${asin}\t${channel}\tActive`;
  const text = [
    header,
    row('Piña 12" lamp', 'PINA', '4', 'B0PINA00001', 'DEFAULT'),
    row('Fan', 'FAN-FBA', '', 'B0FAN000001', 'AMAZON_NA'),
    '',
  ].join('\r\n');
  const file = join(folder, 'report.txt');
  writeFileSync(file, Buffer.from(text, 'latin1'));
  const run = (kind: string, ...more: string[]) => syncstate('--org', 'demo', 'import', kind, file, ...more);
  expect((await run('products', '--dry-run')).exit).toBe(0);
  expect((await demo.api('/api/inventory/PINA')).status).toBe(404);
  expect((await run('products')).exit).toBe(0);
  expect(await stock('PINA')).toMatchObject({ title: 'Piña 12" lamp', onHand: 0 });
  expect((await run('stock')).exit).toBe(0);
  expect([(await stock('PINA')).onHand, (await stock('FAN-FBA')).onHand]).toEqual([4, 0]);
  const { asin } = await demo.ok<{ asin: string }>('/api/mapping/DEMO-001');
  const known = [header, row('Known', 'DEMO-001', '1', asin, 'DEFAULT'), ''].join('\n');
  expect(await upload('mapping', known)).toMatchObject({ state: 'done', succeeded: 0, failed: 0, unchanged: 1 });
  writeFileSync(file, [header, row('Nameless', '', '3', 'B0NEW000001', 'DEFAULT'), ''].join('\n'));
  expect((await run('products')).exit).toBe(1);
  const errors = join(folder, 'report-errors.csv');
  writeFileSync(errors, readFileSync(errors, 'utf8').replace('"1126A",""', '"1126A","NAMED"'));
  expect((await syncstate('--org', 'demo', 'import', 'products', errors)).exit).toBe(0);
  expect(await stock('NAMED')).toMatchObject({ title: 'Nameless', onHand: 0 });
  writeFileSync(file, 'sku,title\nA,B\n');
  const wrong = await run('products', '--format', 'amazon-listings');
  expect(wrong.exit).toBe(1);
  expect(wrong.stderr).toContain("not Amazon's all-listings report");
});

test('a run that failed as a whole says why in words and as a code, over HTTP and by the command line', async () => {
  const run = await upload('stock', 'name,count\nCANDLE,3\n');
  const words = 'The header must name the column sku and quantity. Found: name, count';
  expect(run).toMatchObject({ state: 'failed', errorCode: 'import.unreadable', message: words });
  const shown = await syncstate('--org', 'demo', 'run', 'show', run.id);
  expect([shown.exit, shown.stdout.split('\n').includes(`${words} (import.unreadable)`)]).toEqual([0, true]);
  const json = await syncstate('--org', 'demo', '--json', 'run', 'show', run.id);
  expect(JSON.parse(json.stdout)).toMatchObject({ state: 'failed', errorCode: 'import.unreadable', message: words });
});
