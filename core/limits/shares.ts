/**
 * Shares: how processes that work on one connection divide the vendor's token buckets, so that together they keep to it.
 *
 *   Σ shares ≤ 1           a share gives that part of the rate and of the burst; more is granted only from what is free
 *   Σ tokens + pool ≤ bucket   what a member gives up goes to the pool, what a member gains comes out of it
 *   wanted = own demand ÷ all demand (urgent counts fourfold), so the process that holds the lane gets the lion's share
 *
 * A member asks again well before its share ends (`until`, by the database's clock); one that does not has lost its share, and goes
 * on with a small fraction (`orphanShare`) until it is answered. A refusal by the vendor is everybody's.
 *
 * Of a lost member's tokens the pool gets what it has not spent. Where a token comes rarely (`countedSingly`: an order search of
 * Amazon's in three minutes) each call is told before it leaves, so that this is known to the token, whoever dies when. Elsewhere
 * it is what cannot have been spent at the pace it told: what that forgets is back in seconds.
 * Pure; the row is locked by store/connections/limits.ts, the asking is connectors/kit/sharing.ts.
 */

/** Of a vendor's bucket we use this much: other clocks and other counts differ a little. */
export const safety = 0.9;
/** What a process without a valid share allows itself: with 0.9 in the hands of the others it stays below the vendor's rate. */
export const orphanShare = 0.1;
export const shareLeaseMs = 3_000;
/** Who hardly uses a bucket holds little of it, for longer: thousands of quiet connections cost the database next to nothing. */
const relaxedShare = 0.25;
export const relaxedLeaseMs = 30_000;

/** Up to this rate a question per call is no more than is asked anyhow. */
const rareRate = 2;
export const countedSingly = (ratePerSecond: number): boolean => ratePerSecond <= rareRate;

/** Averaged over this time; below `tightBelow` for that long is a quota of which 80 % is used. */
const levelMs = 30_000;
const tightBelow = 0.2;
const easyAbove = 0.4;
/** Everybody who asks has some demand. */
const leastDemand = 0.01;
/** Who asks at all can send now and then. */
const leastShare = 0.02;

export interface ShareMember {
  share: number;
  tokens: number;
  /** Points per second it used and waits for, urgent ones fourfold. */
  demand: number;
  /** Database time, Unix ms. */
  until: number;
  /** Tells each call before it leaves: its tokens are exact. */
  counted?: boolean;
}

/** One bucket of a connection, as all its processes see it. */
export interface SharedBucket {
  /** The vendor's, as last told by whoever knew best. */
  rate: number;
  capacity: number;
  pool: number;
  /** Database time the pool was counted. */
  at: number;
  members: Record<string, ShareMember>;
  /** Refusals for rate so far, and until when the vendor wants no call. */
  refusals: number;
  blockedUntil: number;
  /** Share of the bucket that is left, averaged, 0–1. */
  level: number;
  /** 80 % of the quota is used up, and has been for a while. */
  tight: boolean;
}

export interface ShareClaim {
  bucket: string;
  rate: number;
  capacity: number;
  /** The vendor itself told rate or capacity; else they are the documented ones. */
  told: boolean;
  /** Tokens in hand; negative after a dear call. */
  tokens: number;
  demand: number;
  /** Refusals since the last answer, and how long the vendor wants quiet. */
  refusals: number;
  blockedForMs: number;
  /** Uses little of it just now. */
  relaxed: boolean;
  /** Gives its share back: nothing to do. */
  leaves: boolean;
  /** Counted singly: tokens taken that no answer has confirmed yet. null = told by its pace only. */
  untold: number | null;
  /** Its share ran out by its own clock: it gave up what it held. */
  lapsed: boolean;
}

export interface ShareGrant {
  bucket: string;
  /** As the process knows them that the vendor told last. */
  rate: number;
  capacity: number;
  share: number;
  /** To be added to the tokens in hand (negative: given up). */
  tokens: number;
  refusals: number;
  blockedForMs: number;
  /** Processes that hold a share, this one included. */
  members: number;
  /** As the bucket's: whoever hears it goes on asking, so that its end is noticed. */
  tight: boolean;
}

