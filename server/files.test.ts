/** Reading files: hostile ones cost little, and every record has the number that its owner sees. */
import { expect, test } from 'vitest';
import { ErrorTable } from '#core/catalog/error-file.ts';
import { errorCsv } from './flows/import-rows.ts';
import { readImport } from './testing/read-file.ts';
import { workbook, zip } from './testing/workbook.ts';

const main = 'http://schemas.openxmlformats.org/spreadsheetml/2006/main';
const office = 'http://schemas.openxmlformats.org/officeDocument/2006/relationships';
const text = (at: string, value: string) => `<c r="${at}" t="inlineStr"><is><t>${value}</t></is></c>`;
const header = `<row r="1">${text('A1', 'sku')}${text('B1', 'quantity')}</row>`;

function sheet(rows: string, before = ''): Buffer {
  const parts = {
    'xl/workbook.xml': `<workbook xmlns="${main}" xmlns:r="${office}"><sheets><sheet name="S" sheetId="1" r:id="r1"/></sheets></workbook>`,
    'xl/_rels/workbook.xml.rels': `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="${office}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>`,
    'xl/worksheets/sheet1.xml': `<?xml version="1.0"?>${before}<worksheet xmlns="${main}"><sheetData>${rows}</sheetData></worksheet>`,
  };
  return zip(Object.fromEntries(Object.entries(parts).map(([name, content]) => [name, Buffer.from(content)])));
}

test('a workbook of a thousand bytes whose cells stand far out is refused before it takes memory or time', async () => {
  const far = [
    '<row r="2"><c r="ZZZZZZ2"><v>1</v></c></row>',
    `<row r="2"><c r='ZZZZZ2'><v>1</v></c></row>`,
    '<row r="2"><c r="&#90;ZZZZ2"><v>1</v></c></row>',
    '<row r="2"><c r="~~~~2"><v>1</v></c></row>',
    '<row r="99999999999"><c><v>1</v></c></row>',
    '<row r="1e9"/><row r="1000000001"><c r="A1000000001"><v>1</v></c></row>',
    `<row r="2"><c r="BXX2"><v>1</v></c></row><row r="1048576"><c r="A1048576"><v>1</v></c></row>`,
  ];
  const before = process.cpuUsage();
  for (const rows of far)
    await expect(readImport(sheet(header + rows), 'stock'), rows).rejects.toMatchObject({ code: 'api.too_large' });
  // Of all threads: what a busy machine lets wait is not counted.
  const { user, system } = process.cpuUsage(before);
  expect((user + system) / 1_000).toBeLessThan(3_000);
});

test('entities of a workbook are not expanded', async () => {
  const laughs = `<!DOCTYPE x [<!ENTITY a "haha"><!ENTITY b "&a;&a;&a;">]>`;
  const { rows } = await readImport(
    sheet(`${header}<row r="2">${text('A2', '&b;')}<c r="B2"><v>1</v></c></row>`, laughs),
    'stock',
  );
  expect(rows).toEqual([{ row: 2, values: { sku: '&b;', quantity: '1' } }]);
});

test('rows of a workbook have the numbers that the spreadsheet shows, whatever is empty above or between', async () => {
  const rows = `<row r="2">${text('A2', 'sku')}${text('B2', 'quantity')}</row><row r="3"/><row r="5">${text('A5', 'S-5')}<c r="B5"><v>7</v></c></row><row r="9">${text('A9', 'S-9')}<c r="B9"><v>1</v></c></row>`;
  expect((await readImport(sheet(rows), 'stock')).rows).toEqual([
    { row: 5, values: { sku: 'S-5', quantity: '7' } },
    { row: 9, values: { sku: 'S-9', quantity: '1' } },
  ]);
});

