/**
 * What time changes without an event: a hold whose time has passed, a limit, a snooze. One sweeper serves the due rows.
 *
 *   hold   → the ledger's `expire` command; it decides under the hold's row lock. A channel's hold is a question to the
 *            channel (is its order still pending?), never a release by clock.
 *   freshness → a location's stock is older than its limit: its targets are computed again (store/catalog/freshness.ts)
 *   stock_sweep → what else has shown meanwhile owes it no look; over when nothing does (store/listings/sweeps.ts)
 *   drift  → its cause is settled once orders are read past it; an adoption is booked (drift.ts)
 *
 *   connection_pause, listing_pause → resumed, unless the pause was prolonged meanwhile
 *
 * A row stays until it was served; a failure puts it off, so that one bad row never stops the others; one that fails for
 * good (core/failure/retry.ts) is a dead letter.
 */
import type { Clock, Ids, Random } from '#core/effects.ts';
import { type Failure, retryOf } from '#core/failure/retry.ts';
import type { HoldId, OrgId } from '#core/ids.ts';
import { raiseAlerts } from '#store/attention/alerts.ts';
import { serveFreshness } from '#store/catalog/freshness.ts';
import { post } from '#store/ledger/post.ts';
import { endPause } from '#store/listings/halts.ts';
import { settleStockSweep, sweepLookMs } from '#store/listings/sweeps.ts';
import { clearDue, type DueRow, dueNow, failDue, failedDue, postponeDue } from '#store/listings/system.ts';
import type { Store, Tx } from '#store/tx.ts';
import { serveDrift } from './drift.ts';
import { failureOf } from './failure.ts';
import type { ConnectionRef, FlowLog } from './publisher-types.ts';

const atOnce = 200;
const putOffMs = 60_000;

export interface DueOptions {
  store: Store;
  clock: Clock;
  ids: Ids;
  random: Random;
  log: FlowLog;
  askChannelHold?: (orgId: string, holdId: string) => Promise<void>;
  requestOrderSweep?: (connection: ConnectionRef) => void;
}

/** Serves what is due now. @returns how many rows. */
export async function serveDue(options: DueOptions): Promise<number> {
  const { store, clock } = options;
  const rows = await store.system((tx) => dueNow(tx, clock.now(), atOnce));
  for (const row of rows) {
    try {
      await serve(options, row);
    } catch (error) {
      await putOff(options, row, error);
    }
  }
  return rows.length;
}

/** By the table of failures (core/failure/retry.ts); one that failed for good is a dead letter. */
async function putOff({ store, clock, ids, random, log }: DueOptions, row: DueRow, error: unknown): Promise<void> {
  const failure = failureOf(error);
  const now = clock.now();
  const isDead = await store.tenant(row.orgId, async (tx) => {
    const before = await failedDue(tx, row.orgId, row.kind, row.subjectId);
    if (before === null) return false;
    const retry = retryOf(failure, before, { now, retryMs: putOffMs / 2, chance: random.next() });
    const { attempts, repeats, failingSince } = retry;
    const until = retry.kind === 'dead' ? null : retry.at;
    const failed = { attempts, repeats, failingSince, code: failure.code, error: failure.message, until, now };
    await failDue(tx, row.orgId, row, failed);
    if (until === null) await tellDeadDue(tx, row, failure, { ids, now });
    return until === null;
  });
  log.error({ ...row, ...failure, dead: isDead }, 'A due row could not be served.');
}

async function tellDeadDue(
  tx: Tx,
  { orgId, kind, subjectId }: DueRow,
  { code, message }: Failure,
  raising: { ids: Ids; now: number },
): Promise<void> {
  const id = `due:${kind}:${subjectId}`;
  const alert = {
    kind: 'dead_letter' as const,
    message: `What was due for ${kind.replaceAll('_', ' ')} ${subjectId} failed again and again: ${message}. It waits for a person: look at the dead letter and retry or discard it.`,
    subject: { kind: 'dead_letter', id },
    details: { code },
  };
  await raiseAlerts(tx, orgId, [alert], raising);
}

async function serve(options: DueOptions, row: DueRow): Promise<void> {
  const { store, clock, log } = options;
  if (row.kind === 'hold') return expireHold(options, row);
  const { kind } = row;
  if (kind === 'connection_pause' || kind === 'listing_pause')
    return store.tenant(row.orgId, (tx) =>
      endPause(tx, row.orgId, kind, row.subjectId, { actor: 'due', now: clock.now(), ids: options.ids }),
    );
  if (row.kind === 'freshness')
    return store.tenant(row.orgId, async (tx) => {
      const again = await serveFreshness(tx, row.orgId, row.subjectId, clock.now());
      if (again === null) await clearDue(tx, row.orgId, row.kind, row.subjectId);
      else await postponeDue(tx, row.orgId, row.kind, row.subjectId, again);
    });
  if (row.kind === 'stock_sweep')
    return store.tenant(row.orgId, async (tx) => {
      const now = clock.now();
      if (await settleStockSweep(tx, row.orgId, row.subjectId, now))
        await clearDue(tx, row.orgId, row.kind, row.subjectId);
      else await postponeDue(tx, row.orgId, row.kind, row.subjectId, now + sweepLookMs);
    });
  if (row.kind === 'drift') return serveDrift(options, row.orgId, row.subjectId);
  log.warn({ ...row }, 'Nobody knows this kind of due row; it is put off.');
  await store.tenant(row.orgId, (tx) => postponeDue(tx, row.orgId, row.kind, row.subjectId, clock.now() + putOffMs));
}

async function expireHold(
  { store, clock, ids, askChannelHold }: DueOptions,
  { orgId, kind, subjectId }: DueRow,
): Promise<void> {
  const now = clock.now();
  const outcome = await store.tenant(orgId, async (tx) => {
    const [posted] = await post(
      tx,
      orgId as OrgId,
      [
        {
          kind: 'expire',
          // Its own key each time: the hold says whether it is due, and the same hold may be placed again, even until the same time.
          key: `hold:${subjectId}:expire:${ids.uuid()}`,
          holdId: subjectId as HoldId,
          businessAt: now,
          reason: 'hold_expired',
        },
      ],
      { actor: 'due', ids, now },
    );
    if (posted?.kind === 'nothing' && posted.reason === 'closed') await clearDue(tx, orgId, kind, subjectId);
    if (posted?.kind === 'nothing' && posted.reason !== 'closed')
      // The row of a hold that was prolonged meanwhile already says when.
      await postponeDue(tx, orgId, kind, subjectId, now + putOffMs, now);
    if (posted?.kind === 'posted' || posted?.kind === 'duplicate') await clearDue(tx, orgId, kind, subjectId);
    return posted;
  });
  if (outcome?.kind === 'nothing' && outcome.reason === 'channel_hold') await askChannelHold?.(orgId, subjectId);
}
