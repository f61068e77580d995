/**
 * The GraphQL endpoint: parse and validate (once per text), coerce variables, price, throttle, run, and dress the
 * answer as Shopify does. Everything Shopify says about a document is said with HTTP 200 (sheet §5.7, §9).
 * Called by `index.ts` for each POST to `/admin/api/{version}/graphql.json`.
 */
import {
  buildSchema,
  type DocumentNode,
  execute,
  GraphQLError,
  type GraphQLSchema,
  getOperationAST,
  getVariableValues,
  Kind,
  type OperationDefinitionNode,
  parse,
  validate,
  valueFromASTUntyped,
  visit,
} from 'graphql';
import type { VendorReply } from '#sim/kit/model.ts';
import { json } from './auth.ts';
import { type Bucket, costOf, DEAREST_QUERY, MOST_ROWS } from './cost.ts';
import type { Idempotency } from './idempotency.ts';
import type { CallContext, createRoots } from './roots.ts';

const KEPT_DOCUMENTS = 500;

export interface GraphqlRequest {
  query: string;
  variables: Record<string, unknown>;
  operationName: string | null;
}

interface Prepared {
  document: DocumentNode;
  operation: OperationDefinitionNode | null;
  /** Root fields of the operation, in order. */
  fields: string[];
  problems: readonly GraphQLError[];
}

export interface GraphqlEndpoint {
  read(body: string): GraphqlRequest | null;
  /** Root fields and operation name: what faults match and the call log shows. */
  operationsOf(request: GraphqlRequest): string[];
  answer(
    request: GraphqlRequest,
    caller: {
      scopes: ReadonlySet<string>;
      apiVersion: string;
      takeHalfBatch: () => boolean;
      work: () => Promise<void>;
    },
  ): Promise<VendorReply>;
}

interface Documents {
  schema: GraphQLSchema;
  prepare(request: GraphqlRequest): Prepared;
}

/** All shops of this process answer by one schema: it is built once, and a document is parsed and validated once for all of them. */
const documentsBySchema = new Map<string, Documents>();

function documentsOf(schemaText: string): Documents {
  const built = documentsBySchema.get(schemaText);
  if (built !== undefined) return built;
  const schema = buildSchema(schemaText);
  const prepared = new Map<string, Prepared>();
  const documents: Documents = {
    schema,
    prepare(request) {
      const key = `${request.operationName ?? ''}\n${request.query}`;
      const known = prepared.get(key);
      if (known !== undefined) return known;
      const fresh = prepareDocument(schema, request);
      if (prepared.size >= KEPT_DOCUMENTS) prepared.delete(prepared.keys().next().value ?? '');
      prepared.set(key, fresh);
      return fresh;
    },
  };
  documentsBySchema.set(schemaText, documents);
  return documents;
}

export function createGraphqlEndpoint(options: {
  schemaText: string;
  roots: ReturnType<typeof createRoots>;
  bucket: Bucket;
  idempotency: Idempotency;
  /** Whether costs are limits or only figures. */
  limited: () => boolean;
}): GraphqlEndpoint {
  const { schema, prepare } = documentsOf(options.schemaText);

  async function answer(
    request: GraphqlRequest,
    caller: Parameters<GraphqlEndpoint['answer']>[1],
  ): Promise<VendorReply> {
    const { document, operation, problems } = prepare(request);
    if (problems.length > 0 || operation === null) return refused(problems.map(validationError));
    const coerced = getVariableValues(schema, operation.variableDefinitions ?? [], request.variables);
    if (coerced.errors !== undefined) return refused(coerced.errors.map((error) => variableError(error, request)));
    if (longestList(operation, request.variables) > MOST_ROWS) return refused([tooLong()]);

    const question = { schema, document, operation, variables: coerced.coerced };
    const { points, largestPage } = costOf(question);
    if (largestPage > MOST_ROWS) {
      return refused([
        { message: `first/last cannot exceed ${MOST_ROWS}`, extensions: { code: 'INVALID_FIELD_ARGUMENTS' } },
      ]);
    }
    if (options.limited() && points > DEAREST_QUERY) return refused([tooDear(points)]);
    if (!options.bucket.take(points)) return throttled(points);

    const keys = idempotencyKeys(operation, coerced.coerced);
    const busy = keys.filter((key) => !options.idempotency.enter(key));
    const context: CallContext = {
      scopes: caller.scopes,
      apiVersion: caller.apiVersion,
      busyKeys: new Set(busy),
      halfBatch: false,
      applied: false,
      broken: false,
    };
    try {
      await caller.work();
      context.halfBatch = isBatch(operation) && caller.takeHalfBatch();
      const result = await execute({
        schema,
        document,
        rootValue: options.roots,
        contextValue: context,
        variableValues: request.variables,
        ...(request.operationName === null ? {} : { operationName: request.operationName }),
      });
      if (context.broken) return json(500, { errors: 'Internal Server Error' }, context.applied);
      const actual = costOf(question, result.data).points;
      options.bucket.giveBack(points - actual);
      return json(200, { ...plain(result), ...costs(points, actual) }, context.applied);
    } finally {
      for (const key of keys) if (!busy.includes(key)) options.idempotency.leave(key);
    }
  }

  const costs = (requestedQueryCost: number, actualQueryCost: number | null) => ({
    extensions: { cost: { requestedQueryCost, actualQueryCost, throttleStatus: options.bucket.status() } },
  });

  function throttled(points: number): VendorReply {
    const documentation = 'https://shopify.dev/api/usage/rate-limits';
    const errors = [{ message: 'Throttled', extensions: { code: 'THROTTLED', documentation } }];
    return json(200, { errors, ...costs(points, null) }, false);
  }

  return {
    read: readRequest,
    operationsOf(request) {
      const { fields, operation } = prepare(request);
      const name = operation?.name?.value;
      return name === undefined ? fields : [...fields, name];
    },
    answer,
  };
}

