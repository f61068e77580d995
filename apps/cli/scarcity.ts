/** scarcity: the last units of a SKU on one connection only. */
import { Option } from 'commander';
import { normalizeSku } from '#core/catalog/sku.ts';
import { setPolicy } from '#store/catalog/policies.ts';
import { readScarceItems, readScarcitySettings, type ScarcitySetting } from '#store/views/scarcity.ts';
import { readWindows } from '#store/views/window.ts';
import { type Cli, examples } from './cli.ts';
import { findConnection } from './connection-lookup.ts';
import { count, table, unknown, usage } from './output.ts';
import { actor, type Session } from './session.ts';
import { wholeNumber } from './values.ts';

interface SetOptions {
  sku?: string;
  connection?: string;
  to?: 'priority' | 'sales';
}

export function scarcityCommands(cli: Cli): void {
  const scarcity = cli.program.command('scarcity').description('offer the last units on one connection only');
  cli.withSession<{ limit: number }>(
    scarcity
      .command('show', { isDefault: true })
      .option('--limit <n>', 'how many SKUs at most', wholeNumber(1, 10_000), 50)
      .description('the settings, and the SKUs that are scarce now')
      .addHelpText('after', examples('scarcity show')),
    async (session, { options, output }) => {
      const { id } = session.organization();
      const [settings, { items }] = await session.store.readOnly(id, async (tx) => [
        await readScarcitySettings(tx, id),
        await readScarceItems(tx, id, { limit: options.limit, after: null, search: null }),
      ]);
      output.result({ settings, items }, (print) => {
        if (settings.length === 0) print('Off: every connection offers the last unit. syncstate scarcity set --help');
        for (const line of settings.map(inWords)) print(line);
        const rows = items.map((item) => [item.sku, item.connection, item.available, item.since.slice(0, 19)]);
        for (const line of table(['SKU', 'offered on', 'units then', 'since'], rows)) print(line);
        if (settings.length > 0) print(`${count(items.length, 'SKU')} scarce now.`);
      });
    },
  );
  cli.withSession<SetOptions>(
    scarcity
      .command('set')
      .argument('<units>', 'at this many available or fewer; 0 = never; "none" takes the setting away')
      .option('--sku <sku>', 'for this SKU alone')
      .option('--connection <name|id>', 'for this connection alone; 0 there: its number is never withheld')
      .addOption(
        new Option('--to <whom>', 'who gets them: highest priority, or most sold in two weeks').choices([
          'priority',
          'sales',
        ]),
      )
      .description('from how many units on they are offered on one connection')
      .addHelpText(
        'after',
        examples('scarcity set 5', 'scarcity set 2 --sku DEMO-001 --to sales', 'scarcity set none --connection demo-b'),
      ),
    async (session, { args, options, output }) => {
      const { id } = session.organization();
      const lastUnits = args[0] === 'none' ? null : wholeNumber(0, 1_000_000)(args[0] ?? '');
      const subject = await subjectOf(session, options);
      const to = lastUnits === null ? null : options.to;
      const fields = { lastUnits, ...(to !== undefined && { lastUnitsTo: to }) };
      const settings = await session.store.tenant(id, async (tx) => {
        const by = { actor, now: session.clock.now(), id: session.ids.uuid() };
        if (!(await setPolicy(tx, id, subject, fields, by))) throw unknown(`SKU ${options.sku}`);
        return readScarcitySettings(tx, id);
      });
      output.result({ settings }, (print) => {
        if (settings.length === 0) print('Off: every connection offers the last unit.');
        for (const line of settings.map(inWords)) print(line);
      });
    },
  );
}

/** How long a sale takes to reach each channel, and what that can cost. */
export function windowCommands(cli: Cli): void {
  cli.withSession(
    cli.program
      .command('windows')
      .description(
        'per channel: from a sale elsewhere to its corrected number, and the units that can oversell meanwhile',
      )
      .addHelpText('after', examples('windows', 'windows --json')),
    async (session, { output }) => {
      const { id } = session.organization();
      const items = await session.store.tenant(id, (tx) => readWindows(tx, id, null, session.clock.now()));
      output.result({ items }, (print) => {
        const ms = (value: number | null) => (value === null ? '' : `${value} ms`);
        const rows = items.map((one) => [
          one.connection,
          one.samples,
          ms(one.p50Ms),
          ms(one.p99Ms),
          one.p50OursMs === null ? '' : `${one.p50OursMs} / ${one.p99OursMs} ms`,
          one.canOversell === 0 ? '0' : `${one.canOversell} (${one.sku})`,
          one.overOffered,
        ]);
        for (const line of table(
          ['channel', 'sales of a day', 'half within', '99 % within', 'of it ours', 'can oversell', 'too many now'],
          rows,
        ))
          print(line);
        print('"can oversell": most units of one SKU sold there within one window, in two weeks. A buffer or');
        print('"syncstate scarcity set" of that many covers it.');
      });
    },
  );
}

async function subjectOf(session: Session, { sku, connection }: SetOptions) {
  if (sku !== undefined && connection !== undefined) throw usage('Name a SKU or a connection, not both.');
  if (sku !== undefined) {
    const variantSku = normalizeSku(sku);
    if (variantSku === null) throw unknown(`SKU "${sku}"`);
    return { variantSku };
  }
  if (connection !== undefined)
    return { scope: 'connection' as const, scopeId: (await findConnection(session, connection)).id };
  return { scope: 'organization' as const, scopeId: session.organization().id };
}

function inWords({ scope, sku, connection, lastUnits, to }: ScarcitySetting): string {
  const whose =
    scope === 'organization' ? 'Everything' : scope === 'connection' ? `Connection ${connection}` : `SKU ${sku}`;
  const who = to === 'sales' ? ', to who sold most lately' : to === 'priority' ? ', by priority' : '';
  if (lastUnits === null) return `${whose}: as set elsewhere${who}`;
  return lastUnits === 0 ? `${whose}: never${who}` : `${whose}: the last ${lastUnits} on one connection${who}`;
}
