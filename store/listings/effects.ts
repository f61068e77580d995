/**
 * Effects: what imported orders tell about the channels' own numbers.
 *
 * Called by the order import in its own transaction, once per import, so that an order, its claims and what it means
 * for the channel's number are one commit. The rules are core/stock/observe.ts; here only: which targets of the stock
 * key can have moved. Location named → that one. One target only → that one. All others show 0 → the one that does
 * not (a place that shows 0 sells nothing). Otherwise every target of the key is unknown, and the units stand in
 * `unplaced_effects` until reads have shown where they went.
 */
import type { Ids } from '#core/effects.ts';
import {
  applyEffect,
  applyUnplaced,
  expectedHighOf,
  expectedOf,
  inBase,
  type Shown,
  unseenCovered,
} from '#core/stock/observe.ts';
import { type Explanation, explainDrifts } from '../drift/record.ts';
import type { Tx } from '../tx.ts';
import { lockByStockKeys, type ShownRow, saveShown } from './shown.ts';

export interface ChannelEffect {
  stockKey: string;
  /** Where the channel's number moved, when the order tells. */
  channelLocation: string | null;
  /** Difference of `taken`: > 0 the channel took units, < 0 gave back; null = something moved, by how much is unknown. */
  units: number | null;
  /** Vendor time (Unix ms) of the change: at the latest. */
  at: number;
  /** At the earliest, when the change lies between two versions we saw (an edit found by a sweep); default `at`. */
  earliestAt?: number;
  /** The order that tells it; `swept`: a sweep had to find it. Named, it explains numbers that were other than expected. */
  order?: { externalId: string; swept: boolean };
}

export interface ConnectionEffects {
  orgId: string;
  connectionId: string;
  effects: readonly ChannelEffect[];
}

/** Locked targets by connection and stock key. */
type Targets = ReadonlyMap<string, ShownRow[]>;

const targetsKey = (connectionId: string, stockKey: string): string => `${connectionId}/${stockKey}`;
export const targetsByKey = (rows: readonly ShownRow[]): Targets =>
  Map.groupBy(rows, (row) => targetsKey(row.connectionId, row.stockKey));

/**
 * Books effects on one channel's own numbers. Sum what one import knows per stock key and location first if times allow.
 * Locks the targets in id order: call it after the ledger's `post` (lock order: … → claim → dirty row → target).
 * `now`: our clock, for the read that confirms; default the database's.
 * @returns how many targets were touched; unknown stock keys (not mapped, not ours) are ignored.
 */
export async function applyChannelEffects(
  tx: Tx,
  orgId: string,
  connectionId: string,
  effects: readonly ChannelEffect[],
  options: { now?: number; ids?: Ids } = {},
): Promise<{ targets: number }> {
  const real = effects.filter(({ units }) => units !== 0);
  if (real.length === 0) return { targets: 0 };
  const rows = await lockByStockKeys(tx, orgId, connectionId, [...new Set(real.map(({ stockKey }) => stockKey))]);
  return bookEffects(tx, targetsByKey(rows), [{ orgId, connectionId, effects: real }], options);
}

/**
 * The same for many connections of many organizations in one go (scope `batch`): one statement writes all.
 * @param targets locked by the caller, everything the effects name
 */
export async function bookEffects(
  tx: Tx,
  targets: Targets,
  told: readonly ConnectionEffects[],
  options: { now?: number; ids?: Ids } = {},
): Promise<{ targets: number }> {
  const touched = new Set<ShownRow>();
  const later: (() => Promise<void>)[] = [];
  const { ids, now } = options;
  for (const { orgId, connectionId, effects } of told) {
    const unplaced = new Map<string, { units: number; at: number }>();
    const explained: Explanation[] = [];
    for (const effect of effects.filter(({ units }) => units !== 0)) {
      const group = targets.get(targetsKey(connectionId, effect.stockKey)) ?? [];
      // A level we do not keep (no target there) is not our number.
      const elsewhere =
        effect.channelLocation !== null &&
        !group.some(({ channelLocation }) => channelLocation === effect.channelLocation);
      if (group.length === 0 || elsewhere) continue;
      const before = group.map(({ shown }) => shown);
      for (const row of book(group, effect, unplaced)) touched.add(row);
      explained.push(...group.flatMap((row, index) => explanation(before[index], row, effect)));
    }
    if (unplaced.size > 0) later.push(() => addUnplaced(tx, orgId, connectionId, unplaced));
    if (explained.length > 0 && ids && now !== undefined)
      later.push(() => explainDrifts(tx, orgId, explained, { ids, now }));
  }
  await saveShown(tx, [...touched], options);
  for (const step of later) await step();
  return { targets: touched.size };
}

