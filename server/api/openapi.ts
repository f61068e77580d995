/**
 * What every operation of the description has, beside what its route says: a stable id, a tag, the problem it answers with, and the
 * answers of routes that are not serialized by a schema of their own. Held by openapi.pg.test.ts over the running server.
 */
import { z } from 'zod';
import { failurePolicies } from '#core/failure/retry.ts';
import { letterKinds } from '#store/views/letters.ts';
import { problem } from './routes/schemas.ts';

export interface Operation {
  operationId?: string;
  summary?: string;
  tags?: string[];
  security?: unknown[];
  responses: Record<string, { description?: string; content?: Record<string, { schema?: unknown }> }>;
}
type Document = { paths?: Record<string, Record<string, Operation>>; components?: Record<string, unknown> };

const anyRow = z.looseObject({});
const pageOf = <T extends z.ZodType>(item: T) => z.object({ items: z.array(item), nextCursor: z.string().nullable() });
const list = pageOf(anyRow);
const failure = z.object({ at: z.string(), code: z.string().nullable(), error: z.string().nullable() });
const letter = z.object({
  id: z.string(),
  kind: z.enum(letterKinds),
  connectionId: z.string().nullable(),
  externalId: z.string().describe('The channel’s order id, the SKU, the run’s title, the subject of due work'),
  topic: z.string(),
  source: z.string(),
  class: z.enum(Object.keys(failurePolicies) as [string, ...string[]]),
  means: z.string(),
  todo: z.string(),
  reason: z.string().nullable(),
  errorCode: z.string().nullable(),
  attempts: z.number().int(),
  failures: z.array(failure),
  payload: z.string().nullable().describe('Secrets masked; in lists the first 10,000 characters'),
  payloadBytes: z.number().int(),
  edited: z.boolean(),
  receivedAt: z.string(),
  deadAt: z.string().nullable(),
});
const alert = z.object({
  id: z.string(),
  kind: z.string(),
  severity: z.enum(['info', 'warning', 'critical']),
  message: z.string(),
  title: z.string().nullable(),
  todo: z.string().nullable(),
  subject: z.object({ kind: z.string(), id: z.string() }).nullable(),
  count: z.number().int(),
  details: anyRow,
  createdAt: z.string(),
  lastAt: z.string(),
  readAt: z.string().nullable(),
  resolvedAt: z.string().nullable(),
});
const alerts = pageOf(alert).extend({ count: z.number().int(), unreadCount: z.number().int(), alerts: z.array(alert) });
const done = z.object({ ok: z.literal(true), id: z.string() });
const counted = z.object({ ok: z.literal(true), count: z.number().int() });
const text = z.string();

/** What is certain of a bigger answer; more fields stand beside these. */
const connection = z.looseObject({ id: z.string(), platform: z.string(), name: z.string(), state: z.string() });
const order = z.looseObject({ id: z.string(), number: z.string(), lines: z.array(anyRow) });
const drift = z.looseObject({ id: z.string(), state: z.string() });
const catalogImport = z.looseObject({ id: z.string(), state: z.string() });
const pushes = z.looseObject({ connections: z.array(anyRow) });
const asked = z.object({ ok: z.literal(true), connectionId: z.string() });
const paused = done.extend({ paused: z.boolean() });

