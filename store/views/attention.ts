/** What a person must look at: alerts and dead letters, as the API lists them. */
import { alertKindFacts } from '../attention/kinds.ts';
import type { Tx } from '../tx.ts';
import { likeAnywhere } from './search.ts';

export interface AlertItem {
  id: string;
  kind: string;
  severity: 'info' | 'warning' | 'critical';
  message: string;
  /** Its kind in plain words, and what to do about it; null for a kind this release does not know. */
  title: string | null;
  todo: string | null;
  subject: { kind: string; id: string } | null;
  count: number;
  details: Record<string, unknown>;
  createdAt: string;
  lastAt: string;
  readAt: string | null;
  resolvedAt: string | null;
}

const stamp = (column: string) => `to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
const alertColumns = `id, kind, severity, message, count, details,
  case when subject_id is null then null else jsonb_build_object('kind', subject_kind, 'id', subject_id) end as subject,
  ${stamp('created_at')} as "createdAt", ${stamp('last_at')} as "lastAt", ${stamp('read_at')} as "readAt", ${stamp('resolved_at')} as "resolvedAt"`;

/** Newest first. `after`: [created time, id] of the last one seen. */
export async function readAlerts(
  tx: Tx,
  orgId: string,
  filter: {
    unread: boolean;
    severity: string | null;
    search: string | null;
    limit: number;
    after: [string, string] | null;
  },
): Promise<{ items: AlertItem[]; count: number; unreadCount: number; next: [string, string] | null }> {
  const like = likeAnywhere(filter.search);
  const where = `org_id = $1 and (not $2 or read_at is null) and ($3::text is null or severity = $3) and ($4::text is null or message ilike $4 or subject_id ilike $4 or kind ilike $4)`;
  const { rows } = await tx.query<Omit<AlertItem, 'title' | 'todo'>>(
    `select ${alertColumns} from alerts where ${where} and ($5::timestamptz is null or (created_at, id) < ($5::timestamptz, $6::uuid))
     order by created_at desc, id desc limit $7`,
    [
      orgId,
      filter.unread,
      filter.severity,
      like,
      filter.after?.[0] ?? null,
      filter.after?.[1] ?? null,
      filter.limit + 1,
    ],
  );
  const { rows: counts } = await tx.query<{ count: number; unread: number }>(
    `select count(*) filter (where ${where.replace('org_id = $1 and ', '')})::int as count, count(*) filter (where read_at is null)::int as unread
     from alerts where org_id = $1`,
    [orgId, filter.unread, filter.severity, like],
  );
  const items = rows.slice(0, filter.limit).map((row) => ({
    ...row,
    title: alertKindFacts(row.kind)?.title ?? null,
    todo: alertKindFacts(row.kind)?.todo ?? null,
  }));
  const last = items.at(-1);
  return {
    items,
    count: counts[0]?.count ?? 0,
    unreadCount: counts[0]?.unread ?? 0,
    next: rows.length > filter.limit && last ? [last.createdAt, last.id] : null,
  };
}

/** False when there is no such alert. Reading twice keeps the first time. */
export async function markAlertRead(tx: Tx, orgId: string, id: string, now: number): Promise<boolean> {
  const { rowCount } = await tx.query(
    'update alerts set read_at = coalesce(read_at, $3) where org_id = $1 and id = $2',
    [orgId, id, new Date(now)],
  );
  return rowCount === 1;
}

export interface DeadLetter {
  id: string;
  connectionId: string;
  kind: string;
  externalId: string;
  topic: string;
  source: string;
  reason: string | null;
  errorCode: string | null;
  attempts: number;
  payload: string;
  receivedAt: string;
  deadAt: string | null;
}

export async function readDeadLetters(
  tx: Tx,
  orgId: string,
  page: { limit: number; search: string | null; after: [string, string] | null },
): Promise<{ items: DeadLetter[]; next: [string, string] | null }> {
  const { rows } = await tx.query<DeadLetter & { body: Buffer }>(
    `select id, connection_id as "connectionId", kind, external_id as "externalId", topic, source, error as reason, error_code as "errorCode", attempts, body,
       ${stamp('received_at')} as "receivedAt", ${stamp('done_at')} as "deadAt"
     from inbox where org_id = $1 and state = 'dead' and ($2::timestamptz is null or (received_at, id) < ($2::timestamptz, $3::uuid))
       and ($5::text is null or external_id ilike $5 or topic ilike $5 or error ilike $5)
     order by received_at desc, id desc limit $4`,
    [orgId, page.after?.[0] ?? null, page.after?.[1] ?? null, page.limit + 1, likeAnywhere(page.search)],
  );
  const items = rows.slice(0, page.limit).map(({ body, ...row }) => ({ ...row, payload: body.toString('utf8') }));
  const last = items.at(-1);
  return { items, next: rows.length > page.limit && last ? [last.receivedAt, last.id] : null };
}

/** Back to waiting, now. False when it is not a dead letter of this organization. */
export async function retryDeadLetter(tx: Tx, orgId: string, id: string): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update inbox set state = 'waiting', attempts = 0, next_at = clock_timestamp(), error = null, error_code = null, done_at = null
     where org_id = $1 and id = $2 and state = 'dead'`,
    [orgId, id],
  );
  return rowCount === 1;
}

/** Given up by a person: stays stored, is never applied. */
export async function discardDeadLetter(tx: Tx, orgId: string, id: string): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update inbox set state = 'superseded', done_at = clock_timestamp() where org_id = $1 and id = $2 and state = 'dead'`,
    [orgId, id],
  );
  return rowCount === 1;
}