test('a file that is small as bytes and huge as cells is refused before it is taken apart', async () => {
  const files = {
    objects: `[${'{},'.repeat(4_100_000)}{}]`,
    keys: `{${Array.from({ length: 60_000 }, (_, n) => `"${n}":{}`).join(',')},"x":[${'1,'.repeat(8_000_000)}1]}`,
    commas: `sku,quantity\n${','.repeat(20_000_001)}`,
    lines: `item-name\tseller-sku\tasin1\n${'a\n'.repeat(1_000_001)}`,
    tabs: `item-name\tseller-sku\tasin1\n${'\t'.repeat(20_000_001)}`,
  };
  for (const [name, content] of Object.entries(files))
    await expect(readImport(Buffer.from(content), 'stock'), name).rejects.toMatchObject({ code: 'api.too_large' });
  const record = readImport(Buffer.from(`sku,quantity\n"${'a'.repeat(3_000_000)}`), 'stock');
  await expect(record).rejects.toMatchObject({ code: 'import.unreadable' });
});

test('while a large CSV is read the process does its other work', async () => {
  const csv = Buffer.from(`sku,title,quantity\n${`SKU,${'t'.repeat(90)},5\n`.repeat(60_000)}`);
  let others = 0;
  let isRead = false;
  const other = () => {
    others += 1;
    if (!isRead) setImmediate(other);
  };
  setImmediate(other);
  const { rows } = await readImport(csv, 'stock');
  isRead = true;
  expect(rows).toHaveLength(60_000);
  expect(rows.at(-1)).toEqual({ row: 60_001, values: { sku: 'SKU', quantity: '5' } });
  expect(others).toBeGreaterThan(15);
});

test('while a long workbook is read the process does its other work: it is read in a thread of its own', async () => {
  const rows = Array.from(
    { length: 20_000 },
    (_, at) => `<row r="${at + 2}">${text(`A${at + 2}`, `S-${at}`)}<c r="B${at + 2}"><v>5</v></c></row>`,
  );
  const book = sheet(header + rows.join(''));
  const [hereBefore, before] = [process.threadCpuUsage(), process.cpuUsage()];
  const { rows: read } = await readImport(book, 'stock');
  const [here, everywhere] = [process.threadCpuUsage(hereBefore), process.cpuUsage(before)];
  expect(read).toHaveLength(20_000);
  expect(read.at(-1)).toEqual({ row: 20_001, values: { sku: 'S-19999', quantity: '5' } });
  expect((here.user + here.system) * 3).toBeLessThan(everywhere.user + everywhere.system);
});

test('the header alone says what parts the cells, whatever ends its line and whatever stands in the rows', async () => {
  const expected = [
    { row: 2, values: { sku: '0012', title: 'a; b; c, d' } },
    { row: 3, values: { sku: 'S 2', title: 'x\ty\tz\tz\tz' } },
  ];
  const csv = (end: string) => ['sku,title', '0012,"a; b; c, d"', 'S 2,x\ty\tz\tz\tz', ''].join(end);
  for (const content of [csv('\r'), csv('\n'), csv('\r\n')])
    expect((await readImport(Buffer.from(content), 'products')).rows).toEqual(expected);
  const wide = Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(csv('\r\n'), 'utf16le')]);
  expect((await readImport(wide, 'products')).rows).toEqual(expected);
});

