/**
 * Book: one organization's positions and claims in memory while a batch of commands is decided.
 *
 * The store loads what the batch names under the positions' locks; posting.ts changes it here, command by command;
 * the store writes what changed, each row once. Nothing here knows a command; everything here keeps the position's
 * numbers, the claim rows and their log in step: a claim changes only through `claim`, `drop`, `owe` and `pay`.
 *
 * Loading is lazy: which claims a fact displaces or an inflow fills is only known while deciding. When something is
 * needed that was not loaded, it is noted in `wants`, the pass is thrown away, the store loads it and decides again.
 */
import { assert } from '../errors.ts';
import type { ClaimId, HoldId, LocationId, VariantId } from '../ids.ts';
import { MAX_QUANTITY, tooMany } from '../quantity.ts';
import type { Bucket } from './disposition.ts';
import type { ClaimChange, ClaimEvent, ClaimKind, PositionChange, PositionNumbers } from './movement.ts';
import { available, emptyPosition } from './position.ts';
import { inRoutingOrder, type Place } from './routing.ts';

export interface LoadedPosition extends PositionNumbers {
  variantId: VariantId;
  locationId: LocationId;
  /** Rises with every write of the position. */
  version: number;
  /** Where the store found it; handed back as it is. */
  at?: string;
}

/** A stored claim row. `spent`: shipped, confirmed or filled units; `ended`: released or cancelled ones. */
export interface LoadedClaim {
  kind: ClaimKind;
  /** What it is for; a shortfall becomes this when it fills, the others are themselves. */
  as: 'commitment' | 'hold';
  claimId: ClaimId;
  variantId: VariantId;
  /** null for a shortfall. */
  locationId: LocationId | null;
  open: number;
  spent: number;
  ended: number;
  /** Units lost when the whole hold ended (expired, released): what a late confirmation commits as a fact. */
  lapsed: number;
  /** Arrival of the claim: all rows of one claim and variant share it, displaced and filled ones too. */
  seq: number;
  /** Only for holds and what becomes one. */
  origin: 'own' | 'channel' | null;
  expiresAt: number | null;
}

export interface Loaded {
  places: readonly Place[];
  positions: readonly LoadedPosition[];
  claims: readonly LoadedClaim[];
  /** Variants with at least one waiting shortfall. */
  waiting: readonly VariantId[];
  /** Variants of which all waiting shortfalls, or all open commitments and holds, were loaded; each with every row of its claim and variant. */
  withShortfalls: ReadonlySet<VariantId>;
  withClaims: ReadonlySet<VariantId>;
  /** Fresh sequence numbers, rising, higher than any stored. */
  seqs: readonly number[];
}

export interface PositionState {
  readonly variantId: VariantId;
  readonly locationId: LocationId;
  readonly version: number;
  readonly at: string | undefined;
  readonly servesOrders: boolean;
  /** As loaded; as it is now. */
  readonly stored: Readonly<PositionNumbers>;
  readonly now: PositionNumbers;
  touched: boolean;
  /** The numbers when the running command first touched it. */
  before: PositionNumbers | null;
}

export interface ClaimState extends LoadedClaim {
  readonly stored: { open: number; spent: number; ended: number; lapsed: number; expiresAt: number | null } | null;
  touched: boolean;
}

/** Terms of a new hold. */
export interface HoldTerms {
  origin: 'own' | 'channel';
  expiresAt: number | null;
}

const claimKey = (kind: ClaimKind, as: string, claimId: string, variantId: string, locationId: string | null) =>
  `${kind}${as}${claimId}${variantId}${locationId ?? ''}`;

