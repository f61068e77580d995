/**
 * Posting: what each command does to the book. The ledger's rules, and nothing else.
 *
 *   decide(book, commands) → one answer per command, in order, and everything to write
 *
 * After every command: every bucket ≥ 0, claims ≤ sellable, and no shortfall waits while a location that serves orders
 * has free goods (`settle`). A wish is planned completely before the first change, so a refused one leaves no trace.
 *
 * Pure. Called by store/ledger/post.ts between loading (under the positions' locks) and writing. When `book.complete`
 * is false afterwards, the answers are worthless: load what `book.wants` names and decide again on a fresh book.
 */
import { assert } from '../errors.ts';
import { type ClaimId, holdOfLine, type LineId, type LocationId, type VariantId } from '../ids.ts';
import { assertUnits } from '../quantity.ts';
import type { Book, ClaimState, HoldTerms, PositionState } from './book.ts';
import type { Bucket } from './disposition.ts';
import type * as command from './movement.ts';
import type { ClaimLine, Command, Missing, NothingResult, Posted, PostedResult } from './movement.ts';
import { available } from './position.ts';
import { preferring, routeLine } from './routing.ts';

export type MovementKind =
  | 'receipt'
  | 'shipment'
  | 'transfer'
  | 'adjustment'
  | 'count'
  | 'return'
  | 'disposition_change';

export interface Side {
  locationId: LocationId;
  bucket: Bucket;
}

/** Goods went from one side to the other; null = outside. */
export interface MovementDraft {
  variantId: VariantId;
  units: number;
  from: Side | null;
  to: Side | null;
  kind: MovementKind;
  reason: string;
}

/** A fact needed goods the book did not have: they were booked as found first. */
export interface Found {
  kind: 'shipped_beyond_book' | 'adjusted_beyond_book';
  variantId: VariantId;
  locationId: LocationId;
  units: number;
}

export interface Decided {
  answers: Posted[];
  /** What the command at this index writes; absent for duplicates, refusals and what may come again. */
  written: { index: number; result: PostedResult | NothingResult; movements: MovementDraft[] }[];
  found: Found[];
}

/** Either what is missing of a wish, or a reason why there is nothing to do, or done. */
type Outcome = { missing: Missing[] } | NothingResult['reason'] | 'done';

interface Desk {
  book: Book;
  now: number;
  movements: MovementDraft[];
  found: Found[];
  reason: string;
}

/** @param firsts the first result of every key of the batch that is already used up */
export function decide(
  book: Book,
  commands: readonly Command[],
  now: number,
  firsts: ReadonlyMap<string, PostedResult | NothingResult>,
): Decided {
  const known = new Map(firsts);
  const decided: Decided = { answers: [], written: [], found: [] };
  commands.forEach((command, index) => {
    const first = known.get(command.key);
    if (first) {
      decided.answers.push({ kind: 'duplicate', first });
      return;
    }
    const desk: Desk = { book, now, movements: [], found: decided.found, reason: command.reason };
    const answer = answerOf(apply(desk, command), desk);
    decided.answers.push(answer);
    if (answer.kind === 'insufficient' || (answer.kind === 'nothing' && mayComeAgain(answer.reason))) return;
    if (answer.kind === 'duplicate') return;
    known.set(command.key, answer);
    decided.written.push({ index, result: answer, movements: desk.movements });
  });
  return decided;
}

const mayComeAgain = (reason: NothingResult['reason']) => reason === 'not_due' || reason === 'channel_hold';

function answerOf(outcome: Outcome, desk: Desk): Posted {
  if (typeof outcome === 'object') return { kind: 'insufficient', missing: outcome.missing };
  if (outcome !== 'done') return { kind: 'nothing', reason: outcome };
  const touched = desk.book.take();
  if (settle(desk.book, touched)) {
    const more = desk.book.take();
    return {
      kind: 'posted',
      positions: joined(touched.positions, more.positions),
      claims: [...touched.claims, ...more.claims],
    };
  }
  return { kind: 'posted', ...touched };
}

/** One change per position over both parts of a command. */
function joined(first: command.PositionChange[], more: command.PositionChange[]): command.PositionChange[] {
  const all = [...first];
  for (const change of more) {
    const at = all.findIndex((one) => one.variantId === change.variantId && one.locationId === change.locationId);
    const earlier = all[at];
    if (earlier) all[at] = { ...earlier, after: change.after };
    else all.push(change);
  }
  return all;
}

