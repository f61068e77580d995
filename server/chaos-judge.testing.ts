/**
 * The judge: reads the simulators' truth and our API, knows nothing of how either works, and says what is wrong.
 *
 *   numbers    truth at the channel = desired = observed, in_sync; desired follows from the ledger's own positions   (P4)
 *   orders     every order at a channel exists once, and its claims are exactly what is still owed                   (P3)
 *   ledger     verify; Σ commitments and holds = Σ claims of orders; goods = what came − what left                   (P1, P2)
 *   re-opening no accepted write offered more than the goods less what that channel had sold                         (P6)
 *   silence    nothing is written any more, nothing waits, nothing is dead; writes are bounded by acts               (P5)
 *   hands off  DEMO-FBA and DEMO-UNMAPPED are never written
 */
import { join } from 'node:path';
import { attachEmbedded } from '#store/embedded/index.ts';
import { verify } from '#store/ledger/verify.ts';
import { appUrl } from '#store/migrate.ts';
import { createStore } from '#store/tx.ts';
import {
  api,
  connectionOf,
  type History,
  own,
  type Place,
  type Product,
  places,
  plenty,
  rest,
  sim,
} from './chaos.testing.ts';

interface Listing {
  connectionId: string;
  stockKey: string;
  channelLocation: string;
  desired: number | null;
  expected: number | null;
  observed: number | null;
  state: string;
  reason: string | null;
}
interface Item {
  sku: string;
  committed: number;
  reserved: number;
  physical: number;
  buffer: number;
  bundle: { components: { sku: string; units: number }[] } | null;
  positions: { location: string; sellable: number; available: number; committed: number; reserved: number }[];
  listings: Listing[];
}
interface Claim {
  sku: string;
  units: number;
}
interface Order {
  id: string;
  connectionId: string;
  externalId: string;
  status: string;
  pending: boolean;
  unmapped: boolean;
  fulfilledBy: string;
  lines: {
    channelSku: string;
    quantity: number;
    shipped: number;
    committed: Claim[];
    held: Claim[];
    missing: Claim[];
  }[];
}
interface Truth {
  items: { sku: string; stockKey: string; location: string; quantity: number }[];
  orders: { id: string; status: string; lines: { sku: string; quantity: number }[] }[];
}
export interface Call {
  n: number;
  at: string;
  path: string;
  operation: string;
  status: number | null;
  body: unknown;
  response: unknown;
  applied: boolean;
}

const kits: Record<string, Record<string, number>> = {
  'KIT-2': { 'DEMO-023': 2 },
  'KIT-3': { 'DEMO-021': 1, 'DEMO-022': 2, 'DEMO-023': 3 },
};
const stockWrite = /^(inventorySet|inventoryAdjust|patchListingsItem|putListingsItem|createFeed)/;
const quietStates = new Set(['in_sync', 'read_only', 'unmapped']);

