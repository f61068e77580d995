/**
 * Orders 2026-01-01: searchOrders and getOrder (vendors/amazon.md §6.1), over what is readable by now: a change is shown
 * when it is two minutes old (profile `vendor`), until then the version before it, or nothing.
 *
 * Optional blocks come only when `includedData` asks for them, the order's status included (FULFILLMENT).
 * Pages are sorted by the time filtered on, then id; a token remembers the times filtered on, so that an order updated between
 * two pages falls out of this search and into the next one. Sort order and token contents: assumed.
 */
import type { SimCore } from '#sim/kit/core.ts';
import { type Answer, invalidInput, notFound, read } from './answers.ts';
import { PRICE } from './listings.ts';
import { openUnits } from './order-life.ts';
import { isoSeconds, paceOf } from './profile.ts';
import { type ApiRequest, list, listOf, makeToken, parameter, readToken, time, whole } from './request.ts';
import type { OrderLine, OrderRow, OrderVersion, Rows } from './rows.ts';

const DATA_SETS = [
  'BUYER',
  'RECIPIENT',
  'PROCEEDS',
  'EXPENSE',
  'PROMOTION',
  'CANCELLATION',
  'FULFILLMENT',
  'PACKAGES',
  'TAX',
  'PAYMENT',
  'FULFILLMENT_ORDERS',
] as const;
type DataSet = (typeof DATA_SETS)[number];

const STATUSES = [
  'PENDING_AVAILABILITY',
  'PENDING',
  'UNSHIPPED',
  'PARTIALLY_SHIPPED',
  'SHIPPED',
  'CANCELLED',
  'UNFULFILLABLE',
] as const;
const LARGEST_PAGE = 100;
const TOKEN_LIFE_MS = 24 * 3_600_000;

interface Shown {
  order: OrderRow;
  version: OrderVersion;
}

interface Filter {
  by: 'created' | 'updated';
  after: number;
  before: number;
}

interface PageToken {
  madeAt: number;
  filter: Filter;
  /** The last row of the page before. */
  time: number;
  id: string;
}

export interface Orders {
  search(request: ApiRequest): Answer;
  get(request: ApiRequest): Answer;
}

export function createOrders(core: SimCore, rows: Rows, account: { marketplaceId: string }): Orders {
  const delayMs = () => paceOf(core.profile.current()).orderVisibleAfterMs;

  function visible(order: OrderRow): Shown | null {
    const version = order.versions.findLast((one) => one.at <= core.clock.now() - delayMs());
    return version === undefined ? null : { order, version };
  }

  function filterOf(query: URLSearchParams): Filter {
    const created = time(query, 'createdAfter');
    const updated = time(query, 'lastUpdatedAfter');
    if ((created === null) === (updated === null))
      throw invalidInput('exactly one of createdAfter and lastUpdatedAfter must be provided');
    const [by, own, other] =
      created !== null
        ? (['created', 'createdBefore', 'lastUpdatedBefore'] as const)
        : (['updated', 'lastUpdatedBefore', 'createdBefore'] as const);
    if (query.has(other)) throw invalidInput(other);
    const after = created ?? updated ?? 0;
    const newest = core.clock.now() - delayMs();
    const given = time(query, own);
    if (given !== null && (given < after || (delayMs() > 0 && given > newest)))
      throw invalidInput(`${own} must be after the start and at least two minutes in the past`);
    return { by, after, before: Math.floor((given ?? newest) / 1000) * 1000 };
  }

  function tokenOf(query: URLSearchParams): PageToken | null {
    const text = query.get('paginationToken');
    if (text === null) return null;
    const token = readToken<PageToken>(text);
    if (typeof token?.id !== 'string' || token.madeAt + TOKEN_LIFE_MS < core.clock.now())
      throw invalidInput('paginationToken');
    return token;
  }

  function show({ order, version }: Shown, sets: readonly DataSet[]) {
    const has = (set: DataSet) => sets.includes(set);
    const paid = version.status !== 'PENDING';
    return {
      orderId: order.id,
      createdTime: isoSeconds(order.createdAt),
      lastUpdatedTime: isoSeconds(version.at),
      salesChannel: { channelName: 'AMAZON', marketplaceId: account.marketplaceId, marketplaceName: 'Amazon.com' },
      ...(has('BUYER') && paid ? { buyer: { buyerEmail: `${order.id}@marketplace.amazon.example` } } : {}),
      ...(has('RECIPIENT') && paid ? { recipient: RECIPIENT } : {}),
      ...(has('PROCEEDS') && paid
        ? { proceeds: { grandTotal: money(sum(version.lines, (line) => line.ordered)) } }
        : {}),
      ...(has('FULFILLMENT') ? { fulfillment: fulfillment(order, version) } : {}),
      orderItems: version.lines.map((line) => showLine(line, version, has)),
      ...(has('PACKAGES') && order.fulfilledBy === 'MERCHANT'
        ? { packages: version.packages.map((one) => showPackage(one, version)) }
        : {}),
    };
  }

  return {
    search({ query }) {
      const sets = listOf(query, 'includedData', DATA_SETS) ?? [];
      const statuses = listOf(query, 'fulfillmentStatuses', STATUSES);
      const fulfilledBy = listOf(query, 'fulfilledBy', ['MERCHANT', 'AMAZON']);
      const marketplaces = list(query, 'marketplaceIds');
      const size = whole(query, 'maxResultsPerPage', LARGEST_PAGE, LARGEST_PAGE);
      const token = tokenOf(query);
      const filter = token?.filter ?? filterOf(query);
      const { by, after, before } = filter;
      const timeOf = ({ order, version }: Shown) => (by === 'created' ? order.createdAt : version.at);
      const found = [...rows.orders.all()]
        .flatMap((order) => visible(order) ?? [])
        .filter(
          (one) =>
            timeOf(one) >= after &&
            timeOf(one) <= before &&
            (token === null || timeOf(one) > token.time || (timeOf(one) === token.time && one.order.id > token.id)) &&
            (statuses === null || statuses.includes(one.version.status)) &&
            (fulfilledBy === null || fulfilledBy.includes(one.order.fulfilledBy)) &&
            (marketplaces === null || marketplaces.includes(account.marketplaceId)),
        )
        .sort((a, b) => timeOf(a) - timeOf(b) || (a.order.id < b.order.id ? -1 : 1));
      const page = found.slice(0, size);
      const last = page.at(-1);
      const next: PageToken | null =
        found.length > size && last !== undefined
          ? { madeAt: core.clock.now(), filter, time: timeOf(last), id: last.order.id }
          : null;
      return read({
        orders: page.map((one) => show(one, sets)),
        ...(next === null ? {} : { pagination: { nextToken: makeToken(next) } }),
        ...(by === 'created' ? { createdBefore: isoSeconds(before) } : { lastUpdatedBefore: isoSeconds(before) }),
      });
    },
    get(request) {
      const id = parameter(request, 'orderId');
      const sets = listOf(request.query, 'includedData', DATA_SETS) ?? [];
      const order = rows.orders.get(id);
      const shown = order === undefined ? null : visible(order);
      if (shown === null) throw notFound(`Order ${id} was not found`);
      return read({ order: show(shown, sets) });
    },
  };
}

