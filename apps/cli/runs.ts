/** run: long work that is going on or has ended, stopping it, taking it back. */
import { SingleBar } from 'cli-progress';
import { undoKindOf } from '#server/flows/runs.ts';
import { cancelRun, createUndo } from '#store/runs/runs.ts';
import { type RunView, readRun, readRunItems, readRuns } from '#store/views/runs.ts';
import { type Cli, examples } from './cli.ts';
import { CommandError, count, type Exit, type Output, table, unknown, visible } from './output.ts';
import { actor, type Session } from './session.ts';
import { isUuid, wholeNumber } from './values.ts';

export function runCommands(cli: Cli): void {
  const run = cli.program.command('run').description('imports and other long work: progress, cancel, undo');
  cli.withSession<{ limit: number; open?: boolean }>(
    run
      .command('list')
      .option('--open', 'only those that have not ended')
      .option('--limit <n>', 'how many at most', wholeNumber(1, 1_000), 20)
      .description('runs, newest first')
      .addHelpText('after', examples('run list --open')),
    async (session, { options, output }) => {
      const { id } = session.organization();
      const page = { limit: options.limit, after: null, search: null, open: options.open === true };
      const { items } = await session.store.tenant(id, (tx) => readRuns(tx, id, session.clock.now(), page));
      output.result({ items }, (print) => {
        const rows = items.map((one) => [
          one.createdAt.slice(0, 19),
          one.kind,
          one.title,
          stateOf(one),
          countsOf(one),
          one.id,
        ]);
        for (const line of table(['when', 'kind', 'what', 'state', 'items', 'id'], rows)) print(line);
      });
    },
  );
  cli.withSession<{ limit: number }>(
    run
      .command('show')
      .argument('<id>')
      .option('--limit <n>', 'how many failed items at most', wholeNumber(1, 1_000), 50)
      .description('one run, and the items that failed')
      .addHelpText('after', examples('run show 01890000-0000-7000-8000-000000000000')),
    async (session, { args, options, output }) => {
      const { id: orgId } = session.organization();
      const found = await find(session, orgId, args[0] ?? '');
      const { items } = await session.store.tenant(orgId, (tx) =>
        readRunItems(tx, orgId, found.id, { limit: options.limit, after: null, outcome: 'failed' }),
      );
      output.result({ ...found, items }, (print) => {
        tell(found, print);
        const rows = items.map((item) => [
          item.item,
          item.subject,
          item.field ?? '',
          item.value ?? '',
          item.reason ?? '',
        ]);
        if (rows.length > 0) for (const line of table(['row', 'about', 'field', 'value', 'reason'], rows)) print(line);
        if (found.failed > items.length) print(`… and ${found.failed - items.length} more`);
      });
    },
  );
  cli.withSession(
    run
      .command('cancel')
      .argument('<id>')
      .description('stop it at its next step; what is done stays done')
      .addHelpText('after', examples('run cancel 01890000-0000-7000-8000-000000000000')),
    async (session, { args, output }) => {
      const { id: orgId } = session.organization();
      const found = await find(session, orgId, args[0] ?? '');
      const open = await session.store.tenant(orgId, (tx) => cancelRun(tx, orgId, found.id, session.clock.now()));
      if (!open) throw new CommandError('domain.nothing_to_do', `It has ended already: ${found.state}.`);
      const now = await find(session, orgId, found.id);
      output.result(now, (print) => tell(now, print));
    },
  );
  cli.withSession(
    run
      .command('undo')
      .argument('<id>')
      .description('take back what it changed, as a run of its own')
      .addHelpText('after', examples('run undo 01890000-0000-7000-8000-000000000000')),
    async (session, { args, output }) => takeBack(session, args[0] ?? '', output),
  );
}

