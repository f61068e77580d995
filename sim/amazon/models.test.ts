/**
 * Every answer of the simulator against Amazon's own models, when they are at hand (SYNCSTATE_VENDOR_MODELS, by default
 * ../shared/vendors beside the repository). The models describe no token endpoint and no SQS.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { ReceiveMessageCommand } from '@aws-sdk/client-sqs';
import { Ajv, type ValidateFunction } from 'ajv';
import addFormats from 'ajv-formats';
import { describe, expect, test } from 'vitest';
import { type Account, listing, MARKETPLACE, ODD_SKU, SELLER, startAccount, stockPatch } from './account.testing.ts';
import { OPERATIONS } from './operations.ts';

const repository = resolve(import.meta.dirname, '../..');
const folder = resolve(repository, process.env.SYNCSTATE_VENDOR_MODELS ?? '../shared/vendors', 'amazon-models');
const present = existsSync(folder);
if (!present) console.warn(`SKIPPED: no Amazon models in ${folder}; set SYNCSTATE_VENDOR_MODELS.`);

const FILES: Record<string, string> = {
  '/listings/': 'models/listings-items-api-model/listingsItems_2021-08-01.json',
  '/orders/2026': 'models/orders-api-model/orders_2026-01-01.json',
  '/orders/v0': 'models/orders-api-model/ordersV0.json',
  '/fba/': 'models/fba-inventory-api-model/fbaInventory.json',
  '/sellers/': 'models/sellers-api-model/sellers.json',
  '/notifications/': 'models/notifications-api-model/notifications.json',
  '/feeds/': 'models/feeds-api-model/feeds_2021-06-30.json',
};

interface ModelOperation {
  description?: string;
  operationId?: string;
  responses: Record<string, { schema?: { $ref: string } }>;
}
interface Model {
  definitions: Record<string, unknown>;
  paths: Record<string, Record<string, ModelOperation>>;
}

const DROPPED = /^(example|examples|\$id|x-.*)$/;

/** Without annotations, and without the `$id`s that break references of two notification schemas. */
function cleaned(value: unknown, inProperties = false): unknown {
  if (Array.isArray(value)) return value.map((one) => cleaned(one));
  if (typeof value !== 'object' || value === null) return value;
  const kept = Object.entries(value).filter(([key]) => inProperties || !DROPPED.test(key));
  return Object.fromEntries(kept.map(([key, one]) => [key, cleaned(one, !inProperties && key === 'properties')]));
}

const load = (file: string): unknown => cleaned(JSON.parse(readFileSync(join(folder, file), 'utf8')));

function newAjv(): Ajv {
  const ajv = new Ajv({ strict: false, allErrors: true, validateSchema: false });
  addFormats.default(ajv);
  for (const format of ['int32', 'int64', 'float', 'double', 'ip']) ajv.addFormat(format, true);
  return ajv;
}

const models = new Map<string, Model>();
const validators = new Map<string, ValidateFunction>();

function modelOf(path: string): Model {
  const file = Object.entries(FILES).find(([prefix]) => path.startsWith(prefix))?.[1];
  if (file === undefined) throw new Error(`No model for ${path}`);
  const model = models.get(file) ?? (load(file) as Model);
  models.set(file, model);
  return model;
}

function problems(validate: ValidateFunction, body: unknown): string[] {
  validate(body);
  return (validate.errors ?? []).map((error) => `${error.instancePath} ${error.message}`);
}

/** What Amazon's model of this operation and status says against the body. */
function againstModel(method: string, template: string, status: number, body: unknown): string[] {
  const model = modelOf(template);
  const response = model.paths[template]?.[method.toLowerCase()]?.responses[String(status)];
  if (response === undefined) return [`${method} ${template} declares no ${status}`];
  if (response.schema === undefined) return body === '' ? [] : ['a body where none is declared'];
  const key = `${template} ${response.schema.$ref}`;
  const validate = validators.get(key) ?? newAjv().compile({ definitions: model.definitions, ...response.schema });
  validators.set(key, validate);
  return problems(validate, body);
}

