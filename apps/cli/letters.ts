/** dead-letters: what failed for good and waits for a person. */
import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { type FailureClass, failurePolicies } from '#core/failure/retry.ts';
import {
  actOnFiltered,
  actOnLetters,
  editLetter,
  type LetterAct,
  listLetters,
  showLetter,
} from '#server/flows/letters.ts';
import { type LetterFilter, type LetterKind, letterKinds } from '#store/views/letters.ts';
import { type Cli, examples, type Invocation } from './cli.ts';
import { findConnection } from './connection-lookup.ts';
import { CommandError, count, table, unknown, usage } from './output.ts';
import type { Session } from './session.ts';
import { wholeNumber } from './values.ts';

interface FilterOptions {
  class?: FailureClass;
  kind?: LetterKind;
  connection?: string;
  olderThan?: number;
  search?: string;
}

const filtered = (command: Command): Command =>
  command
    .addOption(new Option('--class <class>', 'only failures of this class').choices(Object.keys(failurePolicies)))
    .addOption(new Option('--kind <kind>', 'only these').choices([...letterKinds]))
    .option('--connection <name or id>', 'only of this channel')
    .option('--older-than <days>', 'only what waits longer', wholeNumber(0, 3_650))
    .option('--search <text>', 'order number, SKU, reason or a part of the payload');

async function filterOf(session: Session, options: FilterOptions): Promise<LetterFilter> {
  return {
    class: options.class ?? null,
    kind: options.kind ?? null,
    connectionId: options.connection === undefined ? null : (await findConnection(session, options.connection)).id,
    search: options.search ?? null,
    before: options.olderThan === undefined ? null : session.clock.now() - options.olderThan * 86_400_000,
  };
}

const isFiltered = ({ class: name, kind, connection, olderThan, search }: FilterOptions): boolean =>
  [name, kind, connection, olderThan, search].some((option) => option !== undefined);

export function letterCommands(cli: Cli): void {
  const dead = cli.program.command('dead-letters').description('what failed for good and waits for a person');
  cli.withSession<FilterOptions & { limit: number }>(
    filtered(dead.command('list'))
      .option('--limit <n>', 'how many at most', wholeNumber(1, 1_000), 50)
      .description('dead letters, newest first, with why and what to do')
      .addHelpText(
        'after',
        examples('dead-letters list', 'dead-letters list --class unreadable --json', 'dead-letters list --search 1042'),
      ),
    async (session, { options, output }) => {
      const { id } = session.organization();
      const page = { ...(await filterOf(session, options)), limit: options.limit, after: null };
      const { items, next } = await listLetters(session, id, page);
      output.result({ items, more: next !== null }, (print) => {
        const rows = items.map((letter) => [
          letter.receivedAt.slice(0, 19),
          letter.kind,
          letter.topic,
          letter.externalId,
          letter.attempts,
          letter.id,
          letter.reason ?? letter.errorCode,
        ]);
        const titles = ['since', 'kind', 'topic', 'about', 'tries', 'id', 'why'];
        for (const line of table(titles, rows, Number.POSITIVE_INFINITY)) print(line);
        for (const name of new Set(items.map((letter) => letter.class)))
          print(`${failurePolicies[name].means} ${failurePolicies[name].todo}`);
        if (items.length === 0) print('None: everything that came in is applied.');
        if (next !== null) print('There are more: --limit');
      });
    },
  );
  cli.withSession(
    dead
      .command('show')
      .argument('<id>')
      .description('one with its attempts and its whole payload, secrets removed')
      .addHelpText('after', examples('dead-letters show 0192f1c2-…')),
    async (session, { args: [letterId = ''], output }) => {
      const letter = await showLetter(session, session.organization().id, letterId);
      if (!letter) throw unknown(`dead letter ${letterId}`);
      output.result(letter, (print) => {
        print(`${letter.kind} ${letter.externalId} (${letter.topic}), since ${letter.receivedAt.slice(0, 19)}`);
        print(
          `Reason:     ${letter.reason ?? 'none given'}${letter.errorCode === null ? '' : ` (${letter.errorCode})`}`,
        );
        print(`Means:      ${letter.means}`);
        print(`What to do: ${letter.todo}`);
        for (const { at, code, error } of letter.failures)
          print(`Failed ${at.slice(0, 19)}  ${code ?? ''}  ${error ?? ''}`);
        if (letter.edited) print('Edited by a person; the original is kept.');
        if (letter.payload !== null) print(letter.payload);
      });
    },
  );
  act(cli, dead, 'retry', 'retried', 'try again; a running server does it at once');
  act(cli, dead, 'discard', 'discarded', 'give up on them: they stay stored and are never applied');
  cli.withSession<{ file?: string; retry?: boolean }>(
    dead
      .command('edit')
      .argument('<id>')
      .requiredOption('--file <path>', 'the payload as it should have been')
      .option('--retry', 'and try it at once')
      .description(
        'replace the payload of an event; it is read as the channel’s own before it is accepted, and the original is kept',
      )
      .addHelpText(
        'after',
        examples('dead-letters show 0192f1c2-… --json', 'dead-letters edit 0192f1c2-… --file mended.json --retry'),
      ),
    edit,
  );
  cli.withSession<{ olderThan: number }>(
    dead
      .command('purge')
      .requiredOption('--older-than <days>', 'what waits longer than so many days', wholeNumber(1, 3_650))
      .description('throw old ones away, with their payload')
      .addHelpText('after', examples('dead-letters purge --older-than 90')),
    async (session, { options, output }) => {
      const { id } = session.organization();
      const purged = await actOnFiltered(session, id, 'cli', 'purge', await filterOf(session, options));
      output.result({ purged }, (print) => print(`${count(purged, 'dead letter')} thrown away.`));
    },
  );
}

