/** alerts: what a person must know. */
import { type Command, Option } from 'commander';
import { alertKindFacts } from '#store/attention/kinds.ts';
import type { Tx } from '#store/tx.ts';
import { type AlertItem, markAlertRead, readAlerts } from '#store/views/attention.ts';
import { readConnections } from '#store/views/connections.ts';
import { type Cli, examples, type Invocation } from './cli.ts';
import { count, table, unknown, usage } from './output.ts';
import type { Session } from './session.ts';
import { isUuid, wholeNumber } from './values.ts';

export function attentionCommands(cli: Cli): void {
  alertCommands(cli);
}

const kindsOf = (items: readonly AlertItem[]) =>
  [...new Set(items.map(({ kind }) => kind))].flatMap((kind) => alertKindFacts(kind) ?? []);

/** "unread", "unread, over" (what it says has ended), "over", or "". */
const stateOf = ({ readAt, resolvedAt }: AlertItem): string =>
  [readAt === null ? 'unread' : '', resolvedAt === null ? '' : 'over'].filter((word) => word !== '').join(', ');

interface ListOptions {
  unread?: boolean;
  severity?: string;
  limit: number;
}

const limitOption = (command: Command): Command =>
  command.option('--limit <n>', 'how many at most', wholeNumber(1, 1_000), 50);

function alertCommands(cli: Cli): void {
  const alerts = cli.program.command('alerts').description('what a person must know');
  cli.withSession<ListOptions>(
    limitOption(alerts.command('list'))
      .option('--unread', 'only those nobody has read')
      .addOption(new Option('--severity <level>', 'only these').choices(['info', 'warning', 'critical']))
      .description('alerts, newest first')
      .addHelpText('after', examples('alerts list --unread', 'alerts list --severity critical --json')),
    async (session, { options, output }) => {
      const { id } = session.organization();
      const filter = {
        unread: options.unread === true,
        severity: options.severity ?? null,
        search: null,
        limit: options.limit,
        after: null,
      };
      const { items, count: total, unreadCount } = await session.store.tenant(id, (tx) => readAlerts(tx, id, filter));
      const connections = output.json ? [] : await session.store.tenant(id, (tx) => readConnections(tx, id, null));
      output.result({ items, count: total, unreadCount }, (print) => {
        const rows = items.map((alert) => [
          alert.lastAt.slice(0, 19),
          alert.severity,
          alert.count,
          stateOf(alert),
          alert.id,
          connections.find((connection) => connection.id === alert.subject?.id)?.name ?? '',
          alert.message,
        ]);
        const titles = ['when', 'severity', 'times', 'state', 'id', 'connection', 'what'];
        for (const line of table(titles, rows, Number.POSITIVE_INFINITY)) print(line);
        for (const { title, todo } of kindsOf(items.filter(({ resolvedAt }) => resolvedAt === null)))
          print(`${title}: ${todo}`);
        print(`${count(total, 'alert')}, ${unreadCount} unread.`);
      });
    },
  );
  const all = async (session: Session, orgId: string): Promise<string[]> => {
    const { items } = await session.store.tenant(orgId, (tx) =>
      readAlerts(tx, orgId, { unread: true, severity: null, search: null, limit: 1_000, after: null }),
    );
    return items.map(({ id }: AlertItem) => id);
  };
  cli.withSession<{ all?: boolean }>(
    alerts
      .command('read')
      .argument('[id...]')
      .option('--all', 'all unread ones')
      .description('mark as read')
      .addHelpText('after', examples('alerts read 0192f1c2-…', 'alerts read --all')),
    (session, invocation) =>
      decide(session, invocation, {
        what: 'alert',
        done: 'read',
        all,
        act: (tx, orgId, id) => markAlertRead(tx, orgId, id, session.clock.now()),
      }),
  );
}

interface Decision {
  what: string;
  done: string;
  all(session: Session, orgId: string): Promise<string[]>;
  act(tx: Tx, orgId: string, id: string): Promise<boolean>;
}

/** All ids or none: an unknown one among them changes nothing. */
async function decide(
  session: Session,
  { args, options, output }: Invocation<{ all?: boolean }>,
  { what, done, all, act }: Decision,
): Promise<void> {
  const { id: orgId } = session.organization();
  if ((args.length === 0) === (options.all !== true)) throw usage(`Name the ids, or --all.`);
  const ids = options.all === true ? await all(session, orgId) : args;
  await session.store.tenant(orgId, async (tx) => {
    for (const id of ids)
      if (!isUuid(id) || !(await act(tx, orgId, id))) throw unknown(`${what} ${id}`, 'Nothing was changed.');
  });
  output.result({ [done]: ids.length, ids }, (print) => print(`${count(ids.length, what)} ${done}.`));
}
