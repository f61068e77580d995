/** Listings as a command names and shows them. */
import type { Tx } from '../tx.ts';

export interface ListingLine {
  id: string;
  connectionId: string;
  connection: string;
  sku: string | null;
  channelSku: string;
}

const from = `from listings l join connections c on c.org_id = $1 and c.id = l.connection_id and c.deleted_at is null
  left join variants v on v.org_id = $1 and v.id = l.variant_id where l.org_id = $1`;

/** By listing id, or by our SKU: all its listings, by connection. */
export async function findListings(tx: Tx, orgId: string, named: string, byId: boolean): Promise<ListingLine[]> {
  const { rows } = await tx.query<ListingLine>(
    `select l.id, c.id as "connectionId", c.name as connection, v.sku, l.channel_sku as "channelSku" ${from}
       and ${byId ? 'l.id = $2::uuid' : 'v.sku = $2'} order by c.created_at, c.id, l.id`,
    [orgId, named],
  );
  return rows;
}

export interface SettledLine {
  id: string;
  connection: string;
  sku: string;
  channelLocation: string;
  desired: number | null;
  observed: number | null;
  state: string;
  /** Read, compared and, when it had to be, sent and answered. */
  settled: boolean;
}

export async function listingSettled(tx: Tx, orgId: string, ids: readonly string[]): Promise<SettledLine[]> {
  const { rows } = await tx.query<SettledLine>(
    `select l.id, c.name as connection, coalesce(v.sku, l.channel_sku) as sku, t.channel_location as "channelLocation", t.desired, t.observed, t.state,
       (t.read_due is null or t.read_due > to_timestamp(0)) and (t.dirty_version <= t.handled_version or t.variant_id is null or t.read_only) as settled
     from listings l join connections c on c.org_id = $1 and c.id = l.connection_id
     join targets t on t.org_id = $1 and t.connection_id = l.connection_id and t.stock_key = l.stock_key
     left join variants v on v.org_id = $1 and v.id = l.variant_id
     where l.org_id = $1 and l.id = any($2::uuid[]) order by c.created_at, l.id, t.channel_location`,
    [orgId, ids],
  );
  return rows;
}

/** The numbers of a listing, as a question to its channel needs them. */
export interface ListingNumber {
  connectionId: string;
  connection: string;
  sku: string | null;
  stockKey: string;
  channelLocation: string;
  desired: number | null;
}

export async function listingNumbers(tx: Tx, orgId: string, listingId: string): Promise<ListingNumber[]> {
  const { rows } = await tx.query<ListingNumber>(
    `select c.id as "connectionId", c.name as connection, v.sku, t.stock_key as "stockKey", t.channel_location as "channelLocation", t.desired
     from listings l join connections c on c.org_id = $1 and c.id = l.connection_id and c.deleted_at is null
     join targets t on t.org_id = $1 and t.connection_id = l.connection_id and t.stock_key = l.stock_key
     left join variants v on v.org_id = $1 and v.id = l.variant_id
     where l.org_id = $1 and l.id = $2 order by t.channel_location`,
    [orgId, listingId],
  );
  return rows;
}