function prepareDocument(schema: GraphQLSchema, request: GraphqlRequest): Prepared {
  try {
    const document = parse(request.query);
    const operation = getOperationAST(document, request.operationName) ?? null;
    const problems =
      operation === null ? [new GraphQLError('An operation name is required')] : validate(schema, document);
    return { document, operation, problems, fields: rootFields(document, operation) };
  } catch (error) {
    const problem = error instanceof GraphQLError ? error : new GraphQLError(String(error));
    return {
      document: { kind: Kind.DOCUMENT, definitions: [] },
      operation: null,
      problems: [problem],
      fields: ['invalid'],
    };
  }
}

function rootFields(document: DocumentNode, operation: OperationDefinitionNode | null): string[] {
  const fields: string[] = [];
  for (const selection of operation?.selectionSet.selections ?? []) {
    if (selection.kind === Kind.FIELD) fields.push(selection.name.value);
    if (selection.kind !== Kind.FRAGMENT_SPREAD) continue;
    for (const definition of document.definitions) {
      if (definition.kind !== Kind.FRAGMENT_DEFINITION || definition.name.value !== selection.name.value) continue;
      for (const inner of definition.selectionSet.selections)
        if (inner.kind === Kind.FIELD) fields.push(inner.name.value);
    }
  }
  return fields.length === 0 ? ['invalid'] : fields;
}

function readRequest(body: string): GraphqlRequest | null {
  try {
    const parsed = JSON.parse(body) as { query?: unknown; variables?: unknown; operationName?: unknown } | null;
    if (parsed === null || typeof parsed.query !== 'string') return null;
    const variables = parsed.variables !== null && typeof parsed.variables === 'object' ? parsed.variables : {};
    const operationName = typeof parsed.operationName === 'string' ? parsed.operationName : null;
    return { query: parsed.query, variables: variables as Record<string, unknown>, operationName };
  } catch {
    return null;
  }
}

const refused = (errors: unknown[]): VendorReply => json(200, { errors }, false);

const plain = (result: { data?: unknown; errors?: readonly GraphQLError[] }) => ({
  data: result.data ?? null,
  ...(result.errors === undefined ? {} : { errors: result.errors.map((error) => error.toJSON()) }),
});

function validationError(error: GraphQLError) {
  const field = /^Cannot query field "(\w+)" on type "(\w+)"/.exec(error.message);
  if (field === null) return { ...error.toJSON(), extensions: { code: 'graphqlValidation' } };
  const [, fieldName, typeName] = field;
  const message = `Field '${fieldName}' doesn't exist on type '${typeName}'`;
  return { message, locations: error.locations, extensions: { code: 'undefinedField', typeName, fieldName } };
}

/** `Variable "$input" got invalid value 1 at "input.quantities[0].foo"; Field …` → problems with a path. */
function variableError(error: GraphQLError, request: GraphqlRequest) {
  const name = /^Variable "\$(\w+)"/.exec(error.message)?.[1] ?? '';
  const at = / at "\w+\.?([^"]*)";/.exec(error.message)?.[1] ?? '';
  const path = at
    .split(/[.[\]]+/)
    .filter((step) => step !== '')
    .map((step) => (/^\d+$/.test(step) ? Number(step) : step));
  const explanation = error.message.split('; ').slice(1).join('; ') || error.message;
  return {
    message: error.message,
    locations: error.locations,
    extensions: { code: 'INVALID_VARIABLE', value: request.variables[name] ?? null, problems: [{ path, explanation }] },
  };
}

const tooLong = () => ({
  message: `The input array size is greater than the maximum allowed of ${MOST_ROWS}.`,
  extensions: { code: 'MAX_INPUT_SIZE_EXCEEDED' },
});

const tooDear = (cost: number) => ({
  message: `Query cost is ${cost}, which exceeds the single query max cost limit (${DEAREST_QUERY}).`,
  extensions: {
    code: 'MAX_COST_EXCEEDED',
    cost,
    maxCost: DEAREST_QUERY,
    documentation: 'https://shopify.dev/api/usage/rate-limits',
  },
});

function longestList(operation: OperationDefinitionNode, variables: unknown): number {
  let longest = longestIn(variables);
  visit(operation, {
    ListValue(node) {
      longest = Math.max(longest, node.values.length);
    },
  });
  return longest;
}

function longestIn(value: unknown): number {
  if (Array.isArray(value)) return Math.max(value.length, ...value.map(longestIn));
  if (value === null || typeof value !== 'object') return 0;
  return Math.max(0, ...Object.values(value).map(longestIn));
}

function idempotencyKeys(operation: OperationDefinitionNode, variables: Record<string, unknown>): string[] {
  const keys = operation.selectionSet.selections.flatMap((selection) => {
    const directive = selection.directives?.find((one) => one.name.value === 'idempotent');
    const value = directive?.arguments?.[0]?.value;
    const key = value === undefined ? undefined : valueFromASTUntyped(value, variables);
    return typeof key === 'string' ? [key] : [];
  });
  return [...new Set(keys)];
}

const BATCHES = new Set(['inventorySetQuantities', 'inventoryAdjustQuantities']);

const isBatch = (operation: OperationDefinitionNode): boolean =>
  operation.selectionSet.selections.some(
    (selection) => selection.kind === Kind.FIELD && BATCHES.has(selection.name.value),
  );
