/**
 * Every request we build and every answer our tests stand on, against Amazon's own models. The models are the vendor's
 * and lie outside the repository (SYNCSTATE_VENDOR_MODELS, default ../shared/vendors); without them this is skipped and said.
 *
 * Swagger 2.0 definitions compile as draft 7, not strict; notification schemas without their `$id`s; and because the
 * models leave objects open, request fields they do not name are refused by a check of our own (fact sheet §15).
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Ajv, type ValidateFunction } from 'ajv';
import { describe, expect, test } from 'vitest';
import {
  type Asked,
  calling,
  feedAnswer,
  fixture,
  openAmazon,
  type VendorServer,
  vendorServer,
} from './amazon.testing.ts';

const root = join(import.meta.dirname, '../..');
const folder = resolve(root, process.env.SYNCSTATE_VENDOR_MODELS ?? '../shared/vendors', 'amazon-models');
const present = existsSync(folder);
if (!present) console.warn(`SKIPPED: no Amazon models in ${folder}; set SYNCSTATE_VENDOR_MODELS.`);

type Json = { [key: string]: Json } | Json[] | string | number | boolean | null;
type Model = { [key: string]: Json };

const LISTINGS = 'models/listings-items-api-model/listingsItems_2021-08-01.json';
const ORDERS = 'models/orders-api-model/orders_2026-01-01.json';
const FBA = 'models/fba-inventory-api-model/fbaInventory.json';
const FEEDS = 'models/feeds-api-model/feeds_2021-06-30.json';
const FEED_BODY = 'schemas/feeds/listings-feed-schema-v2.json';

/** Fixture → where its shape is defined. Every fixture is here: the last test sees to it. */
const SHAPES: Record<string, string> = {
  'item-merchant': `${LISTINGS}#Item`,
  'item-fba': `${LISTINGS}#Item`,
  'item-both': `${LISTINGS}#Item`,
  'item-parent': `${LISTINGS}#Item`,
  'listings-page': `${LISTINGS}#ItemSearchResults`,
  'submission-accepted': `${LISTINGS}#ListingsItemSubmissionResponse`,
  'submission-invalid': `${LISTINGS}#ListingsItemSubmissionResponse`,
  'submission-type-withdrawn': `${LISTINGS}#ListingsItemSubmissionResponse`,
  'submission-valid': `${LISTINGS}#ListingsItemSubmissionResponse`,
  'error-expired': `${LISTINGS}#ErrorList`,
  'error-denied': `${LISTINGS}#ErrorList`,
  'error-quota': `${LISTINGS}#ErrorList`,
  'error-invalid-input': `${LISTINGS}#ErrorList`,
  'error-not-found': `${LISTINGS}#ErrorList`,
  'fba-summaries': `${FBA}#GetInventorySummariesResponse`,
  'feed-document-new': `${FEEDS}#CreateFeedDocumentResponse`,
  'feed-new': `${FEEDS}#CreateFeedResponse`,
  'feed-queued': `${FEEDS}#Feed`,
  'feed-done': `${FEEDS}#Feed`,
  'feeds-page-1': `${FEEDS}#GetFeedsResponse`,
  'feeds-page-2': `${FEEDS}#GetFeedsResponse`,
  'feed-document': `${FEEDS}#FeedDocument`,
  'feed-report': 'schemas/feeds/listings-feed-processing-report-schema-v2.json',
  'order-pending': `${ORDERS}#GetOrderResponse`,
  'order-unshipped': `${ORDERS}#GetOrderResponse`,
  'order-partly-shipped': `${ORDERS}#GetOrderResponse`,
  'order-shipped': `${ORDERS}#GetOrderResponse`,
  'order-cancelled': `${ORDERS}#GetOrderResponse`,
  'order-cancel-requested': `${ORDERS}#GetOrderResponse`,
  'order-fba': `${ORDERS}#GetOrderResponse`,
  'orders-page-1': `${ORDERS}#SearchOrdersResponse`,
  'orders-page-2': `${ORDERS}#SearchOrdersResponse`,
  'order-change-unshipped': 'schemas/notifications/OrderChangeNotification.json',
  'order-change-pending': 'schemas/notifications/OrderChangeNotification.json',
  'order-change-canceled': 'schemas/notifications/OrderChangeNotification.json',
  'order-change-partly-cancelled': 'schemas/notifications/OrderChangeNotification.json',
  'order-change-item-level': 'schemas/notifications/OrderChangeNotification.json',
  'order-change-fba': 'schemas/notifications/OrderChangeNotification.json',
  'order-change-no-time': 'schemas/notifications/OrderChangeNotification.json',
  'order-change-supply-source': 'schemas/notifications/OrderChangeNotification.json',
  'quantity-change': 'schemas/notifications/ListingsItemMfnQuantityChange.json',
  'feed-finished': 'schemas/notifications/FeedProcessingFinishedNotification.json',
};

