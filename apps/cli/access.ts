/** org, key, location: who the stock belongs to, who may ask, and where it lies. */
import { createHash, randomBytes } from 'node:crypto';
import { type KeyItem, listApiKeys, revokeApiKey } from '#store/access/key-list.ts';
import { createApiKey, createOrganization } from '#store/access/keys.ts';
import { ensureLocations, listLocations } from '#store/catalog/lookup.ts';
import { type Cli, examples } from './cli.ts';
import { CommandError, type Output, table, unknown, usage } from './output.ts';
import type { Session } from './session.ts';
import { pickByName, wholeNumber } from './values.ts';

export function accessCommands(cli: Cli): void {
  organizationCommands(cli);
  keyCommands(cli);
  locationCommands(cli);
}

function organizationCommands(cli: Cli): void {
  const org = cli.program
    .command('org')
    .description('organizations (people join one by signing in, when sign-in arrives; until then API keys act for it)');
  cli.withSession(
    org.command('list').description('all organizations').addHelpText('after', examples('org list --json')),
    async (session, { output }) => {
      const items = session.installation.organizations;
      output.result({ items }, (print) => {
        for (const line of table(
          ['slug', 'name', 'id', 'created'],
          items.map(({ slug, name, id, createdAt }) => [slug, name, id, createdAt]),
        ))
          print(line);
      });
    },
  );
  cli.withSession<{ slug?: string; location: string }>(
    org
      .command('create')
      .argument('<name>', 'what people call it')
      .option('--slug <slug>', 'short name for --org (default: made from the name)')
      .option('--location <code>', 'code of its first location, where stock lies by default', 'MAIN')
      .description('make an organization with one location')
      .addHelpText(
        'after',
        examples('org create "Ada\'s Teas"', 'org create "Ada\'s Teas" --slug teas --location BERLIN'),
      ),
    (session, { args, options, output }) => createOrg(session, args[0] ?? '', options, output),
  );
}

