/**
 * Load: what a batch of commands names, locked and read in one statement (ledger_take), as one book per organization.
 * Called by post.ts only. Lock order: store/locks.ts.
 */
import { assert, StoreError } from '#core/errors.ts';
import type { ClaimId, LocationId, OrgId, VariantId } from '#core/ids.ts';
import type { Loaded, LoadedClaim, LoadedPosition } from '#core/stock/book.ts';
import type { Command, NothingResult, PostedResult } from '#core/stock/movement.ts';
import type { Place } from '#core/stock/routing.ts';
import type { Tx } from '../tx.ts';
import { literal, quoted } from './columns.ts';
import { fromStored, type StoredResult } from './result.ts';

/** One organization's share of a batch. */
export interface Share {
  orgId: OrgId;
  commands: readonly Command[];
}

/** One organization's book as loaded, and what the store must know beside it. */
export interface LoadedShare extends Loaded {
  orgId: OrgId;
  places: Place[];
  /** `at`: the row's place in its table, which it keeps while it is locked. */
  positions: LoadedPosition[];
  claims: LoadedClaim[];
  waiting: VariantId[];
  withShortfalls: Set<VariantId>;
  withClaims: Set<VariantId>;
  /** All whose positions are locked. */
  variants: Set<VariantId>;
  /** Σ versions of a variant's positions: rises with every change of the variant. */
  versions: Map<VariantId, number>;
  /** First results of keys that are used up. */
  firsts: Map<string, PostedResult | NothingResult>;
}

type ClaimRow = [
  number,
  string,
  ClaimId,
  VariantId,
  LocationId | null,
  number,
  number,
  number,
  number,
  number,
  'own' | 'channel' | null,
  number | null,
];

interface LoadRow {
  places: [number, LocationId, string, boolean, number, boolean][] | null;
  positions: [number, LocationId, number, number, number, number, number, number, number, number, string][] | null;
  /** Variants that only a claim knew of: organization's index and id; they follow the named ones. */
  added: [number, VariantId][] | null;
  waiting: [number, VariantId][] | null;
  claims: ClaimRow[] | null;
  effects: [number, StoredResult][] | null;
  seqs: number[] | null;
  missing: number;
}

/** What a batch names: variants to lock, positions that must exist, claims to read. Organizations and variants by index, from 1. */
class Names {
  readonly variants: { org: number; id: VariantId }[] = [];
  /** null: at the default location. */
  readonly positions: { variant: number; locationId: LocationId | null }[] = [];
  readonly claims: { org: number; id: ClaimId; find: boolean }[] = [];
  readonly keys: { org: number; key: string }[] = [];
  /** How many claims may be new. */
  newClaims = 0;
  private org = 0;
  private variantIndexes = new Map<VariantId, number>();
  private named = new Set<string>();
  private claimIndexes = new Map<ClaimId, number>();

  /** What follows is this organization's. */
  begin(org: number): void {
    this.org = org;
    this.variantIndexes = new Map();
    this.named = new Set();
    this.claimIndexes = new Map();
  }

  private variant(id: VariantId): number {
    const known = this.variantIndexes.get(id);
    if (known !== undefined) return known;
    this.variants.push({ org: this.org, id });
    this.variantIndexes.set(id, this.variants.length);
    return this.variants.length;
  }

  private position(variantId: VariantId, locationId: LocationId | null): void {
    const variant = this.variant(variantId);
    if (locationId !== null) this.name(variant, locationId);
  }

  private name(variant: number, locationId: LocationId | null): void {
    const name = `${variant} ${locationId}`;
    if (this.named.has(name)) return;
    this.named.add(name);
    this.positions.push({ variant, locationId });
  }

  private claim(id: ClaimId, find: boolean): void {
    const known = this.claims[(this.claimIndexes.get(id) ?? 0) - 1];
    if (known) known.find ||= find;
    else this.claimIndexes.set(id, this.claims.push({ org: this.org, id, find }));
  }

  add(command: Command): void {
    this.keys.push({ org: this.org, key: command.key });
    switch (command.kind) {
      case 'commit':
        for (const line of command.lines) {
          this.position(line.variantId, line.locationId);
          this.claim(line.lineId, false);
        }
        this.newClaims += command.lines.length;
        return;
      case 'hold':
        // All its variants: one hold has one expiry. Twice its lines: it may lapse and be confirmed for another line in this very batch.
        for (const line of command.lines) {
          this.position(line.variantId, line.locationId);
          this.claim(line.holdId, true);
        }
        this.newClaims += 2 * command.lines.length;
        return;
      case 'confirm':
        this.claim(command.holdId, true);
        if (command.lineId !== undefined) this.claim(command.lineId, false);
        for (const line of command.lines ?? []) this.variant(line.variantId);
        this.newClaims += command.lines?.length ?? 0;
        return;
      case 'expire':
        this.claim(command.holdId, true);
        return;
      case 'release':
        this.claim(command.claimId, true);
        return;
      case 'ship':
        this.name(this.variant(command.variantId), command.locationId);
        if (command.lineId !== undefined) this.claim(command.lineId, false);
        this.newClaims += 1;
        return;
      case 'transfer':
        this.position(command.variantId, command.fromLocationId);
        this.position(command.variantId, command.toLocationId);
        return;
      default:
        this.position(command.variantId, command.locationId);
    }
  }
}

const loadStatement = {
  name: 'ledger_take',
  text: `select places, positions, added, waiting, claims, effects, seqs, missing from ledger_take($1::uuid[], $2::integer[], $3::uuid[],
    $4::integer[], $5::uuid[], $6::integer[], $7::uuid[], $8::integer[], $9::integer[], $10::text[], $11::integer)`,
};

