/**
 * An order's life and what each step does to the shop's own numbers (sheet §5.1, §8).
 *
 *   placed                    available −n  committed +n          at the location(s) that will ship
 *   edited up / down          as placed     / committed −n available +n
 *   fulfilled                 committed −n                        on_hand falls with it
 *   cancelled with restock    committed −n  available +n
 *   cancelled without         committed −n                        the goods leave the books (assumed)
 *   refunded  no_restock      unshipped units first: committed −n; shipped ones: nothing
 *             cancel          committed −n  available +n
 *             return          available +n                        shipped units came back
 *
 * Each step is one transaction with its webhooks; refusals throw `ControlRefusal` and change nothing.
 * Called by the control routes and by the GraphQL mutations.
 */
import { ControlRefusal, type LineRef } from '#sim/kit/model.ts';
import {
  disposePayload,
  editPayload,
  fulfillmentPayload,
  orderPayload,
  refundPayload,
  returnPayload,
} from './payloads.ts';
import {
  currentQuantity,
  type FulfillmentOrderRow,
  type FulfillmentRow,
  fulfillmentState,
  gid,
  idOf,
  type LineRow,
  type OrderRow,
  type RefundRow,
  type RestockType,
  type ReturnRow,
  unfulfilledQuantity,
  type VariantRow,
} from './rows.ts';
import type { Shop } from './shop.ts';
import type { Webhooks } from './webhooks.ts';

export interface RefundLine {
  lineId: string;
  quantity: number;
  restockType: RestockType;
  /** null: where the goods were to ship from, or were shipped from. */
  locationId: string | null;
}

export interface FulfillmentPick {
  fulfillmentOrderId: string;
  /** Fulfillment order lines; null = everything that remains. */
  lines: { id: string; quantity: number }[] | null;
}

export interface Orders {
  find(given: string): OrderRow;
  place(input: {
    lines: { sku: string; quantity: number }[];
    paid: boolean;
    location?: string | undefined;
    id?: string | undefined;
    oversell: boolean;
  }): OrderRow;
  pay(order: OrderRow): OrderRow;
  edit(order: OrderRow, lines: LineRef[]): OrderRow;
  cancel(order: OrderRow, options: { restock: boolean; reason: string }): OrderRow;
  /** Cancels some units of some lines: a refund of units that were not shipped. */
  cancelLines(order: OrderRow, lines: LineRef[], restock: boolean): OrderRow;
  refund(order: OrderRow, lines: RefundLine[], note: string | null): { order: OrderRow; refund: RefundRow };
  fulfill(
    order: OrderRow,
    picks: FulfillmentPick[],
    tracking: FulfillmentRow['tracking'],
  ): { order: OrderRow; fulfillment: FulfillmentRow };
  /** Ships the named lines (default: all that waits), one fulfillment per location. */
  fulfillLines(order: OrderRow, lines: LineRef[] | undefined): OrderRow;
  returnGoods(order: OrderRow, lines: (LineRef & { disposition: string })[], restock: boolean): OrderRow;
}

interface StockStep {
  itemId: string;
  locationId: string;
  available: number;
  committed: number;
}

