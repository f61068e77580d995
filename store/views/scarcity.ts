/** Scarcity as people see it: the settings, and which SKU's last units are offered where. */
import type { Tx } from '../tx.ts';

export interface ScarcitySetting {
  scope: 'organization' | 'connection' | 'variant';
  connectionId: string | null;
  connection: string | null;
  sku: string | null;
  /** At this many available or fewer; 0 = never. */
  lastUnits: number | null;
  to: 'priority' | 'sales' | null;
}

export interface ScarceItem {
  sku: string;
  connectionId: string;
  connection: string;
  lastUnits: number;
  /** Units that were available when it began. */
  available: number;
  since: string;
}

/** Organization first, then connections, then SKUs. */
export async function readScarcitySettings(tx: Tx, orgId: string): Promise<ScarcitySetting[]> {
  const { rows } = await tx.query<ScarcitySetting>(
    `select p.scope, c.id as "connectionId", c.name as connection, v.sku, p.last_units as "lastUnits", p.last_units_to as "to"
     from policies p
     left join connections c on p.scope = 'connection' and c.org_id = p.org_id and c.id = p.scope_id
     left join variants v on p.scope = 'variant' and v.org_id = p.org_id and v.id = p.scope_id
     where p.org_id = $1 and p.valid_to is null and (p.last_units is not null or p.last_units_to is not null)
     order by case p.scope when 'organization' then 0 when 'connection' then 1 else 2 end, c.name, v.sku`,
    [orgId],
  );
  return rows;
}

/** SKUs that are scarce now, by SKU. @param after the last SKU of the page before */
export async function readScarceItems(
  tx: Tx,
  orgId: string,
  page: { limit: number; after: string | null; search: string | null },
): Promise<{ items: ScarceItem[]; next: string | null }> {
  const { rows } = await tx.query<ScarceItem>(
    `select v.sku, c.id as "connectionId", c.name as connection, e.last_units as "lastUnits", e.available,
       to_char(e.valid_from at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as since
     from scarcity_episodes e
     join variants v on v.org_id = e.org_id and v.id = e.variant_id
     join connections c on c.org_id = e.org_id and c.id = e.connection_id
     where e.org_id = $1 and e.valid_to is null and ($3::text is null or v.sku > $3)
       and ($4::text is null or strpos(lower(v.sku), lower($4)) > 0)
     order by v.sku limit $2`,
    [orgId, page.limit + 1, page.after, page.search],
  );
  const items = rows.slice(0, page.limit);
  return { items, next: rows.length > page.limit ? (items.at(-1)?.sku ?? null) : null };
}
