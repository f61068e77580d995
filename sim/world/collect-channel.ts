/**
 * A simulated channel as a witness: its numbers and orders as they stand in its own tables, every change of a number with
 * its cause, and the calls it received that have to do with numbers.
 *
 *   cause   a number changed while a control act ran (sync, alone)  → staff for `/stock`, else order
 *           at any other time                                       → ours: a write came into force
 *
 * So that causes do not blend, the numbers are compared right before and right after every act and after every call; what
 * the vendor had promised to do by then (Amazon's accepted writes) is let happen first, by looking at its state.
 * Watch a simulator before anything happens to it. Called by collect.ts.
 */
import type { Deed } from '#sim/amazon/agenda.ts';
import type { OrderRow as AmazonOrder, Offer } from '#sim/amazon/rows.ts';
import type { Simulator } from '#sim/kit/simulator.ts';
import type { LevelRow, OrderRow as ShopifyOrder, VariantRow } from '#sim/shopify/rows.ts';
import type { ChannelCall, ChannelChange, ChannelEvidence, ChannelItem, ChannelOrder } from './evidence.ts';

export interface WatchedChannel {
  connectionId: string;
  name: string;
  platform: 'shopify' | 'amazon';
  simulator: Simulator;
}

export interface ChannelWitness {
  /** The whole state; changes and calls since the last look. */
  look(): ChannelEvidence;
}

interface Item extends ChannelItem {
  changedAt: number;
}

/** What differs between vendors: where their truth lies and how their calls read. */
interface VendorReader {
  compareAndSet: boolean;
  items(): Item[];
  orders(): ChannelOrder[];
  calls(call: RawCall): Omit<ChannelCall, 'n' | 'at'>[];
  onItsWay(): ChannelEvidence['onItsWay'];
}

interface RawCall {
  n: number;
  at: string;
  method: string;
  path: string;
  operation: string;
  status: number | null;
  body: unknown;
  response: unknown;
  applied: boolean;
}

export function watchChannel(channel: WatchedChannel): ChannelWitness {
  const { simulator } = channel;
  const reader = channel.platform === 'shopify' ? shopifyReader(simulator) : amazonReader(simulator);
  const [handle, handleControl] = [simulator.handle, simulator.handleControl];
  const numbers = new Map<string, number>();
  let changes: ChannelChange[] = [];
  let callsRead = simulator.core.calls.since(0).next;

  function note(cause: ChannelChange['cause']): void {
    for (const { stockKey, location, quantity, changedAt } of reader.items()) {
      const key = `${stockKey}@${location}`;
      const before = numbers.get(key);
      numbers.set(key, quantity);
      if (before === undefined || before === quantity) continue;
      changes.push({ stockKey, location, before, after: quantity, at: changedAt, cause });
    }
  }

  /** Lets happen what was promised for by now. */
  function catchUp(): void {
    void handleControl({ method: 'GET', path: '/state', query: new URLSearchParams(), text: '' });
    note('ours');
  }

  note('ours');
  changes = [];

  simulator.handle = async (call) => {
    const outcome = await handle(call);
    note('ours');
    return outcome;
  };
  simulator.handleControl = (request) => {
    catchUp();
    const reply = handleControl(request);
    note(request.path === '/stock' ? 'staff' : 'order');
    return reply;
  };

  return {
    look() {
      catchUp();
      const seen = simulator.core.calls.since(callsRead);
      callsRead = seen.next;
      const calls = (seen.calls as unknown as RawCall[]).flatMap((call) =>
        reader.calls(call).map((one): ChannelCall => ({ n: call.n, at: Date.parse(call.at), ...one })),
      );
      const evidence: ChannelEvidence = {
        connectionId: channel.connectionId,
        name: channel.name,
        platform: channel.platform,
        compareAndSet: reader.compareAndSet,
        now: simulator.core.clock.now(),
        items: reader.items(),
        orders: reader.orders(),
        changes,
        calls,
        onItsWay: reader.onItsWay(),
      };
      changes = [];
      return evidence;
    },
  };
}

/* ------------------------------------------------------------------ Shopify */

const gid = (type: string, id: string) => `gid://shopify/${type}/${id}`;

interface SetQuantities {
  variables?: {
    input?: {
      quantities?: {
        inventoryItemId: string;
        locationId: string;
        quantity: number;
        changeFromQuantity?: number | null;
      }[];
    };
  };
}

