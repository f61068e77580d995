/**
 * Write: what was decided, each row once, in one statement (ledger_book), with everything that follows from it in the
 * same transaction: effect keys, dirty marks, stock and alert events, oversell cases, due rows of holds.
 * Called by post.ts only.
 */
import { StoreError } from '#core/errors.ts';
import type { ClaimId, LocationId, OrgId, VariantId } from '#core/ids.ts';
import type { Book, ClaimState, PositionState } from '#core/stock/book.ts';
import type { Found } from '#core/stock/desk.ts';
import type { ClaimChange, Command, PostContext } from '#core/stock/movement.ts';
import { available } from '#core/stock/position.ts';
import type { Decided } from '#core/stock/posting.ts';
import type { Tx } from '../tx.ts';
import { literal, quoted } from './columns.ts';
import type { LoadedShare } from './load.ts';
import { toStored } from './result.ts';

export interface DecidedShare {
  loaded: LoadedShare;
  commands: readonly Command[];
  book: Book;
  decided: Decided;
}

type Value = string | number | boolean | null;

const buckets = ['sellable', 'damaged', 'quarantine', 'expired', 'incoming', 'committed', 'reserved'] as const;

/** Column types of ledger_book's tables, in its order. */
const types = {
  positions: ['tid', 'integer', ...buckets.map(() => 'integer'), 'bigint'],
  commands: ['integer', 'text'],
  movements: [
    'integer',
    'text',
    'text',
    'text',
    'float8',
    'uuid',
    'integer',
    'integer',
    'integer',
    'text',
    'integer',
    'text',
    'text',
    'text',
  ],
  commitments: [
    'integer',
    'uuid',
    'integer',
    'integer',
    'integer',
    'integer',
    'integer',
    'bigint',
    'integer',
    'text',
    'text',
    'text',
    'float8',
  ],
  events: ['integer', 'text', 'text', 'float8', 'text', 'uuid', 'integer', 'integer', 'integer', 'text'],
  rows: [
    'text',
    'integer',
    'uuid',
    'integer',
    'integer',
    'text',
    'integer',
    'integer',
    'integer',
    'integer',
    'bigint',
    'text',
    'float8',
  ],
  dirty: ['integer', 'integer', 'integer', 'bigint'],
} as const;

const tables = ['positions', 'commands', 'movements', 'commitments', 'events', 'rows', 'dirty'] as const;
const columnTypes = ['uuid', 'uuid', 'uuid', ...tables.flatMap((table) => [...types[table]])];
const writeStatement = {
  name: 'ledger_book',
  text: `select ledger_book(${[
    ...columnTypes.map((type) => `${type}[]`),
    'text',
    'json',
    'json',
    'json',
    'double precision',
  ]
    .map((type, index) => `$${index + 1}::${type}`)
    .join(', ')})`,
};

const skusStatement = { name: 'ledger_skus', text: 'select ledger_skus($1::uuid[], $2::uuid[]) as skus' };

/** Rows of one table as one array literal per column, appended as they come. */
class Columns {
  private readonly values: string[];
  rows = 0;

  constructor(width: number) {
    this.values = new Array<string>(width).fill('');
  }

  add(...row: Value[]): void {
    const comma = this.rows === 0 ? '' : ',';
    for (let i = 0; i < row.length; i += 1) this.values[i] += `${comma}${row[i] ?? 'NULL'}`;
    this.rows += 1;
  }

  get literals(): string[] {
    return this.values.map((values) => `{${values}}`);
  }
}

/** Ids by index, from 1: what a batch repeats in row after row travels once. */
class Dictionary<Id extends string> {
  private readonly indexes = new Map<Id, number>();

  index(id: Id): number {
    const known = this.indexes.get(id);
    if (known !== undefined) return known;
    this.indexes.set(id, this.indexes.size + 1);
    return this.indexes.size;
  }

  get ids(): string {
    return literal([...this.indexes.keys()]);
  }
}

interface Alert {
  org_id: OrgId;
  id: string;
  kind: string;
  severity: 'warning' | 'critical';
  message: string;
  subject_kind: string;
  subject_id: string;
  dedupe_key: string;
  details: Record<string, unknown>;
}

interface Draft {
  orgs: Dictionary<OrgId>;
  variants: Dictionary<VariantId>;
  locations: Dictionary<LocationId>;
  positions: Columns;
  commands: Columns;
  movements: Columns;
  commitments: Columns;
  events: Columns;
  rows: Columns;
  dirty: Columns;
  /** Of `commands`, in their order. */
  results: string[];
  alerts: Alert[];
  resolved: { org_id: OrgId; dedupe_key: string }[];
  dues: { org_id: OrgId; subject_id: ClaimId; due_at: number | null }[];
}