export class Book {
  /** Locations routing may choose, best first. */
  readonly serving: readonly LocationId[];
  readonly order: readonly Place[];
  readonly wants: { shortfalls: Set<VariantId>; claims: Set<VariantId> } = { shortfalls: new Set(), claims: new Set() };
  private readonly byVariant = new Map<VariantId, PositionState[]>();
  private readonly claims = new Map<string, ClaimState>();
  private readonly byClaim = new Map<ClaimId, ClaimState[]>();
  private readonly claimsOfVariant = new Map<VariantId, ClaimState[]>();
  private readonly waitingVariants: Set<VariantId>;
  private readonly loaded: Loaded;
  private nextSeq = 0;
  private touchedNow: PositionState[] = [];
  private changes: ClaimChange[] = [];

  constructor(loaded: Loaded) {
    this.loaded = loaded;
    this.order = inRoutingOrder(loaded.places);
    this.serving = this.order.filter((place) => place.servesOrders).map((place) => place.id);
    this.waitingVariants = new Set(loaded.waiting);
    const rank = new Map(this.order.map((place, index) => [place.id, index]));
    const serves = new Set(this.serving);
    for (const { variantId, locationId, version, at, ...numbers } of loaded.positions) {
      const state = {
        variantId,
        locationId,
        version,
        at,
        servesOrders: serves.has(locationId),
        stored: numbers,
        now: { ...numbers },
        touched: false,
        before: null,
      };
      push(this.byVariant, variantId, state);
    }
    for (const states of this.byVariant.values()) {
      states.sort((a, b) => (rank.get(a.locationId) ?? 0) - (rank.get(b.locationId) ?? 0));
    }
    for (const claim of loaded.claims) this.enter({ ...claim, stored: { ...claim }, touched: false });
  }

  /** Positions of a variant, the one routing likes best first. */
  positionsOf(variantId: VariantId): readonly PositionState[] {
    return this.byVariant.get(variantId) ?? [];
  }

  position(variantId: VariantId, locationId: LocationId): PositionState {
    const found = this.positionsOf(variantId).find((position) => position.locationId === locationId);
    assert(found, 'a position of the batch was not loaded', { variantId, locationId });
    return found;
  }

  free(variantId: VariantId, locationId: LocationId): number {
    const found = this.positionsOf(variantId).find((position) => position.locationId === locationId);
    return found ? available(found.now) : 0;
  }

  /** Rows of one claim, of one variant or all; the location routing likes best first, shortfalls last. */
  rowsOf(claimId: ClaimId, kind: ClaimKind, variantId?: VariantId): ClaimState[] {
    const rows = (this.byClaim.get(claimId) ?? []).filter(
      (row) => row.kind === kind && (variantId === undefined || row.variantId === variantId),
    );
    const rank = (row: ClaimState) => this.order.findIndex((place) => place.id === row.locationId);
    return rows.length > 1 ? rows.sort((a, b) => rank(a) - rank(b)) : rows;
  }

  variantsOf(claimId: ClaimId): VariantId[] {
    return [...new Set((this.byClaim.get(claimId) ?? []).map((row) => row.variantId))];
  }

  /** Units are still claimed for a while under this id, with goods behind them or not. */
  standsAsHold(claimId: ClaimId): boolean {
    return (this.byClaim.get(claimId) ?? []).some((row) => row.as === 'hold' && row.open > 0);
  }

  /** Waiting shortfalls of a variant, oldest claim first; empty, and wanted, when they were not loaded. */
  waitingOf(variantId: VariantId): ClaimState[] {
    if (!this.waitingVariants.has(variantId)) return [];
    if (!this.loaded.withShortfalls.has(variantId) && this.loaded.waiting.includes(variantId)) {
      this.wants.shortfalls.add(variantId);
      return [];
    }
    const rows = (this.claimsOfVariant.get(variantId) ?? []).filter((row) => row.kind === 'shortfall' && row.open > 0);
    if (rows.length === 0) this.waitingVariants.delete(variantId);
    return rows.sort(oldestFirst);
  }

