/** Operation: pause, resume and "now" for a connection or a listing, shadow mode, and one stop for all pushes. */
import type { Command } from 'commander';
import { type Preview, previewPushes } from '#server/flows/preview.ts';
import type { readLimits } from '#store/connections/limits.ts';
import {
  type Acting,
  type Pushes,
  pauseConnection,
  pauseListing,
  readPushes,
  resumeConnection,
  resumeInstallation,
  resumeListing,
  resumePushes,
  stopInstallation,
  stopPushes,
  tellResume,
  tellStop,
} from '#store/listings/halts.ts';
import { readShadow, setShadow, setShadowDefault } from '#store/listings/shadow.ts';
import { askListingSync } from '#store/listings/system.ts';
import type { ConnectionItem } from '#store/views/connections.ts';
import { findListings, type ListingLine, listingSettled } from '#store/views/listings.ts';
import { type Cli, examples } from './cli.ts';
import { findConnection } from './connection-lookup.ts';
import { CommandError, count, type Exit, type Output, table, unknown, usage } from './output.ts';
import { actor, type Session } from './session.ts';
import { isUuid, laterOption, wholeNumber } from './values.ts';

interface PauseOptions {
  reason?: string;
  until?: number;
}

const acting = (session: Session): Acting => ({ actor, now: session.clock.now(), ids: session.ids });
const pauseOf = ({ reason, until }: PauseOptions) => ({ reason: reason ?? null, until: until ?? null });
const asking = (command: Command): Command =>
  command
    .option('--reason <text>', 'why; shown wherever the pause is')
    .option('--until <time>', 'resume by itself: 2026-11-21T09:00:00Z, or in 30m, 2h, 3d', laterOption);

export function operationOfConnections(cli: Cli, connection: Command): void {
  cli.withSession<PauseOptions>(
    asking(connection.command('pause').argument('<connection>'))
      .description('stop writing to it; orders are still taken in, changes are kept and sent once on resume')
      .addHelpText('after', examples('connection pause "My shop" --reason "stock take" --until 2h')),
    async (session, { args, options, output }) => {
      const { id: orgId } = session.organization();
      const found = await findConnection(session, args[0] ?? '');
      await session.store.tenant(orgId, (tx) =>
        pauseConnection(tx, orgId, found.id, pauseOf(options), acting(session)),
      );
      const until = options.until === undefined ? null : new Date(options.until).toISOString();
      output.result({ id: found.id, name: found.name, paused: true, until }, (print) =>
        print(`${found.name} is paused${until === null ? '' : ` until ${until}`}.`),
      );
    },
  );
  cli.withSession(
    connection.command('resume').argument('<connection>').description('write to it again'),
    async (session, { args, output }) => {
      const { id: orgId } = session.organization();
      const found = await findConnection(session, args[0] ?? '');
      await session.store.tenant(orgId, (tx) => resumeConnection(tx, orgId, found.id, acting(session)));
      output.result({ id: found.id, name: found.name, paused: false }, (print) =>
        print(`${found.name} is written to again.`),
      );
    },
  );
  cli.withSession<{ new?: boolean; limit: number }>(
    connection
      .command('shadow')
      .argument('<on|off|show>')
      .argument('[connection]')
      .option('--new', 'on, off: for live connections that are linked from now on')
      .option('--limit <n>', 'show: differences listed', wholeNumber(1, 10_000), 50)
      .description('compute and record what would be sent, and send nothing; show the differences')
      .addHelpText(
        'after',
        examples('connection shadow on "My shop"', 'connection shadow show "My shop"', 'connection shadow on --new'),
      ),
    (session, { args, options, output }) => shadow(session, args[0] ?? '', args[1], options, output),
  );
}

