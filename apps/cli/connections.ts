/** connection: a tenant's accounts at channels, listed, tested, paused and placed. Linking one is connection-add.ts. */
import { listLocations } from '#store/catalog/lookup.ts';
import { mapLocation } from '#store/connections/connections.ts';
import { readLimits } from '#store/connections/limits.ts';
import { readWatch } from '#store/connections/watches.ts';
import { markPolicyDirty } from '#store/listings/expand.ts';
import { readConnections } from '#store/views/connections.ts';
import { type Cli, describe, examples } from './cli.ts';
import { addCommands } from './connection-add.ts';
import { importOfConnections } from './connection-import.ts';
import { findConnection, locationOf, statesOf } from './connection-lookup.ts';
import { renewCommand } from './connection-renew.ts';
import { settingsCommand } from './connection-settings.ts';
import { describeOperation, operationOfConnections } from './operation.ts';
import { CommandError, type Exit, type Output, table } from './output.ts';
import type { Session } from './session.ts';
import { describeSubscriptions } from './sweep.ts';
import { pairOption } from './values.ts';

export function connectionCommands(cli: Cli): void {
  const connection = cli.program
    .command('connection')
    .description('accounts at channels; named by id, name or an unambiguous part of the name');
  cli.withSession(
    connection
      .command('list')
      .description('connections with their state and backlog')
      .addHelpText('after', examples('connection list --json')),
    async (session, { output }) => {
      const { id } = session.organization();
      const items = await session.store.tenant(id, (tx) => readConnections(tx, id, null));
      output.result({ items }, (print) => {
        for (const line of table(
          ['name', 'platform', 'kind', 'state', 'listings', 'unmapped', 'waiting', 'targets', 'id'],
          items.map((item) => [
            item.name,
            item.platform,
            item.kind,
            item.paused ? `${item.state}, paused` : item.state,
            item.listings,
            item.unmapped,
            item.waiting,
            statesOf(item),
            item.id,
          ]),
        ))
          print(line);
      });
    },
  );
  cli.withSession(
    connection
      .command('show')
      .argument('<connection>')
      .description('one account: state, backlog, places, and whether its events arrive')
      .addHelpText('after', examples('connection show "My shop"')),
    async (session, { args, output }) => {
      const { id: orgId } = session.organization();
      const found = await findConnection(session, args[0] ?? '');
      const watch = await session.store.tenant(orgId, (tx) => readWatch(tx, orgId, found.id, 'subscriptions'));
      const limits = await session.store.tenant(orgId, (tx) => readLimits(tx, orgId, found.id));
      output.result({ ...found, subscriptions: watch, ...limits }, (print) => {
        print(
          `${found.name}: ${found.platform}, ${found.kind}, ${found.paused ? `${found.state}, paused` : found.state}`,
        );
        if (found.stateReason !== null) print(`  ${found.stateReason}`);
        print(`  ${found.listings} listings, ${found.unmapped} unmapped; targets: ${statesOf(found) || 'none'}`);
        print(`  orders read to ${found.ordersReadTo ?? '(never)'}`);
        for (const { code, externalId } of found.locations) print(`  ${code} stands behind ${externalId}`);
        for (const line of describeSubscriptions(watch?.result ?? null)) print(`  ${line}`);
        for (const line of describeOperation(found, limits)) print(`  ${line}`);
        if (watch?.error) print(`  The last look at its subscriptions failed: ${watch.error}`);
      });
    },
  );
  addCommands(cli, connection.command('add').description('link an account: shopify or amazon'));
  cli.withSession(
    connection
      .command('test')
      .argument('<connection>')
      .description('does the channel let us in? exit 1 when not')
      .addHelpText('after', examples('connection test "My shop"')),
    (session, { args, output }) => testConnection(session, args[0] ?? '', output),
  );
  renewCommand(cli, connection);
  operationOfConnections(cli, connection);
  settingsCommand(cli, connection);
  importOfConnections(cli, connection);
  cli.withSession(
    connection
      .command('map')
      .argument('<connection>')
      .argument('<ours=theirs...>', "our location code and the channel's own id of the place")
      .description('which of our locations stand behind the places the channel counts stock at')
      .addHelpText('after', examples('connection map "My shop" MAIN=gid://shopify/Location/1')),
    async (session, { args, output }) => {
      const { id: orgId } = session.organization();
      const [named = '', ...pairs] = args;
      const found = await findConnection(session, named);
      const ours = await session.store.tenant(orgId, (tx) => listLocations(tx, orgId));
      const mapped = pairs
        .flatMap((pair) => pairOption(pair, undefined))
        .map(([code, place]) => ({ location: locationOf(ours, code), place }));
      await session.store.tenant(orgId, async (tx) => {
        for (const { location, place } of mapped) await mapLocation(tx, orgId, found.id, place, location.id);
        // Marks everything of the connection to be looked at again.
        await markPolicyDirty(tx, orgId, 'connection', found.id);
      });
      output.result(
        { id: found.id, locations: mapped.map(({ location, place }) => ({ code: location.code, externalId: place })) },
        (print) => {
          for (const { location, place } of mapped) print(`${location.code} stands behind ${place} at ${found.name}.`);
        },
      );
    },
  );
}

async function testConnection(session: Session, named: string, output: Output): Promise<Exit> {
  const found = await findConnection(session, named);
  const deps = await session.deps();
  const from = session.clock.monotonicMs();
  let fault: { code: string; message: string } | null = null;
  try {
    const opened = await deps.openConnection({ orgId: session.organization().id, connectionId: found.id });
    if (!opened) throw new CommandError('cli.no_connector', `There is no connector for ${found.platform}.`);
    await opened.channel.test({ budget: 'read', signal: AbortSignal.timeout(30_000) });
  } catch (error) {
    const { code, text } = describe(error);
    fault = { code, message: text };
  }
  const tookMs = Math.round(session.clock.monotonicMs() - from);
  output.result({ id: found.id, name: found.name, ok: fault === null, tookMs, error: fault }, (print) =>
    print(
      fault === null
        ? `${found.name} lets us in (${tookMs} ms).`
        : `${found.name} does not let us in: ${fault.message} [${fault.code}]`,
    ),
  );
  return fault === null ? 0 : 1;
}