  /** Open claims at a position in the order facts displace them: holds before commitments, newest first. */
  displaceable(position: PositionState): ClaimState[] {
    if (!this.loaded.withClaims.has(position.variantId) && position.stored.committed + position.stored.reserved > 0) {
      this.wants.claims.add(position.variantId);
      return [];
    }
    const rows = (this.claimsOfVariant.get(position.variantId) ?? []).filter(
      (row) => row.kind !== 'shortfall' && row.open > 0 && row.locationId === position.locationId,
    );
    return rows.sort((a, b) => (a.kind === b.kind ? oldestFirst(b, a) : a.kind === 'hold' ? -1 : 1));
  }

  /** True while this pass saw everything it needed. */
  get complete(): boolean {
    return this.wants.shortfalls.size === 0 && this.wants.claims.size === 0;
  }

  /** Goods change in one bucket; the caller books the movement. */
  shift(position: PositionState, bucket: Bucket, delta: number): void {
    this.touch(position);
    position.now[bucket] = this.bounded(position.now[bucket] + delta, `units (${bucket})`, position.variantId);
  }

  /** Units at a position are claimed: the claim's row grows. */
  claim(
    as: 'commitment' | 'hold',
    claimId: ClaimId,
    position: PositionState,
    units: number,
    event: ClaimEvent,
    terms: HoldTerms | null,
    seq: number | null,
  ): void {
    const row = this.row(as, as, claimId, position.variantId, position.locationId, terms, seq);
    this.touch(position);
    row.open += units;
    position.now[as === 'commitment' ? 'committed' : 'reserved'] += units;
    this.log(row, units, event);
  }

  /** A claim on goods shrinks. `counter`: where the units are remembered; null when they live on in another row. */
  drop(row: ClaimState, units: number, event: ClaimEvent, counter: 'spent' | 'ended' | null): void {
    assert(row.locationId !== null && units <= row.open, 'a claim cannot shrink below nothing', {
      claimId: row.claimId,
    });
    const position = this.position(row.variantId, row.locationId);
    this.touch(position);
    row.open -= units;
    position.now[row.kind === 'commitment' ? 'committed' : 'reserved'] -= units;
    if (counter) row[counter] = this.bounded(row[counter] + units, 'units of one claim', row.variantId);
    row.touched = true;
    this.log(row, -units, event);
  }

  /** Units owed that no goods stand behind: a shortfall waits. */
  owe(
    as: 'commitment' | 'hold',
    claimId: ClaimId,
    variantId: VariantId,
    units: number,
    event: ClaimEvent,
    terms: HoldTerms | null,
    seq: number | null,
  ): void {
    const row = this.row('shortfall', as, claimId, variantId, null, terms, seq);
    row.open = this.bounded(row.open + units, 'units owed to one claim', variantId);
    this.waitingVariants.add(variantId);
    this.log(row, units, event);
  }

  /** A shortfall shrinks: filled, shipped, cancelled or confirmed (then its units live on in another row). */
  pay(row: ClaimState, units: number, event: ClaimEvent, counter: 'spent' | 'ended' | null): void {
    assert(row.kind === 'shortfall' && units <= row.open, 'a shortfall cannot shrink below nothing', {
      claimId: row.claimId,
    });
    row.open -= units;
    if (counter) row[counter] = this.bounded(row[counter] + units, 'units of one claim', row.variantId);
    row.touched = true;
    this.log(row, -units, event);
  }

  /** The newest terms of a hold hold for all its rows. */
  renew(holdId: HoldId, terms: HoldTerms): void {
    for (const row of this.byClaim.get(holdId) ?? []) {
      if (row.as !== 'hold' || (row.origin === terms.origin && row.expiresAt === terms.expiresAt)) continue;
      Object.assign(row, terms);
      row.touched = true;
    }
  }

  /** A confirmed hold has nothing left that a later confirmation could commit again. */
  settleLapsed(holdId: HoldId): void {
    for (const row of this.byClaim.get(holdId) ?? []) {
      if (row.as !== 'hold' || row.lapsed === 0) continue;
      row.lapsed = 0;
      row.touched = true;
    }
  }