export const freshBucket = (claim: Pick<ShareClaim, 'rate' | 'capacity'>, now: number): SharedBucket => ({
  rate: claim.rate,
  capacity: claim.capacity,
  pool: Math.max(1, claim.capacity * safety),
  at: now,
  members: {},
  refusals: 0,
  blockedUntil: 0,
  level: 1,
  tight: false,
});

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** What one process's question makes of the bucket, and its answer. */
export function claimShare(
  before: SharedBucket,
  holder: string,
  claim: ShareClaim,
  asked: number,
): { bucket: SharedBucket; grant: ShareGrant } {
  const now = Math.max(asked, before.at);
  const held = Object.entries(before.members);
  const isLost = ([name, { until }]: [string, ShareMember]) => until <= now || (claim.lapsed && name === holder);
  const alone = !held.some(([name, { until }]) => name !== holder && until > now);
  const { rate, capacity } = claim.told || alone ? claim : before;
  const usable = Math.max(1, capacity * safety);
  const lost = held.filter(isLost).map(([, member]) => member);
  const freeBefore = Math.max(0, 1 - sum(held.map(([, { share }]) => share)));
  const given = (share: number, since: number) => (rate * safety * share * Math.max(0, now - since)) / 1_000;
  const unspent = lost.map(
    ({ share, tokens, demand, until, counted }) =>
      (counted ? tokens : Math.max(0, tokens - (demand * shareLeaseMs) / 1_000)) +
      given(share, Math.max(until, before.at)),
  );
  const refilled = before.pool + given(freeBefore, before.at) + sum(unspent);
  const alive = held.filter(([name, { until }]) => name !== holder && until > now);
  const others = alive.map(([, member]) => member);
  const taken = sum(others.map(({ share }) => share));
  const mine = before.members[holder];
  const own = mine && !isLost([holder, mine]) ? mine : { share: 0, tokens: 0 };
  const free = Math.max(0, 1 - taken - own.share);
  let pool = Math.min(refilled, usable);

  const demand = Math.max(leastDemand, claim.demand);
  const fair = Math.max(leastShare, demand / (demand + sum(others.map((other) => other.demand))));
  const wanted = claim.relaxed ? Math.min(fair, relaxedShare) : fair;
  const share = claim.leaves ? 0 : Math.min(wanted, Math.max(0, 1 - taken));
  // Whose share has run out has no tokens any more, whatever it counted, and owes what it took without being heard.
  let tokens = own.share > 0 ? claim.tokens : Math.min(0, claim.tokens, 0 - (claim.untold ?? 0));
  if (share > own.share && free > 0) {
    const gained = pool * Math.min(1, (share - own.share) / free);
    pool -= gained;
    tokens += gained;
  } else if (share < own.share || claim.leaves) {
    // In proportion, so that who saves up for a call does not begin anew with every small change; a debt stays whose it is.
    const kept = claim.leaves ? 0 : tokens > 0 ? (tokens * share) / own.share : tokens;
    pool += tokens - kept;
    tokens = kept;
  }
  const room = usable - sum(others.map((other) => other.tokens));
  tokens = Math.min(tokens, Math.max(room, 0));
  pool = Math.min(pool, Math.max(0, room - tokens));

  const members = Object.fromEntries(alive);
  if (!claim.leaves)
    members[holder] = {
      share,
      tokens,
      demand,
      until: now + (claim.relaxed ? relaxedLeaseMs : shareLeaseMs),
      ...(claim.untold !== null && { counted: true }),
    };
  const left = Math.max(0, Math.min(1, (pool + tokens + sum(others.map((other) => other.tokens))) / usable));
  const level = left + (before.level - left) * Math.exp(-(now - before.at) / levelMs);
  const blockedUntil = Math.max(before.blockedUntil, claim.blockedForMs > 0 ? now + claim.blockedForMs : 0);
  const bucket: SharedBucket = {
    rate,
    capacity,
    pool,
    at: now,
    members,
    refusals: before.refusals + claim.refusals,
    blockedUntil,
    level,
    tight: before.tight ? level < easyAbove : level < tightBelow,
  };
  const grant: ShareGrant = {
    bucket: claim.bucket,
    rate,
    capacity,
    share,
    tokens: tokens - claim.tokens,
    refusals: bucket.refusals,
    blockedForMs: Math.max(0, blockedUntil - now),
    members: Object.keys(members).length,
    tight: bucket.tight,
  };
  return { bucket, grant };
}

// ── breaker ──

/** The breaker of a connection, as all its processes see it. Whoever opened it probes; the others wait a little longer. */
export interface SharedBreaker {
  state: 'closed' | 'open';
  /** Counts transitions: who does not know the last one cannot make the next. */
  epoch: number;
  /** Database time, Unix ms: the first probe may go then. */
  openUntil: number;
  holder: string | null;
  changedAt: number;
}

export const closedBreaker: SharedBreaker = { state: 'closed', epoch: 0, openUntil: 0, holder: null, changedAt: 0 };

export interface BreakerClaim {
  /** The last transition this process knows. */
  epoch: number;
  transition: { state: 'closed' } | { state: 'open'; forMs: number } | null;
}

export interface BreakerGrant {
  state: 'closed' | 'open';
  epoch: number;
  remainingMs: number;
  /** Opened by this process: it probes first. */
  mine: boolean;
}

export function claimBreaker(
  before: SharedBreaker,
  holder: string,
  { epoch, transition }: BreakerClaim,
  now: number,
): { breaker: SharedBreaker; grant: BreakerGrant } {
  const redundant = transition?.state === 'closed' && before.state === 'closed';
  const breaker: SharedBreaker =
    transition === null || redundant || epoch !== before.epoch
      ? before
      : {
          state: transition.state,
          epoch: before.epoch + 1,
          openUntil: transition.state === 'open' ? now + transition.forMs : 0,
          holder: transition.state === 'open' ? holder : null,
          changedAt: now,
        };
  return {
    breaker,
    grant: {
      state: breaker.state,
      epoch: breaker.epoch,
      remainingMs: Math.max(0, breaker.openUntil - now),
      mine: breaker.holder === holder,
    },
  };
}
