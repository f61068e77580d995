/** alerts, dead-letters: what a person must know, and what waits for one. */
import { type Command, Option } from 'commander';
import { alertKindFacts } from '#store/attention/kinds.ts';
import type { Tx } from '#store/tx.ts';
import {
  type AlertItem,
  type DeadLetter,
  discardDeadLetter,
  markAlertRead,
  readAlerts,
  readDeadLetters,
  retryDeadLetter,
} from '#store/views/attention.ts';
import { type Cli, examples, type Invocation } from './cli.ts';
import { count, table, unknown, usage } from './output.ts';
import type { Session } from './session.ts';
import { isUuid, wholeNumber } from './values.ts';

export function attentionCommands(cli: Cli): void {
  alertCommands(cli);
  deadLetterCommands(cli);
}

const kindsOf = (items: readonly AlertItem[]) =>
  [...new Set(items.map(({ kind }) => kind))].flatMap((kind) => alertKindFacts(kind) ?? []);

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
      output.result({ items, count: total, unreadCount }, (print) => {
        const rows = items.map((alert) => [
          alert.lastAt.slice(0, 19),
          alert.severity,
          alert.count,
          alert.readAt === null ? 'unread' : '',
          alert.id,
          alert.message,
        ]);
        for (const line of table(['when', 'severity', 'times', '', 'id', 'what'], rows, Number.POSITIVE_INFINITY))
          print(line);
        for (const { title, todo } of kindsOf(items)) print(`${title}: ${todo}`);
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

function deadLetterCommands(cli: Cli): void {
  const dead = cli.program
    .command('dead-letters')
    .description('events that could not be applied and wait for a person');
  cli.withSession<ListOptions>(
    limitOption(dead.command('list'))
      .description('dead letters, newest first, with why')
      .addHelpText('after', examples('dead-letters list', 'dead-letters list --json')),
    async (session, { options, output }) => {
      const { id } = session.organization();
      const { items, next } = await session.store.tenant(id, (tx) =>
        readDeadLetters(tx, id, { search: null, limit: options.limit, after: null }),
      );
      output.result({ items, more: next !== null }, (print) => {
        const rows = items.map((letter) => [
          letter.receivedAt.slice(0, 19),
          letter.topic,
          letter.externalId,
          letter.attempts,
          letter.reason ?? letter.errorCode,
          letter.id,
        ]);
        for (const line of table(['received', 'topic', 'about', 'tries', 'why', 'id'], rows, 80)) print(line);
        if (items.length === 0) print('None: everything that came in is applied.');
        if (next !== null) print('There are more: --limit');
      });
    },
  );
  const all = async (session: Session, orgId: string): Promise<string[]> => {
    const { items } = await session.store.tenant(orgId, (tx) =>
      readDeadLetters(tx, orgId, { search: null, limit: 1_000, after: null }),
    );
    return items.map(({ id }: DeadLetter) => id);
  };
  cli.withSession<{ all?: boolean }>(
    dead
      .command('retry')
      .argument('[id...]')
      .option('--all', 'all of them')
      .description('try again; a running server does it at once')
      .addHelpText('after', examples('dead-letters retry 0192f1c2-…', 'dead-letters retry --all')),
    (session, invocation) =>
      decide(session, invocation, { what: 'dead letter', done: 'retried', all, act: retryDeadLetter }),
  );
  cli.withSession<{ all?: boolean }>(
    dead
      .command('discard')
      .argument('[id...]')
      .option('--all', 'all of them')
      .description('give up on them: they stay stored and are never applied'),
    (session, invocation) =>
      decide(session, invocation, { what: 'dead letter', done: 'discarded', all, act: discardDeadLetter }),
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
