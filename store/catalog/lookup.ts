/** From what people write (SKU, location code) to ids. */
import type { LocationId, VariantId } from '#core/ids.ts';
import type { Tx } from '../tx.ts';

export interface FoundPlace {
  variantId: VariantId | null;
  isBundle: boolean;
  locationId: LocationId | null;
  locationCode: string | null;
}

/** `location` null = the default location. Either id is null where there is no such thing. One round trip. */
export async function findPlace(tx: Tx, orgId: string, sku: string, location: string | null): Promise<FoundPlace> {
  const { rows } = await tx.query<{
    variant_id: VariantId | null;
    is_bundle: boolean | null;
    location_id: LocationId | null;
    code: string | null;
  }>(
    `select v.id as variant_id, v.is_bundle, l.id as location_id, l.code
     from (values (1)) one
     left join variants v on v.org_id = $1 and v.sku = $2
     left join locations l on l.org_id = $1 and (case when $3::text is null then l.is_default else l.code = $3 end)`,
    [orgId, sku, location],
  );
  const row = rows[0];
  return {
    variantId: row?.variant_id ?? null,
    isBundle: row?.is_bundle ?? false,
    locationId: row?.location_id ?? null,
    locationCode: row?.code ?? null,
  };
}

export interface LocationRow {
  id: string;
  code: string;
  name: string;
  isDefault: boolean;
  priority: number;
  servesOrders: boolean;
}

export async function listLocations(tx: Tx, orgId: string): Promise<LocationRow[]> {
  const { rows } = await tx.query<LocationRow>(
    `select id, code, name, is_default as "isDefault", priority, serves_orders as "servesOrders"
     from locations where org_id = $1 order by is_default desc, priority, code`,
    [orgId],
  );
  return rows;
}

/** Makes the locations that are missing, by code. */
export async function ensureLocations(tx: Tx, orgId: string, locations: readonly LocationRow[]): Promise<void> {
  for (const location of locations)
    await tx.query(
      `insert into locations (org_id, id, code, name, is_default, priority, serves_orders) values ($1, $2, $3, $4, $5, $6, $7)
       on conflict (org_id, code) do nothing`,
      [orgId, location.id, location.code, location.name, location.isDefault, location.priority, location.servesOrders],
    );
}
