/**
 * What vendors answer, recorded: each port of a connector is called once against its simulator, and the answers are kept in
 * order. `replay` calls the same port again on the kept answers, with one of them replaced by hostile bytes; nothing is sent.
 */
import { gunzipSync, gzipSync } from 'node:zlib';
import { amazon } from '#connectors/amazon/index.ts';
import { createBudgets } from '#connectors/kit/budget.ts';
import type { CallOptions, Channel, Connector, OutsideAnswer, Transport } from '#connectors/kit/ports.ts';
import { createTransport } from '#connectors/kit/transport.ts';
import { shopify } from '#connectors/shopify/index.ts';
import { ConnectorError } from '#core/errors.ts';
import { createAmazonSimulator } from '#sim/amazon/index.ts';
import { seededIds, seededRandom } from '#sim/kit/chance.ts';
import { realClock } from '#sim/kit/clock.ts';
import { createSimulatorHost } from '#sim/kit/server.ts';
import { createShopifySimulator } from '#sim/shopify/index.ts';

interface Kept {
  operation: string;
  answer: OutsideAnswer;
}

/** One port's call and what it was answered with. */
export interface Recording {
  name: string;
  answers: readonly Kept[];
  /** Calls the port again; the `at`-th answer comes with this body and status. */
  replay(at: number, body: Buffer, status?: number): Promise<unknown>;
}

/** `before`: what happens at the vendor first, while it is recorded. */
type Scenario = readonly [
  name: string,
  call: (channel: Channel, known: Known) => Promise<unknown>,
  before?: (account: Account) => Promise<unknown>,
];

interface Known {
  stockKeys: readonly string[];
  location: string;
  orderId: string;
}

const calling = (): CallOptions => ({ budget: 'read', signal: AbortSignal.timeout(15_000) });
const key = '7c9e6679-7425-40de-944b-e07fc1f90ae7';
const refsOf = ({ stockKeys, location }: Known) =>
  stockKeys.map((stockKey) => ({ stockKey, channelLocation: location }));

const common: readonly Scenario[] = [
  ['stock.read', (channel, known) => channel.stock.read(refsOf(known), calling())],
  [
    'stock.write',
    (channel, known) =>
      channel.stock.write(
        refsOf(known)
          .slice(0, 1)
          .map((ref) => ({ ref, value: 0, from: null })),
        key,
        calling(),
      ),
  ],
  ['orders.get', (channel, known) => channel.orders.get(known.orderId, calling())],
  ['orders.changedSince', (channel) => channel.orders.changedSince(0, null, calling())],
  ['catalog.list', (channel) => channel.catalog.list(null, calling())],
  ['catalog.locations', (channel) => channel.catalog.locations(calling())],
  ['test', (channel) => channel.test(calling())],
];

const shopifyScenarios: readonly Scenario[] = [
  ...common,
  ['orders.countPlaced', async (channel) => channel.orders.countPlaced?.(0, Date.UTC(2100, 1), calling())],
  ['orders.placedBetween', async (channel) => channel.orders.placedBetween?.(0, Date.UTC(2100, 1), null, calling())],
  [
    'subscriptions.ensure',
    async (channel) => channel.subscriptions?.ensure('https://syncstate.test/webhook', calling()),
  ],
];

const rows = [{ messageId: 1, ref: { stockKey: 'TEE', channelLocation: 'DEFAULT' }, value: 3 }];
const amazonScenarios: readonly Scenario[] = [
  ...common,
  [
    'stock.preview',
    async (channel, known) =>
      channel.stock.preview?.({ ref: { stockKey: 'TEE', channelLocation: known.location }, value: 2 }, calling()),
  ],
  ['subscriptions.ensure', async (channel) => channel.subscriptions?.ensure(null, calling())],
  [
    'queue.receive',
    async (channel) => channel.queue?.receive({ ...calling(), waitMs: 0, max: 10 }),
    ({ baseUrl }) => livedOrder(baseUrl, 'TEE', 'DEFAULT'),
  ],
  [
    'bulk',
    async (channel, known) => {
      const bulk = channel.stock.bulk;
      if (!bulk) return null;
      await channel.stock.read(refsOf(known), calling());
      const { documentId } = await bulk.prepare(rows, calling());
      const { submissionId } = await bulk.submit(documentId, calling());
      let status = await bulk.status(submissionId, calling());
      for (let look = 0; look < 20 && status.resultId === null; look += 1)
        status = await bulk.status(submissionId, calling());
      await bulk.since(0, calling());
      if (status.resultId !== null)
        await bulk.outcomes(status.resultId, { sent: 1, rows: [{ messageId: 1, stockKey: 'TEE' }] }, calling());
      return status;
    },
  ],
];