async function all<T>(product: Product, path: string): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | null = null;
  do {
    const page: { body: { items: T[]; nextCursor: string | null } } = await api(
      product,
      `${path}${path.includes('?') ? '&' : '?'}limit=200${cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`}`,
    );
    items.push(...page.body.items);
    cursor = page.body.nextCursor;
  } while (cursor !== null);
  return items;
}

export interface Scene {
  items: Item[];
  orders: Order[];
  connections: { id: string; name: string; state: string; stateReason: string | null; waiting: number }[];
  deadLetters: unknown[];
  truths: Record<Place, Truth>;
}

export async function look(product: Product): Promise<Scene> {
  const truths = {} as Record<Place, Truth>;
  for (const place of places) truths[place] = (await sim<Truth>(product, place, '/state')).body;
  return {
    truths,
    items: await all<Item>(product, '/api/inventory'),
    orders: await all<Order>(product, '/api/orders'),
    connections: await all(product, '/api/connections'),
    deadLetters: await all(product, '/api/dead-letters'),
  };
}

export function judge(product: Product, scene: Scene): string[] {
  return [...judgeQuiet(scene), ...judgeNumbers(product, scene), ...judgeOrders(product, scene), ...judgeSums(scene)];
}

function judgeQuiet({ connections, deadLetters }: Scene): string[] {
  return [
    ...connections
      .filter(({ state, waiting }) => state !== 'connected' || waiting > 0)
      .map(({ name, state, stateReason, waiting }) => `${name}: ${state} (${stateReason}), ${waiting} waiting`),
    ...deadLetters.map((letter) => `dead letter ${JSON.stringify(letter).slice(0, 300)}`),
  ];
}

/** What each of our locations may show, from the positions alone: the buffer comes off MAIN first. */
function offers(item: Item, byOwn: Map<string, Item>): { MAIN: number; EAST: number; all: number } {
  const at = (one: Item, code: string) => one.positions.find(({ location }) => location === code)?.available ?? 0;
  if (item.bundle === null) return spread(at(item, 'MAIN'), at(item, 'EAST'), item.buffer);
  const parts = item.bundle.components.map(({ sku, units }) => ({ part: byOwn.get(sku) as Item, units }));
  const here = (code: string) => Math.min(...parts.map(({ part, units }) => Math.floor(at(part, code) / units)));
  const held = Math.min(
    ...parts.map(({ part, units }) =>
      Math.floor(Math.max(0, at(part, 'MAIN') + at(part, 'EAST') - part.buffer) / units),
    ),
  );
  const [main, east] = [here('MAIN'), here('EAST')];
  const over = Math.max(0, main + east - held);
  return spread(main, east, item.buffer + over);
}

function spread(main: number, east: number, buffer: number) {
  const shownMain = Math.max(0, main - buffer);
  const shownEast = Math.max(0, east - Math.max(0, buffer - main));
  return { MAIN: shownMain, EAST: shownEast, all: Math.max(0, main + east - buffer) };
}

function judgeNumbers(product: Product, { items, truths }: Scene): string[] {
  const wrong: string[] = [];
  const bySku = new Map(items.map((item) => [item.sku, item]));
  for (const place of places) {
    const connection = connectionOf(product, place);
    for (const item of items) {
      const wanted = offers(item, bySku);
      for (const listing of item.listings.filter(({ connectionId }) => connectionId === connection.id)) {
        const name = `${place} ${item.sku} ${listing.channelLocation.split('/').at(-1)}`;
        const told = `desired ${listing.desired} expected ${listing.expected} observed ${listing.observed} ${listing.state}: ${listing.reason}`;
        // A channel that took a number and never applied it: named, told, and tried again later.
        if (listing.state === 'rejected' && /never applied/.test(listing.reason ?? '')) continue;
        if (!quietStates.has(listing.state)) wrong.push(`${name} is ${listing.state}: ${told}`);
        if (item.sku === 'DEMO-FBA' || listing.state === 'unmapped') continue;
        const truth = truths[place].items.find(
          ({ stockKey, location }) => stockKey === listing.stockKey && location === listing.channelLocation,
        )?.quantity;
        if (truth === undefined) wrong.push(`${name} is not at the channel`);
        else if (Math.max(0, truth) !== listing.desired || Math.max(0, truth) !== Math.max(0, listing.observed ?? -1))
          wrong.push(`${name} shows ${truth}: ${told}`);
        const code = connection.locations.find(({ externalId }) => externalId === listing.channelLocation)?.code;
        const right = place === 'amazon' ? wanted.all : code === 'EAST' ? wanted.EAST : wanted.MAIN;
        if (listing.desired !== right) wrong.push(`${name} should want ${right}: ${told}`);
      }
    }
  }
  return wrong;
}

const tail = (id: string): string => id.split('/').at(-1) ?? id;
const shippedWhole = new Set(['fulfilled', 'SHIPPED']);

/** Units owed by what the channel says; null where its answer does not tell how much was shipped. */
function owed(order: Truth['orders'][number]): Map<string, number> | null {
  if (/partial/i.test(order.status)) return null;
  const over = shippedWhole.has(order.status) || /cancelled/i.test(order.status);
  const units = new Map<string, number>();
  for (const { sku, quantity } of order.lines) {
    if (over || quantity === 0 || sku === 'DEMO-UNMAPPED') continue;
    for (const [part, each] of Object.entries(kits[sku] ?? { [sku]: 1 }))
      units.set(part, (units.get(part) ?? 0) + each * quantity);
  }
  return units;
}

function judgeOrders(product: Product, { orders, truths }: Scene): string[] {
  const wrong: string[] = [];
  for (const place of places) {
    const { id } = connectionOf(product, place);
    const ours = orders.filter(({ connectionId }) => connectionId === id);
    const known = new Set(truths[place].orders.map((order) => tail(order.id)));
    for (const order of ours)
      if (!known.has(tail(order.externalId))) wrong.push(`${place} order ${order.externalId} does not exist there`);
    for (const truth of truths[place].orders) {
      const copies = ours.filter(({ externalId }) => tail(externalId) === tail(truth.id));
      if (copies.length !== 1) {
        wrong.push(`${place} order ${tail(truth.id)} (${truth.status}) exists ${copies.length} times`);
        continue;
      }
      wrong.push(...judgeClaims(place, truth, copies[0] as Order));
    }
  }
  return wrong;
}

function judgeClaims(place: Place, truth: Truth['orders'][number], order: Order): string[] {
  if (order.fulfilledBy !== 'us') return [];
  const wanted = owed(truth);
  if (wanted === null) return [];
  const name = `${place} order ${tail(truth.id)} (${truth.status}, ours ${order.status})`;
  const sum = (pick: (line: Order['lines'][number]) => Claim[]) => {
    const units = new Map<string, number>();
    for (const line of order.lines)
      for (const { sku, units: n } of pick(line)) units.set(sku, (units.get(sku) ?? 0) + n);
    return units;
  };
  const claims = sum((line) => [...line.committed, ...line.held, ...line.missing]);
  const show = (map: Map<string, number>) =>
    JSON.stringify(Object.fromEntries([...map].filter(([, n]) => n > 0).sort()));
  const wrong: string[] = [];
  if (show(wanted) !== show(claims)) wrong.push(`${name} owes ${show(wanted)}, claims are ${show(claims)}`);
  const held = sum((line) => line.held);
  if (truth.status !== 'PENDING' && held.size > 0) wrong.push(`${name} still holds ${show(held)}`);
  if (truth.status === 'PENDING' && sum((line) => line.committed).size > 0)
    wrong.push(`${name} is pending yet committed`);
  return wrong;
}

function judgeSums({ items, orders }: Scene): string[] {
  const wrong: string[] = [];
  const total = (sku: string, pick: (line: Order['lines'][number]) => Claim[]) =>
    orders
      .flatMap(({ lines }) => lines.flatMap(pick))
      .filter((claim) => claim.sku === sku)
      .reduce((sum, { units }) => sum + units, 0);
  for (const item of items) {
    if (item.bundle !== null) continue;
    const committed = total(item.sku, (line) => line.committed);
    const held = total(item.sku, (line) => line.held);
    const missing = total(item.sku, (line) => line.missing);
    if (committed !== item.committed) wrong.push(`${item.sku}: ${item.committed} committed, orders say ${committed}`);
    if (held !== item.reserved) wrong.push(`${item.sku}: ${item.reserved} reserved, orders hold ${held}`);
    const free = item.positions.reduce((sum, { available, location }) => sum + (location === 'FBA' ? 0 : available), 0);
    if (missing > 0 && free > 0) wrong.push(`${item.sku}: ${missing} missing while ${free} are free`);
  }
  return wrong;
}

/** Goods that only came and went in ways we saw: what we started with, plus what came, less what was shipped. */
export function judgeGoods(scene: Scene, history: History): string[] {
  const wrong: string[] = [];
  for (const sku of [...plenty, ...Object.values(own)]) {
    if (history.counted.has(sku)) continue;
    const item = scene.items.find((one) => one.sku === sku);
    const came = history.goods.filter((goods) => goods.sku === sku).reduce((sum, { units }) => sum + units, 100);
    const shipped = scene.orders
      .flatMap(({ lines }) => lines)
      .filter(({ channelSku }) => channelSku === sku)
      .reduce((sum, line) => sum + line.shipped, 0);
    const atChannels = places
      .flatMap((place) => scene.truths[place].orders)
      .filter(({ status }) => shippedWhole.has(status))
      .flatMap(({ lines }) => lines)
      .filter((line) => line.sku === sku)
      .reduce((sum, { quantity }) => sum + quantity, 0);
    if (item?.physical !== came - shipped)
      wrong.push(`${sku}: ${item?.physical} on the shelf, ${came} came and ${shipped} left`);
    if (shipped < atChannels) wrong.push(`${sku}: channels shipped at least ${atChannels}, our orders say ${shipped}`);
  }
  return wrong;
}

export async function callsOf(product: Product, place: Place, since = 0): Promise<Call[]> {
  return (await sim<{ calls: Call[] }>(product, place, `/calls?since=${since}`)).body.calls;
}

export interface Written {
  place: Place;
  n: number;
  at: number;
  sku: string;
  location: string;
  from: number | null;
  to: number;
}

/** Accepted stock writes, as the simulator logged them. */
export function writesIn(place: Place, calls: readonly Call[], truth: Truth): Written[] {
  const skuOf = new Map(truth.items.map(({ stockKey, sku }) => [stockKey, sku]));
  return calls
    .filter(({ applied, operation }) => applied && stockWrite.test(operation))
    .flatMap((call): Written[] => {
      const at = Date.parse(call.at);
      const common = { place, n: call.n, at };
      if (place === 'amazon') {
        const sku = decodeURIComponent(call.path.split('/').at(-1) ?? '');
        const quantity = /"quantity":(-?\d+)/.exec(JSON.stringify(call.body))?.[1];
        return [{ ...common, sku, location: 'DEFAULT', from: null, to: Number(quantity) }];
      }
      const { variables } = call.body as {
        variables: {
          input: {
            quantities: { inventoryItemId: string; locationId: string; quantity: number; changeFromQuantity: number }[];
          };
        };
      };
      return variables.input.quantities.map((row) => ({
        ...common,
        sku: skuOf.get(row.inventoryItemId) ?? row.inventoryItemId,
        location: row.locationId,
        from: row.changeFromQuantity,
        to: row.quantity,
      }));
    });
}

/** Clocks are one; what is written down at the same moment may have happened in either order. */
const momentMs = 60;
const seed: Record<string, number> = { 'DEMO-LAST': 1, 'DEMO-ZERO': 0 };

/**
 * P6. The most a channel may offer of a SKU: all goods that can have been there, less what it has sold itself and not
 * taken back. With compare-and-set as of the write; without, as of the last read of that number before it.
 * Units that somebody typed into the channel's admin are no goods: sold before our next number, they are not given back by it.
 */
export function judgeReopening(history: History, place: Place, calls: readonly Call[], truth: Truth): string[] {
  const wrong: string[] = [];
  const goodsOf = (sku: string, at: number) =>
    history.goods
      .filter((goods) => goods.sku === sku && goods.units > 0 && goods.sentAt <= at + momentMs)
      .reduce((sum, { units }) => sum + units, seed[sku] ?? 100);
  const buildable = (sku: string, at: number) =>
    Math.min(
      ...Object.entries(kits[sku] ?? { [sku]: 1 }).map(([part, units]) => Math.floor(goodsOf(part, at) / units)),
    );
  const writes = writesIn(place, calls, truth);
  for (const write of writes) {
    if (write.sku === 'DEMO-UNMAPPED' || write.sku === 'DEMO-FBA')
      wrong.push(`${place} was sent ${write.to} for ${write.sku}`);
    if (write.to === 0 || (write.from !== null && write.to <= write.from)) continue;
    const knownAt = place === 'amazon' ? readBefore(calls, write) : write.at;
    const sold =
      history.placed
        .filter((order) => order.place === place && order.at < knownAt - momentMs)
        .filter(({ loosenedAt }) => loosenedAt === null || loosenedAt > write.at + momentMs)
        .flatMap(({ at, lines }) => lines.map(({ sku, quantity }) => ({ at, sku, quantity })))
        .filter(({ sku }) => sku === write.sku)
        .reduce((sum, { quantity }) => sum + quantity, 0) - soldOfTyped(history, place, write, writes, knownAt);
    const most = Math.max(0, buildable(write.sku, write.at) - sold);
    if (write.to > most)
      wrong.push(
        `${place} call ${write.n} offers ${write.to} ${write.sku} (was ${write.from}); ${sold} sold there, at most ${most} left`,
      );
  }
  return wrong;
}

/** At most so many of the units sold there until then were typed in by somebody, and not by us. */
function soldOfTyped(
  history: History,
  place: Place,
  write: Written,
  writes: readonly Written[],
  until: number,
): number {
  const here = <T extends { place: Place; at: number }>(one: T) => one.place === place && one.at < until + momentMs;
  const sales = history.placed
    .filter(here)
    .flatMap(({ at, lines }) => lines.map((line) => ({ ...line, at })))
    .filter(({ sku }) => sku === write.sku);
  const between = (from: number, to: number) =>
    sales
      .filter(({ at }) => at >= from - momentMs && at <= to + momentMs)
      .reduce((sum, { quantity }) => sum + quantity, 0);
  let most = 0;
  for (const typed of history.meddled.filter((one) => here(one) && one.sku === write.sku)) {
    const added = typed.quantity - typed.before + between(typed.askedAt, typed.at);
    const replaced = writes.find(
      ({ sku, location, n, at }) =>
        sku === typed.sku && location === typed.location && n < write.n && at > typed.at + momentMs,
    );
    most += Math.max(0, Math.min(added, between(typed.askedAt, replaced?.at ?? until)));
  }
  return most;
}

function readBefore(calls: readonly Call[], write: Written): number {
  const read = calls.findLast(
    ({ n, operation, path, status, response }) =>
      n < write.n &&
      status === 200 &&
      (operation === 'getListingsItem'
        ? decodeURIComponent(path.split('/').at(-1) ?? '') === write.sku
        : operation === 'searchListingsItems' && JSON.stringify(response).includes(`"sku":"${write.sku}"`)),
  );
  return read ? Date.parse(read.at) : 0;
}

export async function judgeLedger(product: Product): Promise<string[]> {
  const attached = await attachEmbedded(product.dataDir);
  if (!attached) return [`no database answers in ${join(product.dataDir)}`];
  const clock = { now: () => Date.now(), monotonicMs: () => performance.now(), sleep: rest };
  const store = createStore(appUrl(attached.url), { clock, random: { next: () => Math.random() }, max: 2 });
  try {
    const verdict = await store.readOnly(product.demo.organizationId, (tx) => verify(tx, product.demo.organizationId));
    return verdict.ok ? [] : verdict.faults.map((fault) => `verify: ${JSON.stringify(fault)}`);
  } finally {
    await store.end();
  }
}

export interface Verdict {
  wrong: string[];
  /** How long it took to have nothing more to say. */
  settledMs: number;
  orders: number;
  writes: number;
  /** How often Amazon's orders were searched: it allows one call in three minutes, and a burst of twenty. */
  searches: number;
  /** What the last wait was for. */
  waitedFor: string[];
}

/** Waits until the numbers and orders are right (at most `withinMs`), then stays a while to see that they remain. */
/** A number that meddlers changed again and again is left to a person: here is one, who has ours written again. */
async function decide(product: Product): Promise<void> {
  for (const { id } of await all<{ id: string }>(product, '/api/drift?state=asked'))
    await api(product, `/api/drift/${id}/heal`, {});
}

export async function settled(product: Product, history: History, withinMs: number, stillMs = 3_000): Promise<Verdict> {
  const begun = performance.now();
  let scene = await look(product);
  let wrong = judge(product, scene);
  let waitedFor: string[] = [];
  while (wrong.length > 0 && performance.now() - begun < withinMs) {
    waitedFor = wrong;
    await rest(250);
    await decide(product);
    scene = await look(product);
    wrong = judge(product, scene);
  }
  const settledMs = performance.now() - begun;
  if (wrong.length === 0) {
    const marks = await Promise.all(places.map(async (place) => (await callsOf(product, place)).length));
    await rest(stillMs);
    for (const [n, place] of places.entries()) {
      const late = (await callsOf(product, place))
        .slice(marks[n])
        .filter(({ operation }) => stockWrite.test(operation));
      for (const call of late)
        wrong.push(`${place} is still written after quiet: call ${call.n} ${JSON.stringify(call.body)}`);
    }
    scene = await look(product);
    wrong.push(...judge(product, scene).map((line) => `later: ${line}`));
  }
  let [writes, searches] = [0, 0];
  for (const place of places) {
    const calls = await callsOf(product, place);
    searches += calls.filter(({ operation }) => operation === 'searchOrders').length;
    writes += calls.filter(({ operation }) => stockWrite.test(operation)).length;
    wrong.push(...judgeReopening(history, place, calls, scene.truths[place]));
  }
  // Each act may concern a handful of numbers at three channels; each start compares all of them.
  const most = 20 * history.acts + 300 * product.starts;
  if (writes > most) wrong.push(`${writes} writes for ${history.acts} acts and ${product.starts} starts`);
  wrong.push(...judgeGoods(scene, history), ...(await judgeLedger(product)), ...history.strange);
  return { wrong, settledMs: Math.round(settledMs), orders: scene.orders.length, writes, searches, waitedFor };
}