test('a file of failed rows comes back with every SKU as it was, also those that a spreadsheet would run', async () => {
  const skus = ['-PIPE', '@HOME', '=1+1', "'=1", "''@x", '+5 pack', '-12', "'TICK", 'a;b,c"d', "O'Neil", '0012'];
  const rows = skus.map((sku, at) => ({ row: at + 2, values: { sku, quantity: '-1' } }));
  const errors = rows.map(({ row }) => ({ row, field: 'quantity', value: '-1', reason: '=must not be negative' }));
  const sent = errorCsv(rows, errors);
  expect(sent.split('\r\n').filter((line) => /(?:^|,)"[=@+\t]/.test(line))).toEqual([]);
  expect((await readImport(Buffer.from(sent), 'stock')).rows).toEqual(rows);
  // Nobody else's apostrophes are touched.
  const other = await readImport(Buffer.from(`sku,quantity\n'=1,2\n`), 'stock');
  expect(other.rows).toEqual([{ row: 2, values: { sku: "'=1", quantity: '2' } }]);
});

test('failed rows of a report that parts its cells by tabs come back as CSV, mended, and are read as the report was', async () => {
  const titles = ['item-name', 'seller-sku', 'quantity', 'asin1', 'fulfillment-channel'];
  const table = new ErrorTable(titles);
  const error = { row: 3, field: 'seller-sku', value: '', reason: 'is missing' };
  const sent = table.header() + table.row(['Ruler 12" and, more', 'RULER', '7', 'B000000001', 'DEFAULT'], error);
  for (const format of ['auto', 'amazon-listings'] as const)
    expect(await readImport(Buffer.from(sent), 'stock', format)).toEqual({
      format: 'amazon-listings',
      rows: [{ row: 2, values: { sku: 'RULER', quantity: '7' } }],
      errors: [],
    });
});

test('a workbook with a password says so', async () => {
  const locked = Buffer.concat([Buffer.from('d0cf11e0a1b11ae1', 'hex'), Buffer.alloc(2_000)]);
  for (const format of ['auto', 'xlsx', 'csv'] as const)
    await expect(readImport(locked, 'stock', format)).rejects.toMatchObject({ code: 'import.unreadable' });
  await expect(readImport(locked, 'stock')).rejects.toThrow(/with a password or of the old format/);
});

test('a hidden sheet before the one that is shown is not read', async () => {
  const part = (id: string) => `<Relationship Id="${id}" Type="${office}/worksheet" Target="worksheets/${id}.xml"/>`;
  const rows = (sku: string) =>
    `<worksheet xmlns="${main}"><sheetData>${header}<row r="2">${text('A2', sku)}<c r="B2"><v>3</v></c></row></sheetData></worksheet>`;
  const parts = {
    'xl/workbook.xml': `<workbook xmlns="${main}" xmlns:r="${office}"><sheets><sheet name="Old" sheetId="4" state="hidden" r:id="one"/><sheet name="List" sheetId="9" state="veryHidden" r:id="two"/><sheet name="Stock" sheetId="2" r:id="three"/></sheets></workbook>`,
    'xl/_rels/workbook.xml.rels': `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">${part('three')}${part('one')}${part('two')}</Relationships>`,
    'xl/worksheets/one.xml': rows('OLD'),
    'xl/worksheets/two.xml': rows('LIST'),
    'xl/worksheets/three.xml': rows('NOW'),
  };
  const book = zip(Object.fromEntries(Object.entries(parts).map(([name, content]) => [name, Buffer.from(content)])));
  expect((await readImport(book, 'stock')).rows).toEqual([{ row: 2, values: { sku: 'NOW', quantity: '3' } }]);
});

test('cells of JSON that are no values keep their JSON, so that the row is refused in its own words, however deep they nest', async () => {
  const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
  const file = `[{"sku":${deep},"quantity":{"toString":1}},{"sku":"KIT","components":[{"sku":{"toString":1}},{"sku":${deep},"units":[]}]}]`;
  const { rows } = await readImport(Buffer.from(file), 'products');
  expect(rows.map(({ values }) => values)).toEqual([
    { sku: '[nested]' },
    { sku: 'KIT', components: '{"toString":1}:1; [nested]:[]' },
  ]);
});

test('a workbook with a damaged part is refused; it does not keep its reader waiting', async () => {
  const damaged = workbook([
    ['sku', 'quantity'],
    ['A', 5],
  ]);
  damaged[389] = 0xff;
  await expect(readImport(damaged, 'stock')).rejects.toMatchObject({ status: 400, code: 'import.unreadable' });
});
