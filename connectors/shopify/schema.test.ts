/**
 * Holds every document of this connector against Shopify's own schema, where that is at hand
 * (SYNCSTATE_VENDOR_MODELS, default ../shared/vendors), plus two rules the schema cannot express (fact sheet §3).
 */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';
import {
  buildClientSchema,
  type DocumentNode,
  type GraphQLSchema,
  type IntrospectionQuery,
  Kind,
  NoDeprecatedCustomRule,
  parse,
  validate,
  visit,
} from 'graphql';
import { expect, test } from 'vitest';
import * as documents from './documents.ts';
import { API_VERSION } from './manifest.ts';

const models = resolve(process.env.SYNCSTATE_VENDOR_MODELS ?? join(import.meta.dirname, '../../../shared/vendors'));
const file = join(models, 'shopify-schema', `admin_${API_VERSION}.json.gz`);

const all = Object.values(documents).filter((value): value is documents.GraphqlDocument => typeof value === 'object');

/** Mutations that Shopify refuses without the directive, though the schema lets them pass (fact sheet §5.4). */
const IDEMPOTENT = new Set([
  'inventoryActivate',
  'inventoryAdjustQuantities',
  'inventoryMoveQuantities',
  'inventorySetOnHandQuantities',
  'inventorySetQuantities',
  'inventoryShipmentAddItems',
  'inventoryShipmentCreate',
  'inventoryShipmentCreateInTransit',
  'inventoryShipmentReceive',
  'inventoryTransferCreate',
  'inventoryTransferCreateAsReadyToShip',
  'inventoryTransferDuplicate',
  'inventoryTransferSetItems',
  'locationActivate',
  'locationDeactivate',
  'refundCreate',
]);

function withoutDirective(document: DocumentNode): string[] {
  const found: string[] = [];
  visit(document, {
    Field(node) {
      const directives = node.directives?.map((directive) => directive.name.value) ?? [];
      if (IDEMPOTENT.has(node.name.value) && !directives.includes('idempotent')) found.push(node.name.value);
    },
  });
  return found;
}

/** Literal rows without the key; rows in variables are guarded where they are made (stock.test.ts). */
function withoutCompare(document: DocumentNode): number {
  let found = 0;
  visit(document, {
    ObjectValue(node) {
      const names = node.fields.map((field) => field.name.value);
      if (names.includes('inventoryItemId') && names.includes('locationId') && !names.includes('changeFromQuantity'))
        found += 1;
    },
  });
  return found;
}

const atHand = existsSync(file);

if (atHand) {
  let schema: GraphQLSchema | null = null;
  const load = (): GraphQLSchema => {
    schema ??= buildClientSchema(
      (JSON.parse(gunzipSync(readFileSync(file)).toString('utf8')) as { data: IntrospectionQuery }).data,
    );
    return schema;
  };

  test.each(all.map((document) => [document.operation, document]))('%s is valid', (_, document) => {
    expect(validate(load(), parse(document.text)).map((error) => error.message)).toEqual([]);
  });

  test.each(all.map((document) => [document.operation, document]))('%s asks for nothing deprecated', (_, document) => {
    expect(validate(load(), parse(document.text), [NoDeprecatedCustomRule]).map((error) => error.message)).toEqual([]);
  });
} else {
  test(`NOT VALIDATED against Shopify's schema, which is not at hand: ${all.length} documents`, () => {
    console.warn(`NOT VALIDATED: ${all.length} Shopify documents, no schema at ${file} (set SYNCSTATE_VENDOR_MODELS)`);
    expect(all.length).toBeGreaterThan(0);
  });
}

test('every document has one named operation, and its name is the one it is logged by', () => {
  const names = all.map((document) => {
    const definitions = parse(document.text).definitions.filter(
      (definition) => definition.kind === Kind.OPERATION_DEFINITION,
    );
    expect(definitions).toHaveLength(1);
    return definitions[0]?.name?.value;
  });
  expect(names).toEqual(all.map((document) => document.operation));
  expect(new Set(names).size).toBe(all.length);
});

test('mutations that need an idempotency key carry the directive', () => {
  expect(all.flatMap((document) => withoutDirective(parse(document.text)))).toEqual([]);
  expect(withoutDirective(parse('mutation m { refundCreate(input: {}) { refund { id } } }'))).toEqual(['refundCreate']);
});

test('quantity rows name the number they replace', () => {
  expect(all.map((document) => withoutCompare(parse(document.text)))).toEqual(all.map(() => 0));
  const bare = parse(
    'mutation m { inventorySetQuantities(input: { quantities: [{ inventoryItemId: "i", locationId: "l", quantity: 1 }] }) { userErrors { message } } }',
  );
  expect(withoutCompare(bare)).toBe(1);
});

/** Objects 1, scalars 0, connections and lists by `first`, a mutation 10 (fact sheet §9). */
function costOf(document: DocumentNode): number {
  const operation = document.definitions.find((definition) => definition.kind === Kind.OPERATION_DEFINITION);
  const selectionCost = (selections: NonNullable<typeof operation>['selectionSet'] | undefined): number =>
    (selections?.selections ?? []).reduce((total, selection) => {
      if (selection.kind === Kind.INLINE_FRAGMENT) return total + selectionCost(selection.selectionSet);
      if (selection.kind !== Kind.FIELD || !selection.selectionSet) return total;
      const first = selection.arguments?.find(({ name }) => name.value === 'first')?.value;
      const rows = first?.kind === Kind.INT ? Number(first.value) : 1;
      return total + 1 + rows * selectionCost(selection.selectionSet);
    }, 0);
  return (operation?.operation === 'mutation' ? 10 : 0) + selectionCost(operation?.selectionSet);
}

test('no document costs more than the 1,000 points Shopify allows a query, by its published weights', () => {
  const dear = all
    .map((document) => [document.operation, costOf(parse(document.text)) + document.pointsPerRow * 250] as const)
    .filter(([, cost]) => cost > 1_000);
  expect(dear).toEqual([]);
});
