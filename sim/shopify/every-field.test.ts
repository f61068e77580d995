import { readFileSync } from 'node:fs';
import {
  buildSchema,
  type GraphQLField,
  type GraphQLObjectType,
  getNamedType,
  isAbstractType,
  isCompositeType,
  isLeafType,
  isNonNullType,
  isObjectType,
} from 'graphql';
import { describe, expect, it } from 'vitest';
import { startTestShop } from './shop.testing.ts';

const schema = buildSchema(readFileSync(new URL('./schema.graphql', import.meta.url), 'utf8'));

/** Arguments that a field cannot do without. */
function args(field: GraphQLField<unknown, unknown>, known: Record<string, string>): string | null {
  const given: string[] = [];
  for (const argument of field.args) {
    if (argument.name === 'first') given.push('first: 3');
    else if (argument.name === 'names') given.push('names: ["available", "on_hand", "incoming"]');
    else if (known[argument.name] !== undefined && argument.name !== 'query')
      given.push(`${argument.name}: "${known[argument.name]}"`);
    else if (isNonNullType(argument.type) && argument.defaultValue === undefined) return null;
  }
  return given.length === 0 ? '' : `(${given.join(', ')})`;
}

/** Every field of a type, objects down to `depth`. */
function everything(type: GraphQLObjectType, depth: number, known: Record<string, string>): string {
  const fields = Object.values(type.getFields()).flatMap((field) => {
    const inner = getNamedType(field.type);
    const given = args(field, known);
    if (given === null) return [];
    if (isLeafType(inner)) return [`${field.name}${given}`];
    if (!isCompositeType(inner) || depth === 0) return [];
    const cost = inner.name.endsWith('Connection') || inner.name.endsWith('Edge') ? 0 : 1;
    const selection = isAbstractType(inner)
      ? schema
          .getPossibleTypes(inner)
          .map((one) => `... on ${one.name} { __typename }`)
          .join(' ')
      : isObjectType(inner)
        ? everything(inner, depth - cost, known)
        : '';
    return selection === '' ? [] : [`${field.name}${given} { ${selection} }`];
  });
  return fields.join(' ');
}

describe('every field of the excerpt', () => {
  it('can be asked for, on an order with all its parts, without an error', async () => {
    const shop = await startTestShop();
    await shop.subscribe('ORDERS_CREATE');
    const { body: order } = await shop.control('/orders', {
      lines: [
        { sku: 'A', quantity: 4 },
        { sku: 'B', quantity: 1 },
      ],
    });
    await shop.control('/fulfillments', { order: order.id, lines: [{ sku: 'A', quantity: 2 }] });
    await shop.control('/returns', {
      order: order.id,
      lines: [{ sku: 'A', quantity: 1, disposition: 'SELLABLE' }],
      restock: true,
    });
    await shop.control('/cancellations', { order: order.id, restock: true });
    const a = await shop.ids('A');
    const found = await shop.gql(
      `query ($id: ID!, $item: ID!, $at: ID!) {
        order(id: $id) { refunds { id } returns(first: 1) { nodes { id } } fulfillments { id } fulfillmentOrders(first: 1) { nodes { id } } }
        inventoryItem(id: $item) { variant { product { id } } inventoryLevel(locationId: $at) { id } }
        webhookSubscriptions(first: 1) { nodes { id } } }`,
      { id: order.id, item: a.item, at: a.main },
    );
    const { order: parts, inventoryItem, webhookSubscriptions } = found.body.data;
    const ids: Record<string, string> = {
      order: order.id,
      location: a.main,
      inventoryItem: a.item,
      inventoryLevel: inventoryItem.inventoryLevel.id,
      productVariant: a.variant,
      product: inventoryItem.variant.product.id,
      refund: parts.refunds[0].id,
      return: parts.returns.nodes[0].id,
      fulfillment: parts.fulfillments[0].id,
      fulfillmentOrder: parts.fulfillmentOrders.nodes[0].id,
      webhookSubscription: webhookSubscriptions.nodes[0].id,
      node: order.id,
    };
    const query = schema.getQueryType();
    if (query == null) throw new Error('no query type');
    const asked: string[] = [];
    for (const field of Object.values(query.getFields())) {
      const inner = getNamedType(field.type);
      const known: Record<string, string> = { locationId: a.main, inventoryItemId: a.item };
      if (ids[field.name] !== undefined) known.id = ids[field.name] ?? '';
      const given = field.name === 'nodes' ? `(ids: ["${a.item}", "${a.main}"])` : args(field, known);
      const selection = isObjectType(inner) ? everything(inner, 3, known) : '__typename id';
      const { status, body } = await shop.gql(`{ ${field.name}${given} { ${selection} } }`);
      expect({ field: field.name, status, errors: body.errors }).toEqual({
        field: field.name,
        status: 200,
        errors: undefined,
      });
      expect(body.data[field.name]).not.toBeNull();
      asked.push(field.name);
    }
    expect(asked).toEqual(Object.keys(query.getFields()));
    await shop.close();
  });
});
