/**
 * What is decided about drifts: by policy (the lane), by a person (API, CLI), and the adoption itself.
 *
 * A decision is taken once: it moves the row from a state that allows it, under its lock, or changes nothing.
 */
import { raiseAlerts } from '../attention/alerts.ts';
import { announce } from '../listings/states.ts';
import type { Tx } from '../tx.ts';
import { closeAlerts } from './record.ts';

export interface DriftStepRow {
  driftId: string;
  targetId: string;
  to: 'healing' | 'asked' | 'adopting';
  policy: 'heal' | 'ask' | 'adopt';
  desired: number;
  flapping: boolean;
  reason: string;
}

/** The lane's: each only while the drift still stands undecided (or asked, when what we want has changed since). */
export async function applyDriftSteps(
  tx: Tx,
  orgId: string,
  steps: readonly DriftStepRow[],
  context: { ids: { uuid(): string }; now: number },
): Promise<void> {
  const { rows } = await tx.query<{ id: string; target_id: string; state: string }>(
    {
      name: 'drifts_decide',
      text: `update drifts d set state = r.to, policy = r.policy, desired = r.desired, decided_by = 'policy', decided_at = to_timestamp($3::float8 / 1000.0),
               reason = case when r.flapping then 'Healed again and again: somebody wants another number there.' else d.reason end
             from jsonb_to_recordset($2::jsonb) as r("driftId" uuid, "to" text, policy text, desired int, flapping boolean)
             where d.org_id = $1 and d.id = r."driftId" and d.ended_at is null and (d.state = 'found' or (d.state = 'asked' and r."to" = 'healing'))
             returning d.id, d.target_id, d.state`,
    },
    [orgId, JSON.stringify(steps), context.now],
  );
  for (const { id, target_id, state } of rows) {
    const step = steps.find(({ driftId }) => driftId === id);
    if (state === 'asked' && step)
      await raiseAlerts(
        tx,
        orgId,
        [
          {
            kind: step.flapping ? 'drift_flapping' : 'drift',
            message: step.reason,
            subject: { kind: 'target', id: target_id },
            details: { driftId: id },
          },
        ],
        context,
      );
    else if (state === 'healing') await closeAlerts(tx, orgId, [target_id], context.now);
  }
}

export type Decided = { kind: 'done'; state: string } | { kind: 'unknown' } | { kind: 'ended'; state: string };

/** A person decides. `heal`: ours is written again. `adopt`: booked by server/flows/drift.ts. `dismiss`: left as it is until ours changes. */
export async function decideDrift(
  tx: Tx,
  orgId: string,
  id: string,
  to: 'heal' | 'adopt' | 'dismiss',
  by: { actor: string; now: number },
): Promise<Decided> {
  const { rows } = await tx.query<{ target_id: string }>('select target_id from drifts where org_id = $1 and id = $2', [
    orgId,
    id,
  ]);
  const target = rows[0]?.target_id;
  if (!target) return { kind: 'unknown' };
  // The target is locked before its drift, as everywhere.
  await tx.query('select from targets where org_id = $1 and id = $2 for update', [orgId, target]);
  const { rows: open } = await tx.query<{ state: string; ended: boolean; cause: string }>(
    `select state, ended_at is not null as ended, cause from drifts where org_id = $1 and id = $2 for update`,
    [orgId, id],
  );
  const row = open[0];
  if (!row) return { kind: 'unknown' };
  const again = row.state === 'dismissed' && to !== 'dismiss';
  if (row.ended && !again) return { kind: 'ended', state: row.state };
  const state = to === 'heal' ? 'healing' : to === 'adopt' ? 'adopting' : 'dismissed';
  await tx.query(
    `update drifts set state = $3, policy = $4, decided_by = $5, decided_at = to_timestamp($6::float8 / 1000.0), reason = null,
       desired = coalesce((select desired from targets where org_id = $1 and id = $7), desired),
       ended_at = case when $3 = 'dismissed' then to_timestamp($6::float8 / 1000.0) end
     where org_id = $1 and id = $2`,
    [orgId, id, state, to === 'dismiss' ? null : to, by.actor, by.now, target],
  );
  await tx.query(
    `update targets set state = case when $3 then state else 'drifted' end, dirty_version = dirty_version + 1,
       dirty_since = coalesce(dirty_since, to_timestamp($4::float8 / 1000.0)), next_try_at = null, version = version + 1
     where org_id = $1 and id = $2`,
    [orgId, target, to === 'heal', by.now],
  );
  if (to === 'adopt')
    await tx.query(
      `insert into due (org_id, kind, subject_id, due_at) values ($1, 'drift', $2, to_timestamp($3::float8 / 1000.0))
       on conflict (org_id, kind, subject_id) do update set due_at = excluded.due_at`,
      [orgId, id, by.now],
    );
  await closeAlerts(tx, orgId, [target], by.now);
  await announce(tx, orgId, [target]);
  return { kind: 'done', state };
}

