/** The outside-call log as people filter it, newest first. */
import type { Tx } from '../tx.ts';

export interface CallItem {
  id: string;
  at: string;
  connectionId: string;
  operation: string;
  method: string;
  url: string;
  /** null: nothing was answered. */
  status: number | null;
  tookMs: number;
  waitedMs: number;
  attempt: number;
  code: string | null;
  callKey: string | null;
  correlationIds: string[];
  skus: string[];
  request: string | null;
  response: string | null;
}

export interface CallFilter {
  from: Date | null;
  to: Date | null;
  connectionId: string | null;
  operation: string | null;
  /** A status; 0: nothing was answered; "failed": not answered, or 400 and above. */
  status: number | 'failed' | null;
  sku: string | null;
  correlationId: string | null;
  limit: number;
  /** [time, id] of the last one seen. */
  after: [string, string] | null;
}

const stamp = `to_char(o.at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

export async function readCalls(
  tx: Tx,
  orgId: string,
  filter: CallFilter,
): Promise<{ items: CallItem[]; next: [string, string] | null }> {
  const { rows } = await tx.query<CallItem>(
    `select o.id, ${stamp} as at, o.connection_id as "connectionId", o.operation, o.method, o.url, o.status, o.took_ms as "tookMs", o.waited_ms as "waitedMs",
       o.attempt, o.error_code as code, o.call_key as "callKey", o.correlation_ids as "correlationIds", o.skus, o.request, o.response
     from outside_calls o where o.org_id = $1 and ($2::timestamptz is null or o.at >= $2) and ($3::timestamptz is null or o.at < $3)
       and ($4::uuid is null or o.connection_id = $4) and ($5::text is null or o.operation = $5)
       and ($6::int is null or o.status is not distinct from nullif($6, 0)) and (not $7 or o.status is null or o.status >= 400 or o.error_code is not null)
       and ($8::text is null or $8 = any (o.skus)) and ($9::uuid is null or $9 = any (o.correlation_ids))
       and ($10::timestamptz is null or (o.at, o.id) < ($10, $11::uuid))
     order by o.at desc, o.id desc limit $12`,
    [
      orgId,
      filter.from,
      filter.to,
      filter.connectionId,
      filter.operation,
      typeof filter.status === 'number' ? filter.status : null,
      filter.status === 'failed',
      filter.sku,
      filter.correlationId,
      filter.after?.[0] ?? null,
      filter.after?.[1] ?? null,
      filter.limit + 1,
    ],
  );
  const items = rows.slice(0, filter.limit);
  const last = items.at(-1);
  return { items, next: rows.length > filter.limit && last ? [last.at, last.id] : null };
}
