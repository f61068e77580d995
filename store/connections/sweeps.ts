/**
 * Order sweeps: whose turn it is, who is at it, and up to where a connection's orders are known.
 *
 * `orders_read_to` says: every order changed up to then is in our book. Presumed sales at the channel are given up on its
 * strength (design: unseen), so it moves only when everything the sweep stored is applied, and never past a dead letter.
 */
import { dropSettledUnplaced } from '../listings/effects.ts';
import type { Store, Tx } from '../tx.ts';

export interface SweepTurn {
  orgId: string;
  connectionId: string;
}

/** Connections whose interval has passed, of these platforms (scope `system`). */
export async function findDueSweeps(
  store: Store,
  every: ReadonlyMap<string, number>,
  now: number,
  limit: number,
): Promise<SweepTurn[]> {
  return store.system(async (tx) => {
    const { rows } = await tx.query<SweepTurn>(
      {
        name: 'sweeps_due',
        text: `select org_id as "orgId", id as "connectionId" from system_find_due_order_sweeps($1, $2, to_timestamp($3::float8 / 1000.0), $4)`,
      },
      [[...every.keys()], [...every.values()], now, limit],
    );
    return rows;
  });
}

export interface SweepStart {
  /** Unix ms; null = never swept. */
  readTo: number | null;
  createdAt: number;
  settings: Record<string, unknown>;
}

/**
 * Takes the turn until `until`; null when another process has it (or the connection is gone).
 * @param takeAtOnce nobody else can be at work: a turn that stands is a dead predecessor's
 */
export async function takeSweep(
  tx: Tx,
  orgId: string,
  connectionId: string,
  now: number,
  until: number,
  takeAtOnce = false,
): Promise<SweepStart | null> {
  const { rows } = await tx.query<{ readTo: Date | null; createdAt: Date; settings: Record<string, unknown> }>(
    `update connections set order_sweep_lease = to_timestamp($4::float8 / 1000.0)
     where org_id = $1 and id = $2 and deleted_at is null and ($5 or order_sweep_lease is null or order_sweep_lease <= to_timestamp($3::float8 / 1000.0))
     returning orders_read_to as "readTo", created_at as "createdAt", settings`,
    [orgId, connectionId, now, until, takeAtOnce],
  );
  const row = rows[0];
  return row
    ? { readTo: row.readTo?.getTime() ?? null, createdAt: row.createdAt.getTime(), settings: row.settings }
    : null;
}

/** Keeps the turn, or with a time of the past gives it back; with a later one nobody tries before then. */
export async function leaseSweep(tx: Tx, orgId: string, connectionId: string, until: number): Promise<void> {
  await tx.query(
    'update connections set order_sweep_lease = to_timestamp($3::float8 / 1000.0) where org_id = $1 and id = $2',
    [orgId, connectionId, until],
  );
}

/**
 * Orders of the connection that are stored but not applied: those stored up to `storedBy`, and answers to reads that
 * were asked for on their behalf, whenever those came.
 */
export async function unappliedOrders(
  tx: Tx,
  orgId: string,
  connectionId: string,
  storedBy: number,
): Promise<{ waiting: number; dead: number }> {
  const { rows } = await tx.query<{ waiting: number; dead: number }>(
    {
      name: 'sweeps_unapplied',
      text: `select count(*) filter (where state = 'waiting')::int as waiting, count(*) filter (where state = 'dead')::int as dead
        from inbox where org_id is not distinct from $1 and connection_id = $2 and kind = 'order' and state in ('waiting', 'dead')
          and (received_at <= to_timestamp($3::float8 / 1000.0) or source = 'fetch')`,
    },
    [orgId, connectionId, storedBy],
  );
  return rows[0] ?? { waiting: 0, dead: 0 };
}

/** `readTo` null: swept, but something is still missing, so the mark stays. The mark never goes back. */
export async function finishSweep(
  tx: Tx,
  orgId: string,
  connectionId: string,
  finish: { readTo: number | null; now: number },
): Promise<void> {
  if (finish.readTo !== null) await dropSettledUnplaced(tx, orgId, connectionId, { keys: null, readTo: finish.readTo });
  await tx.query(
    `update connections set order_sweep_lease = null, orders_swept_at = to_timestamp($4::float8 / 1000.0),
       orders_read_to = case when $3::float8 is null then orders_read_to else greatest(orders_read_to, to_timestamp($3::float8 / 1000.0)) end
     where org_id = $1 and id = $2`,
    [orgId, connectionId, finish.readTo, finish.now],
  );
}

/** Live connections of these platforms (scope `system`): whose queues are polled, whose reads are taken over. */
export async function listLiveConnections(
  store: Store,
  platforms: readonly string[],
): Promise<(SweepTurn & { platform: string })[]> {
  return store.system(async (tx) => {
    const { rows } = await tx.query<SweepTurn & { platform: string }>(
      'select org_id as "orgId", id as "connectionId", platform from system_list_connections($1)',
      [platforms],
    );
    return rows;
  });
}