function apply(desk: Desk, command: Command): Outcome {
  switch (command.kind) {
    case 'receive':
      return receive(desk, command);
    case 'adjust':
      return adjust(desk, command);
    case 'count':
      return count(desk, command);
    case 'commit':
      return stake(
        desk,
        command.lines.map((line) => ({ ...line, claimId: line.lineId })),
        'commitment',
        command.wish,
        null,
      );
    case 'hold':
      return hold(desk, command);
    case 'confirm':
      return confirm(desk, command);
    case 'expire':
      return expire(desk, command);
    case 'release':
      return release(desk, command);
    case 'ship':
      return ship(desk, command);
    case 'return':
      return bringIn(desk, command.variantId, command.locationId, command.bucket, command.units, 'return');
    case 'move':
      return move(desk, command);
    case 'transfer':
      return transfer(desk, command);
  }
}

// Goods

function receive(
  desk: Desk,
  { variantId, locationId, units, bucket = 'sellable', from = 'outside' }: command.Receive,
): Outcome {
  assertUnits(units, 'received units');
  const position = desk.book.position(variantId, locationId);
  assert(from === 'outside' || bucket !== 'incoming', 'incoming goods cannot arrive into incoming');
  const expected = from === 'incoming' ? Math.min(units, position.now.incoming) : 0;
  if (expected > 0) carry(desk, position, 'incoming', position, bucket, expected, 'receipt');
  if (units > expected) bringIn(desk, variantId, locationId, bucket, units - expected, 'receipt');
  return 'done';
}

function adjust(
  desk: Desk,
  { variantId, locationId, change, bucket = 'sellable', to = 'outside', fact }: command.Adjust,
): Outcome {
  assertUnits(Math.abs(change), 'adjusted units');
  if (change > 0) return bringIn(desk, variantId, locationId, bucket, change, 'adjustment');
  assert(to !== bucket, 'an adjustment must leave its bucket', { bucket });
  const position = desk.book.position(variantId, locationId);
  const refused = makeRoom(desk, position, bucket, -change, fact ? 'fact' : 'wish', 'adjusted_beyond_book');
  if (refused) return refused;
  if (to === 'outside') takeOut(desk, position, bucket, -change, 'adjustment');
  else carry(desk, position, bucket, position, to, -change, 'disposition_change');
  return 'done';
}

function count(desk: Desk, { variantId, locationId, bucket = 'sellable', set }: command.Count): Outcome {
  assertUnits(set, 'counted units', 0);
  const position = desk.book.position(variantId, locationId);
  const change = set - position.now[bucket];
  // The answer tells before and after even when the book was right.
  desk.book.shift(position, bucket, 0);
  if (change > 0) return bringIn(desk, variantId, locationId, bucket, change, 'count');
  if (change < 0) {
    makeRoom(desk, position, bucket, -change, 'fact', 'adjusted_beyond_book');
    takeOut(desk, position, bucket, -change, 'count');
  }
  return 'done';
}

function move(desk: Desk, { variantId, locationId, units, from, to, displaceClaims = false }: command.Move): Outcome {
  assertUnits(units, 'moved units');
  assert(from !== to, 'a move must change the bucket', { from });
  const position = desk.book.position(variantId, locationId);
  const refused = makeRoom(
    desk,
    position,
    from,
    units,
    displaceClaims ? 'displacing wish' : 'wish',
    'adjusted_beyond_book',
  );
  if (refused) return refused;
  carry(desk, position, from, position, to, units, 'disposition_change');
  return 'done';
}

function transfer(
  desk: Desk,
  { variantId, fromLocationId, toLocationId, units, bucket = 'sellable', displaceClaims = false }: command.Transfer,
): Outcome {
  assertUnits(units, 'transferred units');
  assert(fromLocationId !== toLocationId, 'a transfer must change the location', { fromLocationId });
  const position = desk.book.position(variantId, fromLocationId);
  const refused = makeRoom(
    desk,
    position,
    bucket,
    units,
    displaceClaims ? 'displacing wish' : 'wish',
    'adjusted_beyond_book',
  );
  if (refused) return refused;
  carry(desk, position, bucket, desk.book.position(variantId, toLocationId), bucket, units, 'transfer');
  return 'done';
}