const load = (path: string): Model => JSON.parse(readFileSync(join(folder, path), 'utf8')) as Model;

/** Without examples and vendor extensions, and (for notifications) without `$id`. */
function cleaned(value: Json, drop: RegExp): Json {
  if (Array.isArray(value)) return value.map((one) => cleaned(one, drop));
  if (typeof value !== 'object' || value === null) return value;
  const named = Object.entries(value).filter(([key, inner]) => !(drop.test(key) && !isSchemaNamed(key, inner)));
  return Object.fromEntries(named.map(([key, inner]) => [key, cleaned(inner, drop)]));
}

/** A property that merely happens to be called "example". */
function isSchemaNamed(key: string, inner: Json): boolean {
  return (
    !key.startsWith('x-') &&
    key !== '$id' &&
    typeof inner === 'object' &&
    inner !== null &&
    'type' in inner &&
    'description' in inner
  );
}

const compiled = new Map<string, ValidateFunction>();

function validator(shape: string): ValidateFunction {
  const known = compiled.get(shape);
  if (known !== undefined) return known;
  const ajv = new Ajv({ strict: false, allErrors: true });
  for (const format of ['int32', 'int64', 'float', 'double', 'ip', 'date']) ajv.addFormat(format, true);
  ajv.addFormat('date-time', (text: string) => /T.*(Z|[+-]\d\d:\d\d)$/.test(text) && !Number.isNaN(Date.parse(text)));
  const [path = '', definition] = shape.split('#');
  const model = load(path);
  const schema =
    definition === undefined
      ? cleaned(model, /^(\$id|examples?)$/)
      : { definitions: cleaned(model.definitions ?? null, /^(examples?|x-.*)$/), $ref: `#/definitions/${definition}` };
  const validate = ajv.compile(schema as object);
  compiled.set(shape, validate);
  return validate;
}

function problems(shape: string, value: unknown): string[] {
  const validate = validator(shape);
  return validate(value) ? [] : (validate.errors ?? []).map((error) => `${error.instancePath} ${error.message}`);
}

interface Parameter {
  name: string;
  in: string;
  required?: boolean;
  enum?: string[];
  maxItems?: number;
  items?: { enum?: string[] };
}

/** What the model says against a request's query: unknown or missing parameters, values outside their enum. */
function queryProblems(path: string, template: string, method: string, query: URLSearchParams): string[] {
  const paths = load(path).paths as unknown as Record<string, Record<string, { parameters?: Parameter[] }>>;
  const operation = paths[template]?.[method];
  if (operation === undefined) return [`the model has no ${method} ${template}`];
  const parameters = (operation.parameters ?? []).filter((one) => one.in === 'query');
  const unknown = [...query.keys()]
    .filter((name) => !parameters.some((one) => one.name === name))
    .map((name) => `unknown ${name}`);
  const wrong = parameters.flatMap((one) => {
    const value = query.get(one.name);
    if (value === null) return one.required === true ? [`missing ${one.name}`] : [];
    const values = one.items === undefined ? [value] : value.split(',');
    const allowed = one.items?.enum ?? one.enum;
    const outside = allowed === undefined ? [] : values.filter((each) => !allowed.includes(each));
    const tooMany = values.length > (one.maxItems ?? Number.POSITIVE_INFINITY) ? [`too many ${one.name}`] : [];
    return [...outside.map((each) => `${one.name}=${each}`), ...tooMany];
  });
  return [...unknown, ...wrong];
}

