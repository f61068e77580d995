/**
 * Claiming: whole sequence keys, never single rows (a row that is passed over because its predecessor is being applied
 * would overtake it). A claim is an advisory lock that ends with the transaction: nothing is left behind by a killed process.
 */
import type { Tx } from '../tx.ts';
import type { InboxKind, InboxSource } from './insert.ts';

export interface SequenceKey {
  orgId: string;
  connectionId: string;
  kind: InboxKind;
  externalId: string;
}

export interface WaitingRow extends SequenceKey {
  id: string;
  topic: string;
  source: InboxSource;
  body: Buffer;
  receivedAt: number;
  attempts: number;
  repeats: number;
  error: string | null;
  /** Unix ms of the first failure of this series. */
  failingSince: number | null;
  /** A read was asked for on its behalf, and until `nextAt` someone may be at it. */
  fetching: boolean;
  nextAt: number;
  correlationId: string | null;
}

export interface ConnectionFacts {
  orgId: string;
  connectionId: string;
  platform: string;
  deleted: boolean;
  /** Unix ms. */
  createdAt: number;
}

export const keyOf = (key: Omit<SequenceKey, 'orgId'>): string => `${key.connectionId}/${key.kind}/${key.externalId}`;

/**
 * Claims up to `maxKeys` keys with rows due at `now` (scope `system`), oldest first, and narrows the transaction to their organizations.
 */
export async function claimKeys(tx: Tx, { maxKeys, now }: { maxKeys: number; now: number }): Promise<SequenceKey[]> {
  const { rows } = await tx.query<SequenceKey>(
    {
      name: 'inbox_claim',
      text: `select org_id as "orgId", connection_id as "connectionId", kind, external_id as "externalId"
             from system_claim_inbox($1, to_timestamp($2::float8 / 1000.0))`,
    },
    [maxKeys, now],
  );
  if (rows.length > 0) {
    const orgs = [...new Set(rows.map(({ orgId }) => orgId))];
    // Not waited for: were it to fail, so would every statement after it.
    tx.query({ name: 'inbox_scope', text: `select set_config('app.orgs', $1, true)` }, [orgs.join(',')]).catch(
      () => undefined,
    );
  }
  return rows;
}

/** Claims exactly these keys of the transaction's organizations; those that someone else holds are left out. */
export async function reclaimKeys(tx: Tx, keys: readonly SequenceKey[]): Promise<SequenceKey[]> {
  const { rows } = await tx.query<{ n: number }>(
    `select k.n from unnest($1::uuid[], $2::text[], $3::text[]) with ordinality as k (connection_id, kind, external_id, n)
     where pg_try_advisory_xact_lock(sequence_lock(k.connection_id, k.kind, k.external_id))`,
    [keys.map((key) => key.connectionId), keys.map((key) => key.kind), keys.map((key) => key.externalId)],
  );
  return rows.flatMap(({ n }) => keys[n - 1] ?? []);
}

/** Waits for one key, for work that was begun on its behalf (scope of its organization). */
export async function lockKey(tx: Tx, key: SequenceKey): Promise<void> {
  await tx.query('select pg_advisory_xact_lock(sequence_lock($1, $2, $3))', [
    key.connectionId,
    key.kind,
    key.externalId,
  ]);
}

/** At most so many rows of a key at once; the rest are found by the next claim. */
const ROWS_PER_KEY = 500;

/** All waiting rows of claimed keys, in order of arrival. Read after the claim, so that what a predecessor applied is gone. */
export async function loadWaiting(tx: Tx, keys: readonly SequenceKey[]): Promise<WaitingRow[]> {
  const { rows } = await tx.query<Omit<WaitingRow, 'receivedAt' | 'nextAt'> & { receivedAt: Date; nextAt: Date }>(
    {
      name: 'inbox_load',
      text: `select i.* from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) as k (org_id, connection_id, kind, external_id)
        cross join lateral (
          select w.org_id as "orgId", w.id, w.connection_id as "connectionId", w.kind, w.external_id as "externalId", w.topic, w.source, w.body,
            w.received_at as "receivedAt", w.attempts, w.repeats, w.error, extract(epoch from w.failing_since)::float8 * 1000 as "failingSince", w.fetching, w.next_at as "nextAt", w.correlation_id as "correlationId", w.state
          from inbox w
          where w.org_id is not distinct from k.org_id and w.connection_id = k.connection_id and w.kind = k.kind and w.external_id = k.external_id and w.state in ('waiting', 'dead')
          order by w.received_at, w.id limit ${ROWS_PER_KEY}) i where i.state = 'waiting'`,
    },
    [
      keys.map((key) => key.orgId),
      keys.map((key) => key.connectionId),
      keys.map((key) => key.kind),
      keys.map((key) => key.externalId),
    ],
  );
  return rows.map((row) => ({ ...row, receivedAt: row.receivedAt.getTime(), nextAt: row.nextAt.getTime() }));
}

export async function loadConnectionFacts(
  tx: Tx,
  keys: readonly Pick<SequenceKey, 'orgId' | 'connectionId'>[],
): Promise<Map<string, ConnectionFacts>> {
  const ids = [...new Map(keys.map((key) => [key.connectionId, key])).values()];
  const { rows } = await tx.query<Omit<ConnectionFacts, 'createdAt'> & { createdAt: Date }>(
    {
      name: 'inbox_facts',
      text: `select c.org_id as "orgId", c.id as "connectionId", c.platform, c.deleted_at is not null as deleted, c.created_at as "createdAt"
        from unnest($1::uuid[], $2::uuid[]) as k (org_id, id) join connections c on c.org_id = k.org_id and c.id = k.id`,
    },
    [ids.map((key) => key.orgId), ids.map((key) => key.connectionId)],
  );
  return new Map(rows.map((row) => [row.connectionId, { ...row, createdAt: row.createdAt.getTime() }]));
}
