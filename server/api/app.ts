/**
 * The HTTP edge: who is calling (decided before anything is parsed), what may be said, how errors look.
 *
 * Order of a request: credentials → rate → body and schema → idempotency → route → problem or answer.
 * Routes hold no rules of stock: they turn a request into a query or a ledger command.
 */
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import fastifyStatic from '@fastify/static';
import fastifySwagger from '@fastify/swagger';
import fastifySwaggerUi from '@fastify/swagger-ui';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, LogController } from 'fastify';
import {
  hasZodFastifySchemaValidationErrors,
  jsonSchemaTransform,
  serializerCompiler,
  validatorCompiler,
  type ZodTypeProvider,
} from 'fastify-type-provider-zod';
import type { ApiDeps } from './deps.ts';
import { beginIdempotent, endIdempotent } from './idempotency.ts';
import { complete } from './openapi.ts';
import { Problem, problemBody, problemOf } from './problem.ts';
import { createRateLimit } from './rate-limit.ts';
import { routes } from './routes/index.ts';

/** Who is calling: an API key of one organization. */
export interface Caller {
  orgId: string;
  keyId: string;
  /** Written as actor of movements and in the audit log. */
  actor: string;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set on every route that needs credentials. */
    caller: Caller | null;
    /** The effect key of this request's command: stable over a replay with the same Idempotency-Key. */
    effectKey: string;
    idempotency: { key: string; bodyHash: Uint8Array; path: string } | null;
  }
}

export type Api = FastifyInstance<
  import('node:http').Server,
  import('node:http').IncomingMessage,
  import('node:http').ServerResponse,
  import('fastify').FastifyBaseLogger,
  ZodTypeProvider
>;

/**
 * Routes that answer callers without credentials; everything else is 401 without them, also what does not exist.
 * Judged by the route that was found, not by the path as sent: `/%61pi/inventory` is `/api/inventory`.
 */
export function isPublic(route: string | undefined, path: string): boolean {
  if (route === undefined) return path.startsWith('/webhook/') || path.startsWith('/api/auth/');
  if (route === '/webhook/amazon/return') return false;
  return route === '/api/openapi.json' || route.startsWith('/api/auth/') || !/^\/api(\/|$)/.test(route);
}

const unauthorized = () =>
  new Problem(
    401,
    'api.unauthorized',
    'Send an API key: "Authorization: Bearer <key>". Make one with: syncstate key create',
    undefined,
    {
      'www-authenticate': 'Bearer',
    },
  );

/** JSON as Fastify reads it, but a body of no bytes is no body: calls without one are often sent with the header all the same. */
function acceptEmptyJson(app: Api): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    if (body === '') done(null, undefined);
    else parse(request, body as string, done);
  });
}

/** The calling key, or the 401 that says why not. The same words for a missing, wrong, expired and revoked key. */
async function authenticate(
  deps: ApiDeps,
  request: FastifyRequest,
): Promise<Caller & { ratePerMinute: number | null }> {
  const match = /^Bearer (\S{1,200})$/i.exec(request.headers.authorization ?? '');
  if (!match?.[1]) throw unauthorized();
  const hash = createHash('sha256').update(match[1]).digest();
  const found = await deps.keys.find(hash);
  if (!found) throw unauthorized();
  return { orgId: found.orgId, keyId: found.keyId, actor: `key:${found.keyId}`, ratePerMinute: found.ratePerMinute };
}