function shopifyReader({ core }: Simulator): VendorReader {
  const levels = core.tables.table<LevelRow>('levels');
  const variants = core.tables.table<VariantRow>('variants');
  const orders = core.tables.table<ShopifyOrder>('orders');
  const told = new WeakMap<ShopifyOrder, ChannelOrder>();

  function tell(order: ShopifyOrder): ChannelOrder {
    const waiting = order.fulfillmentOrders.flatMap(({ locationId, lines }) =>
      lines.map((line) => ({ ...line, locationId })),
    );
    return {
      id: order.id,
      pending: !order.paid,
      cancelled: order.cancelledAt !== null,
      itsOwn: false,
      placedAt: order.createdAt,
      lines: order.lines.map((line) => {
        const mine = waiting.filter(({ lineId }) => lineId === line.id);
        return {
          id: line.id,
          sku: line.sku,
          open: mine.reduce((sum, { remaining }) => sum + remaining, 0),
          shipped: line.fulfilled,
          returned: line.returned,
          taken: added(
            mine.map(({ locationId, total }) => [
              `${gid('InventoryItem', line.itemId)}@${gid('Location', locationId)}`,
              total,
            ]),
          ),
        };
      }),
    };
  }

  return {
    compareAndSet: true,
    onItsWay: () => [],
    items() {
      const skus = new Map([...variants.all()].map(({ itemId, sku }) => [itemId, sku]));
      return [...levels.all()].flatMap((level): Item[] => {
        const sku = skus.get(level.itemId);
        if (sku === undefined) return [];
        return [
          {
            sku,
            stockKey: gid('InventoryItem', level.itemId),
            location: gid('Location', level.locationId),
            quantity: level.quantities.available,
            itsOwn: false,
            changedAt: level.updatedAt,
          },
        ];
      });
    },
    orders: () =>
      [...orders.all()].map((order) => {
        const known = told.get(order) ?? tell(order);
        told.set(order, known);
        return known;
      }),
    calls({ operation, body, applied }) {
      if (operation !== 'inventorySetQuantities') return [];
      const rows = (body as SetQuantities | null)?.variables?.input?.quantities ?? [];
      return rows.map((row) => ({
        kind: 'write',
        stockKey: row.inventoryItemId,
        location: row.locationId,
        value: row.quantity,
        from: row.changeFromQuantity ?? null,
        applied,
      }));
    },
  };
}

function added(entries: [string, number][]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const [key, units] of entries) sums[key] = (sums[key] ?? 0) + units;
  return sums;
}

/* ------------------------------------------------------------------ Amazon */

interface Patches {
  patches?: { path?: string; value?: { quantity?: number }[] | undefined }[];
}
interface FeedDocument {
  messages?: ({ sku: string } & Patches)[];
}

const quantityIn = (body: Patches | null): number | null =>
  body?.patches?.find(({ path }) => path?.endsWith('/fulfillment_availability'))?.value?.[0]?.quantity ?? null;
const lastPart = (path: string): string => decodeURIComponent(path.split('/').at(-1) ?? '');

function amazonReader({ core }: Simulator): VendorReader {
  const offers = core.tables.table<Offer>('amazon.offers');
  const orders = core.tables.table<AmazonOrder>('amazon.orders');
  const agenda = core.tables.table<{ deed: Deed }>('amazon.agenda');
  const documents = new Map<string, FeedDocument>();
  const merchantOf = (offer: Offer) => offer.channels.find(({ code }) => code === 'DEFAULT') ?? null;

  function tell(order: AmazonOrder): ChannelOrder {
    const now = order.versions.at(-1);
    if (now === undefined) throw new Error(`Order ${order.id} has no version`);
    return {
      id: order.id,
      pending: now.status === 'PENDING',
      cancelled: now.status === 'CANCELLED',
      itsOwn: order.fulfilledBy === 'AMAZON',
      placedAt: order.createdAt,
      lines: now.lines.map((line) => ({
        id: line.id,
        sku: line.sku,
        open: line.ordered - line.shipped,
        shipped: line.shipped,
        returned: order.returned[line.id] ?? 0,
        taken: { [`${line.sku}@DEFAULT`]: order.taken[line.id] ?? 0 },
      })),
    };
  }

  return {
    compareAndSet: false,
    onItsWay: () =>
      [...agenda.all()].flatMap(({ deed }) => {
        const value = deed.kind === 'patch' ? quantityIn(deed) : null;
        return deed.kind !== 'patch' || value === null ? [] : [{ stockKey: deed.sku, location: 'DEFAULT', value }];
      }),
    items: () =>
      [...offers.all()].map((offer) => {
        const merchant = merchantOf(offer);
        return {
          sku: offer.sku,
          stockKey: offer.sku,
          location: 'DEFAULT',
          quantity: merchant === null ? (offer.fba?.fulfillable ?? 0) : (merchant.quantity ?? 0),
          itsOwn: merchant === null,
          changedAt: offer.updatedAt,
        };
      }),
    orders: () => [...orders.all()].map(tell),
    calls({ operation, path, status, body, response, applied }) {
      const here = { location: 'DEFAULT', from: null };
      const read = (sku: string) => ({ ...here, kind: 'read' as const, stockKey: sku, value: null, applied: true });
      switch (operation) {
        case 'getListingsItem':
          return status === 200 ? [read(lastPart(path))] : [];
        case 'searchListingsItems':
          return status === 200
            ? ((response as { items?: { sku: string }[] } | null)?.items ?? []).map(({ sku }) => read(sku))
            : [];
        case 'patchListingsItem': {
          const value = quantityIn(body as Patches | null);
          return value === null ? [] : [{ ...here, kind: 'write', stockKey: lastPart(path), value, applied }];
        }
        case 'uploadDocument':
          if (status === 200) documents.set(lastPart(path), body as FeedDocument);
          return [];
        case 'createFeed': {
          const document = documents.get((body as { inputFeedDocumentId?: string } | null)?.inputFeedDocumentId ?? '');
          return (document?.messages ?? []).flatMap((message): Omit<ChannelCall, 'n' | 'at'>[] => {
            const value = quantityIn(message);
            return value === null ? [] : [{ ...here, kind: 'write', stockKey: message.sku, value, applied }];
          });
        }
        default:
          return [];
      }
    },
  };
}
