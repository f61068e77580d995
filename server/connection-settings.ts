/** How one connection behaves otherwise than its vendor's manifest says (connectors/kit/tuning.ts): read, changed, audited. */
import type { Manifest } from '#connectors/kit/ports.ts';
import { type Tunable, tunables } from '#connectors/kit/tuning.ts';
import { audit } from '#store/access/audit.ts';
import { changeSettings, getConnection } from '#store/connections/connections.ts';
import type { Tx } from '#store/tx.ts';

export type { Tunable } from '#connectors/kit/tuning.ts';

export type SettingValue = number | boolean;

export interface Setting {
  name: string;
  /** In force: said for this connection, else the channel's own. */
  value: SettingValue;
  /** What the channel's manifest says. */
  own: SettingValue;
  said: boolean;
  words: string;
}

/** `value` null: what was said is taken back. */
export interface SettingChange {
  tunable: Tunable;
  value: SettingValue | null;
}

export const allTunables: readonly Tunable[] = tunables;

/** What a connection of this vendor can be told. */
export const tunablesOf = (manifest: Manifest): Tunable[] =>
  allTunables.filter((tunable) => tunable.of(manifest) !== undefined);

/**
 * Changes some and leaves the others, with an audit row; without changes it only reads.
 * @returns all settings as they are then; null: no such connection
 */
export async function changeConnectionSettings(
  tx: Tx,
  orgId: string,
  connection: { id: string; manifest: Manifest },
  changes: readonly SettingChange[],
  act: { id: string; actor: string },
): Promise<Setting[] | null> {
  const after = changes.length === 0 ? (await getConnection(tx, orgId, connection.id))?.settings : await change();
  if (!after) return null;
  return tunablesOf(connection.manifest).map((tunable) => {
    const { name, words } = tunable;
    const own = tunable.of(connection.manifest) ?? false;
    const value = after[name] as SettingValue | undefined;
    return { name, value: value ?? own, own, said: value !== undefined, words };
  });

  async function change(): Promise<Record<string, unknown> | undefined> {
    const said = changes.filter(({ value }) => value !== null);
    const changed = await changeSettings(tx, orgId, connection.id, {
      set: Object.fromEntries(said.map(({ tunable, value }) => [tunable.name, value])),
      unset: changes.filter(({ value }) => value === null).map(({ tunable }) => tunable.name),
    });
    if (changed === null) return undefined;
    const details = Object.fromEntries(
      changes.map(({ tunable: { name } }) => [
        name,
        { from: changed.before[name] ?? null, to: changed.after[name] ?? null },
      ]),
    );
    await audit(tx, orgId, { ...act, action: 'connection.settings', subject: connection.id, details });
    return changed.after;
  }
}
