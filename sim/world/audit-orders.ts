/**
 * Orders against the channels' own: P3 (each has exactly one effect, however often, late or out of order we were told) and
 * the part of P2 that is about time (a pending order keeps its units whatever the clock says).
 *
 * On the way only what can never be right is found: an order the channel does not have, one that exists twice, more units
 * claimed than its buyer ever wanted. At quiet every order owes exactly what its channel says, and as many units have left.
 */
import type { Finding } from './audit-finding.ts';
import type { Index } from './audit-numbers.ts';
import type { ChannelEvidence, ChannelOrder, ChannelOrderLine, Evidence, Rows } from './evidence.ts';

const key = (...parts: string[]): string => parts.join('|');
/** Channels and we write ids differently; the last part is the same. */
export const tail = (id: string): string => id.split('/').at(-1) ?? id;

type Order = Rows['orders'][number];
type Line = Rows['lines'][number];

/** Our orders and lines by the channel's ids, and what is claimed for each line. */
export interface Book {
  orders: ReadonlyMap<string, Order[]>;
  lines: ReadonlyMap<string, Line>;
  /** Units of a variant that a line's open claims add up to: committed, held and waiting. */
  claims(lineId: string, variantId: string): { committed: number; held: number; waiting: number };
}

export function bookOf(rows: Rows): Book {
  const orders = new Map<string, Order[]>();
  for (const order of rows.orders) {
    if (order.connectionId === null) continue;
    const at = key(order.connectionId, tail(order.externalId));
    orders.set(at, [...(orders.get(at) ?? []), order]);
  }
  const lines = new Map(rows.lines.map((line) => [key(line.orderId, tail(line.externalId)), line]));
  const sums = new Map<string, { committed: number; held: number; waiting: number }>();
  const sum = (lineId: string, variantId: string) => {
    const at = key(lineId, variantId);
    const found = sums.get(at) ?? { committed: 0, held: 0, waiting: 0 };
    sums.set(at, found);
    return found;
  };
  for (const { lineId, variantId, open } of rows.commitments) sum(lineId, variantId).committed += open;
  for (const { holdId, variantId, open } of rows.holds) sum(holdId, variantId).held += open;
  for (const { lineId, variantId, waiting } of rows.shortfalls) sum(lineId, variantId).waiting += waiting;
  return { orders, lines, claims: sum };
}

export const orderKey = (connectionId: string, id: string): string => key(connectionId, tail(id));
export const lineKey = (orderId: string, id: string): string => key(orderId, tail(id));

/** Units of the line that we know of: owed or gone. In units of what was sold, also for bundles. */
export function unitsKnown(book: Book, line: Line | undefined): number {
  const [part] = line?.explosion ?? [];
  if (line === undefined || part === undefined) return 0;
  const { committed, held, waiting } = book.claims(line.id, part.variantId);
  return (committed + held + waiting) / part.units + line.shipped;
}

export interface OrdersAudit {
  look(evidence: Evidence, index: Index, book: Book): Finding[];
  atQuiet(evidence: Evidence, index: Index, book: Book): Finding[];
}

