/**
 * The ledger as a child would keep it: a list of goods and a list of claims, every rule written out, nothing fast.
 * Written from the design, not from the code; judges posting in the property tests. No import of ours but types.
 *
 *   goods[variant][location][bucket] = units
 *   claims = [{ as, id, variant, where (a location, or null: waits), units, seq, … }]
 */
import type { Command, Posted } from '#core/stock/movement.ts';

export interface ModelPlace {
  id: string;
  serves: boolean;
}

interface Claim {
  as: 'commitment' | 'hold';
  id: string;
  variant: string;
  where: string | null;
  units: number;
  seq: number;
  channel: boolean;
  until: number | null;
}

export interface ModelAnswer {
  kind: Posted['kind'];
  missing?: { variant: string; where: string | null; units: number }[];
  reason?: string;
}

const nothing = (reason: string): ModelAnswer => ({ kind: 'nothing', reason });
const done: ModelAnswer = { kind: 'posted' };

const tie = (a: Claim, b: Claim) => `${a.id} ${a.as}`.localeCompare(`${b.id} ${b.as}`);

export class Model {
  /** Best first. */
  private readonly places: ModelPlace[];
  private readonly goods: Record<string, number> = {};
  private claims: Claim[] = [];
  private readonly used = new Set<string>();
  private readonly terms = new Map<string, { channel: boolean; until: number | null }>();
  private arrivals = 0;
  private readonly everHeld = new Map<string, Set<string>>();
  private readonly everClaimed = new Set<string>();
  private readonly lapsed = new Map<string, Map<string, number>>();
  found = 0;

  constructor(places: ModelPlace[]) {
    this.places = places;
  }

  apply(c: Command, now: number): ModelAnswer {
    if (this.used.has(c.key)) return { kind: 'duplicate' };
    const answer = this.act(c, now);
    if (answer.kind === 'posted') this.fillShortfalls();
    const again = answer.kind === 'insufficient' || answer.reason === 'not_due' || answer.reason === 'channel_hold';
    if (!again) this.used.add(c.key);
    return answer;
  }

  /** "variant location" → [sellable, damaged, quarantine, expired, incoming, committed, reserved], only where something is. */
  positions(): Record<string, number[]> {
    const result: Record<string, number[]> = {};
    const row = (key: string) => (result[key] ??= [0, 0, 0, 0, 0, 0, 0]);
    const names = ['sellable', 'damaged', 'quarantine', 'expired', 'incoming'];
    for (const [key, units] of Object.entries(this.goods)) {
      const [variant, where, bucket] = key.split(' ');
      if (units !== 0) row(`${variant} ${where}`)[names.indexOf(bucket ?? '')] = units;
    }
    for (const claim of this.claims) {
      if (claim.where === null || claim.units === 0) continue;
      const at = row(`${claim.variant} ${claim.where}`);
      const i = claim.as === 'commitment' ? 5 : 6;
      at[i] = (at[i] ?? 0) + claim.units;
    }
    return result;
  }

  openClaims(): string[] {
    return this.claims
      .filter((claim) => claim.units > 0)
      .map((claim) => `${claim.as} ${claim.id} ${claim.variant} ${claim.where ?? 'waits'} ${claim.units}`)
      .sort();
  }

  private get(variant: string, where: string, bucket: string): number {
    return this.goods[`${variant} ${where} ${bucket}`] ?? 0;
  }

  private add(variant: string, where: string, bucket: string, units: number): void {
    this.goods[`${variant} ${where} ${bucket}`] = this.get(variant, where, bucket) + units;
  }

  private free(variant: string, where: string): number {
    const claimed = this.claims.filter((claim) => claim.variant === variant && claim.where === where);
    return this.get(variant, where, 'sellable') - claimed.reduce((sum, claim) => sum + claim.units, 0);
  }

