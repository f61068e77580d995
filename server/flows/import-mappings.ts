/** A step of mapping rows: which listing of a channel stands for which SKU of ours. */
import type { MappingRow } from '#core/catalog/import-rows.ts';
import type { WaitingRow } from '#core/catalog/import-steps.ts';
import { findVariants } from '#store/catalog/bulk.ts';
import { findListings, type NamedConnection, readNamedConnections } from '#store/catalog/mapping-rows.ts';
import { mapListing } from '#store/listings/listings.ts';
import type { Tx } from '#store/tx.ts';
import { failedRow, type RowOutcome, type StepContext, type StepResult } from './import-rows.ts';

export interface MappingUndo {
  listingId: string;
  platform: string;
  before: string | null;
  after: string | null;
}

const channelNameOf = (row: MappingRow): string => row.channelSku ?? row.variantExternalId ?? row.externalId ?? '';

export async function applyMappings(tx: Tx, said: readonly WaitingRow[], context: StepContext): Promise<StepResult> {
  const { orgId } = context;
  const rows = said.map(({ says }) => says as MappingRow);
  const outcomes: RowOutcome[] = [];
  const connections = await readNamedConnections(tx, orgId);
  const variants = await findVariants(
    tx,
    orgId,
    rows.flatMap(({ sku }) => (sku === null ? [] : [sku])),
  );
  const placed = rows.flatMap((row) => {
    const found = pick(connections, row.connection);
    if (typeof found !== 'string') return [{ row, connection: found }];
    outcomes.push(
      failedRow({ row: row.row, field: 'connection', value: row.connection ?? '', reason: found }, row.sku ?? ''),
    );
    return [];
  });
  const listings = await findListings(
    tx,
    orgId,
    placed.map(({ row, connection }) => ({ ...row, connectionId: connection.id })),
  );
  const mapped = new Set<string>();
  for (const [place, { row, connection }] of placed.entries()) {
    const refuse = (field: string, value: string, reason: string) =>
      outcomes.push(failedRow({ row: row.row, field, value, reason }, row.sku ?? ''));
    const variant = row.sku === null ? null : variants.get(row.sku);
    const [listing, second] = listings[place] ?? [];
    if (variant === undefined) refuse('sku', row.sku ?? '', 'is not known; import it as a product first');
    else if (!listing) refuse('channel_sku', channelNameOf(row), `is not listed on ${connection.name}`);
    else if (second) refuse('channel_sku', channelNameOf(row), `fits several listings of ${connection.name}`);
    else {
      const after = variant?.id ?? null;
      const undo: MappingUndo = {
        listingId: listing.id,
        platform: connection.platform,
        before: listing.variantId,
        after,
      };
      const refused = await map(tx, context, undo);
      if (refused !== null) refuse('channel_sku', channelNameOf(row), refused);
      else if (listing.variantId === after)
        outcomes.push({ row: row.row, subject: row.sku ?? '', outcome: 'unchanged' });
      else {
        outcomes.push({ row: row.row, subject: row.sku ?? channelNameOf(row), outcome: 'done', undo });
        mapped.add(connection.id);
        // A later row of the same file meets what this one did.
        for (const others of listings) for (const other of others) if (other.id === listing.id) other.variantId = after;
      }
    }
  }
  return { outcomes, mapped: [...mapped] };
}

/** The connection that is meant (by id, name, or as the only one of a platform), or why none is. */
function pick(connections: readonly NamedConnection[], named: string | null): NamedConnection | string {
  if (named === null) {
    const [only, second] = connections;
    if (!only) return 'there is no connection yet';
    return second ? 'is missing; there are several connections' : only;
  }
  const wanted = named.toLowerCase();
  const byName = connections.filter(({ id, name }) => id === named || name.toLowerCase() === wanted);
  const found = byName.length > 0 ? byName : connections.filter(({ platform }) => platform === wanted);
  if (found[0] && !found[1]) return found[0];
  return found[1] ? 'fits several connections; give its id' : 'is not known';
}

/** @returns why it was refused, or null. */
export async function map(
  tx: Tx,
  { orgId, clock, ids, dryRun, compareAndSetOf }: StepContext,
  wanted: MappingUndo,
): Promise<string | null> {
  if (wanted.before === wanted.after) return null;
  const result = await mapListing(tx, orgId, wanted.listingId, wanted.after, {
    ids,
    now: clock.now(),
    isTrial: dryRun,
    compareAndSet: compareAndSetOf?.(wanted.platform) ?? false,
  });
  if (result.kind === 'refused') return result.reason;
  return result.kind === 'no_listing' ? 'the listing is gone' : null;
}