/** What halts a connection, what is used of its channel's limits, and whether it is called at all. */
export function describeOperation(
  { pause, shadowSince }: ConnectionItem,
  { budget, breaker }: Awaited<ReturnType<typeof readLimits>>,
): string[] {
  const why = [pause?.reason, pause?.until && `until ${pause.until}`].filter(Boolean).join(', ');
  return [
    ...(pause ? [`paused since ${pause.at} by ${pause.by ?? 'unknown'}${why === '' ? '' : `: ${why}`}`] : []),
    ...(shadowSince ? [`in shadow mode since ${shadowSince}: nothing is sent`] : []),
    breaker.state === 'closed'
      ? 'breaker closed: it is called'
      : `breaker ${breaker.state} since ${breaker.since}: it is not called, tried again at ${breaker.retryAt}`,
    ...table(
      ['bucket', 'per second', 'burst', 'used', 'processes', 'refusals', 'blocked until'],
      budget.map((one) => [
        one.bucket,
        one.ratePerSecond,
        one.capacity,
        `${Math.round(one.used * 100)} %`,
        one.processes,
        one.refusals,
        one.blockedUntil,
      ]),
    ),
  ];
}

async function shadow(
  session: Session,
  verb: string,
  named: string | undefined,
  options: { new?: boolean; limit: number },
  output: Output,
): Promise<void> {
  const { id: orgId } = session.organization();
  if (!['on', 'off', 'show'].includes(verb)) throw usage('Say on, off or show.');
  if (options.new === true) {
    if (verb === 'show' || named !== undefined) throw usage('--new goes with on or off and no connection.');
    await session.store.tenant(orgId, (tx) => setShadowDefault(tx, orgId, verb === 'on', acting(session)));
    return output.result({ newConnections: verb }, (print) =>
      print(`Live connections linked from now on ${verb === 'on' ? 'begin in shadow mode' : 'are written to'}.`),
    );
  }
  if (named === undefined) throw usage('Name the connection.');
  const found = await findConnection(session, named);
  if (verb === 'show') return showShadow(session, orgId, found, options.limit, output);
  await session.store.tenant(orgId, (tx) => setShadow(tx, orgId, found.id, verb === 'on', acting(session)));
  output.result({ id: found.id, name: found.name, shadow: verb === 'on' }, (print) =>
    print(
      verb === 'on'
        ? `${found.name} is in shadow mode: nothing is sent. See: syncstate connection shadow show "${found.name}"`
        : `${found.name} is written to again.`,
    ),
  );
}

async function showShadow(
  session: Session,
  orgId: string,
  found: { id: string; name: string },
  limit: number,
  output: Output,
): Promise<void> {
  const { next, ...report } = await session.store.readOnly(orgId, (tx) =>
    readShadow(tx, orgId, found.id, { limit, after: null, differencesOnly: true }),
  );
  const { totals } = report;
  output.result({ id: found.id, name: found.name, ...report, more: next !== null }, (print) => {
    print(
      report.since === null
        ? `${found.name} is not in shadow mode.`
        : `${found.name}: ${count(totals.wouldCut, 'cut')} (${totals.unitsCut} units), ${count(totals.wouldRaise, 'raise')} (${totals.unitsRaised} units), ${totals.equal} equal of ${totals.targets}.`,
    );
    for (const line of table(
      ['SKU', 'place', 'shows', 'would send', 'since'],
      report.items.map((item) => [
        item.sku ?? item.stockKey,
        item.channelLocation,
        item.wouldSend?.from ?? item.observed,
        item.wouldSend?.value,
        item.wouldSend?.at.slice(0, 19),
      ]),
    ))
      print(line);
    if (next !== null) print('There are more: --limit');
  });
}

