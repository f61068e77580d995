/**
 * Watches: what a connection needs now and then (its subscriptions looked at, its orders counted), whose turn it is and what was
 * found. A turn is a lease: one process at a time, and after a kill the next one waits it out.
 */
import type { Store, Tx } from '../tx.ts';

export type WatchKind = 'subscriptions' | 'order_counts';

export interface WatchRow {
  kind: WatchKind;
  nextAt: string;
  lookedAt: string | null;
  failures: number;
  result: Record<string, unknown> | null;
  error: string | null;
}

export async function findDueWatches(
  store: Store,
  kind: WatchKind,
  platforms: readonly string[],
  now: number,
  limit: number,
): Promise<{ orgId: string; connectionId: string }[]> {
  return store.system(async (tx) => {
    const { rows } = await tx.query<{ orgId: string; connectionId: string }>(
      {
        name: 'watches_due',
        text: `select org_id as "orgId", connection_id as "connectionId" from system_find_due_watches($1, $2, to_timestamp($3::float8 / 1000.0), $4)`,
      },
      [kind, platforms, now, limit],
    );
    return rows;
  });
}

/** Takes the turn; null when another has it (or the connection is gone). Answers what the last look found. */
export async function takeWatch(
  tx: Tx,
  orgId: string,
  connectionId: string,
  kind: WatchKind,
  now: number,
  until: number,
): Promise<{ result: Record<string, unknown> | null; failures: number } | null> {
  const { rows } = await tx.query<{ result: Record<string, unknown> | null; failures: number }>(
    `insert into connection_watches as w (org_id, connection_id, kind, next_at, lease_until, created_at)
     select org_id, id, $3, to_timestamp($4::float8 / 1000.0), to_timestamp($5::float8 / 1000.0), to_timestamp($4::float8 / 1000.0)
     from connections where org_id = $1 and id = $2 and deleted_at is null
     on conflict (org_id, connection_id, kind) do update set lease_until = excluded.lease_until
       where w.lease_until is null or w.lease_until <= to_timestamp($4::float8 / 1000.0)
     returning w.result, w.failures`,
    [orgId, connectionId, kind, now, until],
  );
  return rows[0] ?? null;
}

export async function renewWatch(
  tx: Tx,
  orgId: string,
  connectionId: string,
  kind: WatchKind,
  until: number,
): Promise<void> {
  await tx.query(
    `update connection_watches set lease_until = to_timestamp($4::float8 / 1000.0)
     where org_id = $1 and connection_id = $2 and kind = $3 and lease_until is not null`,
    [orgId, connectionId, kind, until],
  );
}

/** The look is over; one that was asked for meanwhile is kept. `error` null: complete. */
export async function finishWatch(
  tx: Tx,
  orgId: string,
  connectionId: string,
  kind: WatchKind,
  look: { result: unknown; error: string | null; startedAt: number; now: number; nextAt: number },
): Promise<void> {
  await tx.query(
    `update connection_watches set lease_until = null, error = $5,
       next_at = case when next_at > to_timestamp($6::float8 / 1000.0) then next_at else to_timestamp($8::float8 / 1000.0) end,
       failures = case when $5::text is null then 0 else failures + 1 end,
       looked_at = case when $5::text is null then to_timestamp($7::float8 / 1000.0) else looked_at end,
       result = case when $5::text is null then $4::jsonb else result end
     where org_id = $1 and connection_id = $2 and kind = $3`,
    [orgId, connectionId, kind, JSON.stringify(look.result ?? null), look.error, look.startedAt, look.now, look.nextAt],
  );
}

/** Looked at `at` at the latest. Nothing when it was never looked at: then its turn comes by itself. */
export async function askWatch(
  tx: Tx,
  orgId: string,
  connectionId: string,
  kind: WatchKind,
  at: number,
): Promise<void> {
  await tx.query(
    `update connection_watches set next_at = least(next_at, to_timestamp($4::float8 / 1000.0)) where org_id = $1 and connection_id = $2 and kind = $3`,
    [orgId, connectionId, kind, at],
  );
}

const stamp = (column: string) => `to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;

export async function readWatch(
  tx: Tx,
  orgId: string,
  connectionId: string,
  kind: WatchKind,
): Promise<WatchRow | null> {
  const { rows } = await tx.query<WatchRow>(
    `select kind, ${stamp('next_at')} as "nextAt", ${stamp('looked_at')} as "lookedAt", failures, result, error
     from connection_watches where org_id = $1 and connection_id = $2 and kind = $3`,
    [orgId, connectionId, kind],
  );
  return rows[0] ?? null;
}

/** Where its webhooks are wanted; whoever subscribes says it, and the watch holds the channel to it. */
export async function setWebhookUrl(tx: Tx, orgId: string, connectionId: string, url: string): Promise<void> {
  await tx.query('update connections set webhook_url = $3 where org_id = $1 and id = $2', [orgId, connectionId, url]);
}

export async function webhookUrlOf(tx: Tx, orgId: string, connectionId: string): Promise<string | null> {
  const { rows } = await tx.query<{ url: string | null }>(
    'select webhook_url as url from connections where org_id = $1 and id = $2',
    [orgId, connectionId],
  );
  return rows[0]?.url ?? null;
}

export interface Silence {
  /** Orders a sweep found since the last event, placed while we listened: at most 20. */
  orders: { externalId: string; foundAt: string }[];
  lastEventAt: string | null;
}

/**
 * Orders that only a sweep found since the channel last sent anything: its events have fallen silent. null: they have not.
 * @param before those found after it may still have their event on its way
 */
export async function readSilence(
  tx: Tx,
  orgId: string,
  connectionId: string,
  before: number,
): Promise<Silence | null> {
  const { rows } = await tx.query<Silence>(
    `with e as (select max(received_at) as at from inbox where org_id = $1 and connection_id = $2 and source in ('webhook', 'queue')),
     w as (select created_at from connection_watches where org_id = $1 and connection_id = $2 and kind = 'subscriptions'),
     s as (select i.external_id, min(i.received_at) as at from inbox i join orders o on o.org_id = $1 and o.connection_id = $2 and o.external_id = i.external_id, e, w
       where i.org_id = $1 and i.connection_id = $2 and i.source = 'poll' and i.kind = 'order' and i.received_at > coalesce(e.at, w.created_at)
         and i.received_at <= to_timestamp($3::float8 / 1000.0) and o.placed_at > w.created_at
       group by 1 order by 2 limit 20)
     select (select ${stamp('at')} from e) as "lastEventAt",
       coalesce((select jsonb_agg(jsonb_build_object('externalId', external_id, 'foundAt', ${stamp('at')}) order by at) from s), '[]') as orders`,
    [orgId, connectionId, before],
  );
  const [found] = rows;
  return found && found.orders.length > 0 ? found : null;
}
