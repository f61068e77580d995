/**
 * Post: the one entry to the ledger.
 *
 *   load (one statement: lock positions sorted, then read) → decide (core/stock/posting.ts) → write (one statement, each row once)
 *
 * In the caller's transaction, so that an order, its claims, the dirty marks and the events are one commit. Never retries:
 * store/tx.ts repeats the whole transaction on a lost race (`store.conflict`, serialization, deadlock).
 *
 * Why the rules run here and not in the database: they are one exact loop over memory either way, and in core they are typed,
 * pure and testable without a database. It costs one round trip more than a single function; see bench/ledger.ts for the split.
 * A fact that displaces claims, or goods that meet waiting shortfalls, cost one more to read those.
 */
import { assert } from '#core/errors.ts';
import type { OrgId } from '#core/ids.ts';
import { Book } from '#core/stock/book.ts';
import { type Command, MAX_COMMANDS, type PostContext, type Posted } from '#core/stock/movement.ts';
import { decide } from '#core/stock/posting.ts';
import type { Tx } from '../tx.ts';
import { type LoadedShare, load, loadMore, type Share } from './load.ts';
import { type DecidedShare, write } from './write.ts';

/**
 * Applies commands to one organization's ledger, in order, within the caller's transaction.
 * @param commands 1–200; whole units; each with its effect key, e.g. "order:{id}:r3", kept for ever.
 * @returns one answer per command: posted | duplicate (the first result) | insufficient (nothing written) | nothing (with the reason)
 * Locks all positions of the commands' variants in (variant, location) order. Unknown variants or locations are an assertion
 * or foreign key fault: nothing of the batch is written.
 */
export async function post(
  tx: Tx,
  orgId: string,
  commands: readonly Command[],
  context: PostContext,
): Promise<Posted[]> {
  const [answers] = await postBatch(tx, [{ orgId: orgId as OrgId, commands }], context);
  return answers ?? [];
}

/**
 * The same for several organizations in one go (scope `batch`): two statements in all, not per organization.
 * @returns answers per share, in the order given. It succeeds or fails as a whole: callers bisect by organization first.
 */
export async function postBatch(tx: Tx, shares: readonly Share[], context: PostContext): Promise<Posted[][]> {
  const total = shares.reduce((sum, share) => sum + share.commands.length, 0);
  assert(total >= 1 && total <= MAX_COMMANDS, `a batch holds 1 to ${MAX_COMMANDS} commands`, { total });
  assert(
    new Set(shares.map((share) => share.orgId)).size === shares.length,
    'an organization has one share of a batch',
  );
  for (const { commands } of shares) for (const command of commands) assertKeyed(command);
  const loaded = await load(tx, shares);
  const decided = await decideAll(tx, shares, loaded, context.now);
  await write(tx, decided, context);
  return decided.map((share) => share.decided.answers);
}

function assertKeyed({ kind, key, businessAt }: Command): void {
  assert(key.length >= 1 && key.length <= 300, 'an effect key has 1 to 300 characters', { kind, length: key.length });
  assert(Number.isFinite(businessAt), 'a command has the time it happened', { kind, businessAt });
}

/** Decides; while a pass lacked claims it had not loaded, loads them and decides again from the start. */
async function decideAll(
  tx: Tx,
  shares: readonly Share[],
  loaded: LoadedShare[],
  now: number,
): Promise<DecidedShare[]> {
  for (;;) {
    const decided = shares.map(({ commands }, i) => {
      const share = loaded[i] as LoadedShare;
      const book = new Book(share);
      return { loaded: share, commands, book, decided: decide(book, commands, now, share.firsts) };
    });
    if (decided.every(({ book }) => book.complete)) return decided;
    await loadMore(
      tx,
      loaded,
      decided.map(({ book }) => book.wants),
    );
  }
}