/** Method and path → status, schema, and what kind of answer when it is no JSON. */
const answers: Record<string, readonly [status: number, schema: z.ZodType, type?: string]> = {
  'get /health': [200, z.object({ ok: z.boolean(), version: z.string() })],
  'get /ready': [200, z.object({ ready: z.literal(true) })],
  'get /api/health': [
    200,
    z.object({
      state: z.enum(['ok', 'degraded', 'down']),
      parts: z.array(
        z.object({
          part: z.string(),
          state: z.enum(['ok', 'degraded', 'down']),
          reason: z.string(),
          since: z.string().nullable(),
        }),
      ),
    }),
  ],
  'get /metrics': [200, text, 'text/plain'],
  'get /api/events': [200, text, 'text/event-stream'],
  'get /api/imports/files/{id}': [200, text, 'text/csv'],
  'get /api/locations': [200, list],
  'get /api/movements': [200, list],
  'get /api/orders': [200, list],
  'get /api/connections': [200, list],
  'get /api/drift': [200, list],
  'get /api/feeds': [200, list],
  'get /api/calls': [200, list],
  'get /api/alerts': [200, alerts],
  'get /api/alerts/unread': [200, alerts],
  'get /api/alerts/severity/{level}': [200, alerts],
  'post /api/alerts/{id}/read': [200, done],
  'get /api/dead-letters': [200, pageOf(letter)],
  'get /api/dead-letters/{id}': [200, letter.extend({ originalPayload: z.string().nullable() })],
  'patch /api/dead-letters/{id}': [200, done],
  'post /api/dead-letters/{id}/retry': [202, done],
  'post /api/dead-letters/{id}/discard': [200, done],
  'post /api/dead-letters/retry': [202, counted],
  'post /api/dead-letters/discard': [200, counted],
  'post /api/dead-letters/purge': [200, counted],
  'get /api/connections/{id}': [200, connection],
  'post /api/connections/{id}/sync': [202, asked],
  'post /api/connections/{id}/purchases': [201, z.object({ order: z.string() })],
  'post /api/connections/{id}/import': [202, catalogImport],
  'get /api/connections/{id}/imports': [200, list],
  'get /api/connections/{id}/imports/{importId}': [200, catalogImport],
  'get /api/connections/{id}/imports/{importId}/items': [200, list],
  'post /api/connections/{id}/pause': [200, connection],
  'post /api/connections/{id}/resume': [200, connection],
  'get /api/connections/{id}/shadow': [200, z.looseObject({ nextCursor: z.string().nullable() })],
  'post /api/connections/{id}/shadow': [200, connection],
  'get /api/connections/{id}/subscriptions': [200, anyRow],
  'post /api/connections/{id}/subscriptions': [202, asked],
  'get /api/connections/{id}/order-counts': [200, anyRow],
  'post /api/connections/{id}/order-counts': [202, asked],
  'get /api/connections/{id}/stock-sweeps': [200, list],
  'post /api/connections/{id}/stock-sweeps': [
    202,
    z.object({ id: z.string(), connectionId: z.string(), targets: z.number().int() }),
  ],
  'post /api/listings/{id}/pause': [200, paused],
  'post /api/listings/{id}/resume': [200, paused],
  'post /api/listings/{id}/sync': [202, done.extend({ connectionId: z.string(), targets: z.number().int() })],
  'post /api/listings/{id}/preview': [200, list.extend({ id: z.string() })],
  'get /api/inventory/{sku}/explain': [200, z.object({ sku: z.string(), at: z.string(), targets: z.array(anyRow) })],
  'get /api/orders/{id}': [200, order],
  'get /api/pushes': [200, pushes],
  'post /api/pushes/stop': [200, pushes],
  'post /api/pushes/resume': [200, pushes],
  'get /api/drift/policy': [200, list],
  'post /api/drift/policy': [
    200,
    z.object({ scope: z.string(), id: z.string().nullish(), drift: z.string().nullable() }),
  ],
  'get /api/drift/{id}': [200, drift],
  'post /api/drift/{id}/heal': [200, drift],
  'post /api/drift/{id}/adopt': [200, drift],
  'post /api/drift/{id}/dismiss': [200, drift],
  'get /api/freshness': [200, list],
  'post /api/freshness': [200, list],
  'post /api/freshness/readings': [200, list],
  'get /api/feeds/{id}': [200, list.loose()],
  'get /api/trace': [200, anyRow],
  'post /webhook/amazon/return': [
    200,
    z.looseObject({
      ok: z.boolean(),
      processed: z.boolean(),
      synced: z.boolean(),
      action: z.string(),
      inventoryAfter: z.number().int(),
      broadcastAfter: z.number().int(),
      alert: z.looseObject({ id: z.string(), kind: z.string(), severity: z.string(), message: z.string() }).nullable(),
    }),
  ],
};

/** `get /api/connections/{id}/imports` → getConnectionsByIdImports */
export function operationIdOf(method: string, path: string): string {
  // What is asked without credentials stands beside the API: /health is not /api/health.
  const parts = ['/health', '/ready', '/metrics'].includes(path)
    ? ['probe', path.slice(1)]
    : path.split('/').filter((part) => part !== '' && part !== 'api');
  const words = parts.flatMap((part) =>
    part.startsWith('{') ? ['by', part.slice(1, -1)] : part.split(/[^a-zA-Z0-9]+/),
  );
  return method + words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
}

const tagOf = (path: string): string => path.split('/').find((part) => part !== '' && part !== 'api') ?? 'other';
const schemaOf = (schema: z.ZodType): unknown => {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'output' });
  return rest;
};

/** The document as it is served. */
export function complete<T extends object>(given: T): T {
  const document = given as Document;
  for (const [path, methods] of Object.entries(document.paths ?? {}))
    for (const [method, operation] of Object.entries(methods)) {
      operation.operationId = operationIdOf(method, path);
      operation.tags = [tagOf(path)];
      const answer = answers[`${method} ${path}`];
      if (answer) {
        const [status, schema, type = 'application/json'] = answer;
        delete operation.responses['200'];
        operation.responses[status] = { description: 'Done', content: { [type]: { schema: schemaOf(schema) } } };
      }
      operation.responses.default = {
        description: 'Refused; codes in docs/errors.md',
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      };
    }
  document.components = {
    ...document.components,
    schemas: { ...(document.components?.schemas as object | undefined), Problem: schemaOf(problem) },
  };
  return given;
}
