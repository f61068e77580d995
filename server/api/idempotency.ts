/**
 * `Idempotency-Key` on writes: scope (organization, caller, method, path), kept 30 days.
 *
 *   first call            → runs; its status and body are kept
 *   same key, same body   → the kept answer + `Idempotency-Replayed: true`
 *   same key, other body  → 422 store.mismatch
 *   first still running   → 409 store.conflict
 *
 * The command itself carries an effect key made from this one, so a process that dies between the command's commit and
 * keeping the answer is harmless: the row is taken over after 30 s and the ledger answers "duplicate" with the first result.
 * Answers of 5xx are not kept: the caller may try again.
 */
import { createHash } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ApiDeps } from './deps.ts';
import { Problem } from './problem.ts';

const takeOverAfterMs = 30_000;

function hashOf(body: unknown): Uint8Array {
  const bytes = Buffer.isBuffer(body) || typeof body === 'string' ? body : JSON.stringify(body ?? null);
  return createHash('sha256').update(bytes).digest();
}

export async function beginIdempotent(deps: ApiDeps, request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
  request.effectKey = `api:${request.id}`;
  const key = request.headers['idempotency-key'];
  // A route that takes a stream keeps its own: a stream has no body to compare.
  if ((request.routeOptions.config as { ownIdempotency?: boolean }).ownIdempotency === true) return;
  if (key === undefined || request.caller === null || !['POST', 'PUT', 'PATCH', 'DELETE'].includes(request.method))
    return;
  if (Array.isArray(key) || key.length < 1 || key.length > 255)
    throw new Problem(400, 'api.invalid', 'Idempotency-Key must have 1 to 255 characters.', [
      { field: 'Idempotency-Key', message: 'must have 1 to 255 characters' },
    ]);
  const path = request.url;
  const scope = { orgId: request.caller.orgId, caller: request.caller.keyId, method: request.method, path, key };
  const bodyHash = hashOf(request.body);
  const claim = await deps.idempotency.claim(scope, bodyHash, takeOverAfterMs);
  request.effectKey = `api:${createHash('sha256')
    .update(JSON.stringify([scope.caller, scope.method, path, key]))
    .digest('base64url')}`;
  if (claim.kind === 'mine') {
    request.idempotency = { key, bodyHash, path };
    return;
  }
  if (claim.kind === 'mismatch')
    throw new Problem(
      422,
      'store.mismatch',
      'This Idempotency-Key was used with another body. Nothing was done. Use a new key for a new request.',
    );
  if (claim.kind === 'running')
    throw new Problem(
      409,
      'store.conflict',
      'The first request with this Idempotency-Key is still running. Try again in a moment.',
    );
  reply.header('idempotency-replayed', 'true').code(claim.status).serializer(JSON.stringify);
  reply.type(claim.status >= 400 ? 'application/problem+json' : 'application/json; charset=utf-8');
  return reply.send(claim.response);
}

export async function endIdempotent(
  deps: ApiDeps,
  request: FastifyRequest,
  reply: FastifyReply,
  payload: unknown,
): Promise<unknown> {
  if (request.idempotency === null || request.caller === null) return payload;
  const scope = {
    orgId: request.caller.orgId,
    caller: request.caller.keyId,
    method: request.method,
    path: request.idempotency.path,
    key: request.idempotency.key,
  };
  request.idempotency = null;
  if (reply.statusCode >= 500) await deps.idempotency.forget(scope);
  else
    await deps.idempotency.keep(
      scope,
      reply.statusCode,
      typeof payload === 'string' && payload !== '' ? (JSON.parse(payload) as unknown) : null,
    );
  return payload;
}
