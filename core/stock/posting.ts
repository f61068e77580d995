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
import type { VariantId } from '../ids.ts';
import type { Book } from './book.ts';
import { confirm, expire, hold, release, stake } from './claims.ts';
import type { Desk, Found, MovementDraft, Outcome } from './desk.ts';
import { adjust, bringIn, count, move, receive, transfer } from './goods.ts';
import type * as command from './movement.ts';
import type { Command, NothingResult, Posted, PostedResult } from './movement.ts';
import { available } from './position.ts';
import { ship } from './shipping.ts';

export interface Decided {
  answers: Posted[];
  /** What the command at this index writes; absent for duplicates, refusals and what may come again. */
  written: { index: number; result: PostedResult | NothingResult; movements: MovementDraft[] }[];
  found: Found[];
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
