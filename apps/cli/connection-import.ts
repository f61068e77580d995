/**
 * connection import: a channel's catalogue in, as a run, with progress; connection imports: what was imported before.
 * Interrupted, the run stays where it is, and whoever runs next (a server, or this command again) goes on with it.
 */
import { SingleBar } from 'cli-progress';
import { type Command, Option } from 'commander';
import type { Deps } from '#server/deps.ts';
import { activeReason, requestCatalogImport } from '#server/flows/import-catalog.ts';
import { undoKindOf } from '#server/flows/runs.ts';
import type { CatalogReport } from '#store/catalog/channel-import.ts';
import { type CatalogImportView, listCatalogImports, openImportOf } from '#store/catalog/channel-import-runs.ts';
import type { UndoReport } from '#store/catalog/channel-undo.ts';
import { createUndo } from '#store/runs/runs.ts';
import { readConnections } from '#store/views/connections.ts';
import { readRun } from '#store/views/runs.ts';
import { type Cli, examples } from './cli.ts';
import { findConnection } from './connection-lookup.ts';
import { CommandError, count, type Exit, type Output, table, usage } from './output.ts';
import { actor, type Session } from './session.ts';

interface Flags {
  incremental?: boolean;
  createProducts?: boolean;
  dryRun?: boolean;
  zeroIsRight?: boolean;
  replay?: string;
  undo?: string;
}

export function importOfConnections(cli: Cli, connection: Command): void {
  cli.withSession<Flags>(
    connection
      .command('import')
      .argument('<connection>')
      .option('--create-products', 'SKUs of the channel that are not ours become products')
      .option(
        '--zero-is-right',
        'with --create-products, although the connection is not paused: new products show 0 there',
      )
      .option('--incremental', 'only what changed at the channel since the last import (full when there was none)')
      .option('--dry-run', 'do everything, then take it back: the report is the real one')
      .addOption(
        new Option('--replay <import>', "derive again from an import's stored answers; the channel is not called"),
      )
      .addOption(new Option('--undo <import>', 'restore what was before that import; what was changed since stays'))
      .description("the channel's catalogue: its items become listings, mapped by exact SKU")
      .addHelpText(
        'after',
        `${examples(
          'connection import "My shop" --dry-run --create-products',
          'connection import "My shop" --create-products',
          'connection import "My shop" --undo 0197a7e2-…',
        )}\n\nWhat a channel answered is kept for 90 days. Exit 1 when it did not come to its end; importing again adds
nothing twice.`,
      ),
    (session, { args, options, output }) => runImport(session, args[0] ?? '', options, output),
  );
  cli.withSession(
    connection
      .command('imports')
      .argument('<connection>')
      .description("imports of the channel's catalogue, newest first")
      .addHelpText('after', examples('connection imports "My shop"')),
    async (session, { args, output }) => {
      const found = await findConnection(session, args[0] ?? '');
      const items = await viewsOf(session, found.id, null, 100);
      output.result({ items }, (print) => {
        for (const line of table(
          ['started', 'state', 'items', 'new products', 'mapped', 'unmapped', 'id'],
          items.map(({ startedAt, state, processed, report, id, dryRun }) => [
            startedAt,
            dryRun ? `${state}, dry run` : state,
            processed,
            report?.created ?? '',
            report ? report.mapped + report.alreadyMapped : '',
            report?.unmapped ?? '',
            id,
          ]),
        ))
          print(line);
      });
    },
  );
}

async function viewsOf(
  session: Session,
  connectionId: string,
  id: string | null,
  limit: number,
): Promise<CatalogImportView[]> {
  const { id: orgId } = session.organization();
  const wanted = { connectionId, id, after: null, limit };
  return session.store.tenant(orgId, (tx) => listCatalogImports(tx, orgId, wanted));
}

async function knownImport(session: Session, connectionId: string, id: string): Promise<CatalogImportView> {
  if (!/^[0-9a-f-]{36}$/i.test(id)) throw usage(`${id} is no id of an import: syncstate connection imports`);
  const [found] = await viewsOf(session, connectionId, id, 1);
  if (!found) throw new CommandError('cli.not_found', `There is no import ${id} of this connection.`);
  return found;
}

async function runImport(session: Session, named: string, flags: Flags, output: Output): Promise<Exit> {
  const { id: connectionId, name } = await findConnection(session, named);
  if (flags.createProducts === true && flags.dryRun !== true && flags.zeroIsRight !== true) {
    const { id: orgId } = session.organization();
    const [found] = await session.store.tenant(orgId, (tx) => readConnections(tx, orgId, connectionId));
    if (found && !found.paused) throw new CommandError('domain.connection_active', activeReason(name));
  }
  const deps = await session.deps();
  const { id, run } = await prepare(session, deps, connectionId, name, flags);
  const bar = progress(output);
  const follow = setInterval(
    () => void viewsOf(session, connectionId, id, 1).then(([view]) => view && bar.at(view)),
    1_000,
  );
  try {
    await drive(session, deps, run);
  } finally {
    clearInterval(follow);
    bar.end();
  }
  const view = await knownImport(session, connectionId, id);
  output.result(view, (print) => {
    for (const line of describeImport(view, name)) print(line);
  });
  return view.state === 'done' || view.state === 'undone' ? 0 : 1;
}

