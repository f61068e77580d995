/** feed: documents of many numbers sent to a channel, with what it said of each; listing preview: what it would say to one. */
import { Option } from 'commander';
import { type AskedNumber, askChannel } from '#server/flows/ask-channel.ts';
import { type FeedItem, readFeed, readFeedRows, readFeeds } from '#store/views/feeds.ts';
import { type Cli, examples } from './cli.ts';
import { findConnection } from './connection-lookup.ts';
import { listingsNamed } from './operation.ts';
import { CommandError, type Exit, type Output, table, unknown } from './output.ts';
import type { Session } from './session.ts';
import { wholeNumber } from './values.ts';

const outcomes = ['accepted', 'rejected', 'unknown', 'not_applied', 'not_sent', 'proven_applied', 'proven_not_applied'];

export function feedCommands(cli: Cli): void {
  const feed = cli.program.command('feed').description('documents of many numbers that a channel works off by itself');
  cli.withSession<{ connection?: string; limit: number }>(
    feed
      .command('list')
      .option('--connection <connection>', 'only those to it')
      .option('--limit <n>', 'how many at most', wholeNumber(1, 1_000), 50)
      .description('feeds, newest first')
      .addHelpText('after', examples('feed list', 'feed list --connection "Amazon US" --json')),
    async (session, { options, output }) => {
      const { id: orgId } = session.organization();
      const connection = options.connection === undefined ? null : await findConnection(session, options.connection);
      const filter = { connectionId: connection?.id ?? null, search: null, limit: options.limit, after: null };
      const { items } = await session.store.tenant(orgId, (tx) => readFeeds(tx, orgId, filter));
      output.result({ items }, (print) => {
        const rows = items.map((item) => [item.createdAt.slice(0, 19), item.connection, ...cells(item), item.id]);
        const head = ['when', 'connection', 'their id', 'state', 'rows', 'accepted', 'rejected', 'unknown', 'id'];
        for (const line of table(head, rows)) print(line);
      });
    },
  );
  cli.withSession<{ outcome?: string; limit: number }>(
    feed
      .command('show')
      .argument('<id>', 'our id, or the channel’s')
      .addOption(new Option('--outcome <outcome>', 'only these rows').choices(outcomes))
      .option('--limit <n>', 'rows at most', wholeNumber(1, 25_000), 100)
      .description('one feed with its rows: what was sent, and what the channel said of it')
      .addHelpText('after', examples('feed show 900000000001', 'feed show 900000000001 --outcome rejected --json')),
    (session, { args, options, output }) => show(session, args[0] ?? '', options, output),
  );
  const listing =
    cli.program.commands.find((command) => command.name() === 'listing') ?? cli.program.command('listing');
  cli.withSession<{ connection?: string; quantity?: number }>(
    listing
      .command('preview')
      .argument('<sku|id>')
      .option('--connection <connection>', 'only its listing there')
      .option('--quantity <n>', 'this number; default: the one it should show', wholeNumber(0, 1_000_000_000))
      .description(
        'a dry run: what the channel would say to this number; nothing is written. Exit 1 when it would refuse',
      )
      .addHelpText('after', examples('listing preview DEMO-001 --connection amazon --quantity 7')),
    (session, { args, options, output }) => preview(session, args[0] ?? '', options, output),
  );
}

const cells = (item: FeedItem) => [
  item.submissionId ?? '',
  item.state,
  item.rows,
  item.accepted,
  item.rejected,
  item.unknown,
];

async function show(
  session: Session,
  named: string,
  options: { outcome?: string; limit: number },
  output: Output,
): Promise<void> {
  const { id: orgId } = session.organization();
  const found = await session.store.readOnly(orgId, async (tx) => {
    const feed = await readFeed(tx, orgId, named);
    const filter = { outcome: options.outcome ?? null, limit: options.limit, after: null };
    return feed && { feed, ...(await readFeedRows(tx, orgId, feed.id, filter)) };
  });
  if (!found) throw unknown(`feed "${named}"`, 'See: syncstate feed list');
  const { feed, rows, next } = found;
  output.result({ ...feed, items: rows, more: next !== null }, (print) => {
    const window = feed.windowSeconds === null ? '' : `; read to applied: ${feed.windowSeconds} s`;
    print(`${feed.connection}, feed ${feed.submissionId ?? '(not named yet)'}: ${feed.state}${window}.`);
    if (feed.reason !== null) print(feed.reason);
    const lines = rows.map((row) => [
      row.messageId,
      row.sku ?? row.channelSku,
      row.value,
      row.outcome ?? 'open',
      row.code ?? '',
      row.reason ?? '',
    ]);
    for (const line of table(['row', 'sku', 'number', 'outcome', 'code', 'what the channel says'], lines, 90))
      print(line);
    if (next !== null) print(`More rows: --limit ${options.limit * 10}, or --outcome rejected.`);
  });
}

async function preview(
  session: Session,
  named: string,
  options: { connection?: string; quantity?: number },
  output: Output,
): Promise<Exit> {
  const { id: orgId } = session.organization();
  const listings = await listingsNamed(session, named, options.connection);
  const deps = await session.deps();
  const items: AskedNumber[] = [];
  for (const { id, connection } of listings) {
    const asked = await askChannel(deps, orgId, id, options.quantity ?? null, AbortSignal.timeout(30_000));
    if (asked.kind === 'asked') items.push(...asked.items);
    else if (listings.length === 1)
      throw new CommandError('cli.no_preview', `${connection} cannot be asked without writing.`);
  }
  const ok = items.length > 0 && items.every(({ verdict }) => verdict === 'valid');
  output.result({ ok, items }, (print) => {
    for (const item of items) {
      print(`${item.sku ?? item.channelSku} at ${item.connection}, ${item.quantity}: ${item.verdict}.`);
      for (const issue of item.issues) print(`  ${issue.severity} ${issue.code}: ${issue.message}`);
    }
    if (items.length === 0) print('None of its channels can be asked without writing.');
  });
  return ok ? 0 : 1;
}
