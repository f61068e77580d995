/**
 * Import: what one complete version of a channel's order does to ours.
 *
 *   older than stored                      → nothing
 *   same vendor time, same content         → nothing
 *   same vendor time, other content        → read it again; a read begun after that was known is the truth
 *   newer, or never seen                   → apply: the difference to what stands, as our next revision
 *
 * The same difference computed twice is zero, so an event has one effect however often, late or out of order it comes.
 * Lines find their variant once: a booked line keeps its variant and its frozen bundle parts for ever; an unmapped one is
 * kept and booked when a mapping appears (`completeMapping`). Channel stock effects are the difference of `taken`.
 * Pure. Called under the order's row lock by server/flows/import-order.ts.
 */
import { assert } from '../errors.ts';
import { LineId, OrderId } from '../ids.ts';
import { assertUnits } from '../quantity.ts';
import type { Command } from '../stock/movement.ts';
import { book, claimTarget, type LineBooking } from './booking.ts';
import { allowsStep, fulfillmentAfter, statusOf } from './lifecycle.ts';
import {
  type IncomingLine,
  type IncomingOrder,
  type LineMapping,
  type Order,
  type OrderEffect,
  type OrderLine,
  type OrderNote,
  type PreferredLocation,
  sameContent,
} from './order.ts';

export interface ImportContext {
  contentHash: string;
  /** The version was read from the channel after everything else we know of the order: it settles a tie. */
  fresh: boolean;
  /** Of orders placed before this (Unix ms) units that had left at first sight never stood in our book: the connection is younger. */
  bookedSince: number;
  mappingOf(line: IncomingLine | OrderLine): LineMapping;
  prefer: PreferredLocation;
  ids: { uuid(): string };
}

export interface UnmappedLine {
  externalId: string;
  channelSku: string | null;
  title: string;
  reason: 'unknown' | 'unmapped' | 'ambiguous' | 'empty_bundle';
}

export interface Application {
  kind: 'apply';
  isNew: boolean;
  order: Order;
  /** Those of its lines that are new or differ from what is stored. */
  changedLines: OrderLine[];
  commands: Command[];
  effects: OrderEffect[];
  notes: OrderNote[];
  unmapped: UnmappedLine[];
}

export type ImportDecision =
  | { kind: 'nothing'; reason: 'older' | 'same' }
  | { kind: 'fetch'; reason: 'tie' }
  | Application;

export function decideImport(stored: Order | null, incoming: IncomingOrder, context: ImportContext): ImportDecision {
  checkUnits(incoming);
  if (stored && incoming.updatedAt < stored.version) return { kind: 'nothing', reason: 'older' };
  if (stored && incoming.updatedAt === stored.version) {
    if (sameContent(stored, incoming, context.contentHash)) return { kind: 'nothing', reason: 'same' };
    if (!context.fresh) return { kind: 'fetch', reason: 'tie' };
  }
  const id = stored?.id ?? OrderId(context.ids.uuid());
  // Certain once is certain for ever: a version that calls it pending again does not turn commitments into holds.
  const pending = incoming.state === 'pending' && (stored === null || stored.pending);
  const before = new Map(stored?.lines.map((line) => [line.externalId, line]));
  const told = new Set(incoming.lines.map((line) => line.externalId));
  const gone = (stored?.lines ?? []).filter((line) => !told.has(line.externalId)).map(goneLine);
  const unmapped: UnmappedLine[] = [];
  const bookings: LineBooking[] = [];
  const lines: OrderLine[] = [];
  for (const line of [...incoming.lines, ...gone]) {
    const old = before.get(line.externalId) ?? null;
    const next = mergeLine(old, line, incoming, context, unmapped);
    lines.push(next.line);
    if (next.booking) bookings.push(next.booking);
  }
  const order: Order = {
    id,
    externalId: incoming.externalId,
    number: incoming.number,
    revision: (stored?.revision ?? 0) + 1,
    version: incoming.updatedAt,
    contentHash: context.contentHash,
    status: statusOf(pending || incoming.state !== 'pending' ? incoming : { ...incoming, state: 'open' }),
    payment: incoming.payment,
    fulfillment: fulfillmentAfter(stored?.fulfillment ?? null, incoming.fulfillment),
    fulfilledBy: incoming.fulfilledBy,
    pending,
    unmapped: unmapped.length > 0,
    currency: incoming.currency,
    totalMinor: incoming.totalMinor,
    test: incoming.test,
    placedAt: incoming.placedAt,
    lines,
  };
  const commands = book(bookings, {
    key: `order:${id}:r${order.revision}`,
    businessAt: stored ? incoming.updatedAt : incoming.placedAt,
    reference: incoming.number,
    wasPending: stored?.pending ?? false,
    isPending: pending,
    prefer: context.prefer,
  });
  return {
    kind: 'apply',
    isNew: stored === null,
    order,
    changedLines: lines.filter((line) => !sameLine(before.get(line.externalId), line)),
    commands,
    effects: effectsOf(stored, order, incoming),
    notes: notesOf(stored, order, incoming, commands.length > 0, unmapped),
    unmapped,
  };
}