/** Every request this connector can send, once. */
async function everyRequest(): Promise<Asked[]> {
  const server: VendorServer = await vendorServer((asked) => {
    if (asked.method === 'PATCH') return { body: fixture('submission-accepted') };
    if (/^\/(feeds|_s3)/.test(asked.path)) return feedAnswer(asked, server.url);
    if (asked.path.startsWith('/fba')) return { body: fixture('fba-summaries') };
    if (asked.path.endsWith('/orders')) return { body: fixture('orders-page-1') };
    if (asked.path.startsWith('/orders')) return { body: fixture('order-unshipped') };
    if (asked.path.endsWith('/A1SIMSELLER')) return { body: fixture('listings-page') };
    return { body: { ...fixture<object>('item-both'), sku: decodeURIComponent(asked.path.split('/').at(-1) ?? '') } };
  });
  const { channel, close } = openAmazon(server.url);
  try {
    const ref = { stockKey: 'MUG-BLUE-11', channelLocation: 'DEFAULT' };
    const { cursor } = await channel.catalog.list(null, calling());
    await channel.catalog.list(cursor, calling());
    await channel.stock.write([{ ref, value: 4, from: null }], 'k', calling('urgent'));
    await channel.stock.preview?.({ ref, value: 4 }, calling());
    const { bulk } = channel.stock;
    const { documentId = '' } = (await bulk?.prepare([{ messageId: 1, ref, value: 12 }], calling('bulk'))) ?? {};
    const { submissionId = '' } = (await bulk?.submit(documentId, calling('bulk'))) ?? {};
    const { resultId } = (await bulk?.status(submissionId, calling())) ?? {};
    await bulk?.outcomes(resultId ?? '', { sent: 1, rows: [{ messageId: 1, stockKey: 'MUG-BLUE-11' }] }, calling());
    await bulk?.since(Date.UTC(2026, 10, 21), calling());
    await bulk?.cancel(submissionId, calling('urgent'));
    await channel.stock.read(
      ['S1', 'S2', 'a,b', 'S4', 'S5', 'S6'].map((stockKey) => ({ stockKey, channelLocation: 'AMAZON_NA' })),
      calling(),
    );
    const page = await channel.orders.changedSince(Date.UTC(2026, 10, 21), null, calling());
    await channel.orders.changedSince(Date.UTC(2026, 10, 21), page.cursor, calling());
    await channel.orders.get('902-1000000-0000001', calling());
    await channel.test(calling());
    return server.asked;
  } finally {
    close();
    await server.close();
  }
}

const TEMPLATES: [pattern: RegExp, model: string, template: string][] = [
  [/^\/listings\/2021-08-01\/items\/[^/]+$/, LISTINGS, '/listings/2021-08-01/items/{sellerId}'],
  [/^\/listings\/2021-08-01\/items\/[^/]+\/[^/]+$/, LISTINGS, '/listings/2021-08-01/items/{sellerId}/{sku}'],
  [/^\/orders\/2026-01-01\/orders$/, ORDERS, '/orders/2026-01-01/orders'],
  [/^\/orders\/2026-01-01\/orders\/[^/]+$/, ORDERS, '/orders/2026-01-01/orders/{orderId}'],
  [/^\/feeds\/2021-06-30\/documents$/, FEEDS, '/feeds/2021-06-30/documents'],
  [/^\/feeds\/2021-06-30\/documents\/[^/]+$/, FEEDS, '/feeds/2021-06-30/documents/{feedDocumentId}'],
  [/^\/feeds\/2021-06-30\/feeds$/, FEEDS, '/feeds/2021-06-30/feeds'],
  [/^\/feeds\/2021-06-30\/feeds\/[^/]+$/, FEEDS, '/feeds/2021-06-30/feeds/{feedId}'],
  [/^\/fba\/inventory\/v1\/summaries$/, FBA, '/fba/inventory/v1/summaries'],
];

