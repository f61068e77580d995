import { afterEach, describe, expect, test } from 'vitest';
import type { StockRef, StockWrite } from '../kit/ports.ts';
import { type Asked, answered, faultOf, openShop, type Shop, soon, type Told, VENDOR_AT } from './shop.testing.ts';

const shops: Shop[] = [];
afterEach(async () => {
  for (const shop of shops.splice(0)) await shop.close();
});
const open = async (tell: (asked: Asked, nth: number) => Told) => {
  const shop = await openShop(tell);
  shops.push(shop);
  return shop;
};

const ref = (item: number, location = 1): StockRef => ({
  stockKey: `gid://shopify/InventoryItem/${item}`,
  channelLocation: `gid://shopify/Location/${location}`,
});
const level = (available: number, isActive = true) => ({
  isActive,
  quantities: [{ name: 'available', quantity: available }],
});
const item = (n: number, inventoryLevel: unknown, tracked = true) => ({
  id: `gid://shopify/InventoryItem/${n}`,
  tracked,
  inventoryLevel,
});

const idsOf = (body: Asked['body']): string[] => (body.variables?.ids ?? []) as string[];

describe('reading', () => {
  test('every ref is answered once: a number, or why there is none', async () => {
    const shop = await open(() =>
      answered({
        nodes: [
          item(1, level(10)),
          item(2, level(-3)),
          item(3, level(7, false)),
          item(4, null),
          item(5, level(1), false),
          null,
          {},
          item(8, level(0)),
        ],
      }),
    );
    const readings = await shop.channel.stock.read(
      [1, 2, 3, 4, 5, 6, 7, 8].map((n) => ref(n)),
      soon(),
    );
    expect(readings.map((reading) => (reading.kind === 'missing' ? reading.reason : reading.value))).toEqual([
      10,
      -3,
      7,
      'The item is not stocked at this location.',
      'Shopify does not track quantities of this item.',
      'Shopify has no such inventory item.',
      'Shopify has no such inventory item.',
      0,
    ]);
    expect(readings[0]).toEqual({ kind: 'quantity', ref: ref(1), value: 10, vendorAt: VENDOR_AT });
    expect(shop.asked).toHaveLength(1);
  });

  test('refs of two locations take one call each, 251 of one location two', async () => {
    const shop = await open(({ body }) =>
      answered({
        nodes: idsOf(body).map((id) => ({ id, tracked: true, inventoryLevel: level(1) })),
      }),
    );
    const refs = [...Array.from({ length: 251 }, (_, n) => ref(n + 1)), ref(1, 2)];
    const readings = await shop.channel.stock.read(refs, soon());
    expect(new Set(readings.map((reading) => `${reading.ref.stockKey} ${reading.ref.channelLocation}`)).size).toBe(252);
    expect(shop.asked.map(({ body }) => [idsOf(body).length, body.variables?.location])).toEqual([
      [250, 'gid://shopify/Location/1'],
      [1, 'gid://shopify/Location/1'],
      [1, 'gid://shopify/Location/2'],
    ]);
  });

  test('nothing asked, nothing sent', async () => {
    const shop = await open(() => answered({}));
    expect(await shop.channel.stock.read([], soon())).toEqual([]);
    expect(shop.asked).toEqual([]);
  });
});

const KEY = '01932f3c-0000-7000-8000-000000000001';
const rows: StockWrite[] = [
  { ref: ref(1), value: 5, from: 6 },
  { ref: ref(2), value: 0, from: null },
  { ref: ref(3), value: 1_000_000_000, from: -2 },
];
const done = (
  errors: unknown[] = [],
  group: unknown = errors.length > 0
    ? null
    : { id: 'gid://shopify/InventoryAdjustmentGroup/1', createdAt: '2026-11-20T15:00:28Z' },
) => answered({ inventorySetQuantities: { inventoryAdjustmentGroup: group, userErrors: errors } });
const userError = (code: string | null, index: number | null) => ({
  code,
  message: `about ${code}`,
  field: index === null ? ['input'] : ['input', 'quantities', String(index), 'inventoryItemId'],
});