/** Books the lines of a stored order whose mapping has appeared; null when none has. The explosion is frozen now. */
export function completeMapping(
  stored: Order,
  context: Pick<ImportContext, 'mappingOf' | 'prefer' | 'bookedSince'> & { now: number },
): Application | null {
  const unmapped: UnmappedLine[] = [];
  const bookings: LineBooking[] = [];
  let changed = 0;
  const state = stored.status === 'cancelled' ? 'cancelled' : stored.pending ? 'pending' : 'open';
  const lines = stored.lines.map((line): OrderLine => {
    if (line.variantId !== null || line.bundleParent) return line;
    const mapping = context.mappingOf(line);
    if (mapping.kind === 'unmapped') {
      unmapped.push({
        externalId: line.externalId,
        channelSku: line.channelSku,
        title: line.title,
        reason: mapping.reason,
      });
      return line;
    }
    changed += 1;
    const booked = bookFrom(
      { ...line, variantId: mapping.variantId, listingId: mapping.listingId },
      mapping.components,
      neverBooked(stored, context) ? line.shipped : 0,
      line.shipped,
      { state, fulfilledBy: stored.fulfilledBy },
    );
    if (booked.booking) bookings.push(booked.booking);
    return booked.line;
  });
  if (changed === 0) return null;
  const order = { ...stored, revision: stored.revision + 1, unmapped: unmapped.length > 0, lines };
  const commands = book(bookings, {
    key: `order:${stored.id}:r${order.revision}`,
    businessAt: context.now,
    reference: stored.number,
    wasPending: stored.pending,
    isPending: stored.pending,
    prefer: context.prefer,
  });
  const note: OrderNote = {
    kind: 'mapped',
    message: `${changed} line${changed === 1 ? '' : 's'} found their SKU and ${changed === 1 ? 'is' : 'are'} booked`,
  };
  return {
    kind: 'apply',
    isNew: false,
    order,
    changedLines: lines.filter((line, n) => line !== stored.lines[n]),
    commands,
    effects: [],
    notes: [note],
    unmapped,
  };
}

function mergeLine(
  old: OrderLine | null,
  line: IncomingLine,
  incoming: IncomingOrder,
  context: ImportContext,
  unmapped: UnmappedLine[],
): { line: OrderLine; booking: LineBooking | null } {
  const mapping = old?.explosion ? null : context.mappingOf(line);
  const next: OrderLine = {
    id: old?.id ?? LineId(context.ids.uuid()),
    externalId: line.externalId,
    listingId: mapping?.listingId ?? old?.listingId ?? null,
    variantId: mapping?.kind === 'mapped' ? mapping.variantId : (old?.variantId ?? null),
    stockKey: line.stockKey ?? old?.stockKey ?? mapping?.stockKey ?? null,
    variantExternalId: line.variantExternalId ?? old?.variantExternalId ?? null,
    channelSku: line.channelSku ?? old?.channelSku ?? null,
    title: line.title === '' ? (old?.title ?? '') : line.title,
    ordered: line.ordered,
    wanted: Math.max(line.wanted, line.shipped),
    shipped: Math.max(line.shipped, old?.shipped ?? 0),
    claimed: old?.claimed ?? 0,
    taken: line.taken,
    channelLocation: line.channelLocation ?? old?.channelLocation ?? null,
    bundleParent: line.bundleParent,
    explosion: old?.explosion ?? null,
  };
  if (line.bundleParent) return { line: { ...next, variantId: null }, booking: null };
  const components = old?.explosion ?? (mapping?.kind === 'mapped' ? mapping.components : null);
  if (components === null) {
    if (mapping?.kind === 'unmapped' && (incoming.fulfilledBy === 'us' || mapping.reason !== 'unmapped')) {
      unmapped.push({
        externalId: line.externalId,
        channelSku: next.channelSku,
        title: next.title,
        reason: mapping.reason,
      });
    }
    return { line: next, booking: null };
  }
  const posted = old?.explosion ? old.shipped : neverBooked(incoming, context) ? (old?.shipped ?? line.shipped) : 0;
  return bookFrom(next, components, posted, next.shipped, incoming);
}

/** Units that left an order older than our book before we knew them are in no count of ours. */
const neverBooked = (order: { placedAt: number }, context: { bookedSince: number }): boolean =>
  order.placedAt < context.bookedSince;

/** @param posted units that had left the ledger before this version @param shipped units that have left after it */
function bookFrom(
  line: OrderLine,
  components: LineBooking['components'],
  posted: number,
  shipped: number,
  order: { state: 'pending' | 'open' | 'cancelled'; fulfilledBy: 'us' | 'channel' },
): { line: OrderLine; booking: LineBooking | null } {
  // The goods are the channel's: nothing of ours moves, and nothing is frozen, so that a change of hands can still book.
  if (order.fulfilledBy === 'channel' && line.explosion === null) return { line, booking: null };
  const target = claimTarget(line, order, shipped);
  const booking: LineBooking = {
    id: line.id,
    components,
    channelLocation: line.channelLocation,
    claimed: line.claimed,
    target,
    leaving: Math.max(0, shipped - posted),
  };
  return { line: { ...line, claimed: target, explosion: components }, booking };
}

