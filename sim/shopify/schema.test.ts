import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import {
  astFromValue,
  buildClientSchema,
  buildSchema,
  type GraphQLArgument,
  type GraphQLInputField,
  type GraphQLSchema,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isObjectType,
  isUnionType,
  print,
  validateSchema,
} from 'graphql';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const models = resolve(root, process.env.SYNCSTATE_VENDOR_MODELS ?? '../shared/vendors');
const file = resolve(models, 'shopify-schema/admin_2026-10.json.gz');
const excerpt = buildSchema(readFileSync(new URL('./schema.graphql', import.meta.url), 'utf8'));

/** Every way in which the excerpt says something that Shopify's schema does not. */
function differences(part: GraphQLSchema, whole: GraphQLSchema): string[] {
  const found: string[] = [];
  for (const type of Object.values(part.getTypeMap())) {
    if (type.name.startsWith('__')) continue;
    const theirs = whole.getType(type.name);
    if (theirs === undefined || theirs.constructor !== type.constructor) {
      found.push(`type ${type.name}`);
    } else if (isEnumType(type) && isEnumType(theirs)) {
      for (const { name } of type.getValues()) if (theirs.getValue(name) == null) found.push(`${type.name}.${name}`);
    } else if (isUnionType(type) && isUnionType(theirs)) {
      const names = theirs.getTypes().map((one) => one.name);
      for (const { name } of type.getTypes()) if (!names.includes(name)) found.push(`${type.name} = ${name}`);
    } else if (isInputObjectType(type) && isInputObjectType(theirs)) {
      const mine = type.getFields();
      found.push(...inputDifferences(type.name, Object.values(mine), theirs.getFields()));
      for (const field of Object.values(theirs.getFields())) {
        if (String(field.type).endsWith('!') && mine[field.name] === undefined)
          found.push(`${type.name}.${field.name} is required`);
      }
    } else if ((isObjectType(type) || isInterfaceType(type)) && (isObjectType(theirs) || isInterfaceType(theirs))) {
      for (const one of type.getInterfaces()) {
        if (!theirs.getInterfaces().some((other) => other.name === one.name))
          found.push(`${type.name} implements ${one.name}`);
      }
      for (const field of Object.values(type.getFields())) {
        const their = theirs.getFields()[field.name];
        if (their === undefined || String(their.type) !== String(field.type)) {
          found.push(`${type.name}.${field.name}: ${field.type} is ${their?.type}`);
          continue;
        }
        const args = Object.fromEntries(their.args.map((argument) => [argument.name, argument]));
        found.push(...inputDifferences(`${type.name}.${field.name}`, field.args, args));
      }
    }
  }
  return found;
}

function inputDifferences(
  owner: string,
  mine: readonly (GraphQLArgument | GraphQLInputField)[],
  theirs: Record<string, GraphQLArgument | GraphQLInputField>,
): string[] {
  return mine.flatMap((input) => {
    const their = theirs[input.name];
    const same = their !== undefined && written(input) === written(their);
    return same ? [] : [`${owner}(${written(input)}) is ${their === undefined ? 'unknown' : written(their)}`];
  });
}

function written(input: GraphQLArgument | GraphQLInputField): string {
  const value = input.defaultValue === undefined ? null : astFromValue(input.defaultValue, input.type);
  return `${input.name}: ${input.type}${value == null ? '' : ` = ${print(value)}`}`;
}

describe('our excerpt of the Admin schema', () => {
  it('is a valid schema with the idempotency directive', () => {
    expect(validateSchema(excerpt)).toEqual([]);
    expect(excerpt.getDirective('idempotent')?.locations).toEqual(['FIELD']);
  });

  it.skipIf(!existsSync(file))(
    `says nothing that Shopify's 2026-10 schema does not (needs SYNCSTATE_VENDOR_MODELS: ${file})`,
    () => {
      const json = JSON.parse(gunzipSync(readFileSync(file)).toString('utf8'));
      expect(differences(excerpt, buildClientSchema(json.data))).toEqual([]);
    },
  );

  it('the comparison notices a wrong type, nullability, argument and enum value', () => {
    const whole = buildSchema('type Query { a(x: Int = 1): String! b: E } enum E { ONE }');
    const part = buildSchema('type Query { a(x: Int = 2, y: Int): String b: E c: Int } enum E { ONE TWO }');
    expect(differences(part, whole)).toEqual(['Query.a: String is String!', 'Query.c: Int is undefined', 'E.TWO']);
  });
});