  private claim(as: Claim['as'], id: string, variant: string, where: string | null, units: number, seq?: number): void {
    if (units === 0) return;
    this.everClaimed.add(`${id} ${variant}`);
    const same = this.claims.find((c) => c.as === as && c.id === id && c.variant === variant && c.where === where);
    if (same) same.units += units;
    else {
      const { channel, until } = this.terms.get(id) ?? { channel: false, until: null };
      this.claims.push({ as, id, variant, where, units, seq: seq ?? this.placeInQueue(id, variant), channel, until });
    }
  }

  /** The oldest of what it ever had, else the end. */
  private placeInQueue(id: string, variant: string): number {
    const own = this.claims.filter((c) => c.id === id && c.variant === variant).map((c) => c.seq);
    if (own.length > 0) return Math.min(...own);
    this.arrivals += 1;
    return this.arrivals;
  }

  private fillShortfalls(): void {
    const waiting = this.claims
      .filter((c) => c.where === null && c.units > 0)
      .sort((a, b) => a.seq - b.seq || tie(a, b));
    for (const short of waiting) {
      for (const place of this.places.filter((p) => p.serves)) {
        const units = Math.min(short.units, this.free(short.variant, place.id));
        if (units <= 0) continue;
        short.units -= units;
        this.claim(short.as, short.id, short.variant, place.id, units, short.seq);
      }
    }
  }

  /** Goods leave a sellable bucket as a fact: newest claims wait, holds before commitments; what the book lacks is found. */
  private force(variant: string, where: string, bucket: string, units: number): void {
    if (bucket === 'sellable') {
      const here = this.claims.filter((c) => c.variant === variant && c.where === where && c.units > 0);
      here.sort((a, b) => (a.as === b.as ? b.seq - a.seq || tie(b, a) : a.as === 'hold' ? -1 : 1));
      for (const claim of here) {
        const short = units - this.free(variant, where);
        if (short <= 0) break;
        const lost = Math.min(short, claim.units);
        claim.units -= lost;
        this.claim(claim.as, claim.id, variant, null, lost, claim.seq);
      }
    }
    const lacking = units - (bucket === 'sellable' ? this.free(variant, where) : this.get(variant, where, bucket));
    if (lacking > 0) {
      this.found += lacking;
      this.add(variant, where, bucket, lacking);
    }
    this.add(variant, where, bucket, -units);
  }

  private refuse(
    variant: string,
    where: string,
    bucket: string,
    units: number,
    displacing: boolean,
  ): ModelAnswer | null {
    const have = bucket === 'sellable' && !displacing ? this.free(variant, where) : this.get(variant, where, bucket);
    return units > have ? { kind: 'insufficient', missing: [{ variant, where, units: units - have }] } : null;
  }