describe('writing', () => {
  test('one call: absolute numbers, every row with its own changeFromQuantity, an explicit null for a blind zero', async () => {
    const shop = await open(() => done());
    const outcomes = await shop.channel.stock.write(rows, KEY, soon());
    expect(shop.asked).toHaveLength(1);
    expect(shop.asked[0]?.body.query).toContain('inventorySetQuantities(input: $input) @idempotent(key: $key)');
    expect(shop.asked[0]?.body.variables).toEqual({
      key: KEY,
      input: {
        name: 'available',
        reason: 'correction',
        referenceDocumentUri: `gid://syncstate/Attempt/${KEY}`,
        quantities: [
          {
            inventoryItemId: 'gid://shopify/InventoryItem/1',
            locationId: 'gid://shopify/Location/1',
            quantity: 5,
            changeFromQuantity: 6,
          },
          {
            inventoryItemId: 'gid://shopify/InventoryItem/2',
            locationId: 'gid://shopify/Location/1',
            quantity: 0,
            changeFromQuantity: null,
          },
          {
            inventoryItemId: 'gid://shopify/InventoryItem/3',
            locationId: 'gid://shopify/Location/1',
            quantity: 1_000_000_000,
            changeFromQuantity: -2,
          },
        ],
      },
    });
    expect(outcomes).toEqual(
      rows.map((row) => ({ kind: 'applied', ref: row.ref, vendorAt: Date.UTC(2026, 10, 20, 15, 0, 28) })),
    );
  });

  test('a write that changed nothing has no group: applied at the time of the answer', async () => {
    const shop = await open(() => done([], null));
    expect(
      (await shop.channel.stock.write(rows, KEY, soon())).map(
        (outcome) => outcome.kind === 'applied' && outcome.vendorAt,
      ),
    ).toEqual([VENDOR_AT, VENDOR_AT, VENDOR_AT]);
  });

  test('a blind write of anything but zero is our mistake and is not sent', async () => {
    const shop = await open(() => done());
    await expect(shop.channel.stock.write([{ ref: ref(1), value: 1, from: null }], KEY, soon())).rejects.toMatchObject({
      code: 'assertion',
    });
    expect(shop.asked).toEqual([]);
  });

  test.each([
    ['a stale row', [userError('CHANGE_FROM_QUANTITY_STALE', 0)], ['stale', 'not_applied', 'not_applied']],
    [
      'a bundle parent',
      [userError('NON_MUTABLE_INVENTORY_ITEM', 1)],
      ['not_applied', 'NON_MUTABLE_INVENTORY_ITEM', 'not_applied'],
    ],
    [
      'two kinds at once',
      [userError('CHANGE_FROM_QUANTITY_STALE', 2), userError('INVALID_LOCATION', 0)],
      ['INVALID_LOCATION', 'not_applied', 'stale'],
    ],
    [
      'a row both wrong and stale',
      [userError('INVALID_INVENTORY_ITEM', 1), userError('CHANGE_FROM_QUANTITY_STALE', 1)],
      ['not_applied', 'INVALID_INVENTORY_ITEM', 'not_applied'],
    ],
    ['an unknown code on a row', [userError('NEW_TROUBLE', 0)], ['NEW_TROUBLE', 'not_applied', 'not_applied']],
    ['nobody named', [userError('CHANGE_FROM_QUANTITY_STALE', null)], ['not_applied', 'not_applied', 'not_applied']],
    [
      'a row that was never sent',
      [userError('INVALID_INVENTORY_ITEM', 9)],
      ['not_applied', 'not_applied', 'not_applied'],
    ],
    [
      'a key whose first attempt failed',
      [userError('IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED', null)],
      ['not_applied', 'not_applied', 'not_applied'],
    ],
  ])('%s: the rows named are told apart from those that only shared the call', async (_, errors, expected) => {
    const shop = await open(() => done(errors));
    const outcomes = await shop.channel.stock.write(rows, KEY, soon());
    expect(outcomes.map((outcome) => (outcome.kind === 'rejected' ? outcome.code : outcome.kind))).toEqual(expected);
    expect(outcomes.map((outcome) => outcome.ref)).toEqual(rows.map((row) => row.ref));
    expect(shop.asked).toHaveLength(1);
  });

  test('a call of one row has only one to blame, so that bisecting ends', async () => {
    const [row] = rows;
    const stale = await open(() => done([userError('CHANGE_FROM_QUANTITY_STALE', null)]));
    const rejected = await open(() => done([userError(null, null)]));
    expect(await stale.channel.stock.write(row ? [row] : [], KEY, soon())).toEqual([{ kind: 'stale', ref: ref(1) }]);
    expect(await rejected.channel.stock.write(row ? [row] : [], KEY, soon())).toEqual([
      { kind: 'rejected', ref: ref(1), code: 'UNKNOWN', reason: 'about null' },
    ]);
  });

  test.each([
    ['IDEMPOTENCY_CONCURRENT_REQUEST', 'connector.outcome_unknown'],
    ['IDEMPOTENCY_KEY_PARAMETER_MISMATCH', 'connector.rejected'],
    ['INVALID_REASON', 'connector.rejected'],
  ])('%s is %s for the whole call', async (code, expected) => {
    const shop = await open(() => done([userError(code, null)]));
    expect((await faultOf(shop.channel.stock.write(rows, KEY, soon()))).code).toBe(expected);
  });

  test('a change reported together with errors is of unknown outcome', async () => {
    const shop = await open(() =>
      done([userError('CHANGE_FROM_QUANTITY_STALE', 0)], { id: 'g', createdAt: '2026-11-20T15:00:28Z' }),
    );
    expect((await faultOf(shop.channel.stock.write(rows, KEY, soon()))).code).toBe('connector.outcome_unknown');
  });

  test('a deadline after sending, and a 500, leave the outcome unknown; neither is sent again', async () => {
    const hanging = await open(() => ({ hang: true }));
    expect((await faultOf(hanging.channel.stock.write(rows, KEY, soon(150)))).code).toBe('connector.outcome_unknown');
    const broken = await open(() => ({ status: 500 }));
    expect((await faultOf(broken.channel.stock.write(rows, KEY, soon()))).code).toBe('connector.outcome_unknown');
    expect([hanging.asked.length, broken.asked.length]).toEqual([1, 1]);
  });
});