export async function createApi(deps: ApiDeps): Promise<Api> {
  const app: Api = Fastify({
    loggerInstance: deps.log as import('fastify').FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    trustProxy: deps.config.trustProxy,
    genReqId: () => deps.ids.uuid(),
    routerOptions: { maxParamLength: 2_000 },
    bodyLimit: 1_048_576,
    forceCloseConnections: true,
    // A path that cannot be decoded never reaches the hooks; who is calling is decided first here too.
    frameworkErrors: (error, request, reply) => {
      const known = request.url.startsWith('/webhook/') ? Promise.resolve() : authenticate(deps, request);
      known.then(
        () => answer(reply as FastifyReply, problemOfRequest(error)),
        (denied: unknown) => answer(reply as FastifyReply, problemOf(denied)),
      );
    },
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.removeContentTypeParser('text/plain');
  acceptEmptyJson(app);
  app.decorateRequest('caller', null);
  app.decorateRequest('effectKey', '');
  app.decorateRequest('idempotency', null);

  const allow = createRateLimit(deps.clock);
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id);
    const path = request.url.split('?', 1)[0] ?? '/';
    if (isPublic(request.routeOptions.url, path) && !(path.startsWith('/webhook/') && request.headers.authorization))
      return;
    const caller = await authenticate(deps, request);
    request.caller = caller;
    const wait = allow(caller.keyId, caller.ratePerMinute);
    if (wait > 0)
      throw new Problem(
        429,
        'api.rate_limited',
        `This key made more than ${caller.ratePerMinute} calls in a minute. Try again in ${wait} s.`,
        undefined,
        {
          'retry-after': String(wait),
        },
      );
  });
  app.addHook('preHandler', async (request, reply) => beginIdempotent(deps, request, reply));
  app.addHook('onSend', async (request, reply, payload) => endIdempotent(deps, request, reply, payload));
  app.addHook('onResponse', async (request, reply) => {
    deps.metrics.httpSeconds.observe(
      { method: request.method, route: request.routeOptions.url ?? 'unknown', status: String(reply.statusCode) },
      reply.elapsedTime / 1000,
    );
  });

  app.setErrorHandler((error, request, reply) => {
    const problem = problemOfRequest(error);
    if (problem.status >= 500) request.log.error({ err: error, requestId: request.id }, 'request failed');
    answer(reply, problem);
  });
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split('?', 1)[0];
    reply
      .code(404)
      .type('application/problem+json')
      .serializer(JSON.stringify)
      .send(problemBody(404, 'api.not_found', `There is no ${request.method} ${path}. The API is described at /docs.`));
  });

  await app.register(fastifySwagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'SyncState',
        version: deps.version,
        description: 'One stock ledger; every channel shows the right number.',
      },
      components: { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } },
      security: [{ key: [] }],
    },
    transform: jsonSchemaTransform,
  });
  await app.register(fastifySwaggerUi, { routePrefix: '/docs' });
  for (const route of routes) await route(app, deps);
  app.get('/api/openapi.json', { schema: { hide: true } }, async () => complete(structuredClone(app.swagger())));
  if (deps.webDir !== null && existsSync(deps.webDir))
    await app.register(fastifyStatic, {
      root: deps.webDir,
      wildcard: false,
      etag: true,
      cacheControl: true,
      maxAge: 0,
    });
  await app.ready();
  return app;
}

function answer(reply: FastifyReply, problem: Problem): void {
  reply
    .code(problem.status)
    .headers(problem.headers)
    .type('application/problem+json')
    .serializer(JSON.stringify)
    .send(problem.body());
}

function problemOfRequest(error: unknown): Problem {
  if (hasZodFastifySchemaValidationErrors(error)) {
    const errors = error.validation.map(({ instancePath, message }) => ({
      field: instancePath.replace(/^\//, '').replaceAll('/', '.') || 'body',
      message: message ?? 'is not right',
    }));
    return new Problem(
      400,
      'api.invalid',
      errors.map(({ field, message }) => `${field}: ${message}`).join('; '),
      errors,
    );
  }
  const { code, statusCode } = error as { code?: string; statusCode?: number };
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE')
    return new Problem(413, 'api.too_large', 'The body is larger than this call takes.');
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE')
    return new Problem(415, 'api.unknown_type', 'This call does not take that content type.');
  if (code?.startsWith('FST_ERR_CTP_') || error instanceof SyntaxError)
    return new Problem(400, 'api.invalid', 'The body is not readable JSON.');
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500 && error instanceof Error)
    return new Problem(statusCode, 'api.invalid', error.message);
  return problemOf(error);
}
