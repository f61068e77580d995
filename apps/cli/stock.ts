/** stock: the position of a SKU now, at a past business time, and as known at a past time. */
import type { Command } from 'commander';
import { normalizeSku } from '#core/catalog/sku.ts';
import { LocationId, type VariantId } from '#core/ids.ts';
import { findVariants } from '#store/catalog/bulk.ts';
import { listLocations } from '#store/catalog/lookup.ts';
import { listConnections } from '#store/connections/connections.ts';
import { availabilityAsKnown, availabilityAsOf, type PastPosition } from '#store/ledger/read.ts';
import { type InventoryItem, readItem } from '#store/views/inventory.ts';
import { type Cli, examples } from './cli.ts';
import { CommandError, type Output, table, unknown } from './output.ts';
import type { Session } from './session.ts';
import { timeOption } from './values.ts';

interface StockOptions {
  at?: number;
  knownAt?: number;
}

export function stockCommands(cli: Cli): void {
  const command: Command = cli.program
    .command('stock')
    .argument('<sku>')
    .option('--at <time>', 'what was true then (business time); an age such as 2h counts back from now', timeOption)
    .option('--known-at <time>', 'as the book knew it then: what was recorded later is left out', timeOption)
    .description('positions of a SKU, and what each channel shows')
    .addHelpText(
      'after',
      examples('stock DEMO-001', 'stock DEMO-001 --at 2026-11-21T09:00:00Z', 'stock DEMO-001 --at 1d --known-at 1d'),
    );
  cli.withSession<StockOptions>(command, (session, { args, options, output }) => {
    const sku = normalizeSku(args[0] ?? '');
    if (sku === null) throw unknown(`SKU "${args[0]}"`);
    return options.at === undefined && options.knownAt === undefined
      ? tellNow(session, sku, output)
      : tellPast(session, sku, options, output);
  });
}

async function tellNow(session: Session, sku: string, output: Output): Promise<void> {
  const { id: orgId } = session.organization();
  const { item, connections } = await session.store.readOnly(orgId, async (tx) => ({
    item: await readItem(tx, orgId, sku),
    connections: await listConnections(tx, orgId),
  }));
  if (item === null) throw unknown(`SKU ${sku}`);
  output.result(item, (print) => {
    print(`${item.sku}  ${item.title}`);
    print(
      `available ${item.available}, buffer ${item.buffer}${item.bundle === null ? `, on hand ${item.onHand}, committed ${item.committed}, reserved ${item.reserved}` : ' (bundle)'}`,
    );
    if (item.bundle === null)
      for (const line of table(
        ['location', 'sellable', 'committed', 'reserved', 'available', 'damaged', 'quarantine', 'expired', 'incoming'],
        item.positions.map((at) => [
          at.location,
          at.sellable,
          at.committed,
          at.reserved,
          at.available,
          at.damaged,
          at.quarantine,
          at.expired,
          at.incoming,
        ]),
      ))
        print(line);
    else
      for (const line of table(
        ['component', 'units', 'available'],
        item.bundle.components.map(({ sku: part, units, available }) => [part, units, available]),
      ))
        print(line);
    tellListings(item, new Map(connections.map(({ id, name }) => [id, name])), print);
  });
}

function tellListings(item: InventoryItem, names: ReadonlyMap<string, string>, print: (line: string) => void): void {
  if (item.listings.length === 0) {
    print('Not listed on any channel.');
    return;
  }
  for (const line of table(
    ['channel', 'channel SKU', 'place', 'should show', 'expected', 'observed', 'state', 'reason'],
    item.listings.map((at) => [
      names.get(at.connectionId) ?? at.platform,
      at.channelSku,
      at.channelLocation,
      at.desired,
      at.expected,
      at.observed,
      at.state,
      at.reason ?? '',
    ]),
  ))
    print(line);
}

async function tellPast(session: Session, sku: string, options: StockOptions, output: Output): Promise<void> {
  const { id: orgId } = session.organization();
  const { variant, locations } = await session.store.tenant(orgId, async (tx) => ({
    variant: (await findVariants(tx, orgId, [sku])).get(sku),
    locations: await listLocations(tx, orgId),
  }));
  if (!variant) throw unknown(`SKU ${sku}`);
  if (variant.isBundle)
    throw new CommandError('domain.bundle_has_no_stock', `${sku} is a bundle: ask for its components.`);
  const at = options.at ?? options.knownAt ?? session.clock.now();
  const past = await readPast(session, orgId, variant.id, at, options.knownAt ?? null);
  const codeOf = new Map(locations.map(({ id, code }) => [LocationId(id), code]));
  const positions = past
    .filter(({ locationId }) => locationId !== null)
    .map(({ locationId, sellable, committed, reserved }) => ({
      location: (locationId && codeOf.get(locationId)) ?? '',
      sellable,
      committed,
      reserved,
      available: sellable - committed - reserved,
    }))
    .sort((a, b) => (a.location < b.location ? -1 : 1));
  const waiting = past.reduce((total, position) => total + position.waiting, 0);
  const stamp = (ms: number): string => new Date(ms).toISOString();
  const available = positions.reduce((total, position) => total + position.available, 0);
  output.result(
    {
      sku,
      at: stamp(at),
      knownAt: options.knownAt === undefined ? null : stamp(options.knownAt),
      available,
      waiting,
      positions,
    },
    (print) => {
      print(
        `${sku} at ${stamp(at)}${options.knownAt === undefined ? '' : `, as known at ${stamp(options.knownAt)}`}: available ${available}${waiting > 0 ? `, ${waiting} owed without goods` : ''}`,
      );
      for (const line of table(
        ['location', 'sellable', 'committed', 'reserved', 'available'],
        positions.map((row) => [row.location, row.sellable, row.committed, row.reserved, row.available]),
      ))
        print(line);
    },
  );
}

async function readPast(
  session: Session,
  orgId: string,
  variantId: VariantId,
  at: number,
  knownAt: number | null,
): Promise<PastPosition[]> {
  if (knownAt === null) return session.store.readOnly(orgId, (tx) => availabilityAsOf(tx, orgId, [variantId], at));
  const known = await availabilityAsKnown(session.store, orgId, [variantId], at, knownAt);
  if (known.kind === 'known') return known.positions;
  throw new CommandError(
    'cli.not_final',
    `What was known at ${new Date(knownAt).toISOString()} is not final yet: something recorded before may still be committed. Final up to ${new Date(known.horizon).toISOString()}.`,
  );
}
