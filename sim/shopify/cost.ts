/**
 * What a document costs and whether the shop still gives it (sheet §9).
 *
 * Scalars and enums 0, objects 1, mutations 10, an interface its dearest option. Connections: the published rule says
 * "sized by first/last"; observed costs grow with the logarithm (one report of 2025: product → variants(first: 250) →
 * inventoryItem = 25 points), so a connection of n costs ⌈log2(n + 1)⌉ × (1 + its node): exactly that figure.
 * A leaky bucket per app and shop, `vendor` profile only: Standard plan, 2,000 points, 100 restored a second.
 */
import {
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLCompositeType,
  type GraphQLSchema,
  getNamedType,
  isAbstractType,
  isCompositeType,
  isObjectType,
  type OperationDefinitionNode,
  type SelectionSetNode,
  valueFromASTUntyped,
} from 'graphql';

export const MOST_ROWS = 250;
export const DEAREST_QUERY = 1_000;
const MUTATION_POINTS = 10;

export interface CostQuestion {
  schema: GraphQLSchema;
  document: DocumentNode;
  operation: OperationDefinitionNode;
  variables: Record<string, unknown>;
}

/**
 * @param data the answer, to price what was really returned; without it the most that could be
 * @returns points, and the largest page asked for
 */
export function costOf(question: CostQuestion, data?: unknown): { points: number; largestPage: number } {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of question.document.definitions) {
    if (definition.kind === 'FragmentDefinition') fragments.set(definition.name.value, definition);
  }
  let largestPage = 0;

  function ofSelection(selection: SelectionSetNode, type: GraphQLCompositeType, value: unknown): number {
    let points = 0;
    const options = new Map<string, number>();
    for (const node of selection.selections) {
      if (node.kind === 'Field') {
        points += ofField(node, type, fieldValue(value, node));
        continue;
      }
      const inner = node.kind === 'InlineFragment' ? node : fragments.get(node.name.value);
      if (inner === undefined) continue;
      const name = inner.typeCondition?.name.value;
      const innerType = name === undefined ? type : question.schema.getType(name);
      if (!isCompositeType(innerType)) continue;
      const cost = ofSelection(inner.selectionSet, innerType, value);
      if (isAbstractType(type)) options.set(innerType.name, (options.get(innerType.name) ?? 0) + cost);
      else points += cost;
    }
    return points + Math.max(0, ...options.values());
  }

  function ofField(node: FieldNode, parent: GraphQLCompositeType, value: unknown): number {
    const field = 'getFields' in parent ? parent.getFields()[node.name.value] : undefined;
    const type = field === undefined ? undefined : getNamedType(field.type);
    if (node.selectionSet === undefined || !isCompositeType(type) || value === null) return 0;
    if (parent === question.schema.getMutationType()) {
      return MUTATION_POINTS + ofSelection(node.selectionSet, type, value);
    }
    if (isObjectType(type) && type.name.endsWith('Connection')) {
      const asked = pageSize(node);
      const rows = rowsOf(value) ?? asked;
      return sized(rows, 1 + ofSelection(node.selectionSet, type, undefined));
    }
    if (node.name.value === 'edges' || node.name.value === 'pageInfo')
      return ofSelection(node.selectionSet, type, value);
    if (parent === question.schema.getQueryType() && node.name.value === 'nodes') {
      return sized(listLength(node), 1 + ofSelection(node.selectionSet, type, undefined));
    }
    return 1 + ofSelection(node.selectionSet, type, Array.isArray(value) ? value[0] : value);
  }

  function argument(node: FieldNode, name: string): unknown {
    const given = node.arguments?.find((candidate) => candidate.name.value === name);
    return given === undefined ? undefined : valueFromASTUntyped(given.value, question.variables);
  }

  function pageSize(node: FieldNode): number {
    const size = Number(argument(node, 'first') ?? argument(node, 'last') ?? 0);
    largestPage = Math.max(largestPage, size);
    return size;
  }

  function listLength(node: FieldNode): number {
    const ids = argument(node, 'ids');
    return Array.isArray(ids) ? ids.length : 1;
  }

  const root =
    question.operation.operation === 'mutation' ? question.schema.getMutationType() : question.schema.getQueryType();
  const points = root == null ? 0 : ofSelection(question.operation.selectionSet, root, data);
  return { points, largestPage };
}

const sized = (rows: number, each: number): number => Math.ceil(Math.log2(rows + 1)) * each;

function fieldValue(value: unknown, node: FieldNode): unknown {
  if (value === null || typeof value !== 'object') return undefined;
  return (value as Record<string, unknown>)[node.alias?.value ?? node.name.value];
}

function rowsOf(value: unknown): number | undefined {
  if (value === null || typeof value !== 'object') return undefined;
  const { edges, nodes } = value as { edges?: unknown; nodes?: unknown };
  const rows = Array.isArray(nodes) ? nodes : edges;
  return Array.isArray(rows) ? rows.length : undefined;
}

export interface ThrottleStatus {
  maximumAvailable: number;
  currentlyAvailable: number;
  restoreRate: number;
}

export interface Bucket {
  /** Takes the points if they are there. */
  take(points: number): boolean;
  giveBack(points: number): void;
  status(): ThrottleStatus;
}

/** @param limited false: always full. */
export function createBucket(monotonicMs: () => number, limited: () => boolean): Bucket {
  const size = 2_000;
  const restoreRate = 100;
  let available = size;
  let at = monotonicMs();
  function restore(): void {
    const time = monotonicMs();
    available = Math.min(size, available + ((time - at) / 1000) * restoreRate);
    at = time;
  }
  return {
    take(points) {
      if (!limited()) return true;
      restore();
      if (points > available) return false;
      available -= points;
      return true;
    },
    giveBack(points) {
      if (limited()) available = Math.min(size, available + Math.max(0, points));
    },
    status() {
      if (!limited()) return { maximumAvailable: 20_000, currentlyAvailable: 20_000, restoreRate: 2_000 };
      restore();
      return { maximumAvailable: size, currentlyAvailable: Math.floor(available), restoreRate };
    },
  };
}
