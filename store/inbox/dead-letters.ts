/** Dead letters: what could not be applied for good, with payload, error and attempts; a person retries or discards. */
import type { Tx } from '../tx.ts';

export interface DeadLetter {
  id: string;
  connectionId: string;
  platform: string;
  kind: string;
  externalId: string;
  topic: string;
  source: string;
  receivedAt: string;
  attempts: number;
  code: string | null;
  error: string | null;
  body: string;
}

const stamp = (column: string) => `to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

/** Oldest first. `after`: [received, id] of the last one seen. */
export async function listDeadLetters(
  tx: Tx,
  orgId: string,
  page: { limit: number; after: [string, string] | null },
): Promise<{ items: DeadLetter[]; next: [string, string] | null }> {
  const { rows } = await tx.query<DeadLetter>(
    `select i.id, i.connection_id as "connectionId", c.platform, i.kind, i.external_id as "externalId", i.topic, i.source,
       ${stamp('i.received_at')} as "receivedAt", i.attempts, i.error_code as code, i.error, encode(i.body, 'escape') as body
     from inbox i join connections c on c.org_id = i.org_id and c.id = i.connection_id
     where i.org_id = $1 and i.state = 'dead' and ($2::timestamptz is null or (i.received_at, i.id) > ($2::timestamptz, $3::uuid))
     order by i.received_at, i.id limit $4`,
    [orgId, page.after?.[0] ?? null, page.after?.[1] ?? null, page.limit + 1],
  );
  const items = rows.slice(0, page.limit);
  const last = items.at(-1);
  return { items, next: rows.length > page.limit && last ? [last.receivedAt, last.id] : null };
}

/** Waits again with a clean slate; wake the drain after. false: no such dead letter. */
export async function retryDeadLetter(tx: Tx, orgId: string, id: string, now: number): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update inbox set state = 'waiting', attempts = 0, repeats = 0, fetching = false, done_at = null, next_at = to_timestamp($3::float8 / 1000.0)
     where org_id = $1 and id = $2 and state = 'dead'`,
    [orgId, id, now],
  );
  return rowCount === 1;
}

/** A person decided that it shall have no effect. false: no such dead letter. */
export async function discardDeadLetter(tx: Tx, orgId: string, id: string, now: number): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update inbox set state = 'discarded', done_at = to_timestamp($3::float8 / 1000.0) where org_id = $1 and id = $2 and state = 'dead'`,
    [orgId, id, now],
  );
  return rowCount === 1;
}

/** The open alert of a dead letter. */
export const deadLetterAlertKey = (id: string): string => `dead_letter:${id}`;
