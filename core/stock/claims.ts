/**
 * Claims: who is owed what. Lines are claimed where routing says, all or nothing for a wish; what a fact cannot have is owed
 * as a shortfall. A hold ends by confirmation, expiry or release; one that is confirmed too late commits what it lost, as a fact.
 *
 * Pure; called by posting.ts. Lines with a named location go first, so that routing sees what they leave.
 */
import { assert } from '../errors.ts';
import { type ClaimId, holdOfLine, type LineId, type LocationId, type VariantId } from '../ids.ts';
import { assertUnits } from '../quantity.ts';
import type { Book, ClaimState, HoldTerms } from './book.ts';
import type { Desk, Outcome } from './desk.ts';
import type * as command from './movement.ts';
import type { ClaimLine, Missing } from './movement.ts';
import { preferring, routeLine } from './routing.ts';

type Stake = ClaimLine & { claimId: ClaimId };

/** Claims goods for lines: named locations first, then routing, line by line. A wish that cannot have all takes nothing. */
export function stake(
  desk: Desk,
  lines: readonly Stake[],
  as: 'commitment' | 'hold',
  wish: boolean,
  terms: HoldTerms | null,
  event: command.ClaimEvent = as === 'hold' ? 'hold' : 'commit',
): Outcome {
  assert(lines.length > 0, 'a claim needs lines');
  for (const line of lines) assertUnits(line.units, 'claimed units');
  const { takes, missing } = plan(desk.book, lines);
  if (wish && missing.length > 0) return { missing: summed(missing) };
  for (const { line, locationId, units } of takes) {
    desk.book.claim(as, line.claimId, desk.book.position(line.variantId, locationId), units, event, terms, null);
  }
  for (const { line, units } of missing) desk.book.owe(as, line.claimId, line.variantId, units, 'short', terms, null);
  return 'done';
}

interface Plan {
  takes: { line: Stake; locationId: LocationId; units: number }[];
  missing: { line: Stake; units: number }[];
}

function plan(book: Book, lines: readonly Stake[]): Plan {
  const taken = new Map<string, number>();
  const result: Plan = { takes: [], missing: [] };
  const free = (variantId: VariantId, locationId: LocationId) =>
    book.free(variantId, locationId) - (taken.get(variantId + locationId) ?? 0);
  const take = (line: Stake, locationId: LocationId, units: number) => {
    if (units <= 0) return;
    taken.set(line.variantId + locationId, (taken.get(line.variantId + locationId) ?? 0) + units);
    result.takes.push({ line, locationId, units });
  };
  for (const line of lines) {
    if (line.locationId === null) continue;
    const units = Math.min(line.units, Math.max(0, free(line.variantId, line.locationId)));
    take(line, line.locationId, units);
    if (units < line.units) result.missing.push({ line, units: line.units - units });
  }
  for (const group of routedGroups(lines)) {
    const needs = [...summedNeeds(group)].map(([variantId, units]) => ({ variantId, units }));
    const order = preferring(book.serving, group[0]?.preferLocationId);
    const routed = routeLine(needs, order, free);
    const lineOf = (variantId: VariantId) => group.find((line) => line.variantId === variantId) as Stake;
    for (const { variantId, locationId, units } of routed.takes) take(lineOf(variantId), locationId, units);
    for (const { variantId, units } of routed.missing) result.missing.push({ line: lineOf(variantId), units });
  }
  return result;
}

/** Lines without a named location, by the claim they belong to: a bundle's components are routed together. */
function routedGroups(lines: readonly Stake[]): Stake[][] {
  const groups = new Map<ClaimId, Stake[]>();
  for (const line of lines) {
    if (line.locationId !== null) continue;
    const group = groups.get(line.claimId);
    if (group) group.push(line);
    else groups.set(line.claimId, [line]);
  }
  return [...groups.values()];
}

function summedNeeds(lines: readonly Stake[]): Map<VariantId, number> {
  const needs = new Map<VariantId, number>();
  for (const { variantId, units } of lines) needs.set(variantId, (needs.get(variantId) ?? 0) + units);
  return needs;
}

function summed(missing: Plan['missing']): Missing[] {
  const sums = new Map<string, Missing>();
  for (const { line, units } of missing) {
    const key = line.variantId + (line.locationId ?? '');
    const sum = sums.get(key);
    if (sum) sum.missing += units;
    else sums.set(key, { variantId: line.variantId, locationId: line.locationId, missing: units });
  }
  return [...sums.values()];
}

export function hold(desk: Desk, { lines, wish, origin, expiresAt }: command.Hold): Outcome {
  const terms = { origin, expiresAt };
  const outcome = stake(
    desk,
    lines.map((line) => ({ ...line, claimId: line.holdId })),
    'hold',
    wish,
    terms,
  );
  if (outcome !== 'done') return outcome;
  // One hold has one expiry: the newest word counts for all its rows.
  for (const holdId of new Set(lines.map((line) => line.holdId))) desk.book.renew(holdId, terms);
  return 'done';
}

const goodsOfHold = (book: Book, holdId: ClaimId) => book.rowsOf(holdId, 'hold');
const shortOfHold = (book: Book, holdId: ClaimId) =>
  book.rowsOf(holdId, 'shortfall').filter((row) => row.as === 'hold');

