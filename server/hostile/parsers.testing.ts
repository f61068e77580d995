/**
 * Every parser that faces the outside, with good input to spoil. What each may do with bad input: answer, or throw one of our
 * coded errors. Anything else (a TypeError, an assertion, a changed Object.prototype, more time or memory than stated) is a fault.
 *
 * `rooms` names the modules that read what others wrote; parsers.test.ts fails for a module or an export that is not told here.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { tokenFault, vendorErrors } from '#connectors/amazon/errors.ts';
import { identify, parseNotification } from '#connectors/amazon/notifications.ts';
import * as amazonWire from '#connectors/amazon/wire.ts';
import { parseLossless, topLevelField } from '#connectors/kit/lossless.ts';
import { maskSecrets, redactBody } from '#connectors/kit/redaction.ts';
import { errorOfStatus } from '#connectors/shopify/errors.ts';
import { TOPICS } from '#connectors/shopify/topics.ts';
import { webhook } from '#connectors/shopify/webhook.ts';
import * as shopifyWire from '#connectors/shopify/wire.ts';
import { JsonList } from '#core/catalog/formats/json-list.ts';
import { decode, TabRecords } from '#core/catalog/formats/text.ts';
import { AssertionFault, CodedError } from '#core/errors.ts';
import { Problem } from '../api/problem.ts';
import { type ImportFormat, importFormats } from '../files.ts';
import { readImport } from '../testing/read-file.ts';
import { workbook } from '../testing/workbook.ts';
import { hostileBytes, hostileJson, hostileTable, hostileText } from './mutations.testing.ts';
import { bodyOf, type Recording } from './recordings.testing.ts';

export interface Parser {
  name: string;
  /** One run starts a thread: fewer of them. */
  slow?: boolean;
  input: fc.Arbitrary<Buffer>;
  run(input: Buffer): unknown;
}

const root = new URL('../../', import.meta.url);
const fixturesOf = (vendor: string): string[] =>
  readdirSync(new URL(`connectors/${vendor}/fixtures/`, root))
    .filter((name) => name.endsWith('.json'))
    .map((name) => readFileSync(new URL(`connectors/${vendor}/fixtures/${name}`, root), 'utf8'));

const shopOrder = readFileSync(new URL('connectors/shopify/fixtures/orders-create.json', root), 'utf8');
const shopBodies = [
  shopOrder,
  '{"id":1,"order_id":820982911946154508,"created_at":"2026-11-20T10:00:00-05:00","refund_line_items":[]}',
  '{"order_edit":{"id":1,"order_id":820982911946154508,"committed_at":"2026-11-20T10:00:00Z"}}',
  '{"inventory_item_id":271878346596884015,"location_id":24826418,"available":7,"updated_at":"2026-11-20T10:00:00Z"}',
  '{"id":548380009,"myshopify_domain":"super-toys.myshopify.com"}',
];
const amazonBodies = fixturesOf('amazon');
const notifications = amazonBodies.filter((body) => /notificationType/i.test(body));

const tables = {
  stock: 'sku,quantity,location\nA-1,5,MAIN\n"B ""2""",0,EAST\nC;3,7,MAIN\n',
  semicolons: 'SKU;Qty;Warehouse\nA-1;5;MAIN\nB-2;;EAST\n',
  products: 'sku,title,barcode,components\nA,Tea,4006381333931,\nKIT,Kit,,A:2; B:1\n',
  mapping: 'sku,connection,channel_sku,external_id\nA,Shop,A-1,\nB,Shop,,gid://shopify/Product/1\n',
  shopify:
    'Handle,Title,Option1 Name,Option1 Value,Variant SKU,Variant Inventory Tracker,Variant Inventory Qty,Variant Barcode,Status\ntee,Tee,Size,S,TEE-S,shopify,5,,active\ntee,,,M,TEE-M,shopify,3,,\n',
  inventory:
    'Handle,Title,Option1 Name,Option1 Value,SKU,HS Code,COO,Location,Incoming,Unavailable,Committed,Available,On hand\ntee,Tee,Size,S,TEE-S,,,MAIN,0,0,1,5,6\n',
  amazon:
    'item-name\titem-description\tlisting-id\tseller-sku\tprice\tquantity\topen-date\tproduct-id-type\tasin1\tproduct-id\tfulfillment-channel\tstatus\nTea\t\t1\tTEA-1\t3.00\t5\t2026-11-01\t1\tB0SIM00001\tB0SIM00001\tDEFAULT\tActive\n',
};
const rowsJson = [
  '[{"sku":"A","quantity":1},{"sku":"B","qty":"2","location":"MAIN"}]',
  '{"rows":[{"sku":"KIT","components":[{"sku":"A","units":2}]}]}',
];
const sheet = workbook([
  ['sku', 'quantity', 'location'],
  ['A', 5, 'MAIN'],
  ['B', { formula: 'A2+1', value: 6 }, 'EAST'],
]);

