/**
 * Shadow mode: a connection whose numbers are computed, compared and recorded exactly as always, and never sent.
 *
 *   on   → every target is looked at and stands in `shadow`; what would be sent is one open row per target in shadow_writes,
 *          superseded by the next, the last 20 kept. Sweeps read as always. Nothing is recorded in `attempts`.
 *   off  → every such target is compared again: with nothing changed meanwhile, the first writes are the open rows.
 */
import { audit } from '../access/audit.ts';
import type { Tx } from '../tx.ts';
import type { Acting } from './halts.ts';
import { markOffersOpen } from './scarce-marks.ts';
import type { Finding } from './states.ts';

/** Superseded rows kept per target. */
const kept = 20;

/** @returns false: no such connection. Switching to what it is already changes nothing. */
export async function setShadow(tx: Tx, orgId: string, id: string, on: boolean, acting: Acting): Promise<boolean> {
  const { rows } = await tx.query<{ was: boolean }>(
    `select shadow_at is not null as was from connections where org_id = $1 and id = $2 and deleted_at is null for update`,
    [orgId, id],
  );
  const [row] = rows;
  if (!row) return false;
  if (row.was === on) return true;
  const at = `to_timestamp($3::float8 / 1000.0)`;
  await tx.query(
    `update connections set shadow_at = case when $4 then ${at} end, shadow_by = case when $4 then $5 end where org_id = $1 and id = $2`,
    [orgId, id, acting.now, on, acting.actor],
  );
  await tx.query(
    `with locked as materialized (select id from targets where org_id = $1 and connection_id = $2 and variant_id is not null and not read_only
       and ($4 or state = 'shadow') order by id for update)
     update targets t set state = case when t.state = 'shadow' then 'unknown' else t.state end, reason = case when t.state = 'shadow' then null else t.reason end,
       dirty_version = t.dirty_version + 1, dirty_since = coalesce(t.dirty_since, ${at}), next_try_at = null, version = t.version + 1
     from locked l where t.org_id = $1 and t.id = l.id`,
    [orgId, id, acting.now, on],
  );
  if (!on)
    await tx.query(
      `update shadow_writes set superseded_at = ${at} where org_id = $1 and connection_id = $2 and superseded_at is null`,
      [orgId, id, acting.now],
    );
  if (!on) await markOffersOpen(tx, orgId);
  const action = `connection.shadow_${on ? 'on' : 'off'}`;
  await audit(tx, orgId, { id: acting.ids.uuid(), actor: acting.actor, action, subject: id });
  return true;
}

/** New live connections of the organization begin in shadow mode, or not. */
export async function setShadowDefault(tx: Tx, orgId: string, on: boolean, acting: Acting): Promise<void> {
  await tx.query('update organizations set shadow_new = $2 where org_id = $1', [orgId, on]);
  const action = `organization.shadow_new_${on ? 'on' : 'off'}`;
  await audit(tx, orgId, { id: acting.ids.uuid(), actor: acting.actor, action, subject: orgId });
}

/** Called with the findings of a look, in their transaction. A row that says the same as the open one is not written again. */
export async function recordShadow(
  tx: Tx,
  orgId: string,
  connectionId: string,
  findings: readonly Finding[],
  context: { now: number; ids: { uuid(): string } },
): Promise<void> {
  const rows = findings
    .filter(({ wouldSend }) => wouldSend !== undefined)
    .map(({ targetId, wouldSend, steps }) => ({
      id: context.ids.uuid(),
      targetId,
      value: wouldSend?.value ?? null,
      from: wouldSend?.from ?? null,
      steps: steps ?? [],
    }));
  if (rows.length === 0) return;
  const values = [orgId, connectionId, JSON.stringify(rows), context.now];
  const records = `r as (select * from jsonb_to_recordset($3::jsonb) as r(id uuid, "targetId" uuid, value int, "from" int, steps jsonb))`;
  await tx.query(
    {
      name: 'shadow_supersede',
      text: `with ${records}
        update shadow_writes s set superseded_at = to_timestamp($4::float8 / 1000.0) from r
        where s.org_id = $1 and s.connection_id = $2 and s.target_id = r."targetId" and s.superseded_at is null
          and (s.value is distinct from r.value or s.from_value is distinct from r."from")`,
    },
    values,
  );
  await tx.query(
    {
      name: 'shadow_record',
      text: `with ${records}
        insert into shadow_writes (org_id, id, connection_id, target_id, value, from_value, derivation, recorded_at)
        select $1::uuid, r.id, $2::uuid, r."targetId", r.value, r."from", r.steps, to_timestamp($4::float8 / 1000.0) from r where r.value is not null
        on conflict (org_id, target_id) where superseded_at is null do nothing`,
    },
    values,
  );
  await tx.query(
    {
      name: 'shadow_bound',
      text: `delete from shadow_writes s using jsonb_to_recordset($2::jsonb) as r("targetId" uuid)
        where s.org_id = $1 and s.target_id = r."targetId" and s.superseded_at is not null
          and s.id not in (select k.id from shadow_writes k where k.org_id = $1 and k.target_id = r."targetId" and k.superseded_at is not null
            order by k.superseded_at desc, k.recorded_at desc, k.id limit ${kept})`,
    },
    [orgId, JSON.stringify(rows)],
  );
}