const RECIPIENT = {
  deliveryAddress: {
    name: 'Test Buyer',
    addressLine1: '1 Test Street',
    city: 'Seattle',
    stateOrRegion: 'WA',
    postalCode: '98101',
    countryCode: 'US',
    phone: '2065550100',
    addressType: 'RESIDENTIAL',
  },
};

const sum = (lines: readonly OrderLine[], count: (line: OrderLine) => number) =>
  lines.reduce((total, line) => total + count(line), 0);

const money = (units: number) => ({ amount: (units * Number(PRICE)).toFixed(2), currencyCode: 'USD' });

const DAY_MS = 24 * 3_600_000;

const fulfillment = (order: OrderRow, version: OrderVersion) => ({
  fulfillmentStatus: version.status,
  fulfilledBy: order.fulfilledBy,
  fulfillmentServiceLevel: 'STANDARD',
  shipByWindow: {
    earliestDateTime: isoSeconds(order.createdAt + DAY_MS),
    latestDateTime: isoSeconds(order.createdAt + 3 * DAY_MS - 1000),
  },
});

function showLine(line: OrderLine, version: OrderVersion, has: (set: DataSet) => boolean) {
  const cancelled = has('CANCELLATION') && line.cancelled > 0;
  return {
    orderItemId: line.id,
    quantityOrdered: line.ordered,
    product: { asin: line.asin, title: line.title, sellerSku: line.sku, condition: { conditionType: 'NEW' } },
    ...(has('PROCEEDS') && version.status !== 'PENDING' ? { proceeds: { proceedsTotal: money(line.ordered) } } : {}),
    ...(cancelled ? { cancellation: { cancellationExecution: { cancelledBy: 'BUYER' } } } : {}),
    ...(has('FULFILLMENT')
      ? { fulfillment: { quantityFulfilled: line.shipped, quantityUnfulfilled: openUnits(line) } }
      : {}),
  };
}

const showPackage = (one: OrderVersion['packages'][number], version: OrderVersion) => ({
  packageReferenceId: one.packageReferenceId,
  createdTime: isoSeconds(version.at),
  packageStatus: { status: 'SHIPPED' },
  carrier: one.carrierName ?? one.carrierCode,
  shipTime: one.shipDate,
  ...(one.shippingMethod === undefined ? {} : { shippingService: one.shippingMethod }),
  trackingNumber: one.trackingNumber,
  packageItems: one.orderItems,
});
