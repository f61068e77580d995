/** Versioned rows as they stood at a business time: what bundles were made of, mappings, policies, last units. */
import type { PolicyScope } from '#core/stock/publishable.ts';
import type { WorkPart, WorkPlace, WorkPolicy } from '../listings/work.ts';
import type { Tx } from '../tx.ts';

const inForce = (row: string) => `${row}.valid_from <= $2 and (${row}.valid_to is null or ${row}.valid_to > $2)`;

export interface PastPart {
  whole: string;
  variantId: string;
  sku: string;
  units: number;
}

/** The parts of these variants at that time, by SKU; a variant without rows was plain. */
export async function readPartsAt(
  tx: Tx,
  orgId: string,
  variantIds: readonly string[],
  at: number,
): Promise<PastPart[]> {
  const { rows } = await tx.query<PastPart>(
    `select b.variant_id as whole, b.component_id as "variantId", v.sku, b.units
     from bundle_components b join variants v on v.org_id = b.org_id and v.id = b.component_id
     where b.org_id = $1 and ${inForce('b')} and b.variant_id = any ($3::uuid[]) order by v.sku`,
    [orgId, new Date(at), variantIds],
  );
  return rows;
}

/** Which of our locations stood behind the connection's at that time, default first, then by priority. */
export async function readPlacesAt(tx: Tx, orgId: string, connectionId: string, at: number): Promise<WorkPlace[]> {
  const { rows } = await tx.query<WorkPlace>(
    `select m.channel_location as "channelLocation", m.location_id as "locationId", l.is_default as "isDefault", l.priority
     from connection_location_history m join locations l on l.org_id = m.org_id and l.id = m.location_id
     where m.org_id = $1 and ${inForce('m')} and m.connection_id = $3 order by l.is_default desc, l.priority, l.code`,
    [orgId, new Date(at), connectionId],
  );
  return rows;
}

/** The policies of these subjects at that time. */
export async function readPoliciesAt(
  tx: Tx,
  orgId: string,
  scopeIds: readonly string[],
  at: number,
): Promise<{ scope: PolicyScope; scopeId: string; fields: WorkPolicy }[]> {
  const { rows } = await tx.query<{ scope: PolicyScope; scopeId: string; fields: WorkPolicy }>(
    `select p.scope, p.scope_id as "scopeId", jsonb_build_object('buffer', p.buffer, 'shareBp', p.share_bp, 'cap', p.cap, 'lastUnits', p.last_units) as fields
     from policies p where p.org_id = $1 and ${inForce('p')} and p.scope_id = any ($3::uuid[])`,
    [orgId, new Date(at), scopeIds],
  );
  return rows;
}

/** Where the last units of these variants were offered at that time; no row = nowhere in particular. */
export async function readScarcityAt(
  tx: Tx,
  orgId: string,
  variantIds: readonly string[],
  at: number,
): Promise<Map<string, NonNullable<WorkPart['scarce']>>> {
  const { rows } = await tx.query<{ variantId: string; scarce: NonNullable<WorkPart['scarce']> }>(
    `select e.variant_id as "variantId", jsonb_build_object('connectionId', e.connection_id, 'connection', c.name, 'lastUnits', e.last_units) as scarce
     from scarcity_episodes e join connections c on c.org_id = e.org_id and c.id = e.connection_id
     where e.org_id = $1 and ${inForce('e')} and e.variant_id = any ($3::uuid[])`,
    [orgId, new Date(at), variantIds],
  );
  return new Map(rows.map(({ variantId, scarce }) => [variantId, scarce]));
}

export interface SeenAndSent {
  observed: number | null;
  observedAt: string | null;
  sent: number | null;
  sentAt: string | null;
  /** As it is known today; null = never known. */
  outcome: string | null;
}

const stamp = (column: string) => `to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

/** The last counted observation (by the vendor's time) and the last write of each target at that time. */
export async function readSeenAndSentAt(
  tx: Tx,
  orgId: string,
  targetIds: readonly string[],
  at: number,
): Promise<Map<string, SeenAndSent>> {
  const { rows } = await tx.query<SeenAndSent & { targetId: string }>(
    `select t.id as "targetId", o.value as observed, ${stamp('o.vendor_at')} as "observedAt", a.value as sent, ${stamp('a.sent_at')} as "sentAt", a.outcome
     from targets t
     left join lateral (select value, vendor_at from observations where org_id = t.org_id and target_id = t.id and vendor_at <= $2 and counted
       order by vendor_at desc limit 1) o on true
     left join lateral (select value, sent_at, outcome from attempts where org_id = t.org_id and target_id = t.id and sent_at <= $2
       order by sent_at desc limit 1) a on true
     where t.org_id = $1 and t.id = any ($3::uuid[])`,
    [orgId, new Date(at), targetIds],
  );
  return new Map(rows.map(({ targetId, ...row }) => [targetId, row]));
}
