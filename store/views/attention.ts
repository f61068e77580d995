/** Alerts, as the API lists them. */
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
    /** Only what still stands: not over. */
    standing?: boolean;
    severity: string | null;
    search: string | null;
    limit: number;
    after: [string, string] | null;
  },
): Promise<{ items: AlertItem[]; count: number; unreadCount: number; next: [string, string] | null }> {
  const like = likeAnywhere(filter.search);
  const where = `org_id = $1 and (not $2 or read_at is null) and (not $5 or resolved_at is null) and ($3::text is null or severity = $3) and ($4::text is null or message ilike $4 or subject_id ilike $4 or kind ilike $4)`;
  const { rows } = await tx.query<Omit<AlertItem, 'title' | 'todo'>>(
    `select ${alertColumns} from alerts where ${where} and ($6::timestamptz is null or (created_at, id) < ($6::timestamptz, $7::uuid))
     order by created_at desc, id desc limit $8`,
    [
      orgId,
      filter.unread,
      filter.severity,
      like,
      filter.standing === true,
      filter.after?.[0] ?? null,
      filter.after?.[1] ?? null,
      filter.limit + 1,
    ],
  );
  const { rows: counts } = await tx.query<{ count: number; unread: number }>(
    `select count(*) filter (where ${where.replace('org_id = $1 and ', '')})::int as count, count(*) filter (where read_at is null)::int as unread
     from alerts where org_id = $1`,
    [orgId, filter.unread, filter.severity, like, filter.standing === true],
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
