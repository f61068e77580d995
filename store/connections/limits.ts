/**
 * Limits that processes share: one locked row per connection, read, divided (core/limits/shares.ts) and written back in one
 * short transaction. Time is the database's: it alone ends shares and open breakers.
 */
import {
  type BreakerClaim,
  type BreakerGrant,
  claimBreaker,
  claimShare,
  closedBreaker,
  freshBucket,
  type ShareClaim,
  type SharedBreaker,
  type SharedBucket,
  type ShareGrant,
  safety,
} from '#core/limits/shares.ts';
import { raiseAlerts, resolveAlerts } from '../attention/alerts.ts';
import type { Tx } from '../tx.ts';

interface LimitsRow {
  buckets: Record<string, SharedBucket>;
  breaker: SharedBreaker | null;
  now: number;
}

const select = `select buckets, breaker, (extract(epoch from clock_timestamp()) * 1000)::float8 as now from shared_limits where org_id = $1 and connection_id = $2`;

/** @param context.alone this process certainly is the only one, and asks for the first time */
export async function exchangeLimits(
  tx: Tx,
  orgId: string,
  connectionId: string,
  holder: string,
  asked: { claims: readonly ShareClaim[]; breaker: BreakerClaim },
  context: { now: number; ids: { uuid(): string }; alone?: boolean },
): Promise<{ grants: ShareGrant[]; breaker: BreakerGrant }> {
  const row = await lockRow(tx, orgId, connectionId);
  const buckets = context.alone ? withoutOthers(row) : { ...row.buckets };
  const grants = asked.claims.map((claim) => {
    const before = buckets[claim.bucket] ?? freshBucket(claim, row.now);
    const { bucket, grant } = claimShare(before, holder, claim, row.now);
    buckets[claim.bucket] = bucket;
    return grant;
  });
  const { breaker, grant } = claimBreaker(row.breaker ?? closedBreaker, holder, asked.breaker, row.now);
  await tx.query(
    {
      name: 'limits_save',
      text: 'update shared_limits set buckets = $3, breaker = $4 where org_id = $1 and connection_id = $2',
    },
    [orgId, connectionId, JSON.stringify(buckets), breaker.epoch === 0 ? null : JSON.stringify(breaker)],
  );
  const was = tightOf(row.buckets);
  const is = tightOf(buckets);
  if (was.join() !== is.join()) await tellTight(tx, orgId, connectionId, is, context);
  return { grants, breaker: grant };
}

/** Nobody else can be at work: whatever share stands is a dead predecessor's. */
function withoutOthers({ buckets, now }: LimitsRow): Record<string, SharedBucket> {
  const ended = (bucket: SharedBucket): SharedBucket => ({
    ...bucket,
    members: Object.fromEntries(
      Object.entries(bucket.members).map(([name, one]) => [name, { ...one, until: Math.min(one.until, now) }]),
    ),
  });
  return Object.fromEntries(Object.entries(buckets).map(([name, bucket]) => [name, ended(bucket)]));
}

async function lockRow(tx: Tx, orgId: string, connectionId: string): Promise<LimitsRow> {
  const lock = () => tx.query<LimitsRow>({ name: 'limits_lock', text: `${select} for update` }, [orgId, connectionId]);
  const { rows } = await lock();
  if (rows[0]) return rows[0];
  await tx.query('insert into shared_limits (org_id, connection_id) values ($1, $2) on conflict do nothing', [
    orgId,
    connectionId,
  ]);
  const { rows: made } = await lock();
  if (!made[0]) throw new Error('a row that was just made is there');
  return made[0];
}

const tightOf = (buckets: Record<string, SharedBucket>): string[] =>
  Object.entries(buckets)
    .filter(([, { tight }]) => tight)
    .map(([name]) => name)
    .sort();

/** 80 % of a quota is used up: one alert per connection, which ends by itself. */
async function tellTight(
  tx: Tx,
  orgId: string,
  connectionId: string,
  tight: readonly string[],
  { now, ids }: { now: number; ids: { uuid(): string } },
): Promise<void> {
  if (tight.length === 0) return resolveAlerts(tx, orgId, 'quota_nearly_used', [connectionId], now);
  const alert = {
    kind: 'quota_nearly_used' as const,
    message: `More than 80 % of the channel’s quota is in use (${tight.join(', ')}): changes wait for their turn, cuts first.`,
    subject: { kind: 'connection', id: connectionId },
    details: { buckets: tight },
  };
  await raiseAlerts(tx, orgId, [alert], { ids, now });
}

export interface BudgetItem {
  bucket: string;
  /** The vendor's own figures. */
  ratePerSecond: number;
  capacity: number;
  /** Used of what we allow ourselves, averaged over half a minute, 0–1. */
  used: number;
  /** Processes that hold a share now. */
  processes: number;
  refusals: number;
  blockedUntil: string | null;
}

export interface BreakerItem {
  state: 'closed' | 'open' | 'half_open';
  since: string | null;
  /** When the next probe may go. */
  retryAt: string | null;
}

const iso = (ms: number): string => new Date(ms).toISOString();

/** For people: what is used of each bucket, and whether the vendor is called at all. */
export async function readLimits(
  tx: Tx,
  orgId: string,
  connectionId: string,
): Promise<{ budget: BudgetItem[]; breaker: BreakerItem }> {
  const { rows } = await tx.query<LimitsRow>(select, [orgId, connectionId]);
  const { buckets, breaker, now } = rows[0] ?? { buckets: {}, breaker: null, now: 0 };
  const budget = Object.entries(buckets)
    .map(([bucket, one]) => ({ bucket, ...budgetOf(one, now) }))
    .sort((a, b) => (a.bucket < b.bucket ? -1 : 1));
  if (!breaker || breaker.state === 'closed')
    return { budget, breaker: { state: 'closed', since: breaker ? iso(breaker.changedAt) : null, retryAt: null } };
  const state = breaker.openUntil > now ? 'open' : 'half_open';
  return { budget, breaker: { state, since: iso(breaker.changedAt), retryAt: iso(breaker.openUntil) } };
}

function budgetOf(one: SharedBucket, now: number): Omit<BudgetItem, 'bucket'> {
  // Nobody has asked since: it has filled up.
  const rested = (one.rate * safety * Math.max(0, now - one.at)) / 1_000 / Math.max(1, one.capacity * safety);
  return {
    ratePerSecond: one.rate,
    capacity: one.capacity,
    used: Math.round(Math.max(0, 1 - one.level - rested) * 100) / 100,
    processes: Object.values(one.members).filter(({ until }) => until > now).length,
    refusals: one.refusals,
    blockedUntil: one.blockedUntil > now ? iso(one.blockedUntil) : null,
  };
}