/** Locks and loads. Throws store.conflict when a claim gained another variant meanwhile (repeat the transaction). */
export async function load(tx: Tx, shares: readonly Share[]): Promise<LoadedShare[]> {
  const names = new Names();
  shares.forEach(({ commands }, i) => {
    names.begin(i + 1);
    for (const command of commands) names.add(command);
  });
  const { variants, positions, claims, keys } = names;
  // The database tells no capitals apart in ids: it would count such a variant's positions twice, and look for them for ever.
  assert(
    new Set(variants.map(({ org, id }) => org + id.toLowerCase())).size === variants.length,
    'a variant is named twice',
  );
  const { rows } = await tx.query<LoadRow>(loadStatement, [
    literal(shares.map((share) => share.orgId)),
    literal(variants.map(({ org }) => org)),
    literal(variants.map(({ id }) => id)),
    literal(positions.map(({ variant }) => variant)),
    literal(positions.map(({ locationId }) => locationId)),
    literal(claims.map(({ org }) => org)),
    literal(claims.map(({ id }) => id)),
    literal(claims.flatMap(({ find }, i) => (find ? [i + 1] : []))),
    literal(keys.map(({ org }) => org)),
    literal(keys.map(({ key }) => quoted(key))),
    names.newClaims,
  ]);
  const row = rows[0];
  assert(row, 'ledger_take answered nothing');
  assert(row.missing === 0, 'a command names a variant that does not exist', { variants: row.missing });
  const loaded = shares.map((share) => emptyShare(share.orgId, row.seqs ?? []));
  fillShares(loaded, row, names);
  addClaims(loaded, row.claims, new Set(claims.filter((claim) => claim.find).map((claim) => claim.id)));
  return loaded;
}

function emptyShare(orgId: OrgId, seqs: readonly number[]): LoadedShare {
  return {
    orgId,
    places: [],
    positions: [],
    claims: [],
    waiting: [],
    withShortfalls: new Set(),
    withClaims: new Set(),
    seqs,
    variants: new Set(),
    versions: new Map(),
    firsts: new Map(),
  };
}

function fillShares(shares: LoadedShare[], row: LoadRow, { variants, keys }: Names): void {
  const at = (index: number) => shares[index - 1] as LoadedShare;
  for (const [o, id, code, isDefault, priority, servesOrders] of row.places ?? []) {
    at(o).places.push({ id, code, isDefault, priority, servesOrders });
  }
  for (const [org, id] of row.added ?? []) variants.push({ org, id });
  for (const { org, id } of variants) at(org).variants.add(id);
  for (const [o, id] of row.waiting ?? []) at(o).waiting.push(id);
  for (const [
    i,
    locationId,
    sellable,
    damaged,
    quarantine,
    expired,
    incoming,
    committed,
    reserved,
    version,
    place,
  ] of row.positions ?? []) {
    const { org, id: variantId } = variants[i - 1] as Names['variants'][number];
    const share = at(org);
    share.positions.push({
      variantId,
      locationId,
      sellable,
      damaged,
      quarantine,
      expired,
      incoming,
      committed,
      reserved,
      version,
      at: place,
    });
    share.versions.set(variantId, (share.versions.get(variantId) ?? 0) + version);
  }
  for (const [i, result] of row.effects ?? []) {
    const key = keys[i - 1];
    if (key) at(key.org).firsts.set(key.key, fromStored(result));
  }
}

/** @param whole claims that are acted on with all their variants: one we did not lock appeared between finding and locking. */
function addClaims(shares: LoadedShare[], rows: readonly ClaimRow[] | null, whole: ReadonlySet<ClaimId>): void {
  for (const [o, kind, claimId, variantId, locationId, open, spent, ended, lapsed, seq, origin, expiresAt] of rows ??
    []) {
    const share = shares[o - 1] as LoadedShare;
    const shortfall = kind.endsWith(' shortfall');
    if (!share.variants.has(variantId)) {
      if (whole.has(claimId))
        throw new StoreError('store.conflict', 'A claim changed while its positions were being locked.', { claimId });
      continue;
    }
    share.claims.push({
      kind: shortfall ? 'shortfall' : (kind as 'commitment' | 'hold'),
      as: kind.startsWith('hold') ? 'hold' : 'commitment',
      claimId,
      variantId,
      locationId,
      open,
      spent,
      ended,
      lapsed,
      seq,
      origin,
      expiresAt,
    });
  }
}

/** Loads the claims a pass found it needs, beside what is there. */
export async function loadMore(
  tx: Tx,
  shares: LoadedShare[],
  wants: readonly { shortfalls: ReadonlySet<VariantId>; claims: ReadonlySet<VariantId> }[],
): Promise<void> {
  const pairs = (pick: 'shortfalls' | 'claims') =>
    shares.flatMap((share, i) => [...(wants[i]?.[pick] ?? [])].map((variantId) => [share.orgId, variantId] as const));
  const shortfalls = pairs('shortfalls');
  const claims = pairs('claims');
  const { rows } = await tx.query<{ rows: ClaimRow[] | null }>(
    {
      name: 'ledger_load_claims',
      text: 'select ledger_load_claims($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[]) as rows',
    },
    [
      literal(shares.map((share) => share.orgId)),
      literal(shortfalls.map(([orgId]) => orgId)),
      literal(shortfalls.map(([, id]) => id)),
      literal(claims.map(([orgId]) => orgId)),
      literal(claims.map(([, id]) => id)),
    ],
  );
  addClaims(shares, rows[0]?.rows ?? null, new Set());
  shares.forEach((share, i) => {
    for (const id of wants[i]?.shortfalls ?? []) share.withShortfalls.add(id);
    for (const id of wants[i]?.claims ?? []) share.withClaims.add(id);
  });
}