  private act(c: Command, now: number): ModelAnswer {
    switch (c.kind) {
      case 'receive': {
        const expected = c.from === 'incoming' ? Math.min(c.units, this.get(c.variantId, c.locationId, 'incoming')) : 0;
        this.add(c.variantId, c.locationId, 'incoming', -expected);
        this.add(c.variantId, c.locationId, c.bucket ?? 'sellable', c.units);
        return done;
      }
      case 'return':
        this.add(c.variantId, c.locationId, c.bucket, c.units);
        return done;
      case 'adjust': {
        const bucket = c.bucket ?? 'sellable';
        if (c.change > 0) {
          this.add(c.variantId, c.locationId, bucket, c.change);
          return done;
        }
        const refused = c.fact ? null : this.refuse(c.variantId, c.locationId, bucket, -c.change, false);
        if (refused) return refused;
        this.force(c.variantId, c.locationId, bucket, -c.change);
        if (c.to && c.to !== 'outside') this.add(c.variantId, c.locationId, c.to, -c.change);
        return done;
      }
      case 'count': {
        const bucket = c.bucket ?? 'sellable';
        const change = c.set - this.get(c.variantId, c.locationId, bucket);
        if (change > 0) this.add(c.variantId, c.locationId, bucket, change);
        else if (change < 0) this.force(c.variantId, c.locationId, bucket, -change);
        return done;
      }
      case 'move': {
        const refused = this.refuse(c.variantId, c.locationId, c.from, c.units, c.displaceClaims ?? false);
        if (refused) return refused;
        this.force(c.variantId, c.locationId, c.from, c.units);
        this.add(c.variantId, c.locationId, c.to, c.units);
        return done;
      }
      case 'transfer': {
        const bucket = c.bucket ?? 'sellable';
        const refused = this.refuse(c.variantId, c.fromLocationId, bucket, c.units, c.displaceClaims ?? false);
        if (refused) return refused;
        this.force(c.variantId, c.fromLocationId, bucket, c.units);
        this.add(c.variantId, c.toLocationId, bucket, c.units);
        return done;
      }
      case 'commit':
        return this.stake(
          'commitment',
          c.wish,
          c.lines.map((l) => ({ ...l, id: l.lineId as string })),
        );
      case 'hold': {
        const before = new Map(this.terms);
        for (const l of c.lines) this.terms.set(l.holdId, { channel: c.origin === 'channel', until: c.expiresAt });
        const answer = this.stake(
          'hold',
          c.wish,
          c.lines.map((l) => ({ ...l, id: l.holdId as string })),
        );
        if (answer.kind !== 'posted') {
          this.terms.clear();
          for (const [id, terms] of before) this.terms.set(id, terms);
          return answer;
        }
        for (const l of c.lines) {
          const terms = this.terms.get(l.holdId);
          for (const claim of this.claims)
            if (claim.as === 'hold' && claim.id === l.holdId && terms) Object.assign(claim, terms);
          const variants = this.everHeld.get(l.holdId) ?? new Set();
          this.everHeld.set(l.holdId, variants.add(l.variantId));
        }
        return answer;
      }
      case 'confirm':
        return this.confirm(c.holdId, c.lineId ?? c.holdId, c.lines);
      case 'expire': {
        if (!this.everHeld.has(c.holdId)) return nothing('unknown');
        const open = this.claims.filter((claim) => claim.as === 'hold' && claim.id === c.holdId && claim.units > 0);
        if (open.length === 0) return nothing('closed');
        const terms = this.terms.get(c.holdId);
        if (terms?.channel) return nothing('channel_hold');
        if (terms?.until == null || terms.until > now) return nothing('not_due');
        this.end(c.holdId, open);
        return done;
      }
      case 'release':
        return this.release(c.claimId, c.lines);
      case 'ship':
        return this.ship(c.lineId, c.variantId, c.units, c.locationId);
    }
  }

  /** The hold is over: what it loses now is what a late confirmation commits. */
  private end(id: string, open: Claim[]): void {
    const lost = new Map<string, number>();
    for (const claim of open) {
      lost.set(claim.variant, (lost.get(claim.variant) ?? 0) + claim.units);
      claim.units = 0;
    }
    this.lapsed.set(id, lost);
  }