  /** The line's commitment row at a location remembers what left for it. */
  countShipped(claimId: ClaimId, position: PositionState, units: number): void {
    this.touch(position);
    const row = this.row('commitment', 'commitment', claimId, position.variantId, position.locationId, null, null);
    row.spent = this.bounded(row.spent + units, 'units shipped for one line', position.variantId);
  }

  /** What the running command changed, and forgets it: the next command begins. */
  take(): { positions: PositionChange[]; claims: ClaimChange[] } {
    const positions = this.touchedNow.map((position) => ({
      variantId: position.variantId,
      locationId: position.locationId,
      before: position.before ?? { ...emptyPosition },
      after: { ...position.now },
    }));
    const claims = this.changes;
    for (const position of this.touchedNow) position.before = null;
    this.touchedNow = [];
    this.changes = [];
    return { positions, claims };
  }

  /** Everything the batch changed. */
  changed(): { positions: PositionState[]; claims: ClaimState[] } {
    return {
      positions: [...this.byVariant.values()].flat().filter((position) => position.touched),
      claims: [...this.claims.values()].filter((claim) => claim.touched),
    };
  }

  /** A pass that lacks claims finds goods it need not find: what is too many there may not be in the next. */
  private bounded(value: number, what: string, variantId: VariantId): number {
    if (value > MAX_QUANTITY && this.complete) throw tooMany(what, value, { variantId });
    return value;
  }

  private touch(position: PositionState): void {
    if (position.before) return;
    position.before = { ...position.now };
    position.touched = true;
    this.touchedNow.push(position);
  }

  private log(row: ClaimState, delta: number, event: ClaimEvent): void {
    const { kind: claim, claimId, variantId, locationId } = row;
    this.changes.push({ claim, claimId, variantId, locationId, delta, event });
  }

  private row(
    kind: ClaimKind,
    as: 'commitment' | 'hold',
    claimId: ClaimId,
    variantId: VariantId,
    locationId: LocationId | null,
    terms: HoldTerms | null,
    seq: number | null,
  ): ClaimState {
    const found = this.claims.get(claimKey(kind, as, claimId, variantId, locationId));
    if (found) {
      found.touched = true;
      if (terms) Object.assign(found, terms);
      return found;
    }
    const made: ClaimState = {
      kind,
      as,
      claimId,
      variantId,
      locationId,
      open: 0,
      spent: 0,
      ended: 0,
      lapsed: 0,
      seq: seq ?? this.seqOf(claimId, variantId),
      origin: terms?.origin ?? null,
      expiresAt: terms?.expiresAt ?? null,
      stored: null,
      touched: true,
    };
    this.enter(made);
    return made;
  }

  /** A claim's place in the queue of a variant: that of its oldest row (a hold confirmed for a line brings its own along). */
  private seqOf(claimId: ClaimId, variantId: VariantId): number {
    const known = (this.byClaim.get(claimId) ?? []).filter((row) => row.variantId === variantId).map((row) => row.seq);
    if (known.length > 0) return Math.min(...known);
    const seq = this.loaded.seqs[this.nextSeq++];
    assert(seq !== undefined, 'more new claims than sequence numbers were drawn', { drawn: this.loaded.seqs.length });
    return seq;
  }

  private enter(claim: ClaimState): void {
    const key = claimKey(claim.kind, claim.as, claim.claimId, claim.variantId, claim.locationId);
    if (this.claims.has(key)) return;
    this.claims.set(key, claim);
    push(this.byClaim, claim.claimId, claim);
    push(this.claimsOfVariant, claim.variantId, claim);
  }
}

/** Two claims share a number only when a hold was confirmed for another line: then by id, and what is owed before what is held. */
const oldestFirst = (a: ClaimState, b: ClaimState) =>
  a.seq - b.seq ||
  (a.claimId === b.claimId ? Number(a.as === 'hold') - Number(b.as === 'hold') : a.claimId < b.claimId ? -1 : 1);

function push<Key, Value>(map: Map<Key, Value[]>, key: Key, value: Value): void {
  const list = map.get(key);
  if (list) list.push(value);
  else map.set(key, [value]);
}
