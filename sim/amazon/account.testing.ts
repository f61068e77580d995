/**
 * A simulated account over real HTTP, and a caller that is not our connector: plain fetch for the API and the
 * control routes, the real AWS client for the queue.
 */
import { SQSClient } from '@aws-sdk/client-sqs';
import type { Clock } from '#core/effects.ts';
import { seededIds, seededRandom } from '#sim/kit/chance.ts';
import { realClock } from '#sim/kit/clock.ts';
import type { ProfileName } from '#sim/kit/profiles.ts';
import { createSimulatorHost } from '#sim/kit/server.ts';
import { type AmazonSimulator, type CatalogEntry, createAmazonSimulator } from './index.ts';

export const SELLER = 'A1SIMSELLER';
export const MARKETPLACE = 'ATVPDKIKX0DER';
export const CREDENTIALS = {
  clientId: 'amzn1.application-oa2-client.sim',
  clientSecret: 'amzn1.oa2-cs.v1.sim',
  refreshToken: 'Atzr|sim-refresh',
};
export const ODD_SKU = 'Ä/B #1%+ 茶';

export const CATALOG: readonly CatalogEntry[] = [
  { sku: 'MUG', asin: 'B0SIM00001', title: 'Blue mug', quantity: 10, fulfillment: 'MFN', productType: 'DRINKING_CUP' },
  { sku: 'PLATE', asin: 'B0SIM00002', title: 'Plate', quantity: 5, fulfillment: 'MFN' },
  { sku: ODD_SKU, asin: 'B0SIM00003', title: 'Tea', quantity: 3, fulfillment: 'MFN' },
  { sku: 'LAMP-FBA', asin: 'B0SIM00004', title: 'Desk lamp', quantity: 40, fulfillment: 'AFN' },
];

/** JSON to be read field by field in assertions. */
export interface Tree {
  readonly [field: string]: Tree | undefined;
}

export interface Reply<Body = Tree> {
  status: number;
  headers: Headers;
  body: Body;
}