const templates = OPERATIONS.map(({ name, method, path }) => ({
  name,
  method,
  path,
  pattern: new RegExp(`^${path.replaceAll('.', '\\.').replace(/\{[^}]+\}/g, '[^/]+')}$`),
}));

describe.skipIf(!present)("Amazon's own models", () => {
  test("every operation is Amazon's, with its documented usage plan", () => {
    for (const { name, method, path, ratePerSecond, burst } of OPERATIONS) {
      const operation = modelOf(path).paths[path]?.[method.toLowerCase()];
      expect(operation, `${method} ${path}`).toBeDefined();
      if (name === 'createFeed') continue;
      const plan = /\|\s*([\d.]+)\s*\|\s*([\d.]+)\s*\|/.exec(operation?.description ?? '');
      expect([name, Number(plan?.[1]), Number(plan?.[2])]).toEqual([name, ratePerSecond, burst]);
    }
  });

  test('every answer of a busy day conforms', async () => {
    const account = await startAccount();
    const seen = new Set<string>();
    const wrong: string[] = [];
    const watched = watch(account, (name, status, found) => {
      seen.add(`${name} ${status}`);
      wrong.push(...found.map((problem) => `${name} ${status}: ${problem}`));
    });
    await busyDay(watched);
    expect(wrong).toEqual([]);
    const answered = new Set([...seen].map((one) => one.split(' ')[0]));
    expect([...answered].sort()).toEqual(OPERATIONS.map((one) => one.name).sort());
    expect(seen.size).toBeGreaterThanOrEqual(36);
    await account.close();
  });

  test('refusals by limit and by fault conform', async () => {
    const account = await startAccount();
    const wrong: string[] = [];
    const watched = watch(account, (name, status, found) =>
      wrong.push(...found.map((one) => `${name} ${status}: ${one}`)),
    );
    for (const status of [400, 403, 404, 429, 500, 503]) {
      await account.control('POST', '/faults', {
        kind: 'status',
        status,
        times: 1,
        match: { operation: 'getListingsItem' },
      });
      expect((await watched.call('GET', listing('MUG'))).status).toBe(status);
    }
    expect(wrong).toEqual([]);
    await account.close();
  });

  test.each([
    ['ORDER_CHANGE', 'OrderChangeNotification'],
    ['FBA_INVENTORY_AVAILABILITY_CHANGES', 'FBAInventoryAvailabilityChangeNotification'],
    ['FEED_PROCESSING_FINISHED', 'FeedProcessingFinishedNotification'],
  ])('messages of type %s conform', async (type, file) => {
    const account = await startAccount();
    await account.subscribe(type);
    await orderLife(account, 'MUG');
    await orderLife(account, 'LAMP-FBA');
    await feed(account);
    const validate = newAjv().compile(load(`schemas/notifications/${file}.json`) as object);
    const { Messages = [] } = await account.sqs.send(
      new ReceiveMessageCommand({ QueueUrl: account.queueUrl, MaxNumberOfMessages: 10 }),
    );
    expect(Messages.length).toBeGreaterThan(0);
    for (const message of Messages) expect(problems(validate, JSON.parse(message.Body ?? ''))).toEqual([]);
    await account.close();
  });

  test('the processing report of a feed conforms', async () => {
    const account = await startAccount();
    const validate = newAjv().compile(load('schemas/feeds/listings-feed-processing-report-schema-v2.json') as object);
    await account.control('POST', '/faults', { kind: 'half_batch' });
    expect(problems(validate, await feed(account))).toEqual([]);
    await account.close();
  });
});

/** The account with every API answer held against its model. */
function watch(account: Account, tell: (name: string, status: number, problems: string[]) => void): Account {
  const wrap =
    (send: Account['call']): Account['call'] =>
    async (method, path, body, headers) => {
      const reply = await send<never>(method, path, body, headers);
      const known = templates.find((one) => one.method === method && one.pattern.test(path.split('?')[0] ?? ''));
      if (known === undefined) throw new Error(`No operation for ${method} ${path}`);
      tell(known.name, reply.status, againstModel(method, known.path, reply.status, reply.body));
      return reply;
    };
  return { ...account, call: wrap(account.call), grantless: wrap(account.grantless) };
}

