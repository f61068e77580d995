/**
 * The policies ours is compared with, written as well as they can be within what they are:
 *
 *   queue   (a) each sale heard of puts one update per channel at the end of that channel's queue, with the number of that moment. Both
 *           channels, or the seller's own would stay at what another sale's update made of it. First in, first out; one call in flight, so
 *           that no update overtakes another
 *   sweep   (b) every 15 minutes what differs from the number last written is listed and written, lowest numbers first, each with
 *           the number of the moment it leaves. A list that is not finished when the next sweep begins is sorted and worked on, never twice
 *   none    (d) nothing is ever written
 *   bound   no product, a yardstick: of all numbers that have changed the lowest first, as of the moment it leaves, blind. What a channel
 *           sold meanwhile it gives back (P6), and nothing of it is ever proved; but nobody spends a slow budget better against oversales
 *
 * They call through the same budget as ours, at the urgent class, which has all of it; they keep all calls, answers and sums; nothing is
 * lost. Neither reads: they write without looking, as such systems do.
 */
import { Book, toShow } from './book.ts';
import type { Market, Policy } from './sale.ts';

/** Writes one number blind, when the budget allows, and goes on when it is answered. */
function write(market: Market, channel: number, pick: () => { sku: number; value: number } | null, then: () => void) {
  const shop = market.channels[channel];
  const caller = market.callers[channel];
  if (!shop || !caller) return;
  caller.ask('urgent', () => {
    const row = pick();
    if (!row) {
      caller.settle();
      return then();
    }
    shop.write([{ ...row, from: null }], () => {
      caller.settle();
      then();
    });
  });
}

const shouldShow = (market: Market) => (_: number, __: number, available: number) =>
  toShow(available, market.spec.buffer);

const bookOf = ({ spec }: Market): Book => new Book(spec.skus, spec.unitsEach, spec.buffer);

export function queuePolicy(market: Market): Policy {
  const book = bookOf(market);
  const queues = market.channels.map(() => ({ updates: [] as { sku: number; value: number }[], done: 0, busy: false }));
  const waiting = () => queues.reduce((sum, { updates, done }) => sum + updates.length - done, 0);
  const next = (channel: number): void => {
    const queue = queues[channel];
    if (!queue || queue.busy || queue.done === queue.updates.length) return;
    queue.busy = true;
    const pick = () => queue.updates[queue.done++] ?? null;
    write(market, channel, pick, () => {
      queue.busy = false;
      next(channel);
    });
  };
  return {
    hear({ sku }) {
      book.sold(sku);
      for (const [channel, queue] of queues.entries()) {
        queue.updates.push({ sku, value: book.toShow(sku) });
        next(channel);
      }
      market.waiting(waiting());
    },
    shouldShow: shouldShow(market),
  };
}

/** @param firstMs after the opening the first sweep begins: a sale opens somewhere between two of them */
export function sweepPolicy(market: Market, everyMs: number, firstMs: number): Policy {
  const { agenda, spec } = market;
  const book = bookOf(market);
  const written = market.channels.map(() => Array.from({ length: spec.skus }, (_, sku) => book.toShow(sku)));
  const lists: number[][] = market.channels.map(() => []);
  const busy = market.channels.map(() => false);
  const differs = (channel: number, sku: number) => written[channel]?.[sku] !== book.toShow(sku);
  const skus = Array.from({ length: spec.skus }, (_, sku) => sku);
  const next = (channel: number): void => {
    if (busy[channel] || lists[channel]?.length === 0) return;
    busy[channel] = true;
    const pick = () => {
      const sku = lists[channel]?.shift();
      if (sku === undefined) return null;
      const value = book.toShow(sku);
      const numbers = written[channel];
      if (numbers) numbers[sku] = value;
      return { sku, value };
    };
    write(market, channel, pick, () => {
      busy[channel] = false;
      next(channel);
    });
  };
  const sweep = (): void => {
    for (const channel of market.channels.keys()) {
      lists[channel] = skus
        .filter((sku) => differs(channel, sku))
        .sort((a, b) => book.toShow(a) - book.toShow(b) || a - b);
      next(channel);
    }
    market.waiting(lists.reduce((sum, list) => sum + list.length, 0));
    const left =
      lists.some((list) => list.length > 0) ||
      market.channels.some((_, channel) => skus.some((sku) => differs(channel, sku)));
    if (agenda.now <= market.endsAt + spec.learnMs || left) agenda.after(everyMs, sweep);
  };
  agenda.after(firstMs, sweep);
  return { hear: ({ sku }) => book.sold(sku), shouldShow: shouldShow(market) };
}

export const nonePolicy = (market: Market): Policy => ({ hear: () => undefined, shouldShow: shouldShow(market) });

export function boundPolicy(market: Market): Policy {
  const book = bookOf(market);
  const changed = market.channels.map(() => new Set<number>());
  const busy = market.channels.map(() => false);
  const lowest = (skus: Iterable<number>): number | null => {
    let found: number | null = null;
    for (const sku of skus) if (found === null || book.available(sku) < book.available(found)) found = sku;
    return found;
  };
  const next = (channel: number): void => {
    const skus = changed[channel];
    if (!skus || busy[channel] || skus.size === 0) return;
    busy[channel] = true;
    const pick = () => {
      const sku = lowest(skus);
      if (sku === null) return null;
      skus.delete(sku);
      return { sku, value: book.toShow(sku) };
    };
    write(market, channel, pick, () => {
      busy[channel] = false;
      next(channel);
    });
  };
  return {
    hear({ sku }) {
      book.sold(sku);
      for (const [channel, skus] of changed.entries()) {
        skus.add(sku);
        next(channel);
      }
      market.waiting(changed.reduce((sum, { size }) => sum + size, 0));
    },
    shouldShow: shouldShow(market),
  };
}
