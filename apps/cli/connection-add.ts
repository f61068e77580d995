/**
 * connection add: links an account at a channel.
 *
 *   stored (sealed) → the channel lets us in, or the row goes again → its places → its listings → its webhooks
 *
 * A new connection is paused: its channel keeps its own numbers until a person has looked at ours and resumes it.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { CodedError } from '#core/errors.ts';
import type { Deps } from '#server/deps.ts';
import { fingerprint } from '#server/secrets.ts';
import { type LocationRow, listLocations } from '#store/catalog/lookup.ts';
import { createConnection, deleteConnection, listConnections, mapLocation } from '#store/connections/connections.ts';
import { setWebhookUrl } from '#store/connections/watches.ts';
import { pauseConnection } from '#store/listings/halts.ts';
import { type Cli, describe, examples } from './cli.ts';
import { locationOf } from './connection-lookup.ts';
import { CommandError, count, type Output, usage } from './output.ts';
import type { Session } from './session.ts';
import { pairOption } from './values.ts';

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
export function secretOption(command: Command, flag: string, help: string): Command {
  return command
    .option(`--${flag} <value>`, `${help}; - reads stdin`)
    .option(`--${flag}-file <path>`, `file that holds the ${flag}`);
}

export function addCommands(cli: Cli, add: Command): void {
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
export const textOf = (options: Record<string, unknown>, name: string): string | undefined =>
  typeof options[name] === 'string' ? options[name] : undefined;
export const present = (values: Record<string, string | undefined>): Record<string, string> =>
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
  let listings = 0;
  let mapped = 0;
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
    listings = imported?.processed ?? 0;
    mapped = (imported?.mapped ?? 0) + (imported?.alreadyMapped ?? 0);
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
    listings,
    mapped,
  };
  output.result(result, (print) => {
    print(`Linked ${account.name} (${id}): ${count(listings, 'listing')}, ${mapped} with a SKU of ours.`);
    for (const { code, externalId } of places) print(`  ${code} stands behind ${externalId}`);
    if (places.length === 0)
      print(`  No location is mapped yet: syncstate connection map "${account.name}" MAIN=<their id>`);
    if (account.platform === 'shopify' && account.webhookSecrets.length === 0)
      print(
        '  No --client-secret or --webhook-secret: its webhooks cannot be verified and are refused; orders come by sweeps.',
      );
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
    if (options.active !== true) {
      const pause = { reason: 'Just linked: nothing is written until it is resumed.', until: null };
      await pauseConnection(tx, orgId, id, pause, { actor: 'cli', now, ids: session.ids });
    }
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
  const url = `${publicUrl.replace(/\/+$/, '')}${webhookPath}`;
  // From now on the channel is held to it.
  await deps.store.tenant(ref.orgId, (tx) => setWebhookUrl(tx, ref.orgId, ref.connectionId, url));
  await subscriptions.ensure(url, {
    budget: 'read',
    signal: AbortSignal.timeout(30_000),
  });
  return true;
}
