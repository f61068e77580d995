/**
 * What became of inbox rows: applied, overtaken, to be tried again, to be read again, or dead.
 *
 * A dead row never blocks its key: it is no longer waiting, and when a later row of the key is applied it is superseded,
 * so that the list of dead letters only holds what is still missing.
 */
import type { Tx } from '../tx.ts';
import type { SequenceKey } from './claim.ts';

export interface Settlement {
  orgId: string;
  id: string;
  state: 'waiting' | 'done' | 'superseded' | 'dead';
  /** Unix ms; for `waiting`: when to try again. */
  at: number;
  fetching?: boolean;
  attempts?: number;
  repeats?: number;
  errorCode?: string | null;
  error?: string | null;
  /** Unix ms: it failed, first then; kept among its failures. */
  failingSince?: number;
}

/** Rows that are no longer waiting are left as they are. */
export async function settleRows(tx: Tx, settlements: readonly Settlement[], now: number): Promise<void> {
  if (settlements.length === 0) return;
  await tx.query(
    `update inbox i set state = s.state, fetching = s.fetching,
        next_at = case when s.state = 'waiting' then to_timestamp(s.at / 1000.0) else i.next_at end,
        done_at = case when s.state = 'waiting' then null else to_timestamp(s.at / 1000.0) end,
        attempts = coalesce(s.attempts, i.attempts), repeats = coalesce(s.repeats, i.repeats), error_code = s.error_code, error = s.error,
        failing_since = case when s.failing_since is null then i.failing_since else to_timestamp(s.failing_since / 1000.0) end,
        failures = case when s.failing_since is null then i.failures else
          case when jsonb_array_length(i.failures) >= 10 then i.failures - 1 else coalesce(i.failures, '[]') end
            || jsonb_build_object('at', to_timestamp($11::float8 / 1000.0), 'code', s.error_code, 'error', left(s.error, 500)) end
      from unnest($1::uuid[], $2::uuid[], $3::text[], $4::float8[], $5::boolean[], $6::int[], $7::int[], $8::text[], $9::text[], $10::float8[])
        as s (org_id, id, state, at, fetching, attempts, repeats, error_code, error, failing_since)
      where i.org_id = s.org_id and i.id = s.id and i.state = 'waiting'`,
    [
      settlements.map((row) => row.orgId),
      settlements.map((row) => row.id),
      settlements.map((row) => row.state),
      settlements.map((row) => row.at),
      settlements.map((row) => row.fetching ?? false),
      settlements.map((row) => row.attempts ?? null),
      settlements.map((row) => row.repeats ?? null),
      settlements.map((row) => row.errorCode ?? null),
      settlements.map((row) => row.error ?? null),
      settlements.map((row) => row.failingSince ?? null),
      now,
    ],
  );
}

/** Dead rows of keys of which something newer was applied. @returns the ids, whose alerts can close. */
export async function supersedeDead(
  tx: Tx,
  keys: readonly SequenceKey[],
  now: number,
): Promise<{ orgId: string; id: string }[]> {
  if (keys.length === 0) return [];
  const { rows } = await tx.query<{ orgId: string; id: string }>(
    {
      name: 'inbox_supersede',
      text: `update inbox i set state = 'superseded', done_at = to_timestamp($5::float8 / 1000.0)
      from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) as k (org_id, connection_id, kind, external_id)
      where i.org_id is not distinct from k.org_id and i.connection_id = k.connection_id and i.kind = k.kind and i.external_id = k.external_id and i.state = 'dead'
      returning i.org_id as "orgId", i.id`,
    },
    [
      keys.map((key) => key.orgId),
      keys.map((key) => key.connectionId),
      keys.map((key) => key.kind),
      keys.map((key) => key.externalId),
      now,
    ],
  );
  return rows;
}

/** The channel answers again: what could not be read from it need not wait out its pause, nor what was given up for that alone. @returns how many rows. */
export async function retryReads(tx: Tx, orgId: string, connectionId: string, now: number): Promise<number> {
  const { rowCount } = await tx.query(
    `update inbox set next_at = to_timestamp($3::float8 / 1000.0), failing_since = null,
       state = 'waiting', done_at = null
     where org_id = $1 and connection_id = $2 and error_code in ('connector.unauthorized', 'connector.unavailable', 'connector.rate_limited')
       and (state = 'dead' or state = 'waiting' and next_at > to_timestamp($3::float8 / 1000.0))`,
    [orgId, connectionId, now],
  );
  return rowCount ?? 0;
}

/** Nobody else can be at work: reads that were under way died with a predecessor. @returns how many rows. */
export async function retryAbandoned(tx: Tx, orgId: string, connectionId: string, now: number): Promise<number> {
  const { rowCount } = await tx.query(
    `update inbox set next_at = to_timestamp($3::float8 / 1000.0)
     where org_id = $1 and connection_id = $2 and state = 'waiting' and fetching and next_at > to_timestamp($3::float8 / 1000.0)`,
    [orgId, connectionId, now],
  );
  return rowCount ?? 0;
}
