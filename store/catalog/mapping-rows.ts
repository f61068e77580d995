/** What rows of a mapping file point at: connections by name or id, listings by what the channel calls them. */
import type { Tx } from '../tx.ts';

export interface NamedConnection {
  id: string;
  name: string;
  platform: string;
}

export async function readNamedConnections(tx: Tx, orgId: string): Promise<NamedConnection[]> {
  const { rows } = await tx.query<NamedConnection>(
    'select id, name, platform from connections where org_id = $1 and deleted_at is null order by name, id',
    [orgId],
  );
  return rows;
}

export interface WantedListing {
  connectionId: string;
  channelSku: string | null;
  externalId: string | null;
  variantExternalId: string | null;
}

export interface FoundListing {
  id: string;
  variantId: string | null;
}

/** The listings that fit each of these; every given name must fit. */
export async function findListings(tx: Tx, orgId: string, wanted: readonly WantedListing[]): Promise<FoundListing[][]> {
  const { rows } = await tx.query<FoundListing & { place: number }>(
    `select w.place::int, l.id, l.variant_id as "variantId"
     from unnest($2::uuid[], $3::text[], $4::text[], $5::text[]) with ordinality as w (connection_id, channel_sku, external_id, variant_id, place)
     join listings l on l.org_id = $1 and l.connection_id = w.connection_id
       and (w.channel_sku is null or l.channel_sku = w.channel_sku)
       and (w.external_id is null or l.external_id = w.external_id)
       and (w.variant_id is null or l.variant_external_id = w.variant_id)
     order by w.place, l.id`,
    [
      orgId,
      wanted.map(({ connectionId }) => connectionId),
      wanted.map(({ channelSku }) => channelSku),
      wanted.map(({ externalId }) => externalId),
      wanted.map(({ variantExternalId }) => variantExternalId),
    ],
  );
  return wanted.map((_, place) =>
    rows.filter((row) => row.place === place + 1).map(({ id, variantId }) => ({ id, variantId })),
  );
}

/** What the listing stands for now; null: nothing; undefined: there is no such listing. */
export async function currentMapping(tx: Tx, orgId: string, listingId: string): Promise<string | null | undefined> {
  const { rows } = await tx.query<{ variantId: string | null }>(
    'select variant_id as "variantId" from listings where org_id = $1 and id = $2 for no key update',
    [orgId, listingId],
  );
  return rows[0]?.variantId;
}
