/**
 * Dead letters as people act on them, for the API and the command line alike.
 *
 *   one or many ids   all or nothing: an unknown one among them changes nothing
 *   a filter          what fits now, page by page, counted; what somebody else dealt with meanwhile is not
 *   edit              the payload of a channel's own event: parsed by its connector before it is accepted, and of the same order
 */
import type { Connector } from '#connectors/kit/ports.ts';
import { maskSecrets } from '#connectors/kit/redaction.ts';
import type { Clock, Ids } from '#core/effects.ts';
import {
  type By,
  discardDeadLetter,
  editDeadEvent,
  lockDeadEvent,
  purgeDeadLetter,
  retryDeadLetter,
} from '#store/attention/letters.ts';
import type { Store } from '#store/tx.ts';
import { type DeadLetter, type LetterFilter, readDeadLetter, readDeadLetters } from '#store/views/letters.ts';

export interface LetterDesk {
  store: Store;
  clock: Clock;
  ids: Ids;
}

/** As many characters of a payload as a list shows; `showLetter` has it whole. */
export const payloadMost = 10_000;

/** As people may see it: secrets masked, before anything is cut off: half a secret would not be known for one. */
const shown = <T extends DeadLetter>(letter: T, most = Number.POSITIVE_INFINITY): T => ({
  ...letter,
  payload: letter.payload === null ? null : maskSecrets(letter.payload).slice(0, most),
});

export async function listLetters(
  { store }: Pick<LetterDesk, 'store'>,
  orgId: string,
  page: Parameters<typeof readDeadLetters>[2],
) {
  const { items, next } = await store.tenant(orgId, (tx) => readDeadLetters(tx, orgId, page));
  return { items: items.map((letter) => shown(letter, payloadMost)), next };
}

export async function showLetter({ store }: Pick<LetterDesk, 'store'>, orgId: string, id: string) {
  const letter = await store.tenant(orgId, (tx) => readDeadLetter(tx, orgId, id));
  return letter && { ...shown(letter), originalPayload: letter.originalPayload && maskSecrets(letter.originalPayload) };
}

export type LetterAct = 'retry' | 'discard' | 'purge';
const acts = { retry: retryDeadLetter, discard: discardDeadLetter, purge: purgeDeadLetter };

class Missing extends Error {
  readonly id: string;
  constructor(id: string) {
    super(id);
    this.id = id;
  }
}

/** All or nothing. @returns the first id that is no dead letter (any more), with nothing changed; null when all are done */
export async function actOnLetters(
  desk: LetterDesk,
  orgId: string,
  actor: string,
  act: LetterAct,
  letterIds: readonly string[],
): Promise<string | null> {
  // In one order, so that two people with the same list never wait for each other.
  const sorted = [...new Set(letterIds)].sort();
  try {
    await desk.store.tenant(orgId, async (tx) => {
      const by: By = { actor, now: desk.clock.now(), ids: desk.ids };
      for (const id of sorted) if (!(await acts[act](tx, orgId, id, by))) throw new Missing(id);
    });
    return null;
  } catch (error) {
    if (error instanceof Missing) return error.id;
    throw error;
  }
}

const atOnce = 200;

/** Everything that fits. @returns how many were dealt with */
export async function actOnFiltered(
  desk: LetterDesk,
  orgId: string,
  actor: string,
  act: LetterAct,
  filter: LetterFilter,
): Promise<number> {
  let [count, after]: [number, [string, string] | null] = [0, null];
  // What comes in meanwhile is not meant.
  const before = filter.before ?? desk.clock.now() + 1;
  do {
    const page: { limit: number; after: [string, string] | null } & LetterFilter = {
      ...filter,
      before,
      limit: atOnce,
      after,
    };
    const found = await desk.store.tenant(orgId, async (tx) => {
      const { items, next } = await readDeadLetters(tx, orgId, page);
      const by: By = { actor, now: desk.clock.now(), ids: desk.ids };
      let done = 0;
      for (const id of items.map((item) => item.id).sort()) if (await acts[act](tx, orgId, id, by)) done += 1;
      return { done, next };
    });
    count += found.done;
    after = found.next;
  } while (after !== null);
  return count;
}

export type Edited =
  | { kind: 'edited' }
  | { kind: 'unknown' }
  | { kind: 'not_editable'; why: string }
  | { kind: 'unreadable'; why: string }
  | { kind: 'other_order'; why: string };

export async function editLetter(
  desk: LetterDesk & { connectorOf(platform: string): Connector | null },
  orgId: string,
  actor: string,
  id: string,
  payload: string,
): Promise<Edited> {
  const body = Buffer.from(payload, 'utf8');
  return desk.store.tenant(orgId, async (tx): Promise<Edited> => {
    const event = await lockDeadEvent(tx, orgId, id);
    if (event === null) return { kind: 'unknown' };
    const webhook = desk.connectorOf(event.platform)?.webhook;
    if (!webhook || (event.source !== 'webhook' && event.source !== 'queue'))
      return { kind: 'not_editable', why: 'It was read from the channel, not sent by it: retry reads it again.' };
    const refusal = judge(() => webhook.parse(body, event.topic), event);
    if (refusal) return refusal;
    await editDeadEvent(tx, orgId, id, body, { actor, now: desk.clock.now(), ids: desk.ids });
    return { kind: 'edited' };
  });
}

type Parsed = ReturnType<NonNullable<Connector['webhook']>['parse']>;

function judge(parse: () => Parsed, { kind, externalId }: { kind: string; externalId: string }): Edited | null {
  let parsed: Parsed;
  try {
    parsed = parse();
  } catch (error) {
    return { kind: 'unreadable', why: error instanceof Error ? error.message : String(error) };
  }
  const about = parsed.kind === 'ignored' ? null : parsed.externalId;
  const isOrder = parsed.kind === 'order' || parsed.kind === 'order_changed';
  if (about === externalId && isOrder === (kind === 'order')) return null;
  return {
    kind: 'other_order',
    why: `It must stay about ${kind} ${externalId}${about === null ? '' : `, not ${about}`}.`,
  };
}
