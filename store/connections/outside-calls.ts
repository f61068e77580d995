/** Rows of the outside-call log (server/outside-call-log.ts). */
import type { Tx } from '../tx.ts';

export interface OutsideCallRow {
  id: string;
  connectionId: string;
  operation: string;
  method: string;
  url: string;
  status: number | null;
  request: string | null;
  response: string | null;
  errorCode: string | null;
  tookMs: number;
  at: Date;
  /** 1 for the first try. */
  attempt: number;
  /** Time spent in the budget's queue, ms. */
  waitedMs: number;
  /** Of the attempts it carried. */
  callKey: string | null;
  correlationIds: string[];
  skus: string[];
}

/** PostgreSQL text holds no zero byte; a vendor's answer may. */
const clean = (text: string | null): string | null => text?.replaceAll('\u0000', '') ?? null;

export async function keepOutsideCalls(tx: Tx, orgId: string, rows: readonly OutsideCallRow[]): Promise<void> {
  await tx.query(
    `insert into outside_calls (org_id, id, connection_id, operation, method, url, status, request, response, error_code, took_ms, at,
       attempt, waited_ms, call_key, correlation_ids, skus)
     select $1, c.id, c.connection_id, c.operation, c.method, c.url, c.status, c.request, c.response, c.error_code, c.took_ms, c.at, c.attempt, c.waited_ms,
       c.call_key, coalesce(string_to_array(nullif(c.correlations, ''), ',')::uuid[], '{}'), array(select jsonb_array_elements_text(c.skus::jsonb))
     from unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::int[], $8::text[], $9::text[], $10::text[], $11::int[], $12::timestamptz[],
       $13::int[], $14::int[], $15::uuid[], $16::text[], $17::text[]) as c (id, connection_id, operation, method, url, status, request, response, error_code,
       took_ms, at, attempt, waited_ms, call_key, correlations, skus)
     on conflict do nothing`,
    [
      orgId,
      rows.map((row) => row.id),
      rows.map((row) => row.connectionId),
      rows.map((row) => row.operation),
      rows.map((row) => row.method),
      rows.map((row) => row.url),
      rows.map((row) => row.status),
      rows.map((row) => clean(row.request)),
      rows.map((row) => clean(row.response)),
      rows.map((row) => row.errorCode),
      rows.map((row) => row.tookMs),
      rows.map((row) => row.at),
      rows.map((row) => row.attempt),
      rows.map((row) => row.waitedMs),
      rows.map((row) => row.callKey),
      rows.map((row) => row.correlationIds.join(',')),
      rows.map((row) => JSON.stringify(row.skus)),
    ],
  );
}