/** A transport that hands on and keeps. */
function keeping(transport: Transport, kept: Kept[]): Transport {
  return {
    async request(call) {
      const answer = await transport.request(call);
      kept.push({ operation: call.operation, answer });
      return answer;
    },
    report: (bucket, report) => transport.report(bucket, report),
  };
}

const isPacked = (bytes: Uint8Array) => bytes[0] === 0x1f && bytes[1] === 0x8b;

/** What a recorded answer said, as text. */
export function bodyOf({ answer }: Kept): Buffer {
  if (!answer.bytes) return Buffer.from(answer.body);
  return isPacked(answer.bytes) ? gunzipSync(answer.bytes) : Buffer.from(answer.bytes);
}

function replaced({ answer }: Kept, body: Buffer, status: number | undefined): OutsideAnswer {
  const changed = { ...answer, status: status ?? answer.status };
  if (!answer.bytes) return { ...changed, body: body.toString('utf8') };
  return { ...changed, bytes: isPacked(answer.bytes) && !isPacked(body) ? gzipSync(body) : body };
}

/** Answers in order; once the story has changed, the last answer of the same operation, for a while. */
function telling(answers: readonly Kept[], at: number, body: Buffer, status: number | undefined): Transport {
  let asked = 0;
  return {
    async request(call) {
      const n = asked;
      asked += 1;
      const kept =
        answers[n]?.operation === call.operation ? answers[n] : answers.find((one) => one.operation === call.operation);
      if (n > 200 || !kept) throw new ConnectorError('connector.unavailable', 'Nobody answers that here.', {});
      return n === at ? replaced(kept, body, status) : kept.answer;
    },
    report() {},
  };
}

interface Account {
  connector: Connector;
  baseUrl: string;
  settings: Record<string, unknown>;
  credentials: Record<string, string>;
  known: Known;
  close(): Promise<void>;
}

async function record(account: Account, scenarios: readonly Scenario[]): Promise<Recording[]> {
  const clock = realClock();
  const random = seededRandom(7);
  const unhurried = Object.fromEntries(
    Object.keys(account.connector.manifest.budgets).map((bucket) => [
      bucket,
      { ratePerSecond: 10_000, capacity: 10_000 },
    ]),
  );
  const open = (transport: Transport) =>
    account.connector.open({
      connectionId: 'hostile',
      kind: 'simulated',
      baseUrl: account.baseUrl,
      settings: account.settings,
      credentials: account.credentials,
      transport,
      clock,
      random,
    });
  const transport = createTransport({
    clock,
    random,
    kind: 'simulated',
    baseUrl: account.baseUrl,
    allowedHosts: [],
    allowCustomEndpoints: false,
    budgets: createBudgets(clock, unhurried),
  });
  try {
    const recordings: Recording[] = [];
    for (const [name, call, before] of scenarios) {
      const answers: Kept[] = [];
      await before?.(account);
      await call(open(keeping(transport, answers)), account.known);
      recordings.push({
        name,
        answers,
        replay: async (at, body, status) => call(open(telling(answers, at, body, status)), account.known),
      });
    }
    return recordings;
  } finally {
    transport.close();
    await account.close();
  }
}

const control = async <T>(url: string, path: string, body?: unknown): Promise<T> => {
  const answer = await fetch(
    `${url}/_sim${path}`,
    body === undefined
      ? {}
      : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) },
  );
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return (await answer.json()) as T;
};

