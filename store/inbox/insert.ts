/**
 * Storing deliveries: many of many organizations in one statement (scope `batch`).
 *
 * An identical body for the same sequence key is the same event whatever its delivery id: it is kept as a row without
 * body in state `duplicate`, so that people see that the channel repeated itself. This only suppresses work; whatever
 * slips through (the same body twice at the same instant) is settled by the order's own version. Two exceptions: a body
 * that failed for good gets another chance when the channel sends it again (a sweep's does not: it would come back every
 * sweep), and the answer to a read is never a repetition.
 */
import type { Tx } from '../tx.ts';

export type InboxKind = 'order' | 'stock' | 'other';
export type InboxSource = 'webhook' | 'queue' | 'poll' | 'fetch' | 'api';

export interface NewDelivery {
  orgId: string;
  id: string;
  connectionId: string;
  kind: InboxKind;
  /** With the connection and the kind: the sequence key. 1–500 characters. */
  externalId: string;
  topic: string;
  source: InboxSource;
  deliveryId: string | null;
  /** sha256 of the body. */
  bodyHash: Buffer;
  body: Buffer;
  /** Unix ms. */
  receivedAt: number;
  correlationId: string | null;
}

/**
 * Prepared: planning it cost two thirds of running it. The hash is the only condition an index may answer: a plan made while the
 * table is empty would else look each body up among all of its connection's.
 */
const insert = {
  name: 'inbox_insert',
  text: `
with given as (
  select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::bytea[], $10::bytea[], $11::float8[], $12::uuid[]) with ordinality
    as g (org_id, id, connection_id, kind, external_id, topic, source, delivery_id, body_hash, body, received_at, correlation_id, n)
), judged as (
  select g.*, g.source <> 'fetch' and (
    row_number() over (partition by g.connection_id, g.kind, g.external_id, g.body_hash order by g.n) > 1
    or exists (
      select 1 from inbox i
      where i.body_hash = g.body_hash and i.connection_id is not distinct from g.connection_id and i.org_id is not distinct from g.org_id
        and i.kind = g.kind and i.external_id = g.external_id and (g.source = 'poll' or i.state <> 'dead'))) as again
  from given g
)
insert into inbox (org_id, id, connection_id, kind, external_id, topic, source, delivery_id, body_hash, body, received_at, next_at, correlation_id, state, done_at)
select org_id, id, connection_id, kind, external_id, topic, source, delivery_id, body_hash,
  case when again then ''::bytea else body end, to_timestamp(received_at / 1000.0), to_timestamp(received_at / 1000.0), correlation_id,
  case when again then 'duplicate' else 'waiting' end, case when again then to_timestamp(received_at / 1000.0) end
from judged order by n
on conflict (org_id, id) do nothing
returning id, state`,
};

/** @returns the ids that are to be applied; the others were duplicates. A connection that is gone is a foreign key fault. */
export async function insertDeliveries(tx: Tx, rows: readonly NewDelivery[]): Promise<Set<string>> {
  if (rows.length === 0) return new Set();
  const column = <T>(pick: (row: NewDelivery) => T): T[] => rows.map(pick);
  const { rows: stored } = await tx.query<{ id: string; state: string }>(insert, [
    column((row) => row.orgId),
    column((row) => row.id),
    column((row) => row.connectionId),
    column((row) => row.kind),
    column((row) => row.externalId),
    column((row) => row.topic),
    column((row) => row.source),
    column((row) => row.deliveryId),
    column((row) => row.bodyHash),
    column((row) => row.body),
    column((row) => row.receivedAt),
    column((row) => row.correlationId),
  ]);
  return new Set(stored.filter(({ state }) => state === 'waiting').map(({ id }) => id));
}

/**
 * Ids of the deliveries whose body another connection with the same secret already accepted (scope `batch` or `system`;
 * races of identical bodies wait for each other, so call it in the inserting transaction and before the insert).
 */
export async function findForeignBodies(
  tx: Tx,
  rows: readonly Pick<NewDelivery, 'id' | 'connectionId' | 'bodyHash'>[],
): Promise<Set<string>> {
  if (rows.length === 0) return new Set();
  const { rows: found } = await tx.query<{ ordinal: number }>(
    'select ordinal from system_find_foreign_bodies($1, $2)',
    [rows.map((row) => row.connectionId), rows.map((row) => row.bodyHash)],
  );
  return new Set(found.flatMap(({ ordinal }) => rows[ordinal - 1]?.id ?? []));
}
