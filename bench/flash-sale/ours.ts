/**
 * Ours (c), and with the last units on one channel (e): what is heard becomes dirty numbers, a lane per channel writes them (lane.ts).
 * Here: hearing (drain-inbox.ts: the ledger, the channel's effect, the mark), expansion with scarcity (store/listings/scarcity.ts; the
 * judgement is core/stock/scarcity.ts), and what a lane loads (work.ts).
 */
import { judgeScarcity, type ScarcityInput } from '#core/stock/scarcity.ts';
import { seededRandom } from '#sim/kit/chance.ts';
import type { Work, WorkTarget } from '#store/listings/work.ts';
import { Book, toShow } from './book.ts';
import { manifestOf } from './kinds.ts';
import { Lane } from './lane.ts';
import { Rows } from './rows.ts';
import type { Market, Policy } from './sale.ts';

const silent = { buffer: null, shareBp: null, cap: null, lastUnits: null, drift: null };
const noSetting = { lastUnits: null, to: null };

/** @param lastUnits so many of a SKU are offered on the first channel only; 0 = every channel offers all to the last */
export function oursPolicy(market: Market, lastUnits: number): Policy {
  const { agenda, spec, channels, callers } = market;
  const book = new Book(spec.skus, spec.unitsEach, spec.buffer);
  const random = seededRandom(spec.seed);
  /** By SKU: the channel that has the last units. */
  const scarce = new Map<number, { channel: number; lastUnits: number }>();
  const partOf = (sku: number) => {
    const open = scarce.get(sku);
    return {
      variantId: String(sku),
      sku: String(sku),
      units: 1,
      buffer: 0,
      available: { MAIN: book.available(sku) },
      scarce: open
        ? { connectionId: String(open.channel), connection: String(open.channel), lastUnits: open.lastUnits }
        : null,
    };
  };
  const load = (channel: number, targets: readonly WorkTarget[]): Work => ({
    connection: {
      id: String(channel),
      state: 'connected',
      paused: false,
      shadow: false,
      settings: {},
      priority: channel,
      askOrders: false,
      gapsAfter: null,
      raisesAfter: null,
    },
    targets: [...targets],
    listings: targets.map(({ stockKey, variantId }) => ({
      id: stockKey,
      stockKey,
      variantId,
      paused: false,
      notWritable: null,
      fulfilledBy: 'us',
    })),
    variants: targets.map(({ stockKey }) => ({
      id: stockKey,
      sku: stockKey,
      isBundle: false,
      parts: [partOf(Number(stockKey))],
    })),
    places: [{ channelLocation: 'MAIN', locationId: 'MAIN', isDefault: true, priority: 1, outdated: null }],
    policies: [
      {
        scope: 'organization',
        scopeId: 'org',
        fields: { ...silent, buffer: spec.buffer, lastUnits: lastUnits || null },
      },
    ],
  });
  const sides = channels.map((channel, index) => {
    const manifest = manifestOf(channel.spec);
    const rows: Rows = new Rows({
      skus: spec.skus,
      shows: book.toShow(0),
      at: agenda.now - 60_000,
      later: (at) => lane.pollAt(at),
    });
    const caller = callers[index];
    if (!caller) throw new Error('a channel without its budget');
    const lane: Lane = new Lane({ agenda, channel, caller, manifest, random, rows, load: (some) => load(index, some) });
    return { rows, lane };
  });
  const judge = (sku: number): void => {
    const open = scarce.get(sku) ?? null;
    const input: ScarcityInput = {
      available: book.available(sku),
      variant: noSetting,
      organization: { lastUnits: lastUnits || null, to: 'priority' },
      offers: sides.map((_, channel) => ({
        connectionId: String(channel),
        priority: channel,
        direct: true,
        writable: true,
        sold: 0,
        settings: noSetting,
      })),
      open: open && { connectionId: String(open.channel), lastUnits: open.lastUnits },
    };
    const verdict = judgeScarcity(input);
    if (verdict.kind === 'unchanged') return;
    if (verdict.kind === 'end') scarce.delete(sku);
    else {
      scarce.set(sku, { channel: Number(verdict.connectionId), lastUnits: verdict.lastUnits });
      for (const [channel, { rows }] of sides.entries())
        if (channel !== Number(verdict.connectionId)) rows.hintZero(sku);
    }
    market.recheck(sku);
  };
  return {
    hear({ channel, sku, at }) {
      const soldAt = Math.floor(at / 1_000) * 1_000;
      book.sold(sku);
      sides[channel]?.rows.effect(sku, soldAt, agenda.now);
      for (const { rows } of sides) rows.mark(sku, book.available(sku), agenda.now);
      if (lastUnits > 0) judge(sku);
      for (const { lane } of sides) lane.wake();
      market.waiting(sides.reduce((sum, { rows }) => sum + rows.waiting, 0));
    },
    level(channel, { sku, value, at }) {
      sides[channel]?.rows.observe(sku, value, at, null, agenda.now);
    },
    shouldShow(channel, sku, available) {
      const open = scarce.get(sku);
      return open && open.channel !== channel ? 0 : toShow(available, spec.buffer);
    },
  };
}