export interface Account {
  base: string;
  queueUrl: string;
  queueArn: string;
  sqs: SQSClient;
  /** An API call with the seller's token. */
  call<Body = Tree>(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<Reply<Body>>;
  /** An API call with a token of the client_credentials grant. */
  grantless<Body = Tree>(method: string, path: string, body?: unknown): Promise<Reply<Body>>;
  token(form: Record<string, string>): Promise<Reply>;
  /** The next calls fetch new access tokens. */
  forgetTokens(): void;
  sellerToken(): Promise<string>;
  control<Body = Tree>(method: string, path: string, body?: unknown): Promise<Reply<Body>>;
  item(sku: string): Promise<{ quantity: number; committed: number }>;
  advance(ms: number): Promise<void>;
  /** PATCHes the FBM quantity. */
  write(sku: string, quantity: number): Promise<Reply<Submission>>;
  /** The number `fulfillmentAvailability` shows; null when there is none. */
  shown(sku: string): Promise<number | null>;
  /** A destination for the queue and a subscription of the type. */
  subscribe(type: string, processingDirective?: unknown): Promise<void>;
  close(): Promise<void>;
}

export interface Submission {
  sku: string;
  status: string;
  submissionId: string;
  issues: { code: string; severity: string; attributeNames?: string[] }[];
  identifiers?: unknown;
}

interface Options {
  profile?: ProfileName;
  dir?: string | null;
  clock?: Clock;
  catalog?: readonly CatalogEntry[];
}

export async function startAccount(options: Options = {}): Promise<Account> {
  const clock = options.clock ?? realClock();
  const random = seededRandom(7);
  const simulator = await createAmazonSimulator({
    name: 'amazon-a',
    dir: options.dir ?? null,
    clock,
    random,
    ids: seededIds(clock, random),
    profile: options.profile ?? 'open',
    sellerId: SELLER,
    marketplaceId: MARKETPLACE,
    ...CREDENTIALS,
    catalog: options.catalog ?? CATALOG,
  });
  const host = await createSimulatorHost({ clock });
  host.mount(simulator);
  return connect(host.url('amazon-a'), simulator, () => host.close());
}

/** @param simulator null: it runs in another process; its queue's name is known */
export function connect(base: string, simulator: AmazonSimulator | null = null, close = async () => {}): Account {
  const sqs = new SQSClient({
    endpoint: `${base}/sqs`,
    region: 'us-east-2',
    credentials: { accessKeyId: 'SIM', secretAccessKey: 'sim' },
    maxAttempts: 1,
  });
  const queueArn = simulator?.queueArn ?? 'arn:aws:sqs:us-east-2:111122223333:spapi-amazon-a';
  const tokens = new Map<string, string>();

  async function send<Body>(url: string, init: RequestInit): Promise<Reply<Body>> {
    const response = await fetch(url, init);
    const text = await response.text();
    const json = response.headers.get('content-type')?.includes('json') === true;
    return { status: response.status, headers: response.headers, body: (json ? JSON.parse(text) : text) as Body };
  }

  const token: Account['token'] = (form) =>
    send(`${base}/auth/o2/token`, { method: 'POST', body: new URLSearchParams(form) });

  const credentials = { client_id: CREDENTIALS.clientId, client_secret: CREDENTIALS.clientSecret };
  const forms: Record<string, Record<string, string>> = {
    seller: { grant_type: 'refresh_token', refresh_token: CREDENTIALS.refreshToken, ...credentials },
    grantless: { grant_type: 'client_credentials', scope: 'sellingpartnerapi::notifications', ...credentials },
  };

  async function tokenOf(kind: 'seller' | 'grantless'): Promise<string> {
    const kept = tokens.get(kind) ?? String((await token(forms[kind] ?? {})).body.access_token);
    tokens.set(kind, kept);
    return kept;
  }

  async function api<Body>(kind: 'seller' | 'grantless', method: string, path: string, body: unknown, headers = {}) {
    return await send<Body>(base + path, {
      method,
      headers: {
        'x-amz-access-token': await tokenOf(kind),
        'user-agent': 'Tests/1 (Language=TypeScript)',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
  }

  const account: Account = {
    base,
    sqs,
    queueArn,
    queueUrl: simulator?.queueUrl(base) ?? `${base}/sqs/111122223333/spapi-amazon-a`,
    token,
    forgetTokens: () => tokens.clear(),
    sellerToken: () => tokenOf('seller'),
    call: (method, path, body, headers) => api('seller', method, path, body, headers),
    grantless: (method, path, body) => api('grantless', method, path, body),
    control: (method, path, body) =>
      send(`${base}/_sim${path}`, { method, ...(body === undefined ? {} : { body: JSON.stringify(body) }) }),
    async item(sku) {
      const { body } = await account.control<{ items: { sku: string; quantity: number; committed: number }[] }>(
        'GET',
        '/state',
      );
      const found = body.items.filter((one) => one.sku === sku);
      if (found[0] === undefined || found.length > 1) throw new Error(`${found.length} items for ${sku}`);
      return { quantity: found[0].quantity, committed: found[0].committed };
    },
    async advance(ms) {
      await account.control('POST', '/clock', { advanceMs: ms });
    },
    write: (sku, quantity) =>
      account.call('PATCH', listing(sku), stockPatch('merge', [{ fulfillment_channel_code: 'DEFAULT', quantity }])),
    async shown(sku) {
      type Shown = { fulfillmentAvailability: { fulfillmentChannelCode: string; quantity?: number }[] };
      const { body } = await account.call<Shown>('GET', listing(sku, '&includedData=fulfillmentAvailability'));
      return body.fulfillmentAvailability.find((one) => one.fulfillmentChannelCode === 'DEFAULT')?.quantity ?? null;
    },
    async subscribe(type, processingDirective) {
      const made = await account.grantless<{ payload?: { destinationId: string } }>(
        'POST',
        '/notifications/v1/destinations',
        {
          name: 'stock-sync',
          resourceSpecification: { sqs: { arn: queueArn } },
        },
      );
      const listed = await account.grantless<{ payload: { destinationId: string }[] }>(
        'GET',
        '/notifications/v1/destinations',
      );
      const destinationId = made.body.payload?.destinationId ?? listed.body.payload[0]?.destinationId;
      const reply = await account.call('POST', `/notifications/v1/subscriptions/${type}`, {
        payloadVersion: '1.0',
        destinationId,
        ...(processingDirective === undefined ? {} : { processingDirective }),
      });
      if (reply.status !== 200) throw new Error(`subscribe: ${reply.status}`);
    },
    async close() {
      sqs.destroy();
      await close();
    },
  };
  return account;
}

export const listing = (sku: string, query = ''): string =>
  `/listings/2021-08-01/items/${SELLER}/${encodeURIComponent(sku)}?marketplaceIds=${MARKETPLACE}${query}`;

export const stockPatch = (op: string, value: unknown, productType = 'PRODUCT') => ({
  productType,
  patches: [{ op, path: '/attributes/fulfillment_availability', value }],
});