  private stake(
    as: Claim['as'],
    wish: boolean,
    lines: {
      id: string;
      variantId: string;
      units: number;
      locationId: string | null;
      preferLocationId?: string | null;
    }[],
  ): ModelAnswer {
    const saved = this.claims.map((claim) => ({ ...claim }));
    const ever = new Set(this.everClaimed);
    const missing: { variant: string; where: string | null; units: number; id: string }[] = [];
    const miss = (id: string, variant: string, where: string | null, units: number) => {
      if (units > 0) missing.push({ id, variant, where, units });
    };
    for (const l of lines.filter((line) => line.locationId !== null)) {
      const where = l.locationId as string;
      const units = Math.min(l.units, Math.max(0, this.free(l.variantId, where)));
      this.claim(as, l.id, l.variantId, where, units);
      miss(l.id, l.variantId, where, l.units - units);
    }
    const routed = lines.filter((line) => line.locationId === null);
    for (const id of new Set(routed.map((line) => line.id))) {
      const own = routed.filter((line) => line.id === id);
      const needs: Record<string, number> = {};
      for (const l of own) needs[l.variantId] = (needs[l.variantId] ?? 0) + l.units;
      const prefer = own[0]?.preferLocationId;
      const order = this.places
        .filter((p) => p.serves)
        .sort((a, b) => Number(b.id === prefer) - Number(a.id === prefer));
      const whole = order.find((p) => Object.entries(needs).every(([v, n]) => this.free(v, p.id) >= n));
      for (const [variant, need] of Object.entries(needs)) {
        let left = need;
        for (const place of whole ? [whole] : order) {
          const units = Math.max(0, Math.min(left, this.free(variant, place.id)));
          this.claim(as, id, variant, place.id, units);
          left -= units;
        }
        miss(id, variant, null, left);
      }
    }
    if (wish && missing.length > 0) {
      this.claims = saved;
      this.everClaimed.clear();
      for (const key of ever) this.everClaimed.add(key);
      const sums = new Map<string, { variant: string; where: string | null; units: number }>();
      for (const { variant, where, units } of missing) {
        const sum = sums.get(`${variant} ${where}`);
        sums.set(`${variant} ${where}`, { variant, where, units: units + (sum?.units ?? 0) });
      }
      return { kind: 'insufficient', missing: [...sums.values()] };
    }
    for (const { id, variant, units } of missing) this.claim(as, id, variant, null, units);
    return done;
  }

  private inRoutingOrder(claims: Claim[]): Claim[] {
    const rank = (claim: Claim) => (claim.where === null ? 99 : this.places.findIndex((p) => p.id === claim.where));
    return [...claims].sort((a, b) => rank(a) - rank(b));
  }

  private confirm(holdId: string, lineId: string, lines?: { variantId: string; units: number }[]): ModelAnswer {
    const own = this.claims.filter((c) => c.as === 'hold' && c.id === holdId);
    const open = own.filter((c) => c.units > 0);
    const wanted = new Map<string, number>();
    for (const { variantId, units } of lines ?? []) wanted.set(variantId, (wanted.get(variantId) ?? 0) + units);
    if (!lines) for (const c of open) wanted.set(c.variant, (wanted.get(c.variant) ?? 0) + c.units);
    if (wanted.size === 0) for (const [variant, units] of this.lapsed.get(holdId) ?? []) wanted.set(variant, units);
    if (wanted.size === 0) return nothing(this.everHeld.has(holdId) ? 'closed' : 'unknown');
    const late: { id: string; variantId: string; units: number; locationId: null; preferLocationId: string | null }[] =
      [];
    for (const [variant, units] of wanted) {
      let left = units;
      const rows = this.inRoutingOrder(own.filter((c) => c.variant === variant));
      for (const c of rows) {
        const n = Math.min(left, c.units);
        c.units -= n;
        left -= n;
        this.claim('commitment', lineId, variant, c.where, n, c.seq);
      }
      if (left > 0)
        late.push({
          id: lineId,
          variantId: variant,
          units: left,
          locationId: null,
          preferLocationId: rows[0]?.where ?? null,
        });
    }
    this.lapsed.delete(holdId);
    return late.length > 0 ? this.stake('commitment', false, late) : done;
  }