/** An order with everything that can be said about one: part of it shipped, part cancelled, some returned. */
async function livedOrder(url: string, sku: string, location: string): Promise<string> {
  const { id } = await control<{ id: string }>(url, '/orders', { lines: [{ sku, quantity: 3 }], oversell: true });
  await control(url, '/cancellations', { order: id, restock: true, lines: [{ sku, quantity: 1 }] }).catch(() => {});
  await control(url, '/fulfillments', { order: id, lines: [{ sku, quantity: 1 }] }).catch(() => {});
  await control(url, '/returns', {
    order: id,
    lines: [{ sku, quantity: 1, disposition: 'SELLABLE' }],
    restock: true,
    location,
  }).catch(() => {});
  return id;
}

export async function recordShopify(): Promise<Recording[]> {
  const clock = realClock();
  const random = seededRandom(7);
  const host = await createSimulatorHost({ clock });
  const simulator = await createShopifySimulator({
    name: 'shop',
    dir: null,
    clock,
    random,
    ids: seededIds(clock, random),
    profile: 'open',
    shopDomain: 'hostile.myshopify.com',
    clientId: 'app',
    clientSecret: 'app-secret',
    accessToken: 'shpat_hostile',
    locations: [{ name: 'MAIN', isDefault: true }, { name: 'EAST' }],
    catalog: ['TEE', 'CAP'].map((sku) => ({ sku, title: sku, quantities: { MAIN: 10, EAST: 0 } })),
  });
  host.mount(simulator);
  const baseUrl = host.url('shop');
  const location = simulator.locations()[0]?.externalId ?? '';
  const { items } = await control<{ items: { stockKey: string; location: string }[] }>(baseUrl, '/state');
  const orderId = await livedOrder(baseUrl, 'TEE', location);
  return record(
    {
      connector: shopify,
      baseUrl,
      settings: { shopDomain: 'hostile.myshopify.com' },
      credentials: { accessToken: 'shpat_hostile' },
      known: {
        stockKeys: items.filter((item) => item.location === location).map(({ stockKey }) => stockKey),
        location,
        orderId: orderId.startsWith('gid:') ? orderId : `gid://shopify/Order/${orderId}`,
      },
      close: async () => host.close(),
    },
    shopifyScenarios,
  );
}

export async function recordAmazon(): Promise<Recording[]> {
  const clock = realClock();
  const random = seededRandom(7);
  const host = await createSimulatorHost({ clock });
  const credentials = { clientId: 'client', clientSecret: 'hush', refreshToken: 'Atzr|hostile' };
  const simulator = await createAmazonSimulator({
    name: 'amazon',
    dir: null,
    clock,
    random,
    ids: seededIds(clock, random),
    profile: 'open',
    sellerId: 'A1SIMSELLER',
    marketplaceId: 'ATVPDKIKX0DER',
    ...credentials,
    catalog: ['TEE', 'CAP'].map((sku, n) => ({
      sku,
      asin: `B0SIM0000${n}`,
      title: sku,
      quantity: 10,
      fulfillment: n === 0 ? ('MFN' as const) : ('AFN' as const),
    })),
  });
  host.mount(simulator);
  const baseUrl = host.url('amazon');
  const orderId = await livedOrder(baseUrl, 'TEE', 'DEFAULT');
  return record(
    {
      connector: amazon,
      baseUrl,
      settings: {
        sellerId: 'A1SIMSELLER',
        region: 'na',
        marketplaceIds: ['ATVPDKIKX0DER'],
        settleMs: 0,
        orderLagMs: 0,
        queueUrl: simulator.queueUrl(baseUrl),
        queueArn: simulator.queueArn,
        queueEndpoint: `${baseUrl}/sqs`,
      },
      credentials: { ...credentials, awsAccessKeyId: 'AKIASIM', awsSecretAccessKey: 'hush' },
      known: { stockKeys: ['TEE', 'CAP'], location: 'DEFAULT', orderId },
      close: async () => host.close(),
    },
    amazonScenarios,
  );
}