export function operationCommands(cli: Cli): void {
  const listing = cli.program
    .command('listing')
    .description('one SKU as offered on a connection; named by listing id, or by SKU (all its listings, or --on one)');
  const on = (command: Command) => command.option('--on <connection>', 'only its listing at this connection');
  for (const verb of ['pause', 'resume'] as const) {
    const command = on(listing.command(verb).argument('<sku|id>'));
    cli.withSession<PauseOptions & { on?: string }>(
      (verb === 'pause' ? asking(command) : command)
        .description(verb === 'pause' ? 'stop writing it; what changes is sent once on resume' : 'write it again')
        .addHelpText('after', examples(`listing ${verb} DEMO-001 --on "My shop"`)),
      async (session, { args, options, output }) => {
        const { id: orgId } = session.organization();
        const listings = await listingsNamed(session, args[0] ?? '', options.on);
        await session.store.tenant(orgId, async (tx) => {
          for (const { id } of listings)
            if (verb === 'pause') await pauseListing(tx, orgId, id, pauseOf(options), acting(session));
            else await resumeListing(tx, orgId, id, acting(session));
        });
        const items = listings.map((one) => ({ ...one, paused: verb === 'pause' }));
        output.result({ items }, (print) => {
          for (const one of items)
            print(`${one.sku ?? one.channelSku} at ${one.connection} is ${one.paused ? 'paused' : 'written again'}.`);
        });
      },
    );
  }
  cli.withSession<{ on?: string; timeout: number }>(
    on(listing.command('sync').argument('<sku|id>'))
      .option('--timeout <seconds>', 'how long to wait for it', wholeNumber(1, 3_600), 30)
      .description('now: read what the channel shows, compare, publish; waits for it')
      .addHelpText('after', examples('listing sync DEMO-001', 'listing sync DEMO-001 --on "My shop" --json')),
    (session, { args, options, output }) => syncListing(session, args[0] ?? '', options, output),
  );

  cli.withSession<{ reason?: string }>(
    cli.program
      .command('stop-pushes')
      .option('--reason <text>', 'why; shown in the alert')
      .description('stop all writes to all channels at once; with --org, of that organization only')
      .addHelpText('after', examples('stop-pushes --reason "wrong stock file"', 'stop-pushes --org my-shop')),
    (session, { options, output }) => stop(session, options, output),
  );
  cli.withSession<{ yes?: boolean }>(
    cli.program
      .command('resume-pushes')
      .option('--yes', 'do it; without it only what would be sent is shown')
      .description('write to channels again, after showing what would be sent')
      .addHelpText('after', examples('resume-pushes', 'resume-pushes --yes')),
    (session, { options, output }) => resume(session, options, output),
  );
}

/** Listings by id or SKU; at one connection when it is named. */
export async function listingsNamed(session: Session, text: string, at: string | undefined): Promise<ListingLine[]> {
  const { id: orgId } = session.organization();
  const connection = at === undefined ? null : await findConnection(session, at);
  const found = await session.store.tenant(orgId, (tx) => findListings(tx, orgId, text, isUuid(text)));
  const wanted = found.filter(({ connectionId }) => connection === null || connection.id === connectionId);
  if (wanted.length === 0)
    throw unknown(`listing of ${text}${connection === null ? '' : ` at ${connection.name}`}`, 'See: syncstate stock');
  return wanted;
}

async function syncListing(
  session: Session,
  text: string,
  options: { on?: string; timeout: number },
  output: Output,
): Promise<Exit> {
  const { id: orgId } = session.organization();
  const listings = await listingsNamed(session, text, options.on);
  for (const { id, connection } of listings) {
    const asked = await session.store.tenant(orgId, (tx) => askListingSync(tx, orgId, id, session.clock.now()));
    if (asked?.paused !== false)
      throw new CommandError(
        'domain.paused',
        `Publishing of it at ${connection} is paused or stopped: resume it first.`,
      );
  }
  const ids = listings.map(({ id }) => id);
  const until = session.clock.monotonicMs() + options.timeout * 1_000;
  // Beside a running server the work itself is that server's; without one it is done here.
  const ours = session.reached === 'attached' ? null : await session.deps();
  let items = await session.store.tenant(orgId, (tx) => listingSettled(tx, orgId, ids));
  while (items.some(({ settled }) => !settled) && session.clock.monotonicMs() < until) {
    await (ours ? ours.publisher.drain() : session.clock.sleep(50));
    items = await session.store.tenant(orgId, (tx) => listingSettled(tx, orgId, ids));
  }
  await ours?.publisher.stop();
  const ok = items.every(({ settled }) => settled);
  output.result({ ok, items }, (print) => {
    for (const line of table(
      ['SKU', 'connection', 'place', 'should', 'shows', 'state'],
      items.map((one) => [one.sku, one.connection, one.channelLocation, one.desired, one.observed, one.state]),
    ))
      print(line);
    if (!ok) print(`Not over within ${options.timeout} s; it goes on.`);
  });
  return ok ? 0 : 1;
}

