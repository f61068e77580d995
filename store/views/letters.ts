/**
 * Dead letters: everything that failed for good, or keeps failing, and waits for a person, in one list.
 *
 *   event    an event of a channel that could not be applied            id = the inbox row's
 *   due      work that time asks for and that keeps failing             id = due:<what>:<subject>
 *   run      a run (import, undo, …) that failed                        id = run:<id>
 *   number   a number the channel refuses                               id = number:<target>
 *
 * It holds only what is still missing: an event of which something newer was applied, a number that was taken since, and
 * what a person dismissed are gone from it.
 */
import { type FailureClass, failureClassOf, failurePolicies } from '#core/failure/retry.ts';
import type { Tx } from '../tx.ts';
import { likeAnywhere } from './search.ts';

export const letterKinds = ['event', 'due', 'run', 'number'] as const;
export type LetterKind = (typeof letterKinds)[number];

export interface DeadLetter {
  id: string;
  kind: LetterKind;
  connectionId: string | null;
  /** What it is about, to search by: the channel's order id, the SKU or channel SKU, the run's title, the due row's subject. */
  externalId: string;
  topic: string;
  source: string;
  class: FailureClass;
  /** The class in plain words, and what to do. */
  means: string;
  todo: string;
  reason: string | null;
  errorCode: string | null;
  attempts: number;
  /** The first failure and the last nine, oldest first. */
  failures: { at: string; code: string | null; error: string | null }[];
  /** Of an event: its text as it came. */
  payload: string | null;
  payloadBytes: number;
  /** A person changed the payload; the original is kept. */
  edited: boolean;
  receivedAt: string;
  deadAt: string | null;
}

export interface LetterFilter {
  class: FailureClass | null;
  kind: LetterKind | null;
  connectionId: string | null;
  search: string | null;
  /** Unix ms: only what is there since before. */
  before: number | null;
}

export const noFilter: LetterFilter = { class: null, kind: null, connectionId: null, search: null, before: null };

const stamp = (column: string) => `to_char(${column} at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

/** The four sources with the same columns; `$1` is the organization. A payload is searched as escaped text, whatever its bytes. */
const letters = `
  select i.id::text as id, 'event' as kind, i.connection_id as connection, i.external_id as about, i.topic, i.source, i.error as reason,
    i.error_code as code, i.attempts, i.failures, i.body, length(i.body) as bytes, i.original_body is not null as edited, i.received_at as at,
    i.done_at as dead_at, null::text as fixed
  from inbox i where i.org_id = $1 and i.state = 'dead'
  union all
  select 'due:' || d.kind || ':' || d.subject_id, 'due', null, d.subject_id::text, d.kind, 'time', d.error, d.error_code, greatest(d.attempts, d.repeats),
    d.failures, null, 0, false, d.failing_since, case when d.due_at = 'infinity' then d.failing_since end, null
  from due d where d.org_id = $1 and d.failing_since is not null and (d.due_at = 'infinity' or d.repeats >= 3)
  union all
  select 'run:' || r.id, 'run', r.connection_id, r.title, r.kind, r.actor, r.message, null, r.taken, null, null, 0, false, r.finished_at, r.finished_at, null
  from runs r where r.org_id = $1 and r.state = 'failed' and r.finished_at is not null and not exists (
    select from dismissed_letters x where x.org_id = $1 and x.kind = 'run' and x.subject_id = r.id and x.at >= r.finished_at)
  union all
  select 'number:' || t.id, 'number', t.connection_id, coalesce(v.sku, t.stock_key), 'stock', t.channel_location, t.reason, null, 1, null, null, 0, false,
    t.state_at, t.state_at, 'rejected'
  from targets t left join variants v on v.org_id = $1 and v.id = t.variant_id
  where t.org_id = $1 and t.state = 'rejected' and not exists (
    select from dismissed_letters x where x.org_id = $1 and x.kind = 'target' and x.subject_id = t.id and x.at >= t.state_at)`;

const columns = `id, kind, connection as "connectionId", about as "externalId", topic, source, fixed, reason, code as "errorCode", attempts,
  coalesce(failures, '[]') as failures, body, bytes as "payloadBytes", edited, ${stamp('at')} as "receivedAt", ${stamp('dead_at')} as "deadAt"`;

type Row = Omit<DeadLetter, 'payload' | 'class' | 'means' | 'todo'> & {
  body: Buffer | null;
  fixed: FailureClass | null;
};

function letterOf({ body, fixed, ...row }: Row): DeadLetter {
  const name = fixed ?? failureClassOf(row.errorCode);
  const { means, todo } = failurePolicies[name];
  return { ...row, class: name, means, todo, payload: body?.toString('utf8') ?? null };
}

/** Newest first. `after`: [received, id] of the last one seen. Payloads are as they came: mask them before they are shown. */
export async function readDeadLetters(
  tx: Tx,
  orgId: string,
  page: { limit: number; after: [string, string] | null } & Partial<LetterFilter>,
): Promise<{ items: DeadLetter[]; next: [string, string] | null }> {
  const filter = { ...noFilter, ...page };
  const others = Object.values(failurePolicies).flatMap(({ codes }) => codes ?? []);
  const { rows } = await tx.query<Row>(
    `with letters as (${letters})
     select ${columns} from letters
     where ($2::timestamptz is null or (at, id) < ($2::timestamptz, $3)) and ($4::text is null or kind = $4) and ($5::uuid is null or connection = $5)
       and ($6::text is null or about ilike $6 or topic ilike $6 or reason ilike $6 or id ilike $6 or encode(body, 'escape') ilike $6)
       and ($7::timestamptz is null or at < $7)
       and ($8::text is null or case when fixed is not null then fixed = $8 when $9::text is not null then code ~ $9
         else code is null or not code ~ any($10::text[]) end)
     order by at desc, id desc limit $11`,
    [
      orgId,
      filter.after?.[0] ?? null,
      filter.after?.[1] ?? null,
      filter.kind,
      filter.connectionId,
      likeAnywhere(filter.search),
      filter.before === null ? null : new Date(filter.before),
      filter.class,
      filter.class === null ? null : failurePolicies[filter.class].codes,
      others,
      filter.limit + 1,
    ],
  );
  const items = rows.slice(0, filter.limit).map(letterOf);
  const last = items.at(-1);
  return { items, next: rows.length > filter.limit && last ? [last.receivedAt, last.id] : null };
}

/** One with its whole payload, and of an edited event the original. */
export async function readDeadLetter(
  tx: Tx,
  orgId: string,
  id: string,
): Promise<(DeadLetter & { originalPayload: string | null }) | null> {
  const { rows } = await tx.query<Row>(`with letters as (${letters}) select ${columns} from letters where id = $2`, [
    orgId,
    id,
  ]);
  if (!rows[0]) return null;
  const letter = letterOf(rows[0]);
  if (!letter.edited) return { ...letter, originalPayload: null };
  const { rows: original } = await tx.query<{ body: Buffer }>(
    'select original_body as body from inbox where org_id = $1 and id = $2',
    [orgId, id],
  );
  return { ...letter, originalPayload: original[0]?.body.toString('utf8') ?? null };
}