function bringIn(
  desk: Desk,
  variantId: VariantId,
  locationId: LocationId,
  bucket: Bucket,
  units: number,
  kind: MovementKind,
): Outcome {
  assertUnits(units, 'units');
  const position = desk.book.position(variantId, locationId);
  desk.book.shift(position, bucket, units);
  desk.movements.push({ variantId, units, from: null, to: { locationId, bucket }, kind, reason: desk.reason });
  return 'done';
}

function takeOut(desk: Desk, position: PositionState, bucket: Bucket, units: number, kind: MovementKind): void {
  const { variantId, locationId } = position;
  desk.book.shift(position, bucket, -units);
  desk.movements.push({ variantId, units, from: { locationId, bucket }, to: null, kind, reason: desk.reason });
}

function carry(
  desk: Desk,
  from: PositionState,
  fromBucket: Bucket,
  to: PositionState,
  toBucket: Bucket,
  units: number,
  kind: MovementKind,
): void {
  desk.book.shift(from, fromBucket, -units);
  desk.book.shift(to, toBucket, units);
  desk.movements.push({
    variantId: from.variantId,
    units,
    from: { locationId: from.locationId, bucket: fromBucket },
    to: { locationId: to.locationId, bucket: toBucket },
    kind,
    reason: desk.reason,
  });
}

/** Makes `units` of a bucket free to leave, or says what is missing. A fact displaces claims, then finds what the book lacks. */
function makeRoom(
  desk: Desk,
  position: PositionState,
  bucket: Bucket,
  units: number,
  how: 'wish' | 'displacing wish' | 'fact',
  beyond: Found['kind'],
): { missing: Missing[] } | null {
  const free = () => (bucket === 'sellable' ? available(position.now) : position.now[bucket]);
  const allowed = how === 'displacing wish' ? position.now[bucket] : how === 'wish' ? free() : units;
  const { variantId, locationId } = position;
  if (units > allowed) return { missing: [{ variantId, locationId, missing: units - allowed }] };
  if (units > free() && bucket === 'sellable') displace(desk.book, position, units - free());
  const lacking = units - free();
  // A pass that lacks claims it has not loaded is thrown away; what it finds here then does not count.
  if (lacking > 0) find(desk, position, bucket, lacking, beyond);
  return null;
}

function find(desk: Desk, position: PositionState, bucket: Bucket, units: number, kind: Found['kind']): void {
  const { variantId, locationId } = position;
  desk.book.shift(position, bucket, units);
  desk.movements.push({ variantId, units, from: null, to: { locationId, bucket }, kind: 'adjustment', reason: kind });
  desk.found.push({ kind, variantId, locationId, units });
}

// Claims

type Stake = ClaimLine & { claimId: ClaimId };