/** "Ada's Teas" → "adas-teas". Pure. */
export const slugOf = (name: string): string =>
  name
    .normalize('NFKD')
    .replace(/[\p{M}'’]/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 40);

async function createOrg(
  session: Session,
  name: string,
  options: { slug?: string; location: string },
  output: Output,
): Promise<void> {
  const slug = options.slug ?? slugOf(name);
  if (name.trim() === '') throw usage('An organization needs a name.');
  if (options.location.trim() === '') throw usage('A location needs a code: leave --location away for MAIN.');
  if (!/^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/.test(slug))
    throw usage('A slug has 1 to 40 small letters, digits and dashes inside: name one with --slug.');
  if (session.installation.organizations.some((known) => known.slug === slug))
    throw new CommandError('cli.taken', `There is an organization "${slug}" already. Name another slug with --slug.`);
  const id = session.ids.uuid();
  const location = {
    id: session.ids.uuid(),
    code: options.location,
    name: options.location,
    isDefault: true,
    priority: 1,
    servesOrders: true,
  };
  await session.store.tenant(id, async (tx) => {
    await createOrganization(tx, { id, name: name.trim(), slug });
    await ensureLocations(tx, id, [location]);
  });
  output.result({ id, slug, name: name.trim(), location: location.code }, (print) => {
    print(`Made the organization ${slug} (${id}) with the location ${location.code}.`);
    print(`Next: syncstate key create "my program" --org ${slug}`);
  });
}

function keyCommands(cli: Cli): void {
  const key = cli.program.command('key').description('API keys; a key is shown once, when it is made');
  cli.withSession<{ rate: number; unlimited?: boolean }>(
    key
      .command('create')
      .argument('<name>', 'who uses it')
      .option('--rate <calls>', 'calls per minute', wholeNumber(1, 1_000_000), 6_000)
      .option('--unlimited', 'no limit')
      .description('make a key and print it, this once')
      .addHelpText('after', examples('key create "stock robot"', 'key create "stock robot" --rate 600 --json')),
    async (session, { args, options, output }) => {
      const { id: orgId, slug } = session.organization();
      const name = (args[0] ?? '').trim();
      if (name === '') throw usage('A key needs a name: who uses it.');
      const secret = `sk_${randomBytes(32).toString('base64url')}`;
      const ratePerMinute = options.unlimited === true ? null : options.rate;
      const id = session.ids.uuid();
      await session.store.tenant(orgId, (tx) =>
        createApiKey(tx, orgId, { id, name, hash: createHash('sha256').update(secret).digest(), ratePerMinute }),
      );
      output.result({ id, name, key: secret, ratePerMinute, organizationId: orgId }, (print) => {
        print(secret);
        output.note(`Key "${name}" of ${slug}. It is not kept anywhere: store it now.`);
      });
    },
  );
  cli.withSession(
    key.command('list').description('keys of the organization, without the keys themselves'),
    async (session, { output }) => {
      const { id } = session.organization();
      const items = await session.store.tenant(id, (tx) => listApiKeys(tx, id));
      output.result({ items }, (print) => {
        for (const line of table(
          ['name', 'id', 'calls/min', 'created', 'last used', 'state'],
          items.map((item) => [
            item.name,
            item.id,
            item.ratePerMinute ?? 'unlimited',
            item.createdAt,
            item.lastUsedAt,
            stateOf(item, session.clock.now()),
          ]),
        ))
          print(line);
      });
    },
  );
  cli.withSession(
    key
      .command('revoke')
      .argument('<name|id>')
      .description('refuse a key from now on')
      .addHelpText('after', examples('key revoke "stock robot"')),
    async (session, { args, output }) => {
      const { id: orgId } = session.organization();
      const keys = (await session.store.tenant(orgId, (tx) => listApiKeys(tx, orgId))).filter(
        ({ revokedAt }) => revokedAt === null,
      );
      const found = pickByName(
        keys.filter(({ id, name }) => id === args[0] || name === args[0]),
        args[0] ?? '',
      );
      if (found === null) throw unknown(`key "${args[0]}" in use`, 'See: syncstate key list');
      if (Array.isArray(found))
        throw usage(`Several keys are called "${args[0]}": name one by its id. See: syncstate key list`);
      await session.store.tenant(orgId, (tx) => revokeApiKey(tx, orgId, found.id, session.clock.now()));
      output.result({ id: found.id, name: found.name, revoked: true }, (print) =>
        print(`Revoked "${found.name}" (${found.id}).`),
      );
    },
  );
}

const stateOf = ({ revokedAt, expiresAt }: KeyItem, now: number): string =>
  revokedAt !== null
    ? `revoked ${revokedAt}`
    : expiresAt !== null && Date.parse(expiresAt) <= now
      ? `expired ${expiresAt}`
      : 'in use';

function locationCommands(cli: Cli): void {
  const location = cli.program.command('location').description('where goods lie');
  cli.withSession(
    location.command('list').description('locations, in the order they serve'),
    async (session, { output }) => {
      const { id } = session.organization();
      const items = await session.store.tenant(id, (tx) => listLocations(tx, id));
      output.result({ items }, (print) => {
        for (const line of table(
          ['code', 'name', 'default', 'priority', 'serves orders'],
          items.map((item) => [
            item.code,
            item.name,
            item.isDefault ? 'yes' : '',
            item.priority,
            item.servesOrders ? 'yes' : 'no',
          ]),
        ))
          print(line);
      });
    },
  );
  cli.withSession<{ name?: string; priority?: number; orders: boolean }>(
    location
      .command('add')
      .argument('<code>', 'short and for ever: it stands in files and calls')
      .option('--name <name>', 'what people call it')
      .option('--priority <n>', 'lower serves first', wholeNumber(0, 100_000), 10)
      .option('--no-orders', "goods there serve no orders (a channel's own warehouse, a workshop)")
      .description('make a location')
      .addHelpText('after', examples('location add EAST --name "East warehouse" --priority 2')),
    async (session, { args, options, output }) => {
      const { id: orgId } = session.organization();
      const code = (args[0] ?? '').trim();
      if (code === '' || code.length > 60) throw usage('A location code has 1 to 60 characters.');
      const known = await session.store.tenant(orgId, (tx) => listLocations(tx, orgId));
      if (known.some((other) => other.code === code))
        throw new CommandError('cli.taken', `There is a location ${code} already.`);
      const made = {
        id: session.ids.uuid(),
        code,
        name: options.name ?? code,
        isDefault: known.length === 0,
        priority: options.priority ?? 10,
        servesOrders: options.orders,
      };
      await session.store.tenant(orgId, (tx) => ensureLocations(tx, orgId, [made]));
      output.result(made, (print) => print(`Made the location ${code}.`));
    },
  );
}