  private release(id: string, lines: 'all' | { variantId: string; units: number | 'all' }[]): ModelAnswer {
    const variants = [...this.everClaimed]
      .filter((key) => key.startsWith(`${id} `))
      .map((key) => key.split(' ')[1] as string);
    if (variants.length === 0) return nothing('unknown');
    const heldBefore = this.claims.filter((c) => c.as === 'hold' && c.id === id && c.units > 0).map((c) => ({ ...c }));
    let released = 0;
    for (const { variantId, units } of lines === 'all'
      ? variants.map((v) => ({ variantId: v, units: 'all' as const }))
      : lines) {
      let left = units === 'all' ? Number.POSITIVE_INFINITY : units;
      const own = this.claims.filter((c) => c.id === id && c.variant === variantId && c.units > 0);
      const of = (as: Claim['as'], waits: boolean) =>
        this.inRoutingOrder(own.filter((c) => c.as === as && (c.where === null) === waits)).reverse();
      for (const c of [
        ...of('hold', true),
        ...of('commitment', true),
        ...of('hold', false),
        ...of('commitment', false),
      ]) {
        const n = Math.min(left, c.units);
        c.units -= n;
        left -= n;
        released += n;
      }
    }
    const stillHeld = this.claims.some((c) => c.as === 'hold' && c.id === id && c.units > 0);
    if (heldBefore.length > 0 && !stillHeld) {
      this.lapsed.set(id, new Map());
      const lost = this.lapsed.get(id) as Map<string, number>;
      for (const c of heldBefore) lost.set(c.variant, (lost.get(c.variant) ?? 0) + c.units);
    }
    return released > 0 ? done : nothing('closed');
  }

  private ship(lineId: string | undefined, variant: string, units: number, named: string | null): ModelAnswer {
    let left = units;
    const leaving = new Map<string, number>();
    const leave = (where: string, n: number) => leaving.set(where, (leaving.get(where) ?? 0) + n);
    const own =
      lineId === undefined
        ? []
        : this.inRoutingOrder(this.claims.filter((c) => c.id === lineId && c.variant === variant && c.where !== null));
    const near = [...own.filter((c) => c.where === named), ...own.filter((c) => c.where !== named)];
    for (const as of ['commitment', 'hold'] as const) {
      for (const c of near.filter((claim) => claim.as === as)) {
        const n = Math.min(left, c.units);
        if (n === 0) continue;
        c.units -= n;
        left -= n;
        leave(named ?? (c.where as string), n);
      }
    }
    if (left > 0) {
      // Units set free above and leaving are not free: they are still on the shelf only until the end of the command.
      const serving = this.places.filter((p) => p.serves && `${variant} ${p.id}` in this.seenPositions());
      const free = (where: string) => this.free(variant, where) - (leaving.get(where) ?? 0);
      let owed = left;
      const whole = named ?? serving.find((p) => free(p.id) >= left)?.id;
      if (whole) leave(whole, left);
      else {
        for (const place of serving) {
          const n = Math.min(left, free(place.id));
          if (n <= 0) continue;
          leave(place.id, n);
          left -= n;
        }
        leave(serving[0]?.id as string, left);
      }
      for (const as of ['commitment', 'hold'] as const) {
        const short = this.claims.find(
          (c) => c.as === as && c.id === lineId && c.variant === variant && c.where === null,
        );
        const n = Math.min(owed, short?.units ?? 0);
        if (short) short.units -= n;
        owed -= n;
      }
    }
    for (const [where, n] of leaving) {
      this.force(variant, where, 'sellable', n);
      if (lineId === undefined) continue;
      // What was shipped for a line is remembered, even for one that first shows by its shipment.
      this.everClaimed.add(`${lineId} ${variant}`);
      const seq = this.placeInQueue(lineId, variant);
      if (
        this.claims.some((c) => c.as === 'commitment' && c.id === lineId && c.variant === variant && c.where === where)
      )
        continue;
      this.claims.push({ as: 'commitment', id: lineId, variant, where, units: 0, seq, channel: false, until: null });
    }
    return done;
  }

  /** Positions that exist for a shipment that names no place; the tests stock every place beforehand. */
  private seenPositions(): Record<string, true> {
    const seen: Record<string, true> = {};
    for (const key of Object.keys(this.goods)) seen[key.split(' ').slice(0, 2).join(' ')] = true;
    return seen;
  }
}
