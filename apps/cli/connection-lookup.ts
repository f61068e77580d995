/** What the commands about connections share: which one is meant, and its numbers in words. */
import type { LocationRow } from '#store/catalog/lookup.ts';
import { type ConnectionItem, readConnections } from '#store/views/connections.ts';
import { unknown, usage } from './output.ts';
import type { Session } from './session.ts';
import { pickByName } from './values.ts';

/** The connection a person means: by id, name, or an unambiguous part of the name. */
export async function findConnection(session: Session, named: string): Promise<ConnectionItem> {
  const { id: orgId } = session.organization();
  const all = await session.store.tenant(orgId, (tx) => readConnections(tx, orgId, null));
  const names = all.map(({ name }) => `"${name}"`).join(', ');
  const found = pickByName(all, named);
  if (found === null)
    throw unknown(
      `connection "${named}"`,
      names === '' ? 'None exists yet: syncstate connection add --help' : `There are: ${names}`,
    );
  if (Array.isArray(found))
    throw usage(`"${named}" may be any of: ${found.map(({ name, id }) => `"${name}" (${id})`).join(', ')}`);
  return found;
}

/** "26 in_sync, 1 unknown" */
export const statesOf = ({ targets }: ConnectionItem): string =>
  Object.entries(targets)
    .map(([state, n]) => `${n} ${state}`)
    .join(', ');

/** Ours, by code. */
export function locationOf(ours: readonly LocationRow[], code: string): LocationRow {
  const found = ours.find((location) => location.code === code);
  if (!found) throw unknown(`location ${code}`, `There are: ${ours.map((location) => location.code).join(', ')}`);
  return found;
}
