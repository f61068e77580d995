/** import, export: a merchant's files in and out, with the server's own reading and booking of rows. */
import {
  accessSync,
  closeSync,
  constants,
  createReadStream,
  existsSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import { type Command, Option } from 'commander';
import type { ImportResult } from '#core/catalog/import-rows.ts';
import type { FileBytes } from '#server/file-text.ts';
import { type ImportFormat, importFormats, openImport } from '#server/files.ts';
import { readImportFile } from '#store/catalog/import-files.ts';
import { listConnections } from '#store/connections/connections.ts';
import { createRun, keepRunFile, releaseRun } from '#store/runs/runs.ts';
import { type InventoryItem, type InventoryPosition, readItems } from '#store/views/inventory.ts';
import { type MovementItem, readMovements } from '#store/views/movements.ts';
import { type OrderItem, type OrderLineItem, readOrders } from '#store/views/orders.ts';
import { readRunItems } from '#store/views/runs.ts';
import { type Cli, examples } from './cli.ts';
import { findConnection } from './connection-lookup.ts';
import { type Column, csvHeader, csvRecord } from './csv.ts';
import { CommandError, count, type Exit, type Output } from './output.ts';
import { followRun } from './runs.ts';
import { actor, type Session } from './session.ts';
import { timeOption } from './values.ts';

// ---- import

interface ImportFlags {
  mode?: 'set' | 'add';
  dryRun?: boolean;
  key?: string;
  format?: string;
}

export function fileCommands(cli: Cli): void {
  const importing = cli.program
    .command('import')
    .description('stock, products or mappings from a CSV, XLSX or JSON file, or a channel’s own export');
  const common = (command: Command): Command =>
    command
      .argument('<file>', 'CSV (comma, semicolon or tab), XLSX, JSON, or an export of Shopify or Amazon; - reads stdin')
      .addOption(
        new Option('--format <format>', 'instead of telling it by the content')
          .choices([...importFormats])
          .default('auto'),
      )
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
  cli.withSession<ImportFlags>(
    common(importing.command('mapping'))
      .description(
        'columns sku, connection, channel_sku (or asin, product_id, variant_id); an empty sku takes a mapping away',
      )
      .addHelpText('after', examples('import mapping mapping.csv --dry-run') + importNote),
    (session, { args, options, output }) => runImport(session, 'mapping', args[0] ?? '', options, output),
  );
  exportCommands(cli);
}

const importNote =
  '\n\nGood rows are booked, bad rows are listed and written to <file>-errors.csv beside the file, with the reason in each\nrow: mend them there and import that file. Exit 1 when any row failed. An import is a run: syncstate run undo takes it back.';

/** A file is read where it lies, as often as asked; what comes in on stdin comes once, and is kept. */
function inputOf(file: string): FileBytes {
  try {
    if (file === '-') {
      const content = readFileSync(0);
      return () => [content];
    }
    accessSync(file, constants.R_OK);
    return () => createReadStream(file, { highWaterMark: partBytes });
  } catch (error) {
    throw unreadable(file, error);
  }
}

const unreadable = (file: string, error: unknown) =>
  new CommandError(
    'import.unreadable',
    `${file === '-' ? 'stdin' : file} cannot be read: ${error instanceof Error ? error.message : String(error)}`,
  );

/** The file becomes a run, which is executed here unless a running server is quicker. Ctrl-C cancels the run. */
async function runImport(
  session: Session,
  kind: 'stock' | 'products' | 'mapping',
  file: string,
  flags: ImportFlags,
  output: Output,
): Promise<Exit> {
  const { id: orgId } = session.organization();
  const bytes = inputOf(file);
  const format = flags.format === 'auto' && extname(file).toLowerCase() === '.json' ? 'json' : (flags.format ?? 'auto');
  // Read once here, so that a file nobody can read says so at once and makes no run.
  const { records } = await openImport(bytes, kind, format as ImportFormat);
  for await (const _ of records);
  const dryRun = flags.dryRun === true;
  const runId = await storeRun(session, orgId, bytes, {
    kind: `import-${kind}`,
    title: file === '-' ? 'stdin' : basename(file),
    params: { format, mode: flags.mode ?? 'set' },
    dryRun,
    key: flags.key === undefined ? null : `cli:${kind}:${dryRun}:${flags.key}`,
  });
  const run = await followRun(session, orgId, runId, output);
  if (run.state === 'failed') throw new CommandError('import.failed', run.message ?? 'The import failed.');
  const failed = await session.store.tenant(orgId, (tx) =>
    readRunItems(tx, orgId, runId, { limit: shownErrors, after: null, outcome: 'failed' }),
  );
  const result: ImportResult = {
    rows: run.total ?? run.done,
    succeeded: run.succeeded,
    failed: run.failed,
    unchanged: run.unchanged,
    errors: failed.items.map(({ item, field, value, reason }) => ({
      row: item,
      field: field ?? '',
      value: value ?? '',
      reason: reason ?? '',
    })),
    errorFile: run.errorFile,
  };
  const errorFile = await keepErrors(session, orgId, file, result);
  output.result({ run: runId, state: run.state, ...result, errorFile, dryRun }, (print) => {
    tellImport(print, result, errorFile, dryRun);
    if (run.state === 'cancelled') print('Cancelled before its end; what is counted above is done.');
    if (!dryRun && run.succeeded > 0) print(`To take it back: syncstate run undo ${runId}`);
  });
  return result.failed === 0 && run.state === 'done' ? 0 : 1;
}

const shownErrors = 1_000;
const partBytes = 1_048_576;

async function storeRun(
  session: Session,
  orgId: string,
  bytes: FileBytes,
  run: { kind: string; title: string; params: Record<string, unknown>; dryRun: boolean; key: string | null },
): Promise<string> {
  const wanted = { ...run, id: session.ids.uuid(), connectionId: null, actor, inverseOf: null };
  const made = await session.store.tenant(orgId, (tx) =>
    createRun(tx, orgId, { ...wanted, state: 'receiving' }, session.clock.now()),
  );
  if (!made.isNew) return made.id;
  let part = 0;
  for await (const content of bytes()) {
    const at = part;
    await session.store.tenant(orgId, (tx) => keepRunFile(tx, orgId, made.id, at, content, session.clock.now()));
    part += 1;
  }
  await session.store.tenant(orgId, (tx) => releaseRun(tx, orgId, made.id));
  return made.id;
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
  const partOf = (part: number) => session.store.tenant(orgId, (tx) => readImportFile(tx, orgId, id, part));
  const first = await partOf(0);
  if (first === null) return null;
  const stem = input === '-' ? join('.', 'import') : join(dirname(input), basename(input, extname(input)));
  for (let n = 1; ; n += 1) {
    const path = `${stem}-errors${n === 1 ? '' : `-${n}`}.csv`;
    try {
      const file = openSync(path, 'wx');
      try {
        let part = 0;
        for (let kept: typeof first | null = first; kept !== null; kept = await partOf(part)) {
          writeSync(file, kept.content);
          part += 1;
        }
      } finally {
        closeSync(file);
      }
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