/** Units that were presumed sold, or were too many, and that this order tells of. */
function explanation(before: Shown | undefined, row: ShownRow, { order }: ChannelEffect): Explanation[] {
  if (!before || !order) return [];
  const sold = before.unseen - row.shown.unseen;
  const given = before.surplus - row.shown.surplus;
  return [
    { units: -sold, at: before.unseenAt },
    { units: given, at: before.surplusAt },
  ].flatMap(({ units, at }) =>
    (units < 0 && sold > 0) || (units > 0 && given > 0)
      ? [
          {
            targetId: row.id,
            units,
            order: order.externalId,
            swept: order.swept,
            observed: before.observed,
            observedAt: at ?? before.observedAt ?? 0,
          },
        ]
      : [],
  );
}

function book(
  group: ShownRow[],
  effect: ChannelEffect,
  unplaced: Map<string, { units: number; at: number }>,
): ShownRow[] {
  const from = effect.earliestAt ?? effect.at;
  const place = placeOf(group, effect);
  if (place) {
    place.effectSeq += 1;
    place.shown = applyEffect(
      place.shown,
      { units: effect.units, from, to: effect.at, seq: place.effectSeq },
      place.compareAndSet,
    );
    // Its own later observation confirms; without one, look soon.
    place.lookSoon = true;
    return [place];
  }
  let left = effect.units;
  for (const row of group) {
    const covered = unseenCovered(row.shown, { units: left, from });
    if (covered === 0 || left === null) continue;
    row.effectSeq += 1;
    row.shown = applyEffect(row.shown, { units: covered, from, to: effect.at, seq: row.effectSeq }, row.compareAndSet);
    left -= covered;
  }
  if (left === 0) return group;
  // A level read since then has it already, if it was there: what it lacks next is another sale.
  const open = group.filter(({ shown }) => !inBase(shown, { units: left, to: effect.at }));
  if (open.length === 0) return group;
  for (const row of open) {
    row.effectSeq += 1;
    row.shown = applyUnplaced(row.shown, { units: left, from, to: effect.at, seq: row.effectSeq });
    row.dirty = true;
  }
  if (left !== null && left > 0) {
    const before = unplaced.get(effect.stockKey);
    unplaced.set(effect.stockKey, { units: (before?.units ?? 0) + left, at: Math.max(before?.at ?? 0, effect.at) });
  }
  return group;
}

function placeOf(group: ShownRow[], effect: ChannelEffect): ShownRow | null {
  if (effect.channelLocation !== null)
    return group.find(({ channelLocation }) => channelLocation === effect.channelLocation) ?? null;
  if (group.length === 1) return group[0] ?? null;
  if (effect.units === null || effect.units < 0) return null;
  const offering = group.filter(({ shown }) => {
    const high = expectedHighOf(shown);
    return high === null || high > 0;
  });
  const only = offering[0];
  const certain = only ? expectedOf(only.shown) : null;
  return offering.length === 1 && only && certain !== null && certain >= effect.units ? only : null;
}

async function addUnplaced(
  tx: Tx,
  orgId: string,
  connectionId: string,
  unplaced: Map<string, { units: number; at: number }>,
): Promise<void> {
  const keys = [...unplaced.keys()].sort();
  await tx.query(
    `insert into unplaced_effects (org_id, connection_id, stock_key, units, last_at)
     select $1, $2, k.stock_key, k.units, to_timestamp(k.at / 1000.0)
     from unnest($3::text[], $4::int[], $5::float8[]) as k(stock_key, units, at)
     on conflict (org_id, connection_id, stock_key) do update
       set units = unplaced_effects.units + excluded.units, last_at = greatest(unplaced_effects.last_at, excluded.last_at)`,
    [
      orgId,
      connectionId,
      keys,
      keys.map((key) => unplaced.get(key)?.units ?? 0),
      keys.map((key) => unplaced.get(key)?.at ?? 0),
    ],
  );
}

/**
 * Drops what no number can show any more and no raise waits for: every level of the stock key was read, and where one lacked
 * more than the units explained, orders are known past that.
 * @param keys null: all of the connection
 * @param readTo until when orders are about to be known, Unix ms; null: as the connection says
 */
export async function dropSettledUnplaced(
  tx: Tx,
  orgId: string,
  connectionId: string,
  { keys, readTo }: { keys: readonly string[] | null; readTo: number | null },
): Promise<void> {
  await tx.query(
    `delete from unplaced_effects u using connections c where u.org_id = $1 and u.connection_id = $2 and ($3::text[] is null or u.stock_key = any ($3))
       and c.org_id = $1 and c.id = $2
       and (u.unexplained_at is null or date_trunc('second', greatest(c.orders_read_to, to_timestamp($4::float8 / 1000.0))) > u.unexplained_at)
       and not exists (select from targets t where t.org_id = u.org_id and t.connection_id = u.connection_id
         and t.stock_key = u.stock_key and (t.unknown or t.base_at is null))`,
    [orgId, connectionId, keys, readTo],
  );
}
