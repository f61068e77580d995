/**
 * Stock numbers at Shopify: reading `available` per (inventory item, location) and setting it with compare-and-set.
 *
 * A write is one inventorySetQuantities call: every row says which number it replaces (`changeFromQuantity`, an explicit
 * null only for a blind zero), the call carries an idempotency key, and one bad row leaves all rows unwritten.
 * Used by lanes (write, read) and stock sweeps (read). Decides nothing: what was answered is what is returned.
 */
import { assert, ConnectorError } from '#core/errors.ts';
import type { CallOptions, StockPort, StockReading, StockRef, StockWrite, StockWriteOutcome } from '../kit/ports.ts';
import type { ShopClient } from './client.ts';
import { setQuantitiesDocument, stockLevelsDocument } from './documents.ts';
import { outcomesOfRefusal } from './errors.ts';
import { manifest } from './manifest.ts';
import { setQuantitiesSchema, stockLevelsSchema } from './wire.ts';

export function createStock(client: ShopClient): StockPort {
  return {
    async read(refs, options) {
      const readings: StockReading[] = [];
      for (const [location, atLocation] of byLocation(refs)) {
        for (let from = 0; from < atLocation.length; from += manifest.stock.readRows) {
          readings.push(
            ...(await readLevels(client, location, atLocation.slice(from, from + manifest.stock.readRows), options)),
          );
        }
      }
      return readings;
    },
    write: (rows, key, options) => setQuantities(client, rows, key, options),
  };
}

function byLocation(refs: readonly StockRef[]): Map<string, StockRef[]> {
  const groups = new Map<string, StockRef[]>();
  for (const ref of refs) {
    const group = groups.get(ref.channelLocation);
    if (group) group.push(ref);
    else groups.set(ref.channelLocation, [ref]);
  }
  return groups;
}

async function readLevels(
  client: ShopClient,
  location: string,
  refs: readonly StockRef[],
  options: CallOptions,
): Promise<StockReading[]> {
  const ids = [...new Set(refs.map((ref) => ref.stockKey))];
  const { data, vendorAt } = await client.run(
    stockLevelsDocument,
    { ids, location },
    stockLevelsSchema,
    options,
    ids.length,
  );
  // nodes(ids:) answers in the order asked, null where nothing is.
  const found = new Map(data.nodes.flatMap((node) => (node?.id === undefined ? [] : [[node.id, node] as const])));
  return refs.map((ref): StockReading => {
    const node = found.get(ref.stockKey);
    if (!node) return { kind: 'missing', ref, reason: 'Shopify has no such inventory item.' };
    if (node.tracked === false)
      return { kind: 'missing', ref, reason: 'Shopify does not track quantities of this item.' };
    const available = node.inventoryLevel?.quantities.find(({ name }) => name === 'available');
    if (!available) return { kind: 'missing', ref, reason: 'The item is not stocked at this location.' };
    return { kind: 'quantity', ref, value: available.quantity, vendorAt };
  });
}

async function setQuantities(
  client: ShopClient,
  rows: readonly StockWrite[],
  key: string,
  options: CallOptions,
): Promise<StockWriteOutcome[]> {
  assert(rows.length > 0 && rows.length <= 250, 'a write has 1 to 250 rows', { rows: rows.length });
  const quantities = rows.map(({ ref, value, from }) => {
    assert(from !== null || value === 0, 'only zero may be written blind', { stockKey: ref.stockKey, value });
    return {
      inventoryItemId: ref.stockKey,
      locationId: ref.channelLocation,
      quantity: value,
      changeFromQuantity: from,
    };
  });
  const input = {
    name: 'available',
    reason: 'correction',
    referenceDocumentUri: `gid://syncstate/Attempt/${key}`,
    quantities,
  };
  const { data, vendorAt } = await client.run(
    setQuantitiesDocument,
    { input, key },
    setQuantitiesSchema,
    options,
    rows.length,
  );
  const { inventoryAdjustmentGroup: group, userErrors } = data.inventorySetQuantities;
  if (userErrors.length === 0) {
    // A write that changes nothing may answer without a group (fact sheet §5.2): then the answer's own time.
    const appliedAt = group?.createdAt ?? vendorAt;
    return rows.map(({ ref }) => ({ kind: 'applied', ref, vendorAt: appliedAt }));
  }
  if (group) {
    // Written and refused at once is documented nowhere; all-or-nothing rests on reports (fact sheet §13).
    const codes = userErrors.map((error) => error.code ?? '');
    throw new ConnectorError('connector.outcome_unknown', 'Shopify reports a change and errors together.', {
      operation: 'inventorySetQuantities',
      codes,
    });
  }
  return outcomesOfRefusal(rows, userErrors);
}
