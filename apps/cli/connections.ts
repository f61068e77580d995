/** connection, sync: a tenant's accounts at channels, and making one right now. */

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { CodedError } from '#core/errors.ts';
import type { Deps } from '#server/deps.ts';
import { fingerprint } from '#server/secrets.ts';
import { type LocationRow, listLocations } from '#store/catalog/lookup.ts';
import { createConnection, deleteConnection, listConnections, mapLocation } from '#store/connections/connections.ts';
import { dirtyOrgs, lanesWithWork } from '#store/listings/system.ts';
import { type ConnectionItem, pauseConnection, readConnections } from '#store/views/connections.ts';
import { type Cli, describe, examples } from './cli.ts';
import { CommandError, count, type Exit, type Output, table, unknown, usage } from './output.ts';
import type { Session } from './session.ts';
import { pairOption, pickByName, wholeNumber } from './values.ts';

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
  addCommands(cli, connection.command('add').description('link an account: shopify or amazon'));
  cli.withSession(
    connection
      .command('test')
      .argument('<connection>')
      .description('does the channel let us in? exit 1 when not')
      .addHelpText('after', examples('connection test "My shop"')),
    (session, { args, output }) => testConnection(session, args[0] ?? '', output),
  );
  for (const [verb, paused, text] of [
    ['pause', true, 'stop writing to it; orders are still taken in, changes are kept and sent on resume'],
    ['resume', false, 'write to it again'],
  ] as const)
    cli.withSession(
      connection.command(verb).argument('<connection>').description(text),
      async (session, { args, output }) => {
        const { id: orgId } = session.organization();
        const found = await findConnection(session, args[0] ?? '');
        await session.store.tenant(orgId, (tx) =>
          pauseConnection(tx, orgId, found.id, paused ? new Date(session.clock.now()) : null),
        );
        output.result({ id: found.id, name: found.name, paused }, (print) =>
          print(`${found.name} is ${paused ? 'paused' : 'written to again'}.`),
        );
      },
    );
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
        await pauseConnection(tx, orgId, found.id, found.paused ? new Date(session.clock.now()) : null);
      });
      output.result(
        { id: found.id, locations: mapped.map(({ location, place }) => ({ code: location.code, externalId: place })) },
        (print) => {
          for (const { location, place } of mapped) print(`${location.code} stands behind ${place} at ${found.name}.`);
        },
      );
    },
  );
  syncCommand(cli);
}

const statesOf = ({ targets }: ConnectionItem): string =>
  Object.entries(targets)
    .map(([state, n]) => `${n} ${state}`)
    .join(', ');

function locationOf(ours: readonly LocationRow[], code: string): LocationRow {
  const found = ours.find((location) => location.code === code);
  if (!found) throw unknown(`location ${code}`, `There are: ${ours.map((location) => location.code).join(', ')}`);
  return found;
}

// ---- add

interface AddOptions {
  map?: [string, string][];
  publicUrl?: string;
  simulator?: string;
  active?: boolean;
  test: boolean;
  [more: string]: unknown;
}

/** What an account of a platform is made of; the connector checks it when it is opened. */
interface Account {
  platform: string;
  name: string;
  settings: Record<string, unknown>;
  credentials: Record<string, string>;
  webhookSecrets: string[];
  /** The settings that make it this account and no other. */
  identity: string[];
}

const secretNote =
  '\nA secret may be given as a value (others on this machine can see it), as "-" (read from stdin), or as a file with --…-file.\nA new connection is paused: nothing is written to the channel until "syncstate connection resume".';

/** --flag <value|-> and --flag-file <path>. */
function secretOption(command: Command, flag: string, help: string): Command {
  return command
    .option(`--${flag} <value>`, `${help}; - reads stdin`)
    .option(`--${flag}-file <path>`, `file that holds the ${flag}`);
}