export interface ShadowItem {
  targetId: string;
  sku: string | null;
  stockKey: string;
  channelLocation: string;
  state: string;
  /** What we want it to show, what it shows by our last look. */
  desired: number | null;
  observed: number | null;
  /** null: nothing would be sent. */
  wouldSend: { value: number; from: number | null; at: string; derivation: unknown } | null;
}

export interface ShadowReport {
  since: string | null;
  totals: {
    targets: number;
    wouldCut: number;
    wouldRaise: number;
    unitsCut: number;
    unitsRaised: number;
    equal: number;
  };
  items: ShadowItem[];
  next: string | null;
}

const stamp = (column: string) => `to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
/** The channel's own number, as far as we know it: what a cut or a raise is judged against. */
const shown = 'coalesce(s.from_value, t.expected, t.observed, 0)';
const joined = `from targets t left join shadow_writes s on s.org_id = $1 and s.target_id = t.id and s.superseded_at is null
  left join variants v on v.org_id = $1 and v.id = t.variant_id
  where t.org_id = $1 and t.connection_id = $2 and t.variant_id is not null and not t.read_only`;

/** Differences first by target id; `differencesOnly` leaves out what would not be written. */
export async function readShadow(
  tx: Tx,
  orgId: string,
  connectionId: string,
  page: { limit: number; after: string | null; differencesOnly: boolean },
): Promise<ShadowReport> {
  const { rows: heads } = await tx.query<Pick<ShadowReport, 'since' | 'totals'>>(
    `select (select ${stamp('c.shadow_at')} from connections c where c.org_id = $1 and c.id = $2) as since,
       (select jsonb_build_object('targets', count(*), 'wouldCut', count(*) filter (where s.value < ${shown}), 'wouldRaise', count(*) filter (where s.value >= ${shown}),
         'unitsCut', coalesce(sum(${shown} - s.value) filter (where s.value < ${shown}), 0),
         'unitsRaised', coalesce(sum(s.value - ${shown}) filter (where s.value >= ${shown}), 0),
         'equal', count(*) filter (where s.id is null and t.state = 'shadow')) ${joined}) as totals`,
    [orgId, connectionId],
  );
  const { rows } = await tx.query<ShadowItem>(
    `select t.id as "targetId", v.sku, t.stock_key as "stockKey", t.channel_location as "channelLocation", t.state, t.desired, t.observed,
       case when s.id is not null then jsonb_build_object('value', s.value, 'from', s.from_value, 'at', ${stamp('s.recorded_at')}, 'derivation', s.derivation) end as "wouldSend"
     ${joined} and ($3::uuid is null or t.id > $3) and (not $4 or s.id is not null) order by t.id limit $5`,
    [orgId, connectionId, page.after, page.differencesOnly, page.limit + 1],
  );
  const items = rows.slice(0, page.limit);
  const [head] = heads;
  if (!head) throw new Error('a select without from answers one row');
  return { ...head, items, next: rows.length > page.limit ? (items.at(-1)?.targetId ?? null) : null };
}