const kinds = ['stock', 'products', 'mapping'] as const;
const text = (input: Buffer) => input.toString('utf8');
const asBuffer = hostileText.map((some) => Buffer.from(some));

const ofWire = (vendor: string, wire: Record<string, unknown>, bodies: readonly string[]): Parser[] =>
  Object.entries(wire).flatMap(([name, schema]) =>
    typeof schema === 'object' && schema !== null && 'safeParse' in schema
      ? [
          {
            name: `${vendor}/wire ${name}`,
            input: hostileJson(bodies),
            run: (input: Buffer) =>
              (schema as { safeParse(value: unknown): unknown }).safeParse(parseLossless(text(input))),
          },
        ]
      : [],
  );

const fileParser = (kind: (typeof kinds)[number], format: ImportFormat): Parser => ({
  name: `files readImport ${kind} ${format}`,
  slow: format === 'xlsx',
  input:
    format === 'xlsx'
      ? hostileBytes([sheet])
      : fc.oneof(
          hostileTable(Object.values(tables)),
          hostileJson(rowsJson),
          hostileBytes(Object.values(tables).map((table) => Buffer.from(table))),
        ),
  run: (input) => readImport(input, kind, format),
});

/** Those that need no recording. */
export const parsers: readonly Parser[] = [
  ...Object.keys(TOPICS).map(
    (topic): Parser => ({
      name: `shopify/webhook ${topic}`,
      input: hostileJson(shopBodies),
      run(input) {
        webhook.identify(input, { 'x-shopify-topic': topic });
        return webhook.parse(input, topic);
      },
    }),
  ),
  {
    name: 'shopify/webhook headers',
    input: asBuffer,
    run: (input) =>
      webhook.identify(Buffer.from(shopOrder), {
        'x-shopify-topic': text(input),
        'x-shopify-webhook-id': text(input),
        'x-shopify-shop-domain': text(input),
      }),
  },
  {
    name: 'shopify/webhook verify',
    input: asBuffer,
    run(input) {
      if (webhook.verify(Buffer.from(shopOrder), { 'x-shopify-hmac-sha256': text(input) }, ['secret', '']))
        throw new Error('believed a signature that nobody made');
    },
  },
  { name: 'amazon/notifications identify', input: hostileJson(notifications), run: (input) => identify(input) },
  { name: 'amazon/notifications parse', input: hostileJson(notifications), run: (input) => parseNotification(input) },
  { name: 'amazon/errors vendorErrors', input: hostileJson(amazonBodies), run: (input) => vendorErrors(text(input)) },
  { name: 'amazon/errors tokenFault', input: hostileJson(amazonBodies), run: (input) => tokenFault(400, text(input)) },
  {
    name: 'shopify/errors status',
    input: hostileJson(['{"errors":"x"}']),
    run: (input) => errorOfStatus('x', 403, text(input)),
  },
  ...ofWire('shopify', shopifyWire, [...shopBodies, ...fixturesOf('shopify')]),
  ...ofWire('amazon', amazonWire, amazonBodies),
  {
    name: 'kit/lossless parse',
    input: hostileJson([...shopBodies, ...amazonBodies]),
    run: (input) => parseLossless(text(input)),
  },
  { name: 'kit/lossless field', input: hostileJson(shopBodies), run: (input) => topLevelField(text(input), 'id') },
  {
    name: 'kit/redaction body',
    input: hostileJson([...shopBodies, ...amazonBodies]),
    run: (input) => redactBody(input),
  },
  { name: 'kit/redaction text', input: asBuffer, run: (input) => maskSecrets(text(input)) },
  {
    name: 'formats text',
    input: hostileBytes(Object.values(tables).map((table) => Buffer.from(table))),
    run(input) {
      const lines = new TabRecords(input.length + 1);
      return [...lines.take(decode(input)), ...lines.end()];
    },
  },
  {
    name: 'formats json',
    input: hostileJson(rowsJson),
    run(input) {
      const list = new JsonList(input.length + 1);
      try {
        const found = [...list.take(text(input).slice(0, 7)), ...list.take(text(input).slice(7))];
        return list.end() ? found : null;
      } catch (error) {
        if (error instanceof SyntaxError) return null;
        throw error;
      }
    },
  },
  ...kinds.flatMap((kind) => importFormats.map((format) => fileParser(kind, format))),
];