function addCommands(cli: Cli, add: Command): void {
  const common = (command: Command): Command =>
    command
      .option('--map <ours=theirs>', "location code = the channel's id of the place; may be repeated", pairOption)
      .option('--public-url <url>', 'address at which the channel reaches this server: subscribes its webhooks')
      .option('--simulator <url>', 'a simulated connection to this simulator')
      .option('--active', 'write to it from the start (default: paused until "connection resume")')
      .option('--no-test', 'do not ask the channel whether it lets us in (nor for its places and listings)');

  const shopify = add
    .command('shopify')
    .argument('<name>', 'what people call it')
    .requiredOption('--shop <domain>', 'my-shop.myshopify.com');
  secretOption(shopify, 'access-token', 'a static token of a custom app');
  shopify.option('--client-id <id>', 'of the app, for tokens by client credentials');
  secretOption(shopify, 'client-secret', 'of the app; also signs its webhooks');
  secretOption(shopify, 'refresh-token', 'of an installed public app');
  secretOption(shopify, 'webhook-secret', 'what webhooks are signed with, when it is not the client secret');
  common(shopify)
    .description('link a Shopify shop')
    .addHelpText(
      'after',
      examples(
        'connection add shopify "My shop" --shop my-shop.myshopify.com --access-token-file token.txt --client-secret-file secret.txt',
        'connection add shopify "My shop" --shop my-shop.myshopify.com --access-token - < token.txt',
      ) + secretNote,
    );
  cli.withSession<AddOptions & { shop: string }>(shopify, (session, { args, options, output }) => {
    const clientSecret = secretOf(options, 'client-secret');
    const webhookSecret = secretOf(options, 'webhook-secret') ?? clientSecret;
    const given = {
      accessToken: secretOf(options, 'access-token'),
      clientId: textOf(options, 'clientId'),
      clientSecret,
      refreshToken: secretOf(options, 'refresh-token'),
    };
    const account = {
      platform: 'shopify',
      name: args[0] ?? '',
      settings: { shopDomain: options.shop },
      credentials: present(given),
      webhookSecrets: webhookSecret === undefined ? [] : [webhookSecret],
      identity: ['shopDomain'],
    };
    return addConnection(session, account, options, output);
  });

  const amazon = add
    .command('amazon')
    .argument('<name>', 'what people call it')
    .requiredOption('--seller-id <id>', 'merchant token')
    .requiredOption('--region <region>', 'na, eu or fe')
    .requiredOption('--marketplace <ids...>', 'marketplace ids, the first is where new listings are written');
  amazon.option('--client-id <id>', 'LWA client id of the app');
  secretOption(amazon, 'client-secret', 'LWA client secret of the app');
  secretOption(amazon, 'refresh-token', "the seller's grant");
  amazon
    .option('--queue-url <url>', "the seller's SQS queue for order changes; without it orders come by sweeps")
    .option('--queue-region <region>', 'AWS region of the queue')
    .option('--aws-access-key-id <id>', 'may read that queue');
  secretOption(amazon, 'aws-secret-access-key', 'belongs to the access key id');
  common(amazon)
    .description('link an Amazon seller account in one region')
    .addHelpText(
      'after',
      examples(
        'connection add amazon "Amazon US" --seller-id A1B2C3 --region na --marketplace ATVPDKIKX0DER --client-id amzn1.app --client-secret-file secret.txt --refresh-token-file refresh.txt',
      ) + secretNote,
    );
  cli.withSession<AddOptions & { sellerId: string; region: string; marketplace: string[] }>(
    amazon,
    (session, { args, options, output }) => {
      if (!['na', 'eu', 'fe'].includes(options.region)) throw usage('--region is na, eu or fe.');
      const settings = {
        sellerId: options.sellerId,
        region: options.region,
        marketplaceIds: options.marketplace,
        ...present({ queueUrl: textOf(options, 'queueUrl'), queueRegion: textOf(options, 'queueRegion') }),
      };
      const given = {
        clientId: textOf(options, 'clientId'),
        clientSecret: secretOf(options, 'client-secret'),
        refreshToken: secretOf(options, 'refresh-token'),
        awsAccessKeyId: textOf(options, 'awsAccessKeyId'),
        awsSecretAccessKey: secretOf(options, 'aws-secret-access-key'),
      };
      const account = {
        platform: 'amazon',
        name: args[0] ?? '',
        settings,
        credentials: present(given),
        webhookSecrets: [],
        identity: ['sellerId', 'region'],
      };
      return addConnection(session, account, options, output);
    },
  );
}