const ORDERS = '/orders/2026-01-01/orders';
const ALL_ORDER_DATA =
  'BUYER,RECIPIENT,PROCEEDS,EXPENSE,PROMOTION,CANCELLATION,FULFILLMENT,PACKAGES,TAX,PAYMENT,FULFILLMENT_ORDERS';
const ALL_ITEM_DATA =
  'summaries,attributes,issues,offers,fulfillmentAvailability,procurement,relationships,productTypes';

async function busyDay(account: Account): Promise<void> {
  const search = `/listings/2021-08-01/items/${SELLER}?marketplaceIds=${MARKETPLACE}`;
  await account.call(
    'PATCH',
    listing('MUG'),
    stockPatch('merge', [{ fulfillment_channel_code: 'DEFAULT', quantity: 9 }]),
  );
  await account.call('PATCH', listing(ODD_SKU), stockPatch('merge', [{ quantity: 9 }]));
  await account.call(
    'PATCH',
    listing('MUG', '&mode=VALIDATION_PREVIEW&includedData=identifiers'),
    stockPatch('merge', [{ fulfillment_channel_code: 'DEFAULT', quantity: 9 }]),
  );
  await account.call('PATCH', listing('MUG'), {});
  await account.call('PATCH', listing('MUG'), '{}', { 'content-type': 'text/plain' });
  for (const sku of ['MUG', 'LAMP-FBA', 'NONE'])
    await account.call('GET', listing(sku, `&includedData=${ALL_ITEM_DATA}`));
  await account.call('GET', listing('MUG', '&includedData=nothing'));
  await account.call('GET', listing('MUG'), undefined, { 'x-amz-access-token': 'other' });
  await account.call('GET', `${search}&pageSize=2&includedData=${ALL_ITEM_DATA}`);
  await account.call('GET', `${search}&pageSize=99`);
  await account.call('GET', '/sellers/v1/marketplaceParticipations');
  const fba = `/fba/inventory/v1/summaries?granularityType=Marketplace&granularityId=${MARKETPLACE}&marketplaceIds=${MARKETPLACE}`;
  for (const more of ['&details=true', '', '&nextToken=x']) await account.call('GET', fba + more);

  const lines = [
    { sku: 'MUG', quantity: 2 },
    { sku: 'PLATE', quantity: 1 },
  ];
  await account.control('POST', '/orders', { lines, status: 'pending' });
  const { id, line } = await orderLife(account, 'MUG');
  await account.call(
    'GET',
    `${ORDERS}?lastUpdatedAfter=2020-01-01T00:00:00Z&maxResultsPerPage=1&includedData=${ALL_ORDER_DATA}`,
  );
  await account.call('GET', `${ORDERS}?createdAfter=2020-01-01T00:00:00Z&includedData=${ALL_ORDER_DATA}`);
  await account.call('GET', ORDERS);
  await account.call('GET', `${ORDERS}/${id}?includedData=${ALL_ORDER_DATA}`);
  await account.call('GET', `${ORDERS}/none`);
  const confirm = (order: string, packageReferenceId: unknown) =>
    account.call('POST', `/orders/v0/orders/${order}/shipmentConfirmation`, {
      marketplaceId: MARKETPLACE,
      packageDetail: {
        packageReferenceId,
        carrierCode: 'UPS',
        trackingNumber: '1Z',
        shipDate: new Date(Date.now() + 1_000).toISOString(),
        orderItems: [{ orderItemId: line, quantity: 1 }],
      },
    });
  await confirm(id, '1');
  await confirm(id, 1);
  await confirm('none', '1');
  await notifications(account);
  await feed(account);
  await account.call('GET', '/feeds/2021-06-30/feeds?feedTypes=JSON_LISTINGS_FEED');
  await account.call('GET', '/feeds/2021-06-30/feeds/none');
  await account.control('POST', '/faults', { kind: 'feed_stuck', times: 1 });
  await feed(account);
  const waiting = await feed(account);
  expect(waiting).toBeNull();
}