export function confirm(desk: Desk, { holdId, lineId, lines }: command.Confirm): Outcome {
  const { book } = desk;
  assert(lines === undefined || lines.length > 0, 'a confirmation of lines needs lines', { holdId });
  const line = lineId ?? (holdId as string as LineId);
  const rows = [...goodsOfHold(book, holdId), ...shortOfHold(book, holdId)];
  const wanted = lines ? new Map<VariantId, number>() : standing(rows);
  for (const { variantId, units } of lines ?? []) {
    assertUnits(units, 'confirmed units');
    wanted.set(variantId, (wanted.get(variantId) ?? 0) + units);
  }
  if (!lines && wanted.size === 0) {
    for (const row of rows)
      if (row.lapsed > 0) wanted.set(row.variantId, (wanted.get(row.variantId) ?? 0) + row.lapsed);
    if (wanted.size === 0) return rows.length === 0 ? 'unknown' : 'closed';
  }
  const late: Stake[] = [];
  for (const [variantId, units] of wanted) {
    const own = rows.filter((row) => row.variantId === variantId);
    const left = own.reduce((rest, row) => rest - confirmRow(book, row, rest, line), units);
    if (left > 0)
      late.push({
        claimId: line,
        variantId,
        units: left,
        locationId: null,
        preferLocationId: own[0]?.locationId ?? null,
      });
  }
  book.settleLapsed(holdId);
  return late.length > 0 ? stake(desk, late, 'commitment', false, null) : 'done';
}

/** Open units by variant. */
function standing(rows: readonly ClaimState[]): Map<VariantId, number> {
  const units = new Map<VariantId, number>();
  for (const row of rows) if (row.open > 0) units.set(row.variantId, (units.get(row.variantId) ?? 0) + row.open);
  return units;
}

function confirmRow(book: Book, row: ClaimState, most: number, line: LineId): number {
  const units = Math.min(row.open, most);
  if (units <= 0) return 0;
  if (row.kind === 'shortfall') {
    book.pay(row, units, 'confirm', null);
    book.owe('commitment', line, row.variantId, units, 'confirm', null, row.seq);
  } else {
    book.drop(row, units, 'confirm', 'spent');
    book.claim(
      'commitment',
      line,
      book.position(row.variantId, row.locationId as LocationId),
      units,
      'confirm',
      null,
      row.seq,
    );
  }
  return units;
}

export function expire(desk: Desk, { holdId }: command.Expire): Outcome {
  const rows = [...goodsOfHold(desk.book, holdId), ...shortOfHold(desk.book, holdId)];
  const open = rows.filter((row) => row.open > 0);
  const [first] = open;
  if (!first) return rows.length === 0 ? 'unknown' : 'closed';
  if (first.origin === 'channel') return 'channel_hold';
  if (first.expiresAt === null || first.expiresAt > desk.now) return 'not_due';
  desk.book.settleLapsed(holdId);
  for (const row of open) {
    row.lapsed = row.open;
    letGo(desk.book, row, row.open, 'expire');
  }
  return 'done';
}

function letGo(book: Book, row: ClaimState, units: number, event: 'expire' | 'release'): void {
  if (row.kind === 'shortfall') book.pay(row, units, event === 'release' ? 'cancel' : event, 'ended');
  else book.drop(row, units, event, 'ended');
}

export function release(desk: Desk, { claimId, lines }: command.Release): Outcome {
  const { book } = desk;
  const variants = book.variantsOf(claimId);
  if (variants.length === 0) return 'unknown';
  const wanted = lines === 'all' ? variants.map((variantId) => ({ variantId, units: 'all' as const })) : lines;
  const holdRows = [...goodsOfHold(book, claimId), ...shortOfHold(book, claimId)].filter((row) => row.open > 0);
  const stood = new Map(holdRows.map((row) => [row, row.open]));
  let released = 0;
  for (const { variantId, units } of wanted) {
    if (units !== 'all') assertUnits(units, 'released units');
    let left = units === 'all' ? Number.MAX_SAFE_INTEGER : units;
    for (const row of releasable(book, claimId, variantId)) {
      const some = Math.min(row.open, left);
      if (some <= 0) continue;
      letGo(book, row, some, 'release');
      left -= some;
      released += some;
    }
  }
  // The hold is over: a confirmation that comes late commits what it lost just now, not what it lost in an earlier life.
  if (stood.size > 0 && [...stood.keys()].every((row) => row.open === 0)) {
    book.settleLapsed(holdOfLine(claimId as LineId));
    for (const [row, units] of stood) row.lapsed = units;
  }
  return released > 0 ? 'done' : 'closed';
}

/** Shortfalls first, then holds, then commitments; the location routing likes least first. */
function releasable(book: Book, claimId: ClaimId, variantId: VariantId): ClaimState[] {
  const shortfalls = book
    .rowsOf(claimId, 'shortfall', variantId)
    .sort((a, b) => (a.as === b.as ? 0 : a.as === 'hold' ? -1 : 1));
  return [
    ...shortfalls,
    ...book.rowsOf(claimId, 'hold', variantId).reverse(),
    ...book.rowsOf(claimId, 'commitment', variantId).reverse(),
  ];
}