function act(cli: Cli, dead: Command, what: LetterAct & string, done: string, description: string): void {
  cli.withSession<FilterOptions & { all?: boolean }>(
    filtered(dead.command(what).argument('[id...]'))
      .option('--all', 'all of them')
      .description(description)
      .addHelpText(
        'after',
        examples(
          `dead-letters ${what} 0192f1c2-…`,
          `dead-letters ${what} --class temporary`,
          `dead-letters ${what} --all`,
        ),
      ),
    async (session, { args, options, output }) => {
      const { id } = session.organization();
      const byFilter = options.all === true || isFiltered(options);
      if (args.length > 0 === byFilter) throw usage('Name the ids, or a filter, or --all.');
      if (byFilter) {
        const n = await actOnFiltered(session, id, 'cli', what, await filterOf(session, options));
        return output.result({ [done]: n }, (print) => print(`${count(n, 'dead letter')} ${done}.`));
      }
      const missing = await actOnLetters(session, id, 'cli', what, args);
      if (missing !== null) throw unknown(`dead letter ${missing}`, 'Nothing was changed.');
      output.result({ [done]: args.length, ids: args }, (print) =>
        print(`${count(args.length, 'dead letter')} ${done}.`),
      );
    },
  );
}

async function edit(session: Session, { args, options, output }: Invocation<{ file?: string; retry?: boolean }>) {
  const [letterId = ''] = args;
  const { id } = session.organization();
  const payload = await readFile(options.file ?? '', 'utf8').catch(() => {
    throw usage(`${options.file} cannot be read.`);
  });
  const { registry } = (await session.deps()).api;
  const desk = { ...session, connectorOf: (platform: string) => registry.connector(platform) };
  const edited = await editLetter(desk, id, 'cli', letterId, payload);
  if (edited.kind === 'unknown') throw unknown(`dead letter ${letterId}`);
  if (edited.kind !== 'edited')
    throw new CommandError('cli.refused', `Not accepted: ${edited.why} Nothing was changed.`, 1);
  const retried = options.retry === true && (await actOnLetters(session, id, 'cli', 'retry', [letterId])) === null;
  output.result({ edited: letterId, retried }, (print) =>
    print(retried ? 'Edited, and tried again.' : `Edited. Try it: syncstate dead-letters retry ${letterId}`),
  );
}
