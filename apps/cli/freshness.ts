/** freshness: how old a location's stock may be that somebody else keeps; shown, set, and a reading noted. */
import { Option } from 'commander';
import { noteReading, readFreshness, setFreshness } from '#store/catalog/freshness.ts';
import { type Cli, examples } from './cli.ts';
import { type Output, table, unknown, usage } from './output.ts';
import type { Session } from './session.ts';

export function freshnessCommands(cli: Cli): void {
  const freshness = cli.program.command('freshness').description("how old a location's stock may be");
  cli.withSession(
    freshness.command('list').description('limits and last readings').addHelpText('after', examples('freshness list')),
    (session, { output }) => show(session, output),
  );
  cli.withSession<{ then: 'zero' | 'suspend' }>(
    freshness
      .command('set')
      .argument('<location>')
      .argument('<limit>', 'e.g. 90m, 6h, 2d; off: its number has no age')
      .addOption(new Option('--then <action>', 'past it').choices(['zero', 'suspend']).default('zero'))
      .description('past the limit its targets show 0 or nothing is written to them; a reading ends that')
      .addHelpText(
        'after',
        examples('freshness set EAST 6h', 'freshness set EAST 6h --then suspend', 'freshness set EAST off'),
      ),
    async (session, { args, options, output }) => {
      const { id: orgId } = session.organization();
      const [location = '', text = ''] = args;
      const by = { actor: 'cli', now: session.clock.now() };
      const limit = { limitMs: durationOf(text), action: options.then };
      if (!(await session.store.tenant(orgId, (tx) => setFreshness(tx, orgId, location, limit, by))))
        throw unknown(`location ${location}`);
      await show(session, output);
    },
  );
  cli.withSession(
    freshness
      .command('confirm')
      .argument('<location>')
      .description("the location's stock was read just now")
      .addHelpText('after', examples('freshness confirm EAST')),
    async (session, { args, output }) => {
      const { id: orgId } = session.organization();
      const [location = ''] = args;
      const now = session.clock.now();
      if (!(await session.store.tenant(orgId, (tx) => noteReading(tx, orgId, location, { at: now, by: 'cli', now }))))
        throw unknown(`freshness limit of ${location}`, 'Set one: syncstate freshness set --help');
      await show(session, output);
    },
  );
}

/** null = off. */
function durationOf(text: string): number | null {
  if (text === 'off') return null;
  const [, n, unit] = /^(\d{1,5})([mhd])$/.exec(text) ?? [];
  const units: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000 };
  const ms = Number(n) * (units[unit ?? ''] ?? 0);
  if (!(ms > 0) || ms > 31_536_000_000) throw usage(`${text} is no time: 90m, 6h, 2d (at most a year) or off.`);
  return ms;
}

async function show(session: Session, output: Output): Promise<void> {
  const { id: orgId } = session.organization();
  const items = await session.store.tenant(orgId, (tx) => readFreshness(tx, orgId, session.clock.now()));
  output.result({ items }, (print) => {
    for (const line of table(
      ['location', 'limit', 'then', 'last read', 'by', ''],
      items.map((one) => [
        one.location,
        `${Math.round(one.limitMs / 60_000)} min`,
        one.action,
        one.readAt.slice(0, 19),
        one.readBy,
        one.outdated ? 'outdated' : `until ${one.outdatedAt.slice(0, 19)}`,
      ]),
    ))
      print(line);
    if (items.length === 0) print('No location has a limit: their numbers are the ledger’s own and have no age.');
  });
}