/** The answers of a vendor, each spoiled in turn while the rest of the conversation stays good. */
export const portParsers = (vendor: string, recordings: readonly Recording[]): Parser[] =>
  recordings.flatMap((recording) =>
    recording.answers.flatMap((kept, at): Parser[] => {
      const body = bodyOf(kept);
      // What is asked twice is spoiled once.
      if (recording.answers.findIndex(({ operation }) => operation === kept.operation) !== at) return [];
      const isJson = /^\s*[[{]/.test(body.toString('utf8'));
      const spoiled = isJson ? hostileJson([body.toString('utf8')]) : hostileBytes([body]);
      return [
        {
          name: `${vendor} ${recording.name} ${kept.operation}`,
          input: kept.answer.bytes
            ? fc.oneof({ weight: 9, arbitrary: spoiled }, { weight: 1, arbitrary: fc.constant(bomb()) })
            : spoiled,
          run: (input) => recording.replay(at, input),
        },
        {
          name: `${vendor} ${recording.name} ${kept.operation} refused`,
          input: spoiled,
          run: (input) => recording.replay(at, input, 400),
        },
      ];
    }),
  );

let packed: Buffer | null = null;
/** 200 kB that unpack to 200 MB. */
function bomb(): Buffer {
  packed ??= gzipSync(Buffer.alloc(200 * 1_048_576, ' '));
  return packed;
}

/** CPU one input may take, and resident bytes it may add: a share that grows with it, for files of many megabytes. */
export const bounds = { cpuMs: 1_000, cpuMsPerMb: 300, growthBytes: 768 * 1_048_576 };

/** @returns what is wrong with how the input was taken, or null. */
export async function judge({ run }: Parser, input: Buffer, allowMs = bounds.cpuMs): Promise<string | null> {
  const before = process.cpuUsage();
  const rss = process.memoryUsage.rss();
  try {
    await run(input);
  } catch (error) {
    const isClear = (error instanceof CodedError && !(error instanceof AssertionFault)) || error instanceof Problem;
    if (!isClear)
      return `not an error of ours: ${error instanceof Error ? (error.stack ?? error.message).slice(0, 1_500) : String(error)}`;
    if (error.message.length > 20_000) return `an error of ${error.message.length} characters`;
  }
  const { user, system } = process.cpuUsage(before);
  const cpuMs = (user + system) / 1_000;
  if (cpuMs > allowMs + (bounds.cpuMsPerMb * input.length) / 1_000_000) return `took ${Math.round(cpuMs)} ms of CPU`;
  const grown = process.memoryUsage.rss() - rss;
  if (grown > bounds.growthBytes) return `grew by ${Math.round(grown / 1_048_576)} MiB`;
  if ('polluted' in {}) return 'changed Object.prototype';
  return null;
}