/** The organizations meant: the one that is named, or all. */
function meant(session: Session, org: string | undefined) {
  return org === undefined ? session.installation.organizations : [session.organization()];
}

async function stop(session: Session, options: { reason?: string; org?: string }, output: Output): Promise<void> {
  const { org } = options;
  const reason = options.reason ?? null;
  const organizations = meant(session, org);
  let stopped = false;
  if (org === undefined) {
    stopped = await session.store.system((tx) => stopInstallation(tx, reason, acting(session)));
    for (const { id } of organizations)
      if (stopped)
        await session.store.tenant(id, (tx) => tellStop(tx, id, 'installation_stopped', reason, acting(session)));
  } else
    for (const { id } of organizations)
      stopped = await session.store.tenant(id, (tx) => stopPushes(tx, id, reason, acting(session)));
  const state = await pushesOf(session, organizations);
  const onTheWire = state.reduce((sum, one) => sum + one.onTheWire, 0);
  output.result(
    { stopped: true, changed: stopped, scope: org ?? 'installation', onTheWire, organizations: state },
    (print) =>
      print(
        `${stopped ? 'Stopped' : 'It was stopped already'}: nothing is written to any channel${org === undefined ? '' : ` for ${org}`}. ${count(onTheWire, 'call')} already on the wire. Orders are taken in; what changes is sent once after: syncstate resume-pushes`,
      ),
  );
}

async function resume(session: Session, options: { yes?: boolean; org?: string }, output: Output): Promise<Exit> {
  const { org } = options;
  const organizations = meant(session, org);
  const state = await pushesOf(session, organizations);
  const lines = state.flatMap((one) => one.connections);
  const done = options.yes === true;
  if (done && org === undefined) {
    await session.store.system((tx) => resumeInstallation(tx));
    for (const { id } of organizations)
      await session.store.tenant(id, (tx) => tellResume(tx, id, 'installation_stopped', acting(session)));
  }
  if (done && org !== undefined)
    for (const { id } of organizations) await session.store.tenant(id, (tx) => resumePushes(tx, id, acting(session)));
  const still = done ? (await pushesOf(session, organizations)).filter((one) => one.stopped) : state;
  output.result({ resumed: done, organizations: done ? await pushesOf(session, organizations) : state }, (print) => {
    for (const line of table(
      ['connection', 'cuts', 'units', 'raises', 'units', 'equal', 'unknown', ''],
      lines.map(({ name, preview, paused, shadow: inShadow }) => [
        name,
        preview.cuts,
        preview.unitsCut,
        preview.raises,
        preview.unitsRaised,
        preview.equal,
        preview.unknown,
        paused ? 'paused' : inShadow ? 'shadow' : preview.complete ? '' : 'and more',
      ]),
    ))
      print(line);
    if (!done) print('Nothing was resumed. To send this: syncstate resume-pushes --yes');
    else if (still.length > 0)
      print(
        `Still stopped for ${still.map(({ slug }) => slug).join(', ')}: syncstate resume-pushes --yes ${org === undefined ? '--org <slug>' : 'without --org'}`,
      );
    else print('Written to channels again.');
  });
  return done ? 0 : 1;
}

type OrganizationPushes = Omit<Pushes, 'connections'> & {
  slug: string;
  connections: (Pushes['connections'][number] & { preview: Preview })[];
};

async function pushesOf(
  session: Session,
  organizations: readonly { id: string; slug: string }[],
): Promise<OrganizationPushes[]> {
  const all: OrganizationPushes[] = [];
  for (const { id, slug } of organizations) {
    const found = await session.store.tenant(id, (tx) => readPushes(tx, id));
    const connections: OrganizationPushes['connections'] = [];
    for (const one of found.connections)
      connections.push({ ...one, preview: await previewPushes(session.store, id, one.id, session.clock.now()) });
    all.push({ ...found, slug, connections });
  }
  return all;
}