export function auditOrders(): OrdersAudit {
  /** The most units a buyer ever wanted of a line. */
  const most = new Map<string, number>();
  /** What bundles were ever made of. */
  const made = new Map<string, Set<string>>();
  /** What had left before the world began. */
  let before: Map<string, number> | null = null;

  function look(evidence: Evidence, index: Index, book: Book): Finding[] {
    const { rows, fresh, channels, step } = evidence;
    const findings: Finding[] = [];
    before ??= shippedUnits(rows);
    for (const { id } of rows.variants) learnComposition(rows, id);
    for (const channel of channels)
      for (const order of channel.orders)
        for (const line of order.lines) {
          const at = lineKey(orderKey(channel.connectionId, order.id), line.id);
          most.set(at, Math.max(most.get(at) ?? 0, line.open + line.shipped));
        }
    for (const order of fresh.orders) findings.push(...judgeExistence(order));
    for (const line of rows.lines) findings.push(...judgeMost(line));
    for (const event of fresh.claimEvents) if (event.event === 'expire') findings.push(...judgeExpiry(event));
    return findings;

    function judgeExistence(order: Order): Finding[] {
      const channel = channels.find(({ connectionId }) => connectionId === order.connectionId);
      if (channel === undefined) return [];
      const common = { promise: 'P3' as const, sku: null, channel: channel.name, steps: [step] };
      const words = `order ${tail(order.externalId)}`;
      const copies = book.orders.get(orderKey(channel.connectionId, order.externalId))?.length ?? 0;
      if (copies > 1) return [{ ...common, words, expected: 'once', found: `${copies} times` }];
      if (channel.orders.some(({ id }) => tail(id) === tail(order.externalId))) return [];
      return [{ ...common, words, expected: 'no such order', found: 'booked' }];
    }

    function judgeMost(line: Line): Finding[] {
      const order = rows.orders.find(({ id }) => id === line.orderId);
      if (order?.connectionId == null) return [];
      const units = most.get(lineKey(orderKey(order.connectionId, order.externalId), line.externalId));
      if (units === undefined) return [];
      return (line.explosion ?? []).flatMap((part): Finding[] => {
        const { committed, held, waiting } = book.claims(line.id, part.variantId);
        const found = committed + held + waiting + shippedOf(rows, line.id, part.variantId);
        if (found <= units * part.units) return [];
        return [
          {
            promise: 'P3',
            sku: index.sku(part.variantId),
            channel: index.channelName(order.connectionId ?? ''),
            expected: `at most ${units * part.units}`,
            found: `${found}`,
            words: `units claimed or gone for order ${tail(order.externalId)}`,
            steps: [step],
          },
        ];
      });
    }

    function judgeExpiry(event: Rows['claimEvents'][number]): Finding[] {
      const hold = rows.holds.find(({ holdId }) => holdId === event.claimId);
      const common = { promise: 'P2' as const, sku: index.sku(event.variantId), channel: null, steps: [step] };
      if (hold?.origin === 'channel')
        return [
          {
            ...common,
            expected: 'held until the channel says otherwise',
            found: 'released by the clock',
            words: `the units of pending line ${event.claimId}`,
          },
        ];
      if (hold && hold.expiresAt !== null && hold.expiresAt > evidence.now)
        return [{ ...common, expected: 'held until its time', found: 'released', words: `hold ${event.claimId}` }];
      return [];
    }
  }

  function learnComposition(rows: Rows, variantId: string): void {
    const parts = rows.components.filter((one) => one.variantId === variantId);
    const known = made.get(variantId) ?? new Set();
    made.set(variantId, known);
    const explosion = parts.map(({ componentId, units }) => ({ variantId: componentId, units }));
    known.add(composition(explosion.length > 0 ? explosion : [{ variantId, units: 1 }]));
  }

  function atQuiet(evidence: Evidence, index: Index, book: Book): Finding[] {
    const { rows, channels, step } = evidence;
    const findings: Finding[] = [];
    const gone = new Map<string, number>();
    for (const channel of channels) for (const order of channel.orders) if (!order.itsOwn) judgeOrder(channel, order);
    const left = shippedUnits(rows);
    for (const variantId of new Set([...left.keys(), ...gone.keys()])) {
      const found = (left.get(variantId) ?? 0) - (before?.get(variantId) ?? 0);
      const expected = gone.get(variantId) ?? 0;
      if (found !== expected)
        findings.push({
          promise: 'P3',
          sku: index.sku(variantId),
          channel: null,
          expected: `${expected}`,
          found: `${found}`,
          words: 'units that left by the channels’ orders, and by our movements',
          steps: [step],
        });
    }
    return findings;

    function judgeOrder(channel: ChannelEvidence, order: ChannelOrder): void {
      const find = (sku: string | null, words: string, expected: string, found: string) =>
        findings.push({ promise: 'P3', sku, channel: channel.name, expected, found, words, steps: [step] });
      const name = `order ${tail(order.id)}`;
      const copies = book.orders.get(orderKey(channel.connectionId, order.id)) ?? [];
      const [ours] = copies;
      if (ours === undefined || copies.length !== 1) {
        find(null, name, 'once', `${copies.length} times`);
        return;
      }
      for (const line of order.lines) judgeLine(order, line, book.lines.get(lineKey(ours.id, line.id)), name, find);
    }

    function judgeLine(
      order: ChannelOrder,
      truth: ChannelOrderLine,
      line: Line | undefined,
      name: string,
      find: (sku: string | null, words: string, expected: string, found: string) => void,
    ): void {
      if (line?.variantId == null || line.explosion === null) {
        // Unknown SKUs are kept and named; a line we know nothing of that owes nothing is no loss.
        const named = line !== undefined && rows.alerts.some(({ kind }) => kind === 'order_unmapped');
        if (truth.open + truth.shipped > 0 && !named && (line === undefined || line.variantId !== null))
          find(truth.sku, name, `${truth.open + truth.shipped} units booked`, 'a line that is not booked');
        return;
      }
      if (!made.get(line.variantId)?.has(composition(line.explosion)))
        find(
          truth.sku,
          `${name}: what it was taken apart into`,
          'what the bundle was made of',
          JSON.stringify(line.explosion),
        );
      for (const part of line.explosion) {
        gone.set(part.variantId, (gone.get(part.variantId) ?? 0) + truth.shipped * part.units);
        const { committed, held, waiting } = book.claims(line.id, part.variantId);
        const [expected, found] = [truth.open * part.units, committed + held + waiting];
        if (expected !== found) find(index.sku(part.variantId), `${name}: units owed`, `${expected}`, `${found}`);
        if (held > 0 && !order.pending)
          find(index.sku(part.variantId), `${name} is certain`, 'none held', `${held} held`);
      }
    }
  }

  return { look, atQuiet };
}

const composition = (parts: readonly { variantId: string; units: number }[]): string =>
  parts
    .map(({ variantId, units }) => `${units} ${variantId}`)
    .sort()
    .join(', ');

function shippedUnits(rows: Rows): Map<string, number> {
  const units = new Map<string, number>();
  for (const movement of rows.movements)
    if (movement.kind === 'shipment')
      units.set(movement.variantId, (units.get(movement.variantId) ?? 0) + movement.units);
  return units;
}

const shippedOf = (rows: Rows, lineId: string, variantId: string): number =>
  rows.commitments
    .filter((one) => one.lineId === lineId && one.variantId === variantId)
    .reduce((sum, { shipped }) => sum + shipped, 0);