/** Writes all shares in one statement. Throws store.conflict when another transaction used one of the keys first. */
export async function write(tx: Tx, shares: readonly DecidedShare[], context: PostContext): Promise<void> {
  const columns = Object.fromEntries(tables.map((table) => [table, new Columns(types[table].length)])) as Pick<
    Draft,
    (typeof tables)[number]
  >;
  const ids = {
    orgs: new Dictionary<OrgId>(),
    variants: new Dictionary<VariantId>(),
    locations: new Dictionary<LocationId>(),
  };
  const draft: Draft = { ...ids, ...columns, results: [], alerts: [], resolved: [], dues: [] };
  const skus = await skusOfCases(tx, shares);
  for (const share of shares) addShare(draft, share, skus, context);
  if (draft.commands.rows === 0) return;
  const rare = (rows: readonly unknown[]) => (rows.length > 0 ? JSON.stringify(rows) : null);
  const values = [
    ids.orgs.ids,
    ids.variants.ids,
    ids.locations.ids,
    ...tables.flatMap((table) => draft[table].literals),
    draft.results.join('\n'),
    rare(draft.alerts),
    rare(draft.resolved),
    rare(draft.dues),
    context.now,
  ];
  try {
    await tx.query(writeStatement, values);
  } catch (error) {
    const { code, constraint } = error as { code?: string; constraint?: string };
    if (code !== '23505' || constraint !== 'ledger_effects_pkey') throw error;
    throw new StoreError('store.conflict', 'Another transaction posted the same effect first.', { constraint }, error);
  }
}

/** SKUs by organization and variant. */
type Skus = ReadonlyMap<string, string>;

/** SKUs for the cases people read; most batches have none. */
async function skusOfCases(tx: Tx, shares: readonly DecidedShare[]): Promise<Skus> {
  const wanted = shares.flatMap(({ loaded: { orgId }, book, decided }) => {
    const short = book.changed().claims.filter((row) => row.kind === 'shortfall');
    return [...short, ...decided.found].map(({ variantId }) => ({ orgId, variantId }));
  });
  if (wanted.length === 0) return new Map();
  const { rows } = await tx.query<{ skus: [OrgId, VariantId, string][] | null }>(skusStatement, [
    literal(wanted.map(({ orgId }) => orgId)),
    literal(wanted.map(({ variantId }) => variantId)),
  ]);
  return new Map(rows[0]?.skus?.map(([orgId, variantId, sku]) => [orgId + variantId, sku]));
}

function addShare(
  draft: Draft,
  { loaded, commands, book, decided }: DecidedShare,
  skus: Skus,
  context: PostContext,
): void {
  const { orgId } = loaded;
  const org = draft.orgs.index(orgId);
  const variant = (id: VariantId) => draft.variants.index(id);
  const location = (id: LocationId | null | undefined) => (id == null ? null : draft.locations.index(id));
  const { positions, claims } = book.changed();
  const log = new ClaimLog(draft, org, claims);
  for (const { index, result, movements } of decided.written) {
    const command = commands[index] as Command;
    const key = quoted(command.key);
    const actor = quoted(command.actor ?? context.actor);
    const reference = command.reference == null ? null : quoted(command.reference);
    draft.commands.add(org, key);
    draft.results.push(JSON.stringify(toStored(result)));
    for (const { variantId, units, from, to, kind, reason } of movements) {
      const sides = [location(from?.locationId), from?.bucket ?? null, location(to?.locationId), to?.bucket ?? null];
      draft.movements.add(
        org,
        key,
        actor,
        reference,
        command.businessAt,
        context.ids.uuid(),
        variant(variantId),
        units,
        ...sides,
        kind,
        quoted(reason),
      );
    }
    if (result.kind === 'posted') for (const change of result.claims) log.add(change, key, actor, command.businessAt);
  }
  log.end();
  addPositions(draft, loaded, positions);
  addClaims(draft, orgId, book, claims);
  addOversell(draft, loaded, book, claims, skus, context);
  for (const found of decided.found) addFound(draft, loaded, found, skus, context);
}

/**
 * The claim log of one organization's share. A commitment that the batch makes carries the first entry of its log in its own row,
 * unless an entry of that claim stands before it: rows are numbered before the other entries, and a claim's entries in order.
 */
class ClaimLog {
  /** Rows to make whose first entry is still to come. */
  private readonly made = new Map<string, ClaimState>();
  private readonly begun = new Set<ClaimId>();
  private readonly draft: Draft;
  private readonly org: number;

  constructor(draft: Draft, org: number, claims: readonly ClaimState[]) {
    this.draft = draft;
    this.org = org;
    for (const row of claims) if (isFirst(row)) this.made.set(row.claimId + row.variantId + row.locationId, row);
  }

  /** @param key and actor quoted */
  add(change: ClaimChange, key: string, actor: string, at: number): void {
    const { claim, claimId, variantId, locationId, delta, event } = change;
    const name = claimId + variantId + locationId;
    const row = claim === 'commitment' && !this.begun.has(claimId) ? this.made.get(name) : undefined;
    if (row) {
      this.row(row, delta, event, actor, key, at);
      this.made.delete(name);
      return;
    }
    this.begun.add(claimId);
    const { variants, locations } = this.draft;
    const location = locationId === null ? null : locations.index(locationId);
    this.draft.events.add(this.org, key, actor, at, claim, claimId, variants.index(variantId), location, delta, event);
  }

