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
}

/** PostgreSQL text holds no zero byte; a vendor's answer may. */
const clean = (text: string | null): string | null => text?.replaceAll('\u0000', '') ?? null;

export async function keepOutsideCalls(tx: Tx, orgId: string, rows: readonly OutsideCallRow[]): Promise<void> {
  await tx.query(
    `insert into outside_calls (org_id, id, connection_id, operation, method, url, status, request, response, error_code, took_ms, at)
     select $1, * from unnest($2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::int[], $8::text[], $9::text[], $10::text[], $11::int[], $12::timestamptz[])
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
    ],
  );
}