async function takeBack(session: Session, named: string, output: Output): Promise<Exit> {
  const { id: orgId } = session.organization();
  const found = await find(session, orgId, named);
  const kind = undoKindOf(found);
  if (kind.kind === 'refused') throw new CommandError('domain.nothing_to_do', kind.reason);
  const undo = { id: session.ids.uuid(), kind: kind.undo, actor, now: session.clock.now() };
  const made = await session.store.tenant(orgId, (tx) => createUndo(tx, orgId, undo, found));
  const ended = await followRun(session, orgId, made, output);
  const { items } = await session.store.tenant(orgId, (tx) =>
    readRunItems(tx, orgId, ended.id, { limit: 50, after: null, outcome: 'failed' }),
  );
  output.result({ ...ended, items }, (print) => {
    print(`${count(ended.succeeded, 'item')} taken back, ${ended.failed} not.`);
    for (const { item, subject, reason } of items) print(`  row ${item}, ${subject}: ${reason}`);
  });
  return ended.failed === 0 && ended.state === 'done' ? 0 : 1;
}

async function find(session: Session, orgId: string, id: string): Promise<RunView> {
  const found = isUuid(id)
    ? await session.store.tenant(orgId, (tx) => readRun(tx, orgId, id, session.clock.now()))
    : null;
  if (found === null) throw unknown(`run ${id}`, 'See: syncstate run list');
  return found;
}

/** Executes the run here, unless somebody else is quicker; shows its progress; Ctrl-C cancels it. @returns it as it ended */
export async function followRun(session: Session, orgId: string, id: string, output: Output): Promise<RunView> {
  const look = async () => {
    const found = await session.store.tenant(orgId, (tx) => readRun(tx, orgId, id, session.clock.now()));
    if (found === null) throw unknown(`run ${id}`);
    return found;
  };
  // A second Ctrl-C ends the command at once; the next runner ends the run.
  const cancel = () =>
    void session.store
      .tenant(orgId, (tx) => cancelRun(tx, orgId, id, session.clock.now()))
      .catch(() => output.note('It could not be cancelled; see syncstate run list'));
  process.once('SIGINT', cancel);
  const bar = progress(output);
  try {
    const { runs } = await session.deps();
    let isOver = false;
    const here = runs.execute(orgId, id).finally(() => {
      isOver = true;
    });
    for (;;) {
      const found = await look();
      bar.at(found);
      if (!['receiving', 'waiting', 'running', 'stuck'].includes(found.state)) {
        await here;
        return found;
      }
      // Whoever had it was stopped, or died.
      if (isOver && ['waiting', 'stuck'].includes(found.state)) await runs.execute(orgId, id);
      await session.clock.sleep(isOver ? 300 : 50);
    }
  } finally {
    bar.end();
    process.off('SIGINT', cancel);
  }
}

function progress(output: Output): { at(run: RunView): void; end(): void } {
  if (output.json || !process.stderr.isTTY) return { at: () => undefined, end: () => undefined };
  const bar = new SingleBar({
    format: '{title} {bar} {value}/{total} rows, {failed} failed, {eta_formatted} left',
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: true,
  });
  let isStarted = false;
  return {
    at(run) {
      if (run.total === null) {
        if (run.message !== null) process.stderr.write(`\r\u001b[2K${visible(`${run.title}: ${run.message}`)}`);
        return;
      }
      const shown = { title: run.title, failed: run.failed };
      if (!isStarted) {
        process.stderr.write('\r\u001b[2K');
        bar.start(run.total, run.done, shown);
      }
      isStarted = true;
      bar.update(run.done, shown);
    },
    end: () => bar.stop(),
  };
}

const stateOf = (run: RunView): string => (run.dryRun ? `${run.state} (dry run)` : run.state);
const countsOf = (run: RunView): string =>
  `${run.done}${run.total === null ? '' : `/${run.total}`}${run.failed > 0 ? `, ${run.failed} failed` : ''}`;

function tell(run: RunView, print: (line: string) => void): void {
  print(`${run.kind} "${run.title}", by ${run.actor}: ${stateOf(run)}`);
  print(`${countsOf(run)}: ${run.succeeded} changed something, ${run.unchanged} as it was, ${run.failed} failed.`);
  if (run.message !== null) print(run.errorCode === null ? run.message : `${run.message} (${run.errorCode})`);
  if (run.state === 'running' && run.cancelRequested) print('It is to stop: it ends at its next step.');
  if (run.state === 'stuck') print('Its worker does not answer any more; the next one goes on with it.');
  if (run.undoneBy !== null) print(`Taken back by run ${run.undoneBy}.`);
  if (run.errorFile !== null) print(`The failed rows: ${run.errorFile}`);
}