const camel = (flag: string): string => flag.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
const textOf = (options: Record<string, unknown>, name: string): string | undefined =>
  typeof options[name] === 'string' ? options[name] : undefined;
const present = (values: Record<string, string | undefined>): Record<string, string> =>
  Object.fromEntries(Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== undefined));

/** Of --flag, of stdin for "-", or of --flag-file. */
export function secretOf(options: Record<string, unknown>, flag: string): string | undefined {
  const given = textOf(options, camel(flag));
  const file = textOf(options, `${camel(flag)}File`);
  if (given !== undefined && file !== undefined) throw usage(`Give --${flag} or --${flag}-file, not both.`);
  if (given !== undefined && given !== '-') return given;
  if (given === undefined && file === undefined) return undefined;
  let text: string;
  try {
    text = readFileSync(file ?? 0, 'utf8').trim();
  } catch (error) {
    throw new CommandError(
      'cli.unreadable',
      `--${flag}: ${file ?? 'stdin'} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  if (text === '') throw usage(`--${flag}: ${file ?? 'stdin'} is empty.`);
  return text;
}

async function addConnection(session: Session, account: Account, options: AddOptions, output: Output): Promise<void> {
  const org = session.organization();
  if (account.name.trim() === '') throw usage('A connection needs a name.');
  const ours = await session.store.tenant(org.id, (tx) => listLocations(tx, org.id));
  const wanted = (options.map ?? []).map(([code, place]) => ({ location: locationOf(ours, code), place }));
  const deps = await session.deps();
  await refuseTwice(session, account);
  const { id, token } = await storeConnection(session, deps, account, options);
  const ref = { orgId: org.id, connectionId: id };
  let places: { code: string; externalId: string }[] = wanted.map(({ location, place }) => ({
    code: location.code,
    externalId: place,
  }));
  let listings = { listings: 0, mapped: 0 };
  const webhookPath = `/webhook/${account.platform}/${token}`;
  let subscribed = false;
  if (options.test) {
    try {
      const opened = await deps.openConnection(ref);
      if (!opened) throw new CommandError('cli.no_connector', `There is no connector for ${account.platform}.`);
      const call = { budget: 'read', signal: AbortSignal.timeout(30_000) } as const;
      await opened.channel.test(call);
      if (wanted.length === 0) places = matchLocations(ours, await opened.channel.catalog.locations(call));
    } catch (error) {
      await session.store.tenant(org.id, (tx) => deleteConnection(tx, org.id, id, session.clock.now()));
      throw new CommandError(
        error instanceof CodedError ? error.code : 'cli.failed',
        `${account.name} was not linked: ${describe(error).text}`,
      );
    }
  }
  await session.store.tenant(org.id, async (tx) => {
    for (const { code, externalId } of places) await mapLocation(tx, org.id, id, externalId, locationOf(ours, code).id);
  });
  if (options.test) {
    const { importCatalog } = await import('#server/flows/import-catalog.ts');
    const imported = await importCatalog(
      {
        store: deps.store,
        clock: deps.clock,
        ids: deps.ids,
        openConnection: deps.openConnection,
        signal: AbortSignal.timeout(600_000),
      },
      ref,
    );
    if (imported) listings = imported;
    if (options.publicUrl !== undefined) subscribed = await subscribe(deps, ref, options.publicUrl, webhookPath);
  }
  const result = {
    id,
    platform: account.platform,
    kind: options.simulator === undefined ? 'live' : 'simulated',
    name: account.name,
    paused: options.active !== true,
    webhookPath,
    subscribed,
    locations: places,
    listings: listings.listings,
    mapped: listings.mapped,
  };
  output.result(result, (print) => {
    print(
      `Linked ${account.name} (${id}): ${count(listings.listings, 'listing')}, ${listings.mapped} with a SKU of ours.`,
    );
    for (const { code, externalId } of places) print(`  ${code} stands behind ${externalId}`);
    if (places.length === 0)
      print(`  No location is mapped yet: syncstate connection map "${account.name}" MAIN=<their id>`);
    if (!subscribed) print(`  Webhooks go to <your address>${webhookPath}`);
    if (options.active !== true)
      print(`It is paused: nothing is written there until: syncstate connection resume "${account.name}"`);
  });
}

async function refuseTwice(session: Session, account: Account): Promise<void> {
  const { id: orgId } = session.organization();
  const known = await session.store.tenant(orgId, (tx) => listConnections(tx, orgId));
  const same = known.find(
    ({ platform, settings }) =>
      platform === account.platform && account.identity.every((name) => settings[name] === account.settings[name]),
  );
  if (same)
    throw new CommandError('cli.taken', `"${same.name}" is that account already: its orders would be booked twice.`);
  if (known.some(({ name }) => name === account.name))
    throw new CommandError('cli.taken', `There is a connection "${account.name}" already.`);
}

async function storeConnection(
  session: Session,
  deps: Deps,
  account: Account,
  options: AddOptions,
): Promise<{ id: string; token: string }> {
  const { id: orgId } = session.organization();
  const id = session.ids.uuid();
  const token = randomBytes(24).toString('base64url');
  const seal = (plain: unknown, column: 'credentials' | 'webhook_secrets') =>
    deps.vault.seal(JSON.stringify(plain), { orgId, connectionId: id, column });
  const now = session.clock.now();
  await session.store.tenant(orgId, async (tx) => {
    await createConnection(tx, orgId, {
      id,
      platform: account.platform,
      kind: options.simulator === undefined ? 'live' : 'simulated',
      name: account.name.trim(),
      baseUrl: options.simulator?.replace(/\/+$/, '') ?? null,
      settings: account.settings,
      credentials: seal(account.credentials, 'credentials'),
      webhookSecrets: seal(account.webhookSecrets, 'webhook_secrets'),
      webhookFingerprints: account.webhookSecrets.map(fingerprint),
      webhookToken: token,
      createdAt: now,
    });
    if (options.active !== true) await pauseConnection(tx, orgId, id, new Date(now));
  });
  return { id, token };
}

/**
 * Our locations for the channel's places: by the same code or name; else, where the channel has one number for all
 * (its only active place, or the one it calls DEFAULT), everything of ours that serves orders. Pure.
 */
export function matchLocations(
  ours: readonly LocationRow[],
  places: readonly { channelLocation: string; name: string; active: boolean }[],
): { code: string; externalId: string }[] {
  const active = places.filter((place) => place.active);
  const same = (a: string, b: string): boolean => a.trim().toLowerCase() === b.trim().toLowerCase();
  const named = ours.flatMap(({ code, name }) => {
    const place = active.find((one) => same(one.name, code) || same(one.name, name) || one.channelLocation === code);
    return place ? [{ code, externalId: place.channelLocation }] : [];
  });
  if (named.length > 0) return named;
  const only =
    active.find(({ channelLocation }) => channelLocation === 'DEFAULT') ??
    (active.length === 1 ? active[0] : undefined);
  return only
    ? ours.filter(({ servesOrders }) => servesOrders).map(({ code }) => ({ code, externalId: only.channelLocation }))
    : [];
}

async function subscribe(
  deps: Deps,
  ref: { orgId: string; connectionId: string },
  publicUrl: string,
  webhookPath: string,
): Promise<boolean> {
  const { subscriptions } = (await deps.openConnection(ref))?.channel ?? {};
  if (!subscriptions) return false;
  await subscriptions.ensure(`${publicUrl.replace(/\/+$/, '')}${webhookPath}`, {
    budget: 'read',
    signal: AbortSignal.timeout(30_000),
  });
  return true;
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

// ---- sync

function syncCommand(cli: Cli): void {
  cli.withSession<{ timeout: number }>(
    cli.program
      .command('sync')
      .argument('<connection>')
      .option('--timeout <seconds>', 'how long to wait until every number is right', wholeNumber(1, 3_600), 60)
      .description('now: orders since the last mark, then all stock read, then publish; waits for it')
      .addHelpText('after', examples('sync "My shop"', 'sync "My shop" --timeout 300 --json')),
    (session, { args, options, output }) => syncConnection(session, args[0] ?? '', options.timeout * 1_000, output),
  );
}

async function syncConnection(session: Session, named: string, timeoutMs: number, output: Output): Promise<Exit> {
  const { id: orgId } = session.organization();
  const found = await findConnection(session, named);
  const ref = { orgId, connectionId: found.id };
  const deps = await session.deps();
  const until = session.clock.monotonicMs() + timeoutMs;
  // Beside a running server the work itself is that server's; without one it is done here.
  const ours = session.reached !== 'attached';

  let swept = false;
  const sweeping = deps.intake.requestSweep(ref).finally(() => (swept = true));
  while (ours && !swept) {
    await deps.intake.drain();
    await session.clock.sleep(20);
  }
  const orders = await sweeping;
  const settled = found.paused || (await settleStock(session, deps, ref, until));
  if (ours) {
    await deps.publisher.stop();
    await deps.intake.stop();
  }
  const [after = found] = await session.store.tenant(orgId, (tx) => readConnections(tx, orgId, found.id));
  const ok = orders.kind === 'done' && settled;
  output.result(
    { ok, connectionId: found.id, orders, settled, waiting: after.waiting, targets: after.targets },
    (print) => {
      print(
        orders.kind === 'done'
          ? `Orders: ${orders.seen} read, ${orders.stored} taken in.`
          : orders.kind === 'incomplete'
            ? `Orders: ${orders.seen} read, some are not applied (${orders.reason}).`
            : orders.kind === 'failed'
              ? `Orders: not read: ${orders.message}`
              : 'Orders: the connection is gone.',
      );
      print(
        `Stock: ${statesOf(after) || 'nothing listed'}${found.paused ? ' (paused: nothing is written)' : ''}${settled ? '.' : `; not settled within ${timeoutMs / 1_000} s, it goes on.`}`,
      );
    },
  );
  return ok ? 0 : 1;
}

/** Reads every number of the connection and publishes what is due; false when that is not over in time or it broke off. */
async function settleStock(
  session: Session,
  deps: Deps,
  ref: { orgId: string; connectionId: string },
  until: number,
): Promise<boolean> {
  const { store, clock } = session;
  await deps.publisher.requestStockSweep(ref);
  while (clock.monotonicMs() < until) {
    if (session.reached !== 'attached') await deps.publisher.drain();
    const busy = await store.system(async (tx) => ({
      dirty: await dirtyOrgs(tx),
      lanes: await lanesWithWork(tx, clock.now()),
    }));
    if (!busy.dirty.includes(ref.orgId) && !busy.lanes.some(({ connectionId }) => connectionId === ref.connectionId))
      return true;
    const [now] = await store.tenant(ref.orgId, (tx) => readConnections(tx, ref.orgId, ref.connectionId));
    if (now?.state === 'unauthorized') return false;
    await clock.sleep(50);
  }
  return false;
}
