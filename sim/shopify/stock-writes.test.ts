import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTestShop, type TestShop } from './shop.testing.ts';

const SET = `mutation ($input: InventorySetQuantitiesInput!, $key: String!) {
  inventorySetQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { reason changes(quantityNames: ["available"]) { name delta quantityAfterChange item { sku } location { name } } }
    userErrors { code field message } } }`;
const ADJUST = `mutation ($input: InventoryAdjustQuantitiesInput!, $key: String!) {
  inventoryAdjustQuantities(input: $input) @idempotent(key: $key) { inventoryAdjustmentGroup { id } userErrors { code field } } }`;

describe('stock writes by an app', () => {
  let shop: TestShop;
  let a: Awaited<ReturnType<TestShop['ids']>>;
  let b: Awaited<ReturnType<TestShop['ids']>>;
  beforeEach(async () => {
    shop = await startTestShop();
    a = await shop.ids('A');
    b = await shop.ids('B');
  });
  afterEach(() => shop.close());

  const input = (quantities: object[], more: object = {}) => ({
    name: 'available',
    reason: 'correction',
    quantities,
    ...more,
  });
  const rowA = (quantity: number, changeFromQuantity: number | null) => ({
    inventoryItemId: a.item,
    locationId: a.main,
    quantity,
    changeFromQuantity,
  });
  const set = async (key: string, quantities: object[], more: object = {}) => {
    const { body } = await shop.gql(SET, { key, input: input(quantities, more) });
    return body.data.inventorySetQuantities as {
      inventoryAdjustmentGroup: { changes: object[] } | null;
      userErrors: { code: string; field: string[] }[];
    };
  };
  const codes = (result: { userErrors: { code: string; field: string[] | null }[] }) =>
    result.userErrors.map((error) => [error.code, (error.field ?? []).join('.')]);

  it('a set from the right number is applied and moves on_hand by the same amount', async () => {
    await shop.control('/orders', { lines: [{ sku: 'A', quantity: 3 }] });
    const result = await set('k1', [rowA(20, 7)]);
    expect(result).toEqual({
      inventoryAdjustmentGroup: {
        reason: 'correction',
        changes: [
          { name: 'available', delta: 13, quantityAfterChange: 20, item: { sku: 'A' }, location: { name: 'MAIN' } },
        ],
      },
      userErrors: [],
    });
    expect(await shop.numbers('A')).toEqual({ available: 20, committed: 3, on_hand: 23, damaged: 0 });
  });

  it('a set from another number is stale, and no row of the call is written', async () => {
    const result = await set('k1', [
      { inventoryItemId: b.item, locationId: b.main, quantity: 1, changeFromQuantity: 5 },
      rowA(20, 9),
    ]);
    expect(codes(result)).toEqual([['CHANGE_FROM_QUANTITY_STALE', 'input.quantities.1.changeFromQuantity']]);
    expect(result.inventoryAdjustmentGroup).toBeNull();
    expect((await shop.numbers('A')).available).toBe(10);
    expect((await shop.numbers('B')).available).toBe(5);
  });

  it('an explicit null skips the compare', async () => {
    expect(codes(await set('k1', [rowA(0, null)]))).toEqual([]);
    expect((await shop.numbers('A')).available).toBe(0);
  });

  it('a set that changes nothing answers no group and no error', async () => {
    expect(await set('k1', [rowA(10, 10)])).toEqual({ inventoryAdjustmentGroup: null, userErrors: [] });
  });

  it('every documented refusal names its row and rolls the whole call back', async () => {
    const parent = await shop.ids('PARENT');
    const good = rowA(1, 10);
    const cases: [object[], object, [string, string]][] = [
      [
        [good, { ...good, inventoryItemId: 'gid://shopify/InventoryItem/1' }],
        {},
        ['INVALID_INVENTORY_ITEM', 'input.quantities.1.inventoryItemId'],
      ],
      [
        [good, { ...good, locationId: 'gid://shopify/Location/1' }],
        {},
        ['INVALID_LOCATION', 'input.quantities.1.locationId'],
      ],
      [[good, good], {}, ['NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR', 'input.quantities.1.locationId']],
      [[{ ...good, quantity: -1 }], {}, ['INVALID_QUANTITY_NEGATIVE', 'input.quantities.0.quantity']],
      [[{ ...good, quantity: 1_000_000_001 }], {}, ['INVALID_QUANTITY_TOO_HIGH', 'input.quantities.0.quantity']],
      [
        [good, { ...good, inventoryItemId: parent.item, changeFromQuantity: 0 }],
        {},
        ['NON_MUTABLE_INVENTORY_ITEM', 'input.quantities.1.inventoryItemId'],
      ],
      [[good], { reason: 'because' }, ['INVALID_REASON', 'input.reason']],
      [[good], { name: 'committed' }, ['INVALID_NAME', 'input.name']],
      [[good], { referenceDocumentUri: 'not a uri' }, ['INVALID_REFERENCE_DOCUMENT', 'input.referenceDocumentUri']],
    ];
    for (const [index, [quantities, more, expected]] of cases.entries()) {
      expect(codes(await set(`case-${index}`, quantities, more))).toEqual([expected]);
    }
    expect((await shop.numbers('A')).available).toBe(10);
  });

  it('the directive and the compare key are demanded at the top level', async () => {
    const without = await shop.gql(SET.replace(' @idempotent(key: $key)', '').replace(', $key: String!', ''), {
      input: input([rowA(1, 10)]),
    });
    expect(without.status).toBe(200);
    expect(without.body.data).toEqual({ inventorySetQuantities: null });
    expect(without.body.errors).toEqual([
      expect.objectContaining({
        message: 'The @idempotent directive is required for this mutation but was not provided.',
        path: ['inventorySetQuantities'],
        extensions: { code: 'BAD_REQUEST' },
      }),
    ]);
    const { changeFromQuantity: _, ...bare } = rowA(1, 10);
    const uncompared = await shop.gql(SET, { key: 'k', input: input([bare]) });
    expect(uncompared.body.data).toEqual({ inventorySetQuantities: null });
    expect(uncompared.body.errors[0]).toMatchObject({
      message: 'InventoryQuantityInput must include the following argument: changeFromQuantity.',
      extensions: { code: 'INVALID_FIELD_ARGUMENTS' },
    });
    const unknown = await shop.gql(SET, { key: 'k', input: input([{ ...rowA(1, 10), compareQuantity: 3 }]) });
    expect(unknown.body.errors[0].extensions).toMatchObject({
      code: 'INVALID_VARIABLE',
      problems: [{ path: ['quantities', 0] }],
    });
    expect((await shop.numbers('A')).available).toBe(10);
  });

  it('the same key and input is answered from the first result; other input is a mismatch', async () => {
    const first = await set('k1', [rowA(8, 10)]);
    await shop.control('/orders', { lines: [{ sku: 'A', quantity: 1 }] });
    expect(await set('k1', [rowA(8, 10)])).toEqual(first);
    expect((await shop.numbers('A')).available).toBe(7);
    expect(codes(await set('k1', [rowA(9, 10)]))).toEqual([['IDEMPOTENCY_KEY_PARAMETER_MISMATCH', '']]);
    expect((await shop.numbers('A')).available).toBe(7);
  });

  it('a refused attempt burns its key; after 24 h a key is new again', async () => {
    await set('k1', [rowA(8, 9)]);
    expect(codes(await set('k1', [rowA(8, 9)]))).toEqual([['IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED', '']]);
    await shop.control('/clock', { advanceMs: 24 * 3_600_000 });
    expect(codes(await set('k1', [rowA(8, 10)]))).toEqual([]);
    expect((await shop.numbers('A')).available).toBe(8);
  });

  it('with the observed retry behaviour an exact retry is stale instead of cached', async () => {
    await shop.close();
    shop = await startTestShop({ idempotentReplay: 'reexecute' });
    a = await shop.ids('A');
    expect(codes(await set('k1', [rowA(8, 10)]))).toEqual([]);
    expect(codes(await set('k1', [rowA(8, 10)]))).toEqual([
      ['CHANGE_FROM_QUANTITY_STALE', 'input.quantities.0.changeFromQuantity'],
    ]);
    expect((await shop.numbers('A')).available).toBe(8);
  });

  it('the same key while the first call still runs is a concurrent request', async () => {
    await shop.control('/profile', { profile: 'vendor' });
    const both = await Promise.all([set('k1', [rowA(8, 10)]), set('k1', [rowA(8, 10)])]);
    expect(both.map(codes).sort()).toEqual([[], [['IDEMPOTENCY_CONCURRENT_REQUEST', '']]]);
    expect((await shop.numbers('A')).available).toBe(8);
  });

  it('more than 250 rows are refused before anything runs', async () => {
    const many = Array.from({ length: 251 }, () => rowA(1, 10));
    const { body } = await shop.gql(SET, { key: 'k1', input: input(many) });
    expect(body).toEqual({
      errors: [{ message: expect.any(String), extensions: { code: 'MAX_INPUT_SIZE_EXCEEDED' } }],
    });
    expect((await shop.numbers('A')).available).toBe(10);
  });

  it('adjust changes by a difference; names other than available need a ledger document', async () => {
    const adjust = async (key: string, name: string, change: object) => {
      const { body } = await shop.gql(ADJUST, {
        key,
        input: {
          name,
          reason: 'correction',
          changes: [{ inventoryItemId: a.item, locationId: a.main, changeFromQuantity: null, ...change }],
        },
      });
      return body.data.inventoryAdjustQuantities;
    };
    expect(codes(await adjust('k1', 'available', { delta: -4, changeFromQuantity: 10 }))).toEqual([]);
    expect(codes(await adjust('k2', 'damaged', { delta: 2 }))).toEqual([
      ['INVALID_QUANTITY_DOCUMENT', 'input.changes.0.ledgerDocumentUri'],
    ]);
    expect(codes(await adjust('k3', 'damaged', { delta: 2, ledgerDocumentUri: 'gid://syncstate/Movement/1' }))).toEqual(
      [],
    );
    expect(codes(await adjust('k4', 'available', { delta: 1, changeFromQuantity: 10 }))).toEqual([
      ['CHANGE_FROM_QUANTITY_STALE', 'input.changes.0.changeFromQuantity'],
    ]);
    expect(codes(await adjust('k5', 'committed', { delta: 1 }))).toEqual([['INVALID_QUANTITY_NAME', 'input.name']]);
    expect(await shop.numbers('A')).toEqual({ available: 6, committed: 0, on_hand: 8, damaged: 2 });
  });

  it('an item is activated at a location once, with a first quantity', async () => {
    const c = await shop.ids('C');
    const activate = async (key: string, available: number | null) => {
      const { body } = await shop.gql(
        `mutation ($item: ID!, $at: ID!, $available: Int, $key: String!) { inventoryActivate(inventoryItemId: $item, locationId: $at, available: $available) @idempotent(key: $key) {
          inventoryLevel { isActive quantities(names: ["available"]) { quantity } } userErrors { field message } } }`,
        { item: c.item, at: c.east, available, key },
      );
      return body.data.inventoryActivate;
    };
    expect(await activate('k1', 6)).toEqual({
      inventoryLevel: { isActive: true, quantities: [{ quantity: 6 }] },
      userErrors: [],
    });
    expect((await activate('k2', 9)).userErrors).toHaveLength(1);
    expect((await activate('k3', null)).inventoryLevel.quantities).toEqual([{ quantity: 6 }]);
  });

  it('a quantity set where the item was never activated is kept but not shown by default', async () => {
    const c = await shop.ids('C');
    expect(
      codes(await set('k1', [{ inventoryItemId: c.item, locationId: c.east, quantity: 3, changeFromQuantity: 0 }])),
    ).toEqual([]);
    const read = async (includeInactive: boolean) => {
      const { body } = await shop.gql(
        'query ($item: ID!, $at: ID!, $all: Boolean!) { inventoryItem(id: $item) { inventoryLevel(locationId: $at, includeInactive: $all) { isActive quantities(names: ["available"]) { quantity } } } }',
        { item: c.item, at: c.east, all: includeInactive },
      );
      return body.data.inventoryItem.inventoryLevel;
    };
    expect(await read(false)).toBeNull();
    expect(await read(true)).toEqual({ isActive: false, quantities: [{ quantity: 3 }] });
  });

  it('half a batch: the first half is written, the answer is a server error, the key is burnt', async () => {
    await shop.control('/faults', { kind: 'half_batch', times: 1 });
    const rows = [rowA(1, 10), { inventoryItemId: b.item, locationId: b.main, quantity: 1, changeFromQuantity: 5 }];
    expect((await shop.gql(SET, { key: 'k1', input: input(rows) })).status).toBe(500);
    expect([(await shop.numbers('A')).available, (await shop.numbers('B')).available]).toEqual([1, 5]);
    expect(codes(await set('k1', rows))).toEqual([['IDEMPOTENCY_PREVIOUS_ATTEMPT_FAILED', '']]);
    const { calls } = (await shop.control('/calls')).body;
    const writes = calls.filter((call: { operation: string }) => call.operation === 'inventorySetQuantities');
    expect(writes.map((call: { status: number; applied: boolean }) => [call.status, call.applied])).toEqual([
      [500, true],
      [200, false],
    ]);
  });
});