describe.skipIf(!present)("Amazon's own models", () => {
  test.each(Object.entries(SHAPES))('the answer %s conforms to %s', (name, shape) => {
    expect(problems(shape, fixture(name))).toEqual([]);
  });

  test('a broken answer is noticed', () => {
    expect(problems(`${LISTINGS}#ListingsItemSubmissionResponse`, { sku: 'S', status: 'MAYBE' })).not.toEqual([]);
    const { NotificationMetadata: _, ...without } = fixture<Record<string, unknown>>('order-change-unshipped');
    expect(problems('schemas/notifications/OrderChangeNotification.json', without)).not.toEqual([]);
  });

  test('every request names an operation of the models, with its parameters and values', async () => {
    const seen = new Set<string>();
    for (const asked of (await everyRequest()).filter(({ path }) => !path.startsWith('/_s3/'))) {
      const known = TEMPLATES.find(([pattern]) => pattern.test(asked.path));
      expect(known, asked.path).toBeDefined();
      const [, model = '', template = ''] = known ?? [];
      expect(queryProblems(model, template, asked.method.toLowerCase(), asked.query), asked.path).toEqual([]);
      seen.add(`${asked.method} ${template}`);
    }
    expect([...seen].sort()).toEqual([
      'DELETE /feeds/2021-06-30/feeds/{feedId}',
      'GET /fba/inventory/v1/summaries',
      'GET /feeds/2021-06-30/documents/{feedDocumentId}',
      'GET /feeds/2021-06-30/feeds',
      'GET /feeds/2021-06-30/feeds/{feedId}',
      'GET /listings/2021-08-01/items/{sellerId}',
      'GET /listings/2021-08-01/items/{sellerId}/{sku}',
      'GET /orders/2026-01-01/orders',
      'GET /orders/2026-01-01/orders/{orderId}',
      'PATCH /listings/2021-08-01/items/{sellerId}/{sku}',
      'POST /feeds/2021-06-30/documents',
      'POST /feeds/2021-06-30/feeds',
    ]);
  });

  test('the patch conforms, and has no field the model does not know', async () => {
    const patches = (await everyRequest())
      .filter((asked) => asked.method === 'PATCH')
      .map((asked) => JSON.parse(asked.body) as Model);
    expect(patches).toHaveLength(2);
    for (const body of patches) {
      expect(problems(`${LISTINGS}#ListingsItemPatchRequest`, body)).toEqual([]);
      expect(Object.keys(body).sort()).toEqual(['patches', 'productType']);
      expect(Object.keys((body.patches as Model[])[0] ?? {}).sort()).toEqual(['op', 'path', 'value']);
    }
  });

  test('the feed conforms: its document, what it is uploaded as, and its start, without a field the models do not know', async () => {
    const asked = await everyRequest();
    const sent = (method: string, end: string) => {
      const [one] = asked.filter((each) => each.method === method && each.path.endsWith(end));
      return JSON.parse(one?.body ?? 'null') as Model;
    };
    const place = sent('POST', '/documents');
    expect(problems(`${FEEDS}#CreateFeedDocumentSpecification`, place)).toEqual([]);
    const upload = asked.find(({ method }) => method === 'PUT');
    expect(upload?.headers['content-type']).toBe(place.contentType);
    expect(upload?.headers).not.toHaveProperty('x-amz-access-token');
    const document = JSON.parse(upload?.body ?? 'null') as Model;
    expect(problems(FEED_BODY, document)).toEqual([]);
    const [message] = document.messages as Model[];
    expect(Object.keys(message ?? {}).sort()).toEqual(['messageId', 'operationType', 'patches', 'productType', 'sku']);
    const start = sent('POST', '/feeds');
    expect(problems(`${FEEDS}#CreateFeedSpecification`, start)).toEqual([]);
    expect(Object.keys(start).sort()).toEqual(['feedType', 'inputFeedDocumentId', 'marketplaceIds']);
  });

  test('every fixture has its model', () => {
    const names = readdirSync(join(import.meta.dirname, 'fixtures')).map((file) => file.replace(/\.json$/, ''));
    expect(names.sort()).toEqual(Object.keys(SHAPES).sort());
  });
});