export function createOrders(shop: Shop, webhooks: () => Webhooks): Orders {
  const { core } = shop;

  /** Saves the order, tells of it, then moves the stock: all inside the caller's transaction. */
  function commit(
    draft: OrderRow,
    topics: [topic: string, payload: (order: OrderRow) => unknown][],
    steps: StockStep[],
  ): OrderRow {
    const order = shop.saveOrder(draft);
    const eventId = core.ids.uuid();
    for (const [topic, payload] of topics) webhooks().emit(topic, eventId, () => payload(order));
    for (const { itemId, locationId, available, committed } of steps) {
      if (shop.variantOfItem(itemId)?.tracked === false) continue;
      shop.changeLevel(itemId, locationId, { available, committed }, eventId);
    }
    return order;
  }

  function find(given: string): OrderRow {
    const id = idOf('Order', given);
    const order = id === null ? undefined : shop.orders.get(id);
    if (order === undefined) throw new ControlRefusal(404, `No such order: ${given}`);
    return order;
  }

  function place(input: Parameters<Orders['place']>[0]): OrderRow {
    const id = input.id === undefined ? shop.newId('order') : idOf('Order', input.id);
    if (id === null || BigInt(id) >= 2n ** 63n) {
      throw new ControlRefusal(400, 'An order id is a whole number below 2^63 or its GID');
    }
    if (shop.orders.has(id)) throw new ControlRefusal(409, `There is already an order ${id}`);
    const at = shop.now();
    const draft: OrderRow = {
      id,
      number: 1_000 + core.tables.next('order number'),
      createdAt: at,
      updatedAt: at,
      cancelledAt: null,
      cancelReason: null,
      closedAt: null,
      paid: input.paid,
      edited: false,
      tags: [],
      note: null,
      lines: [],
      fulfillmentOrders: [],
      fulfillments: [],
      refunds: [],
      returns: [],
    };
    const steps: StockStep[] = [];
    for (const { sku, quantity } of input.lines) {
      const variant = knownVariant(sku);
      const line = newLine(variant);
      draft.lines.push(line);
      addUnits(draft, line, quantity, steps, { location: input.location, oversell: input.oversell });
    }
    const paid: [string, typeof orderPayload][] = input.paid ? [['orders/paid', orderPayload]] : [];
    const routed = draft.fulfillmentOrders.map((one): [string, typeof orderPayload] => [
      'fulfillment_orders/order_routing_complete',
      () => ({ fulfillment_order: { id: gid('FulfillmentOrder', one.id), status: 'open' } }),
    ]);
    return commit(draft, [['orders/create', orderPayload], ...paid, ...routed], steps);
  }

  function knownVariant(sku: string): VariantRow {
    const variant = shop.variantBySku(sku);
    if (variant === undefined) throw new ControlRefusal(404, `No such SKU in this shop: ${sku}`);
    return variant;
  }

  function newLine(variant: VariantRow): LineRow {
    const { id: variantId, productId, itemId, sku, title, priceCents } = variant;
    const counts = { quantity: 0, removed: 0, refunded: 0, fulfilled: 0, returned: 0 };
    return { id: shop.newId('order'), variantId, productId, itemId, sku, title, priceCents, ...counts };
  }

  /** Adds units to a line of the draft, chooses who ships them, and notes what that takes from stock. */
  function addUnits(
    draft: OrderRow,
    line: LineRow,
    units: number,
    steps: StockStep[],
    rule: { location?: string | undefined; oversell: boolean },
  ): void {
    const variant = shop.variants.get(line.variantId);
    const oversell = rule.oversell || variant?.tracked === false || variant?.inventoryPolicy === 'CONTINUE';
    for (const share of allocate(line, units, steps, { ...rule, oversell })) {
      waitingLine(draft, line, share.locationId).add(share.units);
      steps.push({
        itemId: line.itemId,
        locationId: share.locationId,
        available: -share.units,
        committed: share.units,
      });
    }
    line.quantity += units;
  }

  /** One location that has it all (the default one first); else split over them; what is then missing is oversold. */
  function allocate(
    line: LineRow,
    units: number,
    taken: StockStep[],
    rule: { location?: string | undefined; oversell: boolean },
  ): { locationId: string; units: number }[] {
    const fallback = rule.location === undefined ? shop.defaultLocation() : shop.findLocation(rule.location);
    const others = rule.location === undefined ? [...shop.locations.all()].filter(({ id }) => id !== fallback.id) : [];
    const offers = [fallback, ...others].map(({ id }) => ({ locationId: id, free: free(line.itemId, id, taken) }));
    const whole = offers.find((offer) => offer.free >= units);
    if (whole !== undefined) return [{ locationId: whole.locationId, units }];
    let left = units;
    const shares = offers.map(({ locationId, free: offered }) => {
      const share = Math.min(left, Math.max(0, offered));
      left -= share;
      return { locationId, units: share };
    });
    if (left > 0 && !rule.oversell) {
      throw new ControlRefusal(409, `Only ${units - left} of ${units} ${line.sku} can be sold`);
    }
    if (shares[0] !== undefined) shares[0].units += left;
    return shares.filter((share) => share.units > 0);
  }

  function free(itemId: string, locationId: string, taken: StockStep[]): number {
    const level = shop.level(itemId, locationId);
    const available = level?.isActive === true ? level.quantities.available : 0;
    const pending = taken.filter((step) => step.itemId === itemId && step.locationId === locationId);
    return pending.reduce((sum, step) => sum + step.available, available);
  }

  /** The line's place in an open fulfillment order of that location, made when missing. */
  function waitingLine(draft: OrderRow, line: LineRow, locationId: string) {
    const at = shop.now();
    let open = draft.fulfillmentOrders.find((one) => one.locationId === locationId && one.status === 'OPEN');
    if (open === undefined) {
      open = { id: shop.newId('order'), locationId, status: 'OPEN', createdAt: at, updatedAt: at, lines: [] };
      draft.fulfillmentOrders.push(open);
    }
    let waiting = open.lines.find((one) => one.lineId === line.id);
    if (waiting === undefined) {
      waiting = { id: shop.newId('order'), lineId: line.id, total: 0, remaining: 0 };
      open.lines.push(waiting);
    }
    const place = waiting;
    return {
      add(units: number) {
        place.total += units;
        place.remaining += units;
      },
    };
  }

  /** Takes units of a line out of what waits to be shipped. @returns where from */
  function takeWaiting(draft: OrderRow, line: LineRow, units: number, shipped: boolean) {
    let left = units;
    const shares: { fulfillmentOrder: FulfillmentOrderRow; locationId: string; units: number }[] = [];
    for (const fulfillmentOrder of draft.fulfillmentOrders) {
      for (const waiting of fulfillmentOrder.lines) {
        if (waiting.lineId !== line.id || left === 0) continue;
        const share = Math.min(left, waiting.remaining);
        if (share === 0) continue;
        waiting.remaining -= share;
        if (!shipped) waiting.total -= share;
        left -= share;
        shares.push({ fulfillmentOrder, locationId: fulfillmentOrder.locationId, units: share });
      }
      closeWhenDone(fulfillmentOrder);
    }
    if (left > 0)
      throw new ControlRefusal(409, `Only ${units - left} of ${units} units of ${line.sku} wait to be shipped`);
    return shares;
  }

  function closeWhenDone(fulfillmentOrder: FulfillmentOrderRow): void {
    if (fulfillmentOrder.lines.some((line) => line.remaining > 0)) return;
    const shipped = fulfillmentOrder.lines.some((line) => line.total > 0);
    fulfillmentOrder.status = shipped ? 'CLOSED' : 'CANCELLED';
    fulfillmentOrder.updatedAt = shop.now();
  }

  function draftOf(order: OrderRow): OrderRow {
    return structuredClone(order);
  }

  function lineOf(order: OrderRow, ref: LineRef): LineRow | undefined {
    if (ref.id !== undefined) {
      const id = idOf('LineItem', ref.id);
      return order.lines.find((line) => line.id === id);
    }
    return order.lines.find((line) => line.sku === ref.sku);
  }

  function knownLine(order: OrderRow, ref: LineRef): LineRow {
    const line = lineOf(order, ref);
    if (line === undefined) throw new ControlRefusal(404, `The order has no line ${ref.id ?? ref.sku}`);
    return line;
  }

  function isOpen(order: OrderRow): void {
    if (order.cancelledAt !== null) throw new ControlRefusal(409, `Order #${order.number} is cancelled`);
  }

  function edit(order: OrderRow, refs: LineRef[]): OrderRow {
    isOpen(order);
    const draft = { ...draftOf(order), edited: true };
    const steps: StockStep[] = [];
    const deltas: { lineId: string; delta: number }[] = [];
    for (const ref of refs) {
      const line = lineOf(draft, ref) ?? editedIn(draft, ref);
      const delta = ref.quantity - currentQuantity(line);
      if (delta > 0) addUnits(draft, line, delta, steps, { oversell: false });
      if (delta < 0) {
        for (const { locationId, units } of takeWaiting(draft, line, -delta, false)) {
          steps.push({ itemId: line.itemId, locationId, available: units, committed: -units });
        }
        line.removed -= delta;
      }
      if (delta !== 0) deltas.push({ lineId: line.id, delta });
    }
    if (deltas.length === 0) return order;
    const editId = shop.newId('order');
    const edited = (saved: OrderRow) => editPayload(saved, editId, deltas, saved.updatedAt);
    return commit(
      draft,
      [
        ['orders/edited', edited],
        ['orders/updated', orderPayload],
      ],
      steps,
    );
  }

  function editedIn(draft: OrderRow, ref: LineRef): LineRow {
    if (ref.sku === undefined) throw new ControlRefusal(404, `The order has no line ${ref.id}`);
    const line = newLine(knownVariant(ref.sku));
    draft.lines.push(line);
    return line;
  }

  /** Books a refund on the draft. */
  function applyRefund(
    draft: OrderRow,
    lines: RefundLine[],
    steps: StockStep[],
    extra: { note: string | null; returnId: string | null },
  ): RefundRow {
    const refund: RefundRow = { id: shop.newId('order'), createdAt: shop.now(), ...extra, lines: [] };
    for (const { lineId, quantity, restockType, locationId } of lines) {
      const line = knownLine(draft, { id: lineId, quantity });
      if (quantity > currentQuantity(line)) {
        throw new ControlRefusal(409, `Only ${currentQuantity(line)} units of ${line.sku} can be refunded`);
      }
      const where =
        restockType === 'RETURN' || extra.returnId !== null
          ? takeBack(draft, line, quantity, restockType, locationId, steps)
          : takeOff(draft, line, quantity, restockType, locationId, steps);
      line.refunded += quantity;
      refund.lines.push({ id: shop.newId('order'), lineId: line.id, quantity, restockType, locationId: where });
    }
    draft.refunds.push(refund);
    return refund;
  }

  /** Refunds units that were not shipped; `no_restock` may go on to shipped ones, which moves nothing. */
  function takeOff(
    draft: OrderRow,
    line: LineRow,
    quantity: number,
    type: RestockType,
    to: string | null,
    steps: StockStep[],
  ): string | null {
    const waiting = unfulfilledQuantity(draft, line);
    if (type === 'CANCEL' && quantity > waiting) {
      throw new ControlRefusal(409, `Only ${waiting} units of ${line.sku} are not shipped and can be cancelled`);
    }
    let where: string | null = null;
    for (const { locationId, units } of takeWaiting(draft, line, Math.min(quantity, waiting), false)) {
      steps.push({ itemId: line.itemId, locationId, available: 0, committed: -units });
      if (type !== 'CANCEL') continue;
      where = to ?? locationId;
      steps.push({ itemId: line.itemId, locationId: where, available: units, committed: 0 });
    }
    return where;
  }

  /** Refunds units that were shipped; with `RETURN` they are for sale again. */
  function takeBack(
    draft: OrderRow,
    line: LineRow,
    quantity: number,
    type: RestockType,
    to: string | null,
    steps: StockStep[],
  ): string | null {
    const out = line.fulfilled - line.returned;
    if (quantity > out) throw new ControlRefusal(409, `Only ${out} shipped units of ${line.sku} can come back`);
    line.returned += quantity;
    if (type !== 'RETURN') return null;
    const shippedFrom = draft.fulfillments.find((one) => one.lines.some((shipped) => shipped.lineId === line.id));
    const where = to ?? shippedFrom?.locationId ?? shop.defaultLocation().id;
    steps.push({ itemId: line.itemId, locationId: where, available: quantity, committed: 0 });
    return where;
  }

  function refund(order: OrderRow, lines: RefundLine[], note: string | null) {
    const draft = draftOf(order);
    const steps: StockStep[] = [];
    const booked = applyRefund(draft, lines, steps, { note, returnId: null });
    const saved = commit(
      draft,
      [
        ['refunds/create', (now) => refundPayload(now, booked)],
        ['orders/updated', orderPayload],
      ],
      steps,
    );
    return { order: saved, refund: booked };
  }

  function cancel(order: OrderRow, { restock, reason }: { restock: boolean; reason: string }): OrderRow {
    isOpen(order);
    const restockType = restock ? 'CANCEL' : 'NO_RESTOCK';
    const lines = order.lines.flatMap((line) => {
      const quantity = unfulfilledQuantity(order, line);
      return quantity > 0 ? [{ lineId: line.id, quantity, restockType, locationId: null } as RefundLine] : [];
    });
    if (lines.length === 0) throw new ControlRefusal(409, `Order #${order.number} has nothing left to cancel`);
    const at = shop.now();
    const draft = { ...draftOf(order), cancelledAt: at, cancelReason: reason, closedAt: at };
    const steps: StockStep[] = [];
    const booked = applyRefund(draft, lines, steps, { note: null, returnId: null });
    return commit(
      draft,
      [
        ['orders/cancelled', orderPayload],
        ['refunds/create', (now) => refundPayload(now, booked)],
        ['orders/updated', orderPayload],
      ],
      steps,
    );
  }

  function fulfill(order: OrderRow, picks: FulfillmentPick[], tracking: FulfillmentRow['tracking']) {
    isOpen(order);
    const draft = draftOf(order);
    const at = shop.now();
    const steps: StockStep[] = [];
    const shipped: FulfillmentRow['lines'] = [];
    const sources = picks.map((pick) => {
      const source = draft.fulfillmentOrders.find((one) => one.id === pick.fulfillmentOrderId);
      if (source === undefined) throw new ControlRefusal(404, 'Fulfillment order does not exist.');
      const wanted = pick.lines ?? source.lines.map(({ id, remaining }) => ({ id, quantity: remaining }));
      for (const { id, quantity } of wanted) if (quantity > 0) ship(draft, source, id, quantity, shipped, steps);
      closeWhenDone(source);
      return source;
    });
    const locationId = sources[0]?.locationId;
    if (locationId === undefined || shipped.length === 0)
      throw new ControlRefusal(409, 'There is nothing left to ship.');
    const fulfillment: FulfillmentRow = {
      id: shop.newId('order'),
      number: draft.fulfillments.length + 1,
      fulfillmentOrderIds: sources.map((source) => source.id),
      locationId,
      createdAt: at,
      updatedAt: at,
      tracking,
      lines: shipped,
    };
    draft.fulfillments.push(fulfillment);
    const topic = fulfillmentState(draft) === 'FULFILLED' ? 'orders/fulfilled' : 'orders/partially_fulfilled';
    const saved = commit(
      draft,
      [
        ['fulfillments/create', (now) => fulfillmentPayload(now, fulfillment)],
        [topic, orderPayload],
        ['orders/updated', orderPayload],
      ],
      steps,
    );
    return { order: saved, fulfillment };
  }

  function ship(
    draft: OrderRow,
    source: FulfillmentOrderRow,
    waitingId: string,
    quantity: number,
    shipped: FulfillmentRow['lines'],
    steps: StockStep[],
  ): void {
    const waiting = source.lines.find((one) => one.id === waitingId);
    const line = draft.lines.find((one) => one.id === waiting?.lineId);
    if (waiting === undefined || line === undefined || quantity > waiting.remaining) {
      throw new ControlRefusal(409, 'Invalid fulfillment order line item quantity requested.');
    }
    waiting.remaining -= quantity;
    line.fulfilled += quantity;
    shipped.push({ id: shop.newId('order'), lineId: line.id, quantity });
    steps.push({ itemId: line.itemId, locationId: source.locationId, available: 0, committed: -quantity });
  }

  function fulfillLines(order: OrderRow, refs: LineRef[] | undefined): OrderRow {
    const wanted = new Map<string, number>();
    for (const line of order.lines) if (refs === undefined) wanted.set(line.id, unfulfilledQuantity(order, line));
    for (const ref of refs ?? []) {
      const line = knownLine(order, ref);
      wanted.set(line.id, (wanted.get(line.id) ?? 0) + ref.quantity);
    }
    let saved = order;
    for (const { id, lines } of order.fulfillmentOrders) {
      const picked = lines.flatMap((line) => {
        const quantity = Math.min(line.remaining, wanted.get(line.lineId) ?? 0);
        wanted.set(line.lineId, (wanted.get(line.lineId) ?? 0) - quantity);
        return quantity > 0 ? [{ id: line.id, quantity }] : [];
      });
      if (picked.length > 0) saved = fulfill(saved, [{ fulfillmentOrderId: id, lines: picked }], []).order;
    }
    if (saved === order || [...wanted.values()].some((left) => left > 0)) {
      throw new ControlRefusal(409, 'There is not that much left to ship');
    }
    return saved;
  }

  function returnGoods(order: OrderRow, refs: (LineRef & { disposition: string })[], restock: boolean): OrderRow {
    const draft = draftOf(order);
    const at = shop.now();
    const row: ReturnRow = {
      id: shop.newId('order'),
      number: draft.returns.length + 1,
      status: 'CLOSED',
      createdAt: at,
      closedAt: at,
      lines: refs.map((ref) => {
        const line = knownLine(draft, ref);
        const shipped = draft.fulfillments.flatMap((one) => one.lines).find((one) => one.lineId === line.id);
        if (shipped === undefined) throw new ControlRefusal(409, `${line.sku} was not shipped`);
        return {
          id: shop.newId('order'),
          lineId: line.id,
          fulfillmentLineId: shipped.id,
          quantity: ref.quantity,
          note: ref.disposition,
        };
      }),
    };
    const steps: StockStep[] = [];
    const restockType: RestockType = restock ? 'RETURN' : 'NO_RESTOCK';
    const lines = row.lines.map(
      ({ lineId, quantity }): RefundLine => ({ lineId, quantity, restockType, locationId: null }),
    );
    const booked = applyRefund(draft, lines, steps, { note: null, returnId: row.id });
    draft.returns.push(row);
    const reverseOrderId = shop.newId('order');
    const dispositions = booked.lines.map(({ quantity, locationId }) => ({
      lineId: shop.newId('order'),
      quantity,
      locationId,
    }));
    return commit(
      draft,
      [
        ['returns/approve', (now) => ({ ...returnPayload(now, row), status: 'open' })],
        ['reverse_fulfillment_orders/dispose', () => disposePayload(reverseOrderId, dispositions)],
        ['refunds/create', (now) => refundPayload(now, booked)],
        ['orders/updated', orderPayload],
      ],
      steps,
    );
  }

  return {
    find,
    place,
    edit,
    cancel,
    refund,
    fulfill,
    fulfillLines,
    returnGoods,
    pay(order) {
      isOpen(order);
      if (order.paid) throw new ControlRefusal(409, `Order #${order.number} is already paid`);
      return commit(
        { ...order, paid: true },
        [
          ['orders/paid', orderPayload],
          ['orders/updated', orderPayload],
        ],
        [],
      );
    },
    cancelLines(order, refs, restock) {
      isOpen(order);
      const restockType: RestockType = restock ? 'CANCEL' : 'NO_RESTOCK';
      const lines = refs.map((ref): RefundLine => {
        const line = knownLine(order, ref);
        if (ref.quantity > unfulfilledQuantity(order, line)) {
          throw new ControlRefusal(409, `Not that many units of ${line.sku} wait to be shipped`);
        }
        return { lineId: line.id, quantity: ref.quantity, restockType, locationId: null };
      });
      return refund(order, lines, null).order;
    },
  };
}