/** Claims goods for lines: named locations first, then routing, line by line. A wish that cannot have all takes nothing. */
function stake(
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

function hold(desk: Desk, { lines, wish, origin, expiresAt }: command.Hold): Outcome {
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

function confirm(desk: Desk, { holdId, lineId, lines }: command.Confirm): Outcome {
  const { book } = desk;
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

function expire(desk: Desk, { holdId }: command.Expire): Outcome {
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

function release(desk: Desk, { claimId, lines }: command.Release): Outcome {
  const { book } = desk;
  const variants = book.variantsOf(claimId);
  if (variants.length === 0) return 'unknown';
  const wanted = lines === 'all' ? variants.map((variantId) => ({ variantId, units: 'all' as const })) : lines;
  const holdRows = [...goodsOfHold(book, claimId), ...shortOfHold(book, claimId)].filter((row) => row.open > 0);
  const stood = new Map(holdRows.map((row) => [row, row.open]));
  let released = 0;
  for (const { variantId, units } of wanted) {
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

// Goods that leave

function ship(desk: Desk, { lineId, variantId, units, locationId }: command.Ship): Outcome {
  assertUnits(units, 'shipped units');
  const { book } = desk;
  const leaving = new Map<PositionState, number>();
  const leave = (position: PositionState, n: number) => {
    if (n > 0) leaving.set(position, (leaving.get(position) ?? 0) + n);
  };
  const named = locationId === null ? null : book.position(variantId, locationId);
  let left = units;
  if (lineId !== undefined) {
    for (const row of shippable(book, lineId, variantId, locationId)) {
      const n = Math.min(row.open, left);
      if (n <= 0) continue;
      const claimedAt = book.position(variantId, row.locationId as LocationId);
      book.drop(row, n, named && named !== claimedAt ? 'move' : 'ship', row.kind === 'hold' ? 'spent' : null);
      leave(named ?? claimedAt, n);
      left -= n;
    }
  }
  if (left > 0) leave(named ?? whereFree(book, variantId, left, leaving), left);
  if (lineId !== undefined) payShortfalls(book, lineId, variantId, left);
  for (const [position, n] of leaving) {
    makeRoom(desk, position, 'sellable', n, 'fact', 'shipped_beyond_book');
    takeOut(desk, position, 'sellable', n, 'shipment');
    if (lineId !== undefined) book.countShipped(lineId, position, n);
  }
  return 'done';
}

/** A line's claims on goods: commitments before holds, the named location first, then in routing order. */
function shippable(book: Book, lineId: LineId, variantId: VariantId, locationId: LocationId | null): ClaimState[] {
  const near = (rows: ClaimState[]) =>
    rows.sort((a, b) => Number(b.locationId === locationId) - Number(a.locationId === locationId));
  return [
    ...near(book.rowsOf(lineId, 'commitment', variantId)),
    ...near(book.rowsOf(holdOfLine(lineId), 'hold', variantId)),
  ];
}

function payShortfalls(book: Book, lineId: LineId, variantId: VariantId, units: number): void {
  let left = units;
  const rows = book
    .rowsOf(lineId, 'shortfall', variantId)
    .sort((a, b) => (a.as === b.as ? 0 : a.as === 'commitment' ? -1 : 1));
  for (const row of rows) {
    const n = Math.min(row.open, left);
    if (n <= 0) continue;
    book.pay(row, n, 'ship', 'spent');
    left -= n;
  }
}

/** Where unclaimed units left from when nobody says: the first serving location with enough free, else the one routing likes best. */
function whereFree(
  book: Book,
  variantId: VariantId,
  units: number,
  leaving: ReadonlyMap<PositionState, number>,
): PositionState {
  const positions = book.positionsOf(variantId);
  const enough = (position: PositionState) =>
    position.servesOrders && available(position.now) - (leaving.get(position) ?? 0) >= units;
  const found = positions.find(enough) ?? positions.find((position) => position.servesOrders) ?? positions[0];
  assert(found, 'a shipment needs a position', { variantId });
  return found;
}

/** A fact takes goods that are claimed: the newest claims become shortfalls and keep their place in the queue. */
function displace(book: Book, position: PositionState, units: number): void {
  let left = units;
  for (const row of book.displaceable(position)) {
    const n = Math.min(row.open, left);
    if (n <= 0) break;
    const terms = row.origin === null ? null : { origin: row.origin, expiresAt: row.expiresAt };
    book.drop(row, n, 'displace', null);
    book.owe(row.as, row.claimId, row.variantId, n, 'displace', terms, row.seq);
    left -= n;
  }
}

/** Free goods at locations that serve orders fill waiting shortfalls of the variants the command touched, oldest claim first. */
function settle(book: Book, touched: { positions: command.PositionChange[]; claims: command.ClaimChange[] }): boolean {
  const variants = new Set<VariantId>();
  for (const { variantId } of touched.positions) variants.add(variantId);
  for (const { claim, variantId } of touched.claims) if (claim === 'shortfall') variants.add(variantId);
  let filled = false;
  for (const variantId of variants) filled = fill(book, variantId) || filled;
  return filled;
}

function fill(book: Book, variantId: VariantId): boolean {
  const places = book.positionsOf(variantId).filter((position) => position.servesOrders && available(position.now) > 0);
  if (places.length === 0) return false;
  let filled = false;
  for (const row of book.waitingOf(variantId)) {
    const terms = row.origin === null ? null : { origin: row.origin, expiresAt: row.expiresAt };
    for (const position of places) {
      const units = Math.min(row.open, available(position.now));
      if (units <= 0) continue;
      book.pay(row, units, 'fill', 'spent');
      book.claim(row.as, row.claimId, position, units, 'fill', terms, row.seq);
      filled = true;
    }
    if (row.open > 0) break;
  }
  return filled;
}
