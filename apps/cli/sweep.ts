/** sweep: the readings that prove a connection right: orders counted per day, stock read in full; shown, and asked for. */
import { askWatch, readWatch } from '#store/connections/watches.ts';
import { beginStockSweep, readStockSweeps } from '#store/listings/sweeps.ts';
import { readDayCounts } from '#store/orders/counts.ts';
import { type Cli, examples } from './cli.ts';
import { findConnection } from './connection-lookup.ts';
import { count, table } from './output.ts';

export function sweepCommands(cli: Cli): void {
  const sweep = cli.program.command('sweep').description('readings that prove a connection right');
  cli.withSession(
    sweep
      .command('show')
      .argument('<connection>')
      .description(
        'orders per day (what the channel says, what we hold, what was missing), and the last readings of all stock',
      )
      .addHelpText('after', examples('sweep show "My shop"', 'sweep show "My shop" --json')),
    async (session, { args, output }) => {
      const { id: orgId } = session.organization();
      const found = await findConnection(session, args[0] ?? '');
      const [days, watch, stock] = await session.store.tenant(orgId, async (tx) => [
        await readDayCounts(tx, orgId, found.id, 30),
        await readWatch(tx, orgId, found.id, 'order_counts'),
        await readStockSweeps(tx, orgId, found.id, 10),
      ]);
      const result = { connectionId: found.id, ordersReadTo: found.ordersReadTo, days, watch, stock };
      output.result(result, (print) => {
        print(`Orders of ${found.name} are read to ${found.ordersReadTo ?? '(never)'}.`);
        for (const line of table(
          ['day', 'channel', 'ours', 'counted to', 'how', 'were missing', 'only ours'],
          days.map((one) => [
            one.day,
            one.channelCount ?? 'too many',
            one.heldCount,
            one.countedTo.slice(0, 19),
            one.method,
            one.missing.map(({ externalId, found: now }) => `${externalId}${now ? ' (fetched)' : ''}`).join(' '),
            one.extra.length,
          ]),
          60,
        ))
          print(line);
        if (days.length === 0) print('No day is counted yet: a running server does it by itself.');
        if (watch?.error) print(`The last count failed: ${watch.error}`);
        for (const line of table(
          [
            'stock read',
            'by',
            'took',
            'numbers',
            'read',
            'as expected',
            'lower',
            'higher',
            'missing',
            'undecided',
            'otherwise',
          ],
          stock.map((one) => [
            one.startedAt.slice(0, 19),
            one.askedBy,
            one.superseded ? 'overtaken' : one.durationMs === null ? 'goes on' : `${one.durationMs} ms`,
            one.targets,
            one.read,
            one.asExpected,
            one.lower,
            one.higher,
            one.missing,
            one.undecided,
            one.otherwise,
          ]),
        ))
          print(line);
      });
    },
  );
  cli.withSession(
    sweep
      .command('stock')
      .argument('<connection>')
      .description('read all its numbers soon; a running server does it')
      .addHelpText('after', examples('sweep stock "My shop"')),
    async (session, { args, output }) => {
      const { id: orgId } = session.organization();
      const found = await findConnection(session, args[0] ?? '');
      const ask = { id: session.ids.uuid(), askedBy: 'cli', now: session.clock.now() };
      const targets = await session.store.tenant(orgId, (tx) => beginStockSweep(tx, orgId, found.id, ask));
      output.result({ id: ask.id, connectionId: found.id, targets }, (print) =>
        print(`Asked for ${count(targets, 'number')}. See: sweep show "${found.name}"`),
      );
    },
  );
  cli.withSession(
    sweep
      .command('count')
      .argument('<connection>')
      .description('count the orders of the last days soon; a running server does it')
      .addHelpText('after', examples('sweep count "My shop"')),
    async (session, { args, output }) => {
      const { id: orgId } = session.organization();
      const found = await findConnection(session, args[0] ?? '');
      await session.store.tenant(orgId, (tx) => askWatch(tx, orgId, found.id, 'order_counts', session.clock.now()));
      output.result({ connectionId: found.id, asked: true }, (print) =>
        print(`Asked. See: sweep show "${found.name}"`),
      );
    },
  );
}

/** Lines of `connection show` about its events. */
export function describeSubscriptions(result: Record<string, unknown> | null): string[] {
  if (result === null) return ['Events: not looked at yet; a running server does it by itself.'];
  const list = (name: string): string[] => (Array.isArray(result[name]) ? (result[name] as string[]) : []);
  const silent = result.silent as { orders: { externalId: string }[]; lastEventAt: string | null } | null | undefined;
  const words: Record<string, string> = {
    right: `Events: ${count(list('existing').length, 'subscription')}, all as wanted.`,
    repaired: `Events: repaired at the last look; made anew: ${list('created').join(', ') || 'none'}; removed: ${list('removed').join(', ') || 'none'}.`,
    no_address: 'Events: nobody said where webhooks go (connection add --public-url); orders come by sweeps.',
    none: 'Events: this channel sends none here; orders come by sweeps.',
  };
  const lines = [words[String(result.state)] ?? 'Events: unknown.'];
  if (silent)
    lines.push(
      `Silent: no event since ${silent.lastEventAt ?? 'ever'}, though sweeps found ${silent.orders.map(({ externalId }) => externalId).join(', ')}.`,
    );
  return lines;
}