  /** Rows that have no entry of their own. */
  end(): void {
    for (const row of this.made.values()) this.row(row, null, null, null, null, null);
  }

  private row(row: ClaimState, ...first: Value[]): void {
    const { claimId, variantId, locationId, open, spent, ended, seq } = row;
    const { commitments, variants, locations } = this.draft;
    const location = locationId === null ? null : locations.index(locationId);
    commitments.add(this.org, claimId, variants.index(variantId), location, open, spent, ended, seq, ...first);
  }
}

/** Nobody else can make it meanwhile: its position is locked. */
const isFirst = (row: ClaimState) => row.kind === 'commitment' && row.stored === null;

function addPositions(draft: Draft, { orgId, versions }: LoadedShare, positions: readonly PositionState[]): void {
  const hints = new Map<VariantId, { least: number; changes: number }>();
  for (const { variantId, at, version, stored, now } of positions) {
    if (buckets.every((bucket) => now[bucket] === stored[bucket])) continue;
    const place = `"${at}"`;
    draft.positions.add(place, draft.variants.index(variantId), ...buckets.map((bucket) => now[bucket]), version + 1);
    const hint = hints.get(variantId);
    const here = available(now);
    hints.set(variantId, { least: Math.min(here, hint?.least ?? here), changes: (hint?.changes ?? 0) + 1 });
  }
  const org = draft.orgs.index(orgId);
  for (const [variantId, { least, changes }] of hints) {
    draft.dirty.add(org, draft.variants.index(variantId), least, (versions.get(variantId) ?? 0) + changes);
  }
}

function addClaims(draft: Draft, orgId: OrgId, book: Book, claims: readonly ClaimState[]): void {
  const holds = new Map<ClaimId, number | null>();
  for (const row of claims) {
    if (isFirst(row)) continue;
    draft.rows.add(
      row.kind,
      draft.orgs.index(orgId),
      row.claimId,
      draft.variants.index(row.variantId),
      row.locationId === null ? null : draft.locations.index(row.locationId),
      row.as,
      row.open,
      row.spent,
      row.ended,
      row.lapsed,
      row.seq,
      row.origin,
      row.expiresAt,
    );
    if (row.as === 'hold') holds.set(row.claimId, row.expiresAt);
  }
  // Some variants of a hold may not be loaded here: ledger_book looks at all of them before a due row goes.
  for (const [subject_id, expiresAt] of holds) {
    draft.dues.push({ org_id: orgId, subject_id, due_at: book.standsAsHold(subject_id) ? expiresAt : null });
  }
}

/** A case per claim and variant whose waiting units grew; resolved when none wait any more. */
function addOversell(
  draft: Draft,
  { orgId }: LoadedShare,
  book: Book,
  claims: readonly ClaimState[],
  skus: Skus,
  context: PostContext,
): void {
  const cases = new Map<string, { row: ClaimState; before: number; now: number }>();
  for (const row of claims) {
    if (row.kind !== 'shortfall') continue;
    // Held and owed units of a line are one case, also when only one of the two rows changed.
    const both = book.rowsOf(row.claimId, 'shortfall', row.variantId);
    const before = both.reduce((sum, one) => sum + (one.stored?.open ?? 0), 0);
    const now = both.reduce((sum, one) => sum + one.open, 0);
    cases.set(`oversell:${row.claimId}:${row.variantId}`, { row, before, now });
  }
  for (const [dedupe_key, { row, before, now }] of cases) {
    if (now === 0 && before > 0) draft.resolved.push({ org_id: orgId, dedupe_key });
    if (now <= before) continue;
    const sku = skus.get(orgId + row.variantId) ?? '';
    draft.alerts.push({
      org_id: orgId,
      id: context.ids.uuid(),
      kind: 'oversell',
      severity: 'critical',
      message: `${now} of ${sku} sold without goods behind them`,
      subject_kind: row.as === 'hold' ? 'hold' : 'line',
      subject_id: row.claimId,
      dedupe_key,
      details: { sku, variantId: row.variantId, claimId: row.claimId, units: now },
    });
  }
}

function addFound(draft: Draft, { orgId }: LoadedShare, found: Found, skus: Skus, context: PostContext): void {
  const dedupe_key = `${found.kind}:${found.variantId}:${found.locationId}`;
  const sku = skus.get(orgId + found.variantId) ?? '';
  const known = draft.alerts.find((alert) => alert.org_id === orgId && alert.dedupe_key === dedupe_key);
  const units = found.units + Number(known?.details.units ?? 0);
  const message = `${units} of ${sku} ${found.kind === 'shipped_beyond_book' ? 'left' : 'were taken off'} although the book did not have them`;
  const details = { sku, variantId: found.variantId, locationId: found.locationId, units };
  if (known) Object.assign(known, { message, details });
  else {
    draft.alerts.push({
      org_id: orgId,
      id: context.ids.uuid(),
      kind: found.kind,
      severity: 'warning',
      message,
      subject_kind: 'variant',
      subject_id: found.variantId,
      dedupe_key,
      details,
    });
  }
}