export interface Adoptable {
  id: string;
  targetId: string;
  variantId: string;
  sku: string;
  locationId: string | null;
  units: number;
  observed: number | null;
  state: string;
  cause: string;
  settled: boolean;
  isBundle: boolean;
  numbers: number;
  places: number;
  shareBp: number | null;
  cap: number | null;
}

/** Everything the question "may theirs become ours?" needs; null when the drift is gone or decided otherwise. Nothing is locked. */
export async function readAdoptable(tx: Tx, orgId: string, id: string): Promise<Adoptable | null> {
  const { rows } = await tx.query<Adoptable>(
    `with d as (select d.*, t.channel_location, t.stock_key, t.surplus from drifts d join targets t on t.org_id = $1 and t.id = d.target_id where d.org_id = $1 and d.id = $2),
     l as (select l.id from listings l, d where l.org_id = $1 and l.connection_id = d.connection_id and l.stock_key = d.stock_key and l.variant_id is not null limit 1),
     p as (select o.* from policies o, d where o.org_id = $1 and o.valid_to is null and o.scope_id in (d.target_id, (select id from l), d.variant_id, d.connection_id, $1)),
     ranked as (select *, array_position(array['target', 'listing', 'variant', 'connection', 'organization'], scope) as rank from p)
     select d.id, d.target_id as "targetId", v.id as "variantId", v.sku, d.state, d.cause, d.observed, d.settled_at is not null as settled, v.is_bundle as "isBundle",
       case when d.units > 0 then least(d.units, d.surplus) else d.units - coalesce((select sum((e->>'units')::int) from jsonb_array_elements(d.explained) e where (e->>'units')::int < 0), 0)::int end as units,
       (select count(*)::int from targets o where o.org_id = $1 and o.variant_id = v.id) as numbers,
       (select count(*)::int from connection_locations m where m.org_id = $1 and m.connection_id = d.connection_id and m.channel_location = d.channel_location) as places,
       (select m.location_id from connection_locations m where m.org_id = $1 and m.connection_id = d.connection_id and m.channel_location = d.channel_location limit 1) as "locationId",
       (select share_bp from ranked where share_bp is not null order by rank limit 1) as "shareBp",
       (select cap from ranked where cap is not null order by rank limit 1) as cap
     from d join variants v on v.org_id = $1 and v.id = d.variant_id`,
    [orgId, id],
  );
  return rows[0] ?? null;
}

/** Books the end of an adoption. False when it was decided otherwise meanwhile: the caller's transaction must then write nothing. */
export async function endAdopted(tx: Tx, orgId: string, drift: Adoptable, now: number): Promise<boolean> {
  await tx.query('select from targets where org_id = $1 and id = $2 for update', [orgId, drift.targetId]);
  const { rowCount } = await tx.query(
    `update drifts set state = 'adopted', ended_at = to_timestamp($3::float8 / 1000.0) where org_id = $1 and id = $2 and state = 'adopting'`,
    [orgId, drift.id, now],
  );
  if (rowCount !== 1) return false;
  // Those units are in the book now: a restock that comes late is another one.
  await tx.query(
    `update targets set surplus = greatest(0, surplus - $3), surplus_at = case when surplus <= $3 then null else surplus_at end,
       dirty_version = dirty_version + 1, dirty_since = coalesce(dirty_since, to_timestamp($4::float8 / 1000.0)), version = version + 1
     where org_id = $1 and id = $2`,
    [orgId, drift.targetId, Math.max(0, drift.units), now],
  );
  await closeAlerts(tx, orgId, [drift.targetId], now);
  return true;
}

/** It cannot be adopted: a person must choose something else. */
export async function refuseAdoption(
  tx: Tx,
  orgId: string,
  drift: Adoptable,
  reason: string,
  context: { ids: { uuid(): string }; now: number },
): Promise<void> {
  const { rowCount } = await tx.query(
    `update drifts set state = 'asked', reason = $3 where org_id = $1 and id = $2 and state = 'adopting'`,
    [orgId, drift.id, reason],
  );
  if (rowCount !== 1) return;
  await raiseAlerts(
    tx,
    orgId,
    [
      {
        kind: 'drift',
        message: `The channel's number of ${drift.sku} (${drift.observed ?? 'unknown'}) cannot be taken over: ${reason} Heal or dismiss it.`,
        subject: { kind: 'target', id: drift.targetId },
        details: { driftId: drift.id },
      },
    ],
    context,
  );
}