/** The run to execute: of a new import, or of one that is to be undone. */
async function prepare(
  session: Session,
  deps: Deps,
  connectionId: string,
  name: string,
  flags: Flags,
): Promise<{ id: string; run: string }> {
  const { id: orgId } = session.organization();
  if (flags.undo !== undefined) {
    const { id } = await knownImport(session, connectionId, flags.undo);
    return { id, run: await undoRun(session, id, name) };
  }
  const replayed = flags.replay === undefined ? null : await knownImport(session, connectionId, flags.replay);
  const running = await session.store.tenant(orgId, (tx) => openImportOf(tx, orgId, connectionId));
  if (running !== null)
    throw new CommandError('domain.import_running', `Import ${running} of this connection is not finished.`);
  const id = await requestCatalogImport(deps, { orgId, connectionId }, name, actor, {
    mode: flags.incremental === true ? 'incremental' : 'full',
    createProducts: flags.createProducts === true,
    dryRun: flags.dryRun === true,
    replayOf: replayed?.id ?? null,
  });
  return { id, run: id };
}

async function undoRun(session: Session, id: string, name: string): Promise<string> {
  const { id: orgId } = session.organization();
  const now = session.clock.now();
  const run = await session.store.tenant(orgId, (tx) => readRun(tx, orgId, id, now));
  if (!run)
    throw new CommandError('domain.not_undoable', 'It was made when the connection was linked: unlink it instead.');
  const undo = undoKindOf(run);
  if (undo.kind === 'refused') throw new CommandError('domain.nothing_to_do', undo.reason);
  const inverse = { id: session.ids.uuid(), kind: undo.undo, actor, now };
  return session.store.tenant(orgId, (tx) =>
    createUndo(tx, orgId, inverse, { ...run, title: `the catalogue of ${name}` }),
  );
}

/** Here, or, when a server was quicker, watching it do the work. */
async function drive(session: Session, deps: Deps, run: string): Promise<void> {
  const { id: orgId } = session.organization();
  while (!(await deps.runs.execute(orgId, run))) {
    const found = await session.store.tenant(orgId, (tx) => readRun(tx, orgId, run, session.clock.now()));
    if (!found || !['waiting', 'running', 'stuck'].includes(found.state)) return;
    await session.clock.sleep(200);
  }
}

function progress(output: Output): { at(done: { pages: number; processed: number }): void; end(): void } {
  if (output.json || !process.stderr.isTTY) return { at: () => undefined, end: () => undefined };
  // A channel does not say how much there is: the bar counts, it does not fill.
  const bar = new SingleBar({ format: '{value} items, {pages} pages', stream: process.stderr, hideCursor: true });
  bar.start(0, 0, { pages: 0 });
  return { at: ({ pages, processed }) => bar.update(processed, { pages }), end: () => bar.stop() };
}

function describeImport(view: CatalogImportView, name: string): string[] {
  if (view.undo?.report && view.state === 'undone') return describeUndo(view.undo.report, name);
  if (view.state === 'done' && view.report) return describeReport(view, view.report, name);
  return [
    `The import of ${name} is ${view.state} after ${count(view.processed, 'item')}: ${view.message ?? 'it goes on with the next runner.'}`,
  ];
}

function describeReport(view: CatalogImportView, report: CatalogReport, name: string): string[] {
  const would = view.dryRun ? 'Dry run, nothing was changed. ' : '';
  const mapped = report.mapped + report.alreadyMapped;
  return [
    `${would}${name}: ${count(report.processed, 'item')}, ${mapped} mapped (${report.mapped} of them now), ${report.unmapped} unmapped, ${report.refused} refused; ${count(report.created, 'new product')}.`,
    ...report.refusals.map(({ channelSku, reason }) => `  refused   ${channelSku}: ${reason}`),
    ...report.duplicates.map(({ channelSku, items }) => `  twice     ${channelSku}: ${items} items have this SKU`),
    ...report.suggestions.map(({ channelSku, sku }) => `  perhaps   "${channelSku}" is our "${sku}"`),
    ...report.issues.map(
      ({ channelSku, field, reason }) => `  to mend   ${channelSku || '(no SKU)'}: ${field} ${reason}`,
    ),
    ...report.fields
      .filter(({ overlapPercent }) => overlapPercent !== null)
      .map((field) => `  ${field.field} agrees for ${field.overlapPercent} % (${field.differs} differ)`),
    ...((report.gone ?? 0) > 0 ? [`  ${count(report.gone ?? 0, 'listing')} of ours the channel no longer lists`] : []),
    `Import ${view.id}${view.dryRun ? `; do it for real from the same answers: --replay ${view.id}` : ''}`,
  ];
}

const describeUndo = (report: UndoReport, name: string): string[] => [
  `${name}: ${count(report.removed, 'listing')} removed, ${report.restored} restored, ${report.unmapped} unmapped, ${report.kept} kept; ${count(report.productsRemoved, 'product')} removed, ${report.productsKept} kept.`,
  ...report.refusals.map(({ channelSku, reason }) => `  listing ${channelSku}: ${reason}`),
  ...report.productRefusals.map(({ channelSku, reason }) => `  product ${channelSku}: ${reason}`),
];
