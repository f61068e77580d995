/** Feeds as people see them: documents of many numbers, newest first, and each row with what the channel said of it. */
import type { Tx } from '../tx.ts';
import { likeAnywhere } from './search.ts';

export interface FeedItem {
  id: string;
  connectionId: string;
  connection: string;
  /** The channel's own name for it; null until it is known. */
  submissionId: string | null;
  state: string;
  reason: string | null;
  rows: number;
  accepted: number;
  rejected: number;
  unknown: number;
  createdAt: string;
  submittedAt: string | null;
  endedAt: string | null;
  /** From the earliest reading its numbers stand on to the end of the channel's work: what was sold in between may have been offered again. */
  windowSeconds: number | null;
}

export interface FeedRowItem {
  messageId: number;
  sku: string | null;
  channelSku: string;
  channelLocation: string;
  value: number;
  from: number | null;
  /** null: not told yet. */
  outcome: string | null;
  code: string | null;
  /** In the channel's own words. */
  reason: string | null;
}

const stamp = (column: string) => `to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
const columns = `f.id, f.connection_id as "connectionId", c.name as connection, f.submission_id as "submissionId", f.state, f.reason, f.rows,
  f.accepted, f.rejected, f.unknown, ${stamp('f.created_at')} as "createdAt", ${stamp('f.submitted_at')} as "submittedAt",
  ${stamp('f.ended_at')} as "endedAt", extract(epoch from f.applied_by - f.read_at)::int as "windowSeconds"`;
const source = `from feeds f join connections c on c.org_id = $1 and c.id = f.connection_id where f.org_id = $1`;

/** `after`: [created time, id] of the last one seen. */
export async function readFeeds(
  tx: Tx,
  orgId: string,
  filter: { connectionId: string | null; search: string | null; limit: number; after: [string, string] | null },
): Promise<{ items: FeedItem[]; next: [string, string] | null }> {
  const { rows } = await tx.query<FeedItem>(
    `select ${columns} ${source} and ($2::uuid is null or f.connection_id = $2)
       and ($3::text is null or f.submission_id ilike $3 or c.name ilike $3 or f.state ilike $3)
       and ($4::timestamptz is null or (f.created_at, f.id) < ($4::timestamptz, $5::uuid))
     order by f.created_at desc, f.id desc limit $6`,
    [
      orgId,
      filter.connectionId,
      likeAnywhere(filter.search),
      filter.after?.[0] ?? null,
      filter.after?.[1] ?? null,
      filter.limit + 1,
    ],
  );
  const items = rows.slice(0, filter.limit);
  const last = items.at(-1);
  return { items, next: rows.length > filter.limit && last ? [last.createdAt, last.id] : null };
}

/** By our id, or the channel's own name for it. */
export async function readFeed(tx: Tx, orgId: string, named: string): Promise<FeedItem | null> {
  const { rows } = await tx.query<FeedItem>(
    `select ${columns} ${source} and (f.id::text = $2 or f.submission_id = $2) order by f.created_at desc limit 1`,
    [orgId, named],
  );
  return rows[0] ?? null;
}

/** In the order of the document. `after`: the last message id seen. */
export async function readFeedRows(
  tx: Tx,
  orgId: string,
  feedId: string,
  filter: { outcome: string | null; limit: number; after: number | null },
): Promise<{ rows: FeedRowItem[]; next: number | null }> {
  const { rows } = await tx.query<FeedRowItem>(
    `select a.message_id as "messageId", v.sku, t.stock_key as "channelSku", t.channel_location as "channelLocation", a.value,
       a.from_value as "from", a.outcome, a.error_code as code, a.error as reason
     from attempts a join targets t on t.org_id = $1 and t.id = a.target_id left join variants v on v.org_id = $1 and v.id = t.variant_id
     where a.org_id = $1 and a.feed_id = $2 and ($3::text is null or a.outcome = $3) and ($4::int is null or a.message_id > $4)
     order by a.message_id limit $5`,
    [orgId, feedId, filter.outcome, filter.after, filter.limit + 1],
  );
  const shown = rows.slice(0, filter.limit);
  return { rows: shown, next: rows.length > filter.limit ? (shown.at(-1)?.messageId ?? null) : null };
}