/** Field by field; a frozen explosion is the very object that was stored. */
function sameLine(before: OrderLine | undefined, after: OrderLine): boolean {
  if (!before) return false;
  return (Object.keys(after) as (keyof OrderLine)[]).every((field) => before[field] === after[field]);
}

/** A line the channel no longer shows: nothing more is owed of it, and what its number did is not known. */
function goneLine(line: OrderLine): IncomingLine {
  return { ...line, wanted: line.shipped, taken: line.taken === 0 ? 0 : null };
}

/**
 * What happened to the channel's own numbers between the stored version and this one.
 * First sight: the sale was at `placedAt`; when the number is not simply down by what was ordered, something else came
 * after it, at the latest at `updatedAt`. Later versions: at some time between the two versions.
 */
function effectsOf(stored: Order | null, order: Order, incoming: IncomingOrder): OrderEffect[] {
  const before = new Map(stored?.lines.map((line) => [line.externalId, line]));
  const effects = new Map<string, OrderEffect>();
  for (const line of order.lines) {
    if (line.bundleParent || line.stockKey === null) continue;
    const old = before.get(line.externalId) ?? null;
    const units = takenChange(old, line, stored !== null);
    if (units === 0) continue;
    const straight = stored === null && line.taken === line.ordered;
    const earliestAt = stored?.version ?? incoming.placedAt;
    const at = straight ? Math.min(incoming.updatedAt, incoming.placedAt + saleMs) : incoming.updatedAt;
    const effect = {
      stockKey: line.stockKey,
      channelLocation: line.channelLocation,
      units,
      at: Math.max(at, earliestAt),
      earliestAt,
    };
    const key = JSON.stringify([effect.stockKey, effect.channelLocation, effect.at]);
    const same = effects.get(key);
    effects.set(
      key,
      same ? { ...effect, units: same.units === null || units === null ? null : same.units + units } : effect,
    );
  }
  return [...effects.values()].filter((effect) => effect.units !== 0);
}

/** How long after an order's own time its units may leave the channel's number (assumed). */
const saleMs = 2_000;

function takenChange(old: OrderLine | null, line: OrderLine, seenBefore: boolean): number | null {
  if (old === null) return line.taken === null ? (line.ordered === 0 && seenBefore ? 0 : null) : line.taken;
  if (old.taken !== null && line.taken !== null) return line.taken - old.taken;
  if (old.taken === null && line.taken === null)
    return old.wanted === line.wanted && old.ordered === line.ordered ? 0 : null;
  return line.taken === null && old.wanted === line.wanted && old.shipped === line.shipped ? 0 : null;
}

function notesOf(
  stored: Order | null,
  order: Order,
  incoming: IncomingOrder,
  booked: boolean,
  unmapped: readonly UnmappedLine[],
): OrderNote[] {
  const notes: OrderNote[] = [];
  if (!stored) notes.push({ kind: 'imported', message: `Imported from the channel as ${incoming.state}` });
  else if (stored.status !== 'cancelled' && order.status === 'cancelled')
    notes.push({ kind: 'cancelled', message: 'Cancelled at the channel; what was claimed is free again' });
  else if (stored.pending && !order.pending)
    notes.push({ kind: 'confirmed', message: 'The sale is certain; held units are committed' });
  else if (booked) notes.push({ kind: 'changed', message: 'Quantities changed at the channel' });
  if (stored && stored.payment !== order.payment)
    notes.push({ kind: 'payment', message: `Payment: ${stored.payment} → ${order.payment}` });
  if (stored && stored.fulfillment !== order.fulfillment)
    notes.push({ kind: 'shipped', message: `Fulfillment: ${stored.fulfillment} → ${order.fulfillment}` });
  if (unmapped.length > 0 && !stored?.unmapped) {
    const names = unmapped.slice(0, 5).map((line) => line.channelSku ?? line.title);
    notes.push({
      kind: 'unmapped',
      message: `No SKU of ours for: ${names.join(', ')}${unmapped.length > 5 ? ' …' : ''}`,
    });
  }
  if (stored && !allowsStep('order', stored.status, order.status)) {
    notes.push({ kind: 'unusual', message: `Status went from ${stored.status} to ${order.status}` });
  }
  return notes;
}

function checkUnits(order: IncomingOrder): void {
  const seen = new Set<string>();
  for (const line of order.lines) {
    assertUnits(line.ordered, 'ordered units', 0);
    assertUnits(line.wanted, 'wanted units', 0);
    assertUnits(line.shipped, 'shipped units', 0);
    assert(!seen.has(line.externalId), 'two lines of one order share an id', { line: line.externalId });
    seen.add(line.externalId);
  }
  assert(
    Number.isSafeInteger(order.updatedAt) && Number.isSafeInteger(order.placedAt),
    'an order needs its times in whole milliseconds',
  );
}
