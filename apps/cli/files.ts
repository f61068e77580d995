/** import, export: a merchant's files in and out, with the server's own reading and booking of rows. */
import { closeSync, existsSync, openSync, readFileSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import { SingleBar } from 'cli-progress';
import { type Command, Option } from 'commander';
import { type ImportResult, productColumns, type RawRow, stockColumns } from '#core/catalog/import-rows.ts';
import { readCsv, readJson } from '#server/files.ts';
import { type ImportDeps, importProducts, importStock } from '#server/flows/import-rows.ts';
import { readImportFile } from '#store/catalog/bulk.ts';
import { listConnections } from '#store/connections/connections.ts';
import { type InventoryItem, type InventoryPosition, readItems } from '#store/views/inventory.ts';
import { type MovementItem, readMovements } from '#store/views/movements.ts';
import { type OrderItem, type OrderLineItem, readOrders } from '#store/views/orders.ts';
import { type Cli, examples } from './cli.ts';
import { findConnection } from './connection-lookup.ts';
import { type Column, csvHeader, csvRecord } from './csv.ts';
import { CommandError, count, type Exit, type Output } from './output.ts';
import { actor, type Session } from './session.ts';
import { timeOption } from './values.ts';

// ---- import

interface ImportFlags {
  mode?: 'set' | 'add';
  dryRun?: boolean;
  key?: string;
}

export function fileCommands(cli: Cli): void {
  const importing = cli.program.command('import').description('stock or products from a CSV or JSON file');
  const common = (command: Command): Command =>
    command
      .argument('<file>', 'CSV (comma, semicolon or tab) or JSON; - reads stdin')
      .option('--dry-run', 'do everything, then take it back: the counts and errors are the real ones')
      .option('--key <text>', 'name of this import: run again under the same name, no row is booked twice');
  cli.withSession<ImportFlags>(
    common(importing.command('stock'))
      .addOption(
        new Option('--mode <mode>', 'set: the shelf holds exactly this; add: so many more (or fewer)')
          .choices(['set', 'add'])
          .default('set'),
      )
      .description('columns sku, quantity (or qty), location (or warehouse; default location when empty)')
      .addHelpText(
        'after',
        examples(
          'import stock stock.csv --dry-run',
          'import stock stock.csv --mode set',
          'import stock delivery.json --mode add --key delivery-4711',
        ) + importNote,
      ),
    (session, { args, options, output }) => runImport(session, 'stock', args[0] ?? '', options, output),
  );
  cli.withSession<ImportFlags>(
    common(importing.command('products'))
      .description('columns sku, title (or name), barcode (or ean), components ("SKU-A:2; SKU-B:1" makes a bundle)')
      .addHelpText('after', examples('import products products.csv', 'import products - < products.csv') + importNote),
    (session, { args, options, output }) => runImport(session, 'products', args[0] ?? '', options, output),
  );
  exportCommands(cli);
}

const importNote =
  '\n\nGood rows are booked, bad rows are listed and written to <file>-errors.csv beside the file, with the reason in each\nrow: mend them there and import that file. Exit 1 when any row failed.';

async function readInput(
  file: string,
  columns: Readonly<Record<string, string>>,
  required: readonly string[],
): Promise<RawRow[]> {
  let text: string;
  try {
    text = readFileSync(file === '-' ? 0 : file, 'utf8');
  } catch (error) {
    throw new CommandError(
      'import.unreadable',
      `${file === '-' ? 'stdin' : file} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  const isJson = extname(file).toLowerCase() === '.json' || (file === '-' && /^\uFEFF?\s*[[{]/.test(text));
  return isJson ? readJson(text, columns) : readCsv(text, columns, required);
}

async function runImport(
  session: Session,
  kind: 'stock' | 'products',
  file: string,
  flags: ImportFlags,
  output: Output,
): Promise<Exit> {
  const { id: orgId } = session.organization();
  const rows =
    kind === 'stock'
      ? await readInput(file, stockColumns, ['sku', 'quantity'])
      : await readInput(file, productColumns, ['sku']);
  const mapped = new Set<string>();
  const deps: ImportDeps = {
    store: session.store,
    clock: session.clock,
    ids: session.ids,
    // The running server looks for marks of others by itself; the next start does, too.
    wake: () => undefined,
    mapped: (_orgId, connectionId) => mapped.add(connectionId),
  };
  const bar = progress(output, kind, rows.length);
  const options = {
    orgId,
    actor,
    key: `cli:${flags.key ?? session.ids.uuid()}`,
    dryRun: flags.dryRun === true,
    onProgress: bar.at,
  };
  let result: ImportResult;
  try {
    result =
      kind === 'stock'
        ? await importStock(deps, rows, flags.mode ?? 'set', options)
        : await importProducts(deps, rows, options);
  } finally {
    bar.end();
  }
  if (mapped.size > 0) {
    // Orders that waited for these SKUs are booked now.
    const { intake } = await session.deps();
    for (const connectionId of mapped) await intake.completeUnmapped({ orgId, connectionId });
  }
  const errorFile = await keepErrors(session, orgId, file, result);
  output.result({ ...result, errorFile, dryRun: options.dryRun }, (print) =>
    tellImport(print, result, errorFile, options.dryRun),
  );
  return result.failed === 0 ? 0 : 1;
}

function tellImport(
  print: (line: string) => void,
  result: ImportResult,
  errorFile: string | null,
  dryRun: boolean,
): void {
  print(
    `${dryRun ? 'Dry run, nothing is booked. ' : ''}${count(result.rows, 'row')}: ${result.succeeded} changed something, ${result.unchanged} as it was, ${result.failed} failed.`,
  );
  for (const { row, field, value, reason } of result.errors.slice(0, 20))
    print(`  row ${row}, ${field}${value === '' ? '' : ` "${value}"`}: ${reason}`);
  if (result.failed > 20) print(`  … and ${result.failed - 20} more`);
  if (errorFile !== null) print(`The failed rows, with the reason in each: ${errorFile}`);
}

/** Beside the input: stock.csv → stock-errors.csv; never over a file that is there. From stdin: in the current folder. */
async function keepErrors(
  session: Session,
  orgId: string,
  input: string,
  result: ImportResult,
): Promise<string | null> {
  const id = result.errorFile?.split('/').at(-1);
  if (id === undefined) return null;
  const kept = await session.store.tenant(orgId, (tx) => readImportFile(tx, orgId, id));
  if (kept === null) return null;
  const stem = input === '-' ? join('.', 'import') : join(dirname(input), basename(input, extname(input)));
  for (let n = 1; ; n += 1) {
    const path = `${stem}-errors${n === 1 ? '' : `-${n}`}.csv`;
    try {
      writeFileSync(path, kept.content, { flag: 'wx' });
      return path;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || n >= 1_000)
        throw new CommandError(
          'cli.unwritable',
          `The rows are booked, but ${path} cannot be written: ${error instanceof Error ? error.message : String(error)}. The failed rows are at ${result.errorFile}.`,
        );
    }
  }
}

function progress(output: Output, kind: string, total: number): { at(done: number, total: number): void; end(): void } {
  if (output.json || !process.stderr.isTTY) return { at: () => undefined, end: () => undefined };
  const bar = new SingleBar({
    format: `${kind} {bar} {value}/{total} rows, {eta_formatted} left`,
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: true,
  });
  bar.start(total, 0);
  return { at: (done) => bar.update(done), end: () => bar.stop() };
}

// ---- export

const pageSize = 500;

interface PositionRow {
  item: InventoryItem;
  position: InventoryPosition | null;
}

const positionColumns: readonly Column<PositionRow>[] = [
  { title: 'sku', of: ({ item }) => item.sku, isKey: true },
  { title: 'title', of: ({ item }) => item.title },
  { title: 'location', of: ({ position }) => position?.location, isKey: true },
  // The name the import reads: an export can be edited and imported with --mode set.
  { title: 'quantity', of: ({ position }) => position?.sellable ?? 0 },
  ...(['committed', 'reserved', 'available', 'damaged', 'quarantine', 'expired', 'incoming'] as const).map(
    (name): Column<PositionRow> => ({ title: name, of: ({ position }) => position?.[name] ?? 0 }),
  ),
];

const movementColumns: readonly Column<MovementItem>[] = [
  { title: 'business_at', of: (row) => row.businessAt },
  { title: 'recorded_at', of: (row) => row.recordedAt },
  { title: 'sku', of: (row) => row.sku, isKey: true },
  { title: 'units', of: (row) => row.units },
  { title: 'from_location', of: (row) => row.from?.location, isKey: true },
  { title: 'from_bucket', of: (row) => row.from?.bucket },
  { title: 'to_location', of: (row) => row.to?.location, isKey: true },
  { title: 'to_bucket', of: (row) => row.to?.bucket },
  { title: 'kind', of: (row) => row.kind },
  { title: 'reason', of: (row) => row.reason },
  { title: 'reference', of: (row) => row.reference },
  { title: 'actor', of: (row) => row.actor },
  { title: 'effect_key', of: (row) => row.effectKey },
  { title: 'id', of: (row) => row.id },
];

interface OrderRow {
  order: OrderItem;
  line: OrderLineItem | null;
  connection: string;
}

const sum = (list: readonly { units: number }[] | undefined): number =>
  (list ?? []).reduce((total, { units }) => total + units, 0);

const orderColumns: readonly Column<OrderRow>[] = [
  { title: 'number', of: ({ order }) => order.number, isKey: true },
  { title: 'external_id', of: ({ order }) => order.externalId, isKey: true },
  { title: 'connection', of: ({ connection }) => connection },
  { title: 'placed_at', of: ({ order }) => order.placedAt },
  { title: 'status', of: ({ order }) => order.status },
  { title: 'payment', of: ({ order }) => order.payment },
  { title: 'fulfillment', of: ({ order }) => order.fulfillment },
  { title: 'currency', of: ({ order }) => order.currency },
  { title: 'total_minor', of: ({ order }) => order.totalMinor },
  { title: 'sku', of: ({ line }) => line?.sku, isKey: true },
  { title: 'channel_sku', of: ({ line }) => line?.channelSku, isKey: true },
  { title: 'title', of: ({ line }) => line?.title },
  { title: 'ordered', of: ({ line }) => line?.ordered },
  { title: 'quantity', of: ({ line }) => line?.quantity },
  { title: 'committed', of: ({ line }) => line && sum(line.committed) },
  { title: 'missing', of: ({ line }) => line && sum(line.missing) },
  { title: 'shipped', of: ({ line }) => line?.shipped },
  { title: 'returned', of: ({ line }) => line?.returned },
  { title: 'order_id', of: ({ order }) => order.id },
];

interface ExportFlags {
  output?: string;
  sku?: string;
  since?: number;
  connection?: string;
  search?: string;
  location?: string;
}

function exportCommands(cli: Cli): void {
  const exporting = cli.program
    .command('export')
    .description('inventory, movements or orders as CSV (JSON rows with --json)');
  const common = (command: Command): Command => command.option('-o, --output <file>', 'write there (default: stdout)');
  cli.withSession<ExportFlags>(
    common(exporting.command('inventory'))
      .option('--search <text>', 'in SKU, title or barcode')
      .option('--location <code>', 'only this location')
      .description(
        'one row per SKU and location; "quantity" is sellable units, as the import reads it; bundles are left out',
      )
      .addHelpText('after', examples('export inventory -o stock.csv', 'export inventory --location EAST --json')),
    (session, { options, output }) => runExport(output, options, positionColumns, inventoryRows(session, options)),
  );
  cli.withSession<ExportFlags>(
    common(exporting.command('movements'))
      .option('--sku <sku>', 'only this one')
      .option('--since <time>', 'business time, or an age such as 7d', timeOption)
      .description('every movement, newest first')
      .addHelpText('after', examples('export movements --since 7d -o week.csv', 'export movements --sku DEMO-001')),
    (session, { options, output }) => runExport(output, options, movementColumns, movementRows(session, options)),
  );
  cli.withSession<ExportFlags>(
    common(exporting.command('orders'))
      .option('--connection <connection>', 'only of this one')
      .option('--since <time>', 'placed since, or an age such as 30d', timeOption)
      .description('one row per order line, newest order first')
      .addHelpText(
        'after',
        examples('export orders --since 30d -o orders.csv', 'export orders --connection "My shop"'),
      ),
    (session, { options, output }) => runExport(output, options, orderColumns, orderRows(session, options)),
  );
}

async function* inventoryRows(session: Session, { search, location }: ExportFlags): AsyncGenerator<PositionRow> {
  const { id: orgId } = session.organization();
  for (let after: string | null = null; ; ) {
    const page = await session.store.tenant(orgId, (tx) =>
      readItems(tx, orgId, { limit: pageSize, after, search: search ?? null, location: location ?? null }),
    );
    for (const item of page.items) {
      if (item.bundle !== null) continue;
      const positions = item.positions.filter((position) => location === undefined || position.location === location);
      for (const position of positions) yield { item, position };
      if (positions.length === 0) yield { item, position: null };
    }
    if (page.next === null) return;
    after = page.next;
  }
}

async function* movementRows(session: Session, { sku, since }: ExportFlags): AsyncGenerator<MovementItem> {
  const { id: orgId } = session.organization();
  for (let after: [string, string] | null = null; ; ) {
    const page = await session.store.tenant(orgId, (tx) =>
      readMovements(tx, orgId, { sku: sku ?? null, limit: pageSize, search: null, after }),
    );
    for (const item of page.items) {
      if (since !== undefined && Date.parse(item.businessAt) < since) return;
      yield item;
    }
    if (page.next === null) return;
    after = page.next;
  }
}

async function* orderRows(session: Session, { connection, since }: ExportFlags): AsyncGenerator<OrderRow> {
  const { id: orgId } = session.organization();
  const only = connection === undefined ? null : await findConnection(session, connection);
  const connections = await session.store.tenant(orgId, (tx) => listConnections(tx, orgId));
  const names = new Map(connections.map(({ id, name }) => [id, name]));
  for (let after: [string, string] | null = null; ; ) {
    const page = await session.store.tenant(orgId, (tx) =>
      readOrders(tx, orgId, { connectionId: only?.id ?? null, externalId: null, search: null, limit: pageSize, after }),
    );
    for (const order of page.items) {
      if (since !== undefined && Date.parse(order.placedAt) < since) return;
      const named = order.connectionId === null ? 'manual' : (names.get(order.connectionId) ?? order.connectionId);
      if (order.lines.length === 0) yield { order, line: null, connection: named };
      for (const line of order.lines) yield { order, line, connection: named };
    }
    if (page.next === null) return;
    after = page.next;
  }
}

/** To stdout as it comes; into a file under a draft's name first, so that a broken export leaves no half file behind. */
async function runExport<Row>(
  output: Output,
  { output: file }: ExportFlags,
  columns: readonly Column<Row>[],
  rows: AsyncGenerator<Row>,
): Promise<void> {
  if (file === undefined && output.json) {
    const items: Record<string, unknown>[] = [];
    for await (const row of rows)
      items.push(Object.fromEntries(columns.map(({ title, of }) => [title, of(row) ?? null])));
    output.result({ items }, () => undefined);
    return;
  }
  if (file === undefined) {
    output.raw(csvHeader(columns));
    for await (const row of rows) output.raw(csvRecord(columns, row));
    return;
  }
  const total = await writeCsv(file, columns, rows);
  output.result({ file, rows: total }, (print) => print(`${count(total, 'row')} in ${file}`));
}

async function writeCsv<Row>(
  file: string,
  columns: readonly Column<Row>[],
  rows: AsyncGenerator<Row>,
): Promise<number> {
  const draft = `${file}.part`;
  let total = 0;
  let handle: number;
  try {
    handle = openSync(draft, 'w');
  } catch (error) {
    throw new CommandError(
      'cli.unwritable',
      `${file} cannot be written: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  try {
    writeSync(handle, csvHeader(columns));
    for await (const row of rows) {
      writeSync(handle, csvRecord(columns, row));
      total += 1;
    }
    closeSync(handle);
    renameSync(draft, file);
    return total;
  } finally {
    if (existsSync(draft)) rmSync(draft);
  }
}
