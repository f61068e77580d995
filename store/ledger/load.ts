/**
 * Load: what a batch of commands names, locked and read in one statement (ledger_load), as one book per organization.
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
  positions: LoadedPosition[];
  claims: LoadedClaim[];
  waiting: VariantId[];
  withShortfalls: Set<VariantId>;
  withClaims: Set<VariantId>;
  skus: Map<VariantId, string>;
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
  variants: [number, number, VariantId, string, boolean][] | null;
  positions: [number, LocationId, number, number, number, number, number, number, number, number][] | null;
  claims: ClaimRow[] | null;
  effects: [number, StoredResult][] | null;
  seqs: number[] | null;
}

/** What a batch names: variants to lock, positions that must exist, claims to read. */
class Names {
  readonly variants = new Map<string, [OrgId, VariantId]>();
  /** null: at the default location. */
  readonly positions = new Map<string, [OrgId, VariantId, LocationId | null]>();
  readonly claims = new Map<string, { orgId: OrgId; id: ClaimId; find: boolean }>();
  /** How many claims may be new. */
  newClaims = 0;

  variant(orgId: OrgId, id: VariantId): void {
    this.variants.set(orgId + id, [orgId, id]);
  }

  position(orgId: OrgId, variantId: VariantId, locationId: LocationId | null): void {
    this.variant(orgId, variantId);
    if (locationId !== null) this.positions.set(orgId + variantId + locationId, [orgId, variantId, locationId]);
  }

  claim(orgId: OrgId, id: ClaimId, find: boolean): void {
    const known = this.claims.get(orgId + id);
    if (known) known.find ||= find;
    else this.claims.set(orgId + id, { orgId, id, find });
  }

  add(orgId: OrgId, command: Command): void {
    switch (command.kind) {
      case 'commit':
        for (const line of command.lines) {
          this.position(orgId, line.variantId, line.locationId);
          this.claim(orgId, line.lineId, false);
        }
        this.newClaims += command.lines.length;
        return;
      case 'hold':
        // All its variants: one hold has one expiry. Twice its lines: it may lapse and be confirmed for another line in this very batch.
        for (const line of command.lines) {
          this.position(orgId, line.variantId, line.locationId);
          this.claim(orgId, line.holdId, true);
        }
        this.newClaims += 2 * command.lines.length;
        return;
      case 'confirm':
        this.claim(orgId, command.holdId, true);
        if (command.lineId !== undefined) this.claim(orgId, command.lineId, false);
        for (const line of command.lines ?? []) this.variant(orgId, line.variantId);
        this.newClaims += command.lines?.length ?? 0;
        return;
      case 'expire':
        this.claim(orgId, command.holdId, true);
        return;
      case 'release':
        this.claim(orgId, command.claimId, true);
        return;
      case 'ship':
        this.variant(orgId, command.variantId);
        this.positions.set(orgId + command.variantId + command.locationId, [
          orgId,
          command.variantId,
          command.locationId,
        ]);
        if (command.lineId !== undefined) this.claim(orgId, command.lineId, false);
        this.newClaims += 1;
        return;
      case 'transfer':
        this.position(orgId, command.variantId, command.fromLocationId);
        this.position(orgId, command.variantId, command.toLocationId);
        return;
      default:
        this.position(orgId, command.variantId, command.locationId);
    }
  }
}

const loadStatement = {
  name: 'ledger_load',
  text: `select places, variants, positions, claims, effects, seqs from ledger_load($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[],
    $5::uuid[], $6::uuid[], $7::uuid[], $8::uuid[], $9::boolean[], $10::uuid[], $11::text[], $12::integer)`,
};

/** Locks and loads. Throws store.conflict when a claim gained another variant meanwhile (repeat the transaction). */
export async function load(tx: Tx, shares: readonly Share[]): Promise<LoadedShare[]> {
  const names = new Names();
  for (const { orgId, commands } of shares) for (const command of commands) names.add(orgId, command);
  const variants = [...names.variants.values()];
  // The database tells no capitals apart in ids: it would count such a variant's positions twice, and look for them for ever.
  assert(
    new Set([...names.variants.keys()].map((name) => name.toLowerCase())).size === variants.length,
    'a variant is named twice',
  );
  const positions = [...names.positions.values()];
  const claims = [...names.claims.values()];
  const keys = shares.flatMap(({ orgId, commands }) => commands.map((command) => ({ orgId, key: command.key })));
  const { rows } = await tx.query<LoadRow>(loadStatement, [
    literal(shares.map((share) => share.orgId)),
    literal(variants.map(([orgId]) => orgId)),
    literal(variants.map(([, id]) => id)),
    literal(positions.map(([orgId]) => orgId)),
    literal(positions.map(([, id]) => id)),
    literal(positions.map(([, , id]) => id)),
    literal(claims.map((claim) => claim.orgId)),
    literal(claims.map((claim) => claim.id)),
    literal(claims.map((claim) => claim.find)),
    literal(keys.map((key) => key.orgId)),
    literal(keys.map((key) => quoted(key.key))),
    names.newClaims,
  ]);
  const row = rows[0];
  assert(row, 'ledger_load answered nothing');
  assert((row.variants?.length ?? 0) >= variants.length, 'a command names a variant that does not exist', {
    variants: variants.length,
  });
  const loaded = shares.map((share) => emptyShare(share.orgId, row.seqs ?? []));
  fillShares(loaded, row, keys);
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
    skus: new Map(),
    versions: new Map(),
    firsts: new Map(),
  };
}

function fillShares(shares: LoadedShare[], row: LoadRow, keys: readonly { orgId: OrgId; key: string }[]): void {
  const at = (index: number) => shares[index - 1] as LoadedShare;
  for (const [o, id, code, isDefault, priority, servesOrders] of row.places ?? []) {
    at(o).places.push({ id, code, isDefault, priority, servesOrders });
  }
  const variants = new Map<number, [LoadedShare, VariantId]>();
  for (const [i, o, variantId, sku, waits] of row.variants ?? []) {
    variants.set(i, [at(o), variantId]);
    at(o).skus.set(variantId, sku);
    if (waits) at(o).waiting.push(variantId);
  }
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
  ] of row.positions ?? []) {
    const [share, variantId] = variants.get(i) as [LoadedShare, VariantId];
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
    });
    share.versions.set(variantId, (share.versions.get(variantId) ?? 0) + version);
  }
  const byOrg = new Map(shares.map((share) => [share.orgId, share]));
  for (const [i, result] of row.effects ?? []) {
    const key = keys[i - 1];
    if (key) byOrg.get(key.orgId)?.firsts.set(key.key, fromStored(result));
  }
}

/** @param whole claims that are acted on with all their variants: one we did not lock appeared between finding and locking. */
function addClaims(shares: LoadedShare[], rows: readonly ClaimRow[] | null, whole: ReadonlySet<ClaimId>): void {
  for (const [o, kind, claimId, variantId, locationId, open, spent, ended, lapsed, seq, origin, expiresAt] of rows ??
    []) {
    const share = shares[o - 1] as LoadedShare;
    const shortfall = kind.endsWith(' shortfall');
    if (!share.skus.has(variantId)) {
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