async function notifications(account: Account): Promise<void> {
  const destinations = '/notifications/v1/destinations';
  const spec = { name: 'stock', resourceSpecification: { sqs: { arn: account.queueArn } } };
  type Made = { payload: { destinationId: string; subscriptionId: string } };
  const { destinationId } = (await account.grantless<Made>('POST', destinations, spec)).body.payload;
  await account.grantless('POST', destinations, spec);
  await account.grantless('POST', destinations, {});
  const bridge = { name: 'bus', resourceSpecification: { eventBridge: { accountId: '1', region: 'us-east-1' } } };
  await account.grantless('POST', destinations, bridge);
  await account.grantless('GET', destinations);
  await account.grantless('GET', `${destinations}/${destinationId}`);
  await account.grantless('GET', `${destinations}/none`);
  const subscriptions = '/notifications/v1/subscriptions/ORDER_CHANGE';
  const body = {
    payloadVersion: '1.0',
    destinationId,
    processingDirective: { eventFilter: { eventFilterType: 'ORDER_CHANGE', orderChangeTypes: ['OrderStatusChange'] } },
  };
  const { subscriptionId } = (await account.call<Made>('POST', subscriptions, body)).body.payload;
  await account.call('POST', subscriptions, body);
  await account.call('GET', subscriptions);
  await account.grantless('GET', `${subscriptions}/${subscriptionId}`);
  await account.grantless('DELETE', `${destinations}/${destinationId}`);
  await account.grantless('DELETE', `${subscriptions}/${subscriptionId}`);
  await account.call('GET', subscriptions);
  await account.grantless('DELETE', `${destinations}/${destinationId}`);
}

/** Places, partly ships and partly cancels an order. */
async function orderLife(account: Account, sku: string): Promise<{ id: string; line: string }> {
  const reply = await account.control<{ id: string; lines: { id: string }[] }>('POST', '/orders', {
    lines: [{ sku, quantity: 3 }],
  });
  const { id, lines } = reply.body;
  const line = lines[0]?.id ?? '';
  await account.control('POST', '/fulfillments', { order: id, lines: [{ id: line, quantity: 1 }] });
  await account.control('POST', '/cancellations', { order: id, restock: true, lines: [{ id: line, quantity: 1 }] });
  return { id, line };
}

/** @returns the processing report; null when the feed is still waiting (it is cancelled then, or refused to be) */
async function feed(account: Account): Promise<unknown> {
  const contentType = 'application/json; charset=UTF-8';
  const made = await account.call<{ feedDocumentId: string; url: string }>('POST', '/feeds/2021-06-30/documents', {
    contentType,
  });
  const patch = (messageId: number, sku: string) => ({
    messageId,
    sku,
    operationType: 'PATCH',
    ...stockPatch('merge', [{ fulfillment_channel_code: 'DEFAULT', quantity: 4 }]),
  });
  const body = JSON.stringify({
    header: { sellerId: SELLER, version: '2.0' },
    messages: [patch(1, 'MUG'), patch(2, 'PLATE')],
  });
  await fetch(made.body.url, { method: 'PUT', headers: { 'content-type': contentType }, body });
  const request = {
    feedType: 'JSON_LISTINGS_FEED',
    marketplaceIds: [MARKETPLACE],
    inputFeedDocumentId: made.body.feedDocumentId,
  };
  const { feedId } = (await account.call<{ feedId: string }>('POST', '/feeds/2021-06-30/feeds', request)).body;
  const read = await account.call<{ resultFeedDocumentId?: string }>('GET', `/feeds/2021-06-30/feeds/${feedId}`);
  if (read.body.resultFeedDocumentId === undefined) {
    await account.call('DELETE', `/feeds/2021-06-30/feeds/${feedId}`);
    return null;
  }
  const document = await account.call<{ url: string }>(
    'GET',
    `/feeds/2021-06-30/documents/${read.body.resultFeedDocumentId}`,
  );
  return await (await fetch(document.body.url)).json();
}
