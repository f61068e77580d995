/**
 * What a person does with dead letters: retry, edit, discard, purge; each an audit row in its own transaction.
 * Every act is one conditional statement on the row itself: of two people at once one succeeds, the other finds nothing.
 */

import { audit } from '../access/audit.ts';
import type { Tx } from '../tx.ts';
import { resolveAlerts } from './alerts.ts';

export interface By {
  actor: string;
  now: number;
  ids: { uuid(): string };
}

type LetterRef = { kind: 'event' | 'run' | 'number'; id: string } | { kind: 'due'; what: string; id: string };

const uuid = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}';
const form = new RegExp(`^(?:(run|number|due:([a-z_]{1,60})):)?(${uuid})$`);

/** Null: no id of a letter. */
export function letterRef(id: string): LetterRef | null {
  const [, prefix, what, subject] = form.exec(id) ?? [];
  if (subject === undefined) return null;
  if (what !== undefined) return { kind: 'due', what, id: subject };
  return { kind: prefix === 'run' || prefix === 'number' ? prefix : 'event', id: subject };
}

async function did(tx: Tx, orgId: string, by: By, action: string, letterId: string, details = {}): Promise<true> {
  await audit(tx, orgId, {
    id: by.ids.uuid(),
    actor: by.actor,
    action: `dead_letter.${action}`,
    subject: letterId,
    details,
  });
  return true;
}

const changed = async (tx: Tx, text: string, values: unknown[]): Promise<boolean> =>
  ((await tx.query(text, values)).rowCount ?? 0) > 0;

const retries: Record<LetterRef['kind'], string> = {
  event: `update inbox set state = 'waiting', attempts = 0, repeats = 0, failing_since = null, next_at = to_timestamp($3::float8 / 1000.0),
            done_at = null where org_id = $1 and id = $2 and state = 'dead'`,
  // A run whose file never came whole has nothing to go on with; one that failed in its midst goes on where it stopped.
  run: `update runs set state = 'waiting', message = null, finished_at = null, lease_until = null, version = version + 1
        where org_id = $1 and id = $2 and state = 'failed' and started_at is not null and $3::float8 is not null`,
  number: `update targets set state = 'pending', reason = null, state_at = to_timestamp($3::float8 / 1000.0), read_due = to_timestamp(0), next_try_at = null,
             dirty_hint = 0, dirty_version = dirty_version + 1, dirty_since = coalesce(dirty_since, to_timestamp($3::float8 / 1000.0)), version = version + 1
           where org_id = $1 and id = $2 and state = 'rejected'`,
  due: `update due set due_at = to_timestamp($3::float8 / 1000.0), attempts = 0, repeats = 0, failing_since = null, error = null, error_code = null
        where org_id = $1 and subject_id = $2 and kind = $4 and failing_since is not null`,
};

/** Tried again, now. False: no dead letter of this organization (any more), or a run that cannot go on. */
export async function retryDeadLetter(tx: Tx, orgId: string, letterId: string, by: By): Promise<boolean> {
  const ref = letterRef(letterId);
  if (!ref || !(await changed(tx, retries[ref.kind], valuesOf(orgId, ref, by.now)))) return false;
  if (ref.kind === 'due') await resolveAlerts(tx, orgId, 'dead_letter', [letterId], by.now);
  if (ref.kind === 'number') await resolveAlerts(tx, orgId, 'listing_rejected', [ref.id], by.now);
  return did(tx, orgId, by, 'retry', letterId);
}

const dismiss = (kind: 'run' | 'target', from: string) =>
  `insert into dismissed_letters (org_id, kind, subject_id, at) select $1, '${kind}', s.id, to_timestamp($3::float8 / 1000.0) from ${from}
   on conflict (org_id, kind, subject_id) do update set at = excluded.at where dismissed_letters.at < excluded.at`;

const discards: Record<LetterRef['kind'], string> = {
  event: `update inbox set state = 'superseded', done_at = to_timestamp($3::float8 / 1000.0) where org_id = $1 and id = $2 and state = 'dead'`,
  run: dismiss(
    'run',
    `runs s where s.org_id = $1 and s.id = $2 and s.state = 'failed' and not exists (
       select from dismissed_letters x where x.org_id = $1 and x.kind = 'run' and x.subject_id = s.id and x.at >= s.finished_at)`,
  ),
  number: dismiss(
    'target',
    `targets s where s.org_id = $1 and s.id = $2 and s.state = 'rejected' and not exists (
       select from dismissed_letters x where x.org_id = $1 and x.kind = 'target' and x.subject_id = s.id and x.at >= s.state_at)`,
  ),
  due: `delete from due where org_id = $1 and subject_id = $2 and kind = $4 and failing_since is not null and $3::float8 is not null`,
};

/** Given up by a person: an event stays stored and is never applied; a run stays as it ended; a number stays refused. */
export async function discardDeadLetter(tx: Tx, orgId: string, letterId: string, by: By): Promise<boolean> {
  const ref = letterRef(letterId);
  if (!ref || !(await changed(tx, discards[ref.kind], valuesOf(orgId, ref, by.now)))) return false;
  if (ref.kind === 'number') await resolveAlerts(tx, orgId, 'listing_rejected', [ref.id], by.now);
  else await resolveAlerts(tx, orgId, 'dead_letter', [letterId], by.now);
  return did(tx, orgId, by, 'discard', letterId);
}

const valuesOf = (orgId: string, ref: LetterRef, now: number): unknown[] =>
  ref.kind === 'due' ? [orgId, ref.id, now, ref.what] : [orgId, ref.id, now];

/** Thrown away with its bytes; of what is no event only the mention. */
export async function purgeDeadLetter(tx: Tx, orgId: string, letterId: string, by: By): Promise<boolean> {
  if (letterRef(letterId)?.kind !== 'event') return discardDeadLetter(tx, orgId, letterId, by);
  if (!(await changed(tx, `delete from inbox where org_id = $1 and id = $2 and state = 'dead'`, [orgId, letterId])))
    return false;
  await resolveAlerts(tx, orgId, 'dead_letter', [letterId], by.now);
  return did(tx, orgId, by, 'purge', letterId);
}

export interface EditableEvent {
  platform: string;
  kind: string;
  externalId: string;
  topic: string;
  source: string;
}

/** The dead event, locked until the transaction ends; null when it is none (any more). */
export async function lockDeadEvent(tx: Tx, orgId: string, id: string): Promise<EditableEvent | null> {
  if (letterRef(id)?.kind !== 'event') return null;
  const { rows } = await tx.query<EditableEvent>(
    `select c.platform, i.kind, i.external_id as "externalId", i.topic, i.source from inbox i join connections c on c.org_id = $1 and c.id = i.connection_id
     where i.org_id = $1 and i.id = $2 and i.state = 'dead' for update of i`,
    [orgId, id],
  );
  return rows[0] ?? null;
}

/**
 * Another body in the place of the one that could not be applied; the original is kept beside it, once. Its hash stays the
 * original's, so that the channel sending that again is still a repetition. Call under `lockDeadEvent`, with a body that was parsed.
 */
export async function editDeadEvent(tx: Tx, orgId: string, id: string, body: Buffer, by: By): Promise<void> {
  await tx.query(
    'update inbox set original_body = coalesce(original_body, body), body = $3 where org_id = $1 and id = $2',
    [orgId, id, body],
  );
  await did(tx, orgId, by, 'edit', id, { bytes: body.length });
}
