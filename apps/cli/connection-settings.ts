/** connection settings: how one connection behaves otherwise than its channel's own numbers (server/connection-settings.ts). */
import type { Command } from 'commander';
import {
  allTunables,
  changeConnectionSettings,
  type SettingChange,
  type SettingValue,
  type Tunable,
  tunablesOf,
} from '#server/connection-settings.ts';
import { type Cli, examples } from './cli.ts';
import { findConnection } from './connection-lookup.ts';
import { CommandError, table, unknown, usage } from './output.ts';
import { actor } from './session.ts';

export function settingsCommand(cli: Cli, connection: Command): void {
  cli.withSession(
    connection
      .command('settings')
      .argument('<connection>')
      .argument('[name=value...]', 'what to change; nothing behind the = takes it back')
      .description(
        'how it behaves: patience, settle time, order lag, documents of many numbers; without changes: shown',
      )
      .addHelpText(
        'after',
        `${examples('connection settings Amazon', 'connection settings Amazon settleMs=60000', 'connection settings Amazon settleMs=')}\n\n` +
          'A running server takes a change within seconds. Times are in milliseconds. The channels’ own numbers are the vendors’, or measured: change one when yours is slower.',
      ),
    async (session, { args, output }) => {
      const { id: orgId } = session.organization();
      const [named = '', ...changes] = args;
      const wanted = changes.map(readChange);
      const { id, name, platform } = await findConnection(session, named);
      const { connectors } = await import('#server/deps.ts');
      const manifest = connectors[platform]?.manifest;
      if (!manifest) throw new CommandError('cli.no_connector', `There is no connector for ${platform}.`);
      const names = tunablesOf(manifest).map((tunable) => tunable.name);
      for (const { tunable } of wanted)
        if (!names.includes(tunable.name)) throw usage(`${platform} has no ${tunable.name}.`);
      const act = { id: session.ids.uuid(), actor };
      const lines = await session.store.tenant(orgId, (tx) =>
        changeConnectionSettings(tx, orgId, { id, manifest }, wanted, act),
      );
      if (lines === null) throw unknown(`connection "${name}"`);
      output.result({ id, name, platform, settings: lines }, (print) => {
        const rows = lines.map((line) => [
          line.name,
          String(line.value),
          line.said ? `set here (its own: ${line.own})` : 'its own',
          line.words,
        ]);
        for (const line of table(['setting', 'value', '', 'what it does'], rows, Number.POSITIVE_INFINITY)) print(line);
      });
    },
  );
}

function readChange(text: string): SettingChange {
  const [name = '', given] = text.split(/=(.*)/s);
  const tunable = allTunables.find((one) => one.name === name.trim());
  if (!tunable)
    throw usage(`There is no setting "${name.trim()}". There are: ${allTunables.map((one) => one.name).join(', ')}.`);
  if (given === undefined) throw usage(`"${text}" has no value: write ${name}=<value>, or ${name}= to take it back.`);
  return { tunable, value: given.trim() === '' ? null : readValue(tunable, given.trim()) };
}

function readValue({ name, kind, least, most }: Tunable, text: string): SettingValue {
  if (kind === 'switch') {
    if (text === 'true' || text === 'false') return text === 'true';
    throw usage(`${name} is true or false, not "${text}".`);
  }
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > most)
    throw usage(`${name} is a whole number from ${least} to ${most} (${kind}), not "${text}".`);
  return value;
}
