/**
 * Where vendors tell us things. Raw bytes → connection → signature (constant time, fail closed) → inbox → 200.
 *
 * A correctly signed webhook is never refused for rate: a lost webhook is a lost order on some channels.
 * With a token the path names the connection; without one Shopify's shop domain does, but only when exactly one
 * connection has that shop and its own secret (a shared app secret signs for every shop: the header is unsigned).
 * Unknown token, no secret, wrong signature: all the same 401, so that nobody can probe.
 *
 * `POST /webhook/shopify` with an API key and no signature takes the predecessor's `{ orderId, items }` (flows/report-order.ts).
 */

import type { FastifyRequest } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { WebhookPort } from '#connectors/kit/ports.ts';
import { CodedError } from '#core/errors.ts';
import { readItem } from '#store/views/inventory.ts';
import { reportOrder } from '../../flows/report-order.ts';
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { Problem } from '../problem.ts';
import { sku, text, units } from './schemas.ts';
import { callerOf } from './stock.ts';

const maxBody = 5 * 1_048_576;

const reported = z.object({
  orderId: z.union([text(100).min(1), z.number().int().min(1).max(Number.MAX_SAFE_INTEGER).transform(String)]),
  items: z
    .array(z.object({ sku, quantity: units.max(1_000_000) }))
    .min(1)
    .max(200),
});

/** As the other routes read JSON: a key that would change what all objects have is refused. */
function jsonOf(body: unknown): unknown {
  try {
    return JSON.parse(Buffer.isBuffer(body) ? body.toString('utf8') : '', (key, value: unknown) => {
      if (key === '__proto__' || (key === 'constructor' && Object.hasOwn(Object(value), 'prototype')))
        throw new SyntaxError(key);
      return value;
    });
  } catch {
    throw new Problem(400, 'api.invalid', 'The body is not readable JSON.');
  }
}

function invalid(error: z.ZodError): Problem {
  const errors = error.issues.map(({ path, message }) => ({ field: path.join('.') || 'body', message }));
  return new Problem(400, 'api.invalid', errors.map(({ field, message }) => `${field}: ${message}`).join('; '), errors);
}

type Headers = Record<string, string | undefined>;

/** What a delivery is about; 400 for one that is signed but says nothing we could keep it under. */
function identify(webhook: WebhookPort, raw: Buffer, headers: Headers) {
  try {
    return webhook.identify(raw, headers);
  } catch (error) {
    if (error instanceof CodedError && error.code === 'connector.unreadable')
      throw new Problem(400, 'api.invalid', `${error.message} Nothing was stored.`);
    throw error;
  }
}

export async function webhookRoutes(app: Api, deps: ApiDeps): Promise<void> {
  await app.register(async (plain) => {
    const scope = plain.withTypeProvider<ZodTypeProvider>();
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: maxBody }, (_request, body, done) =>
      done(null, body),
    );

    const receive = async (
      platform: string,
      token: string | null,
      body: unknown,
      headers: Record<string, string | string[] | undefined>,
      correlationId: string,
    ) => {
      const refused = (outcome: string) => {
        deps.metrics.webhooks.inc({ platform, outcome });
        return new Problem(401, 'webhook.unsigned', 'The signature is missing or wrong. Nothing was stored.');
      };
      const connector = deps.registry.connector(platform);
      if (!connector?.webhook) throw new Problem(404, 'api.not_found', 'This platform sends no webhooks here.');
      if (token !== null && !/^[\w-]{1,200}$/.test(token)) throw refused('unknown_connection');
      const raw = Buffer.isBuffer(body) ? body : Buffer.alloc(0);
      const flat = Object.fromEntries(
        Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value[0] : value]),
      );
      const candidates = await deps.intake.resolve(platform, token, flat['x-shopify-shop-domain'] ?? null);
      if (candidates === null) throw refused('unknown_connection');
      if (!connector.webhook.verify(raw, flat, candidates.secrets)) {
        deps.refusedWebhook(candidates);
        throw refused('bad_signature');
      }
      const identity = identify(connector.webhook, raw, flat);
      const stored = await deps.intake.receive({
        orgId: candidates.orgId,
        connectionId: candidates.connectionId,
        source: 'webhook',
        kind: identity.kind,
        externalId: identity.externalId,
        topic: identity.topic,
        deliveryId: identity.deliveryId,
        body: raw,
        correlationId,
      });
      deps.log.debug(
        {
          correlationId,
          orgId: candidates.orgId,
          connectionId: candidates.connectionId,
          deliveryId: identity.deliveryId,
          topic: identity.topic,
          externalId: identity.externalId,
          outcome: stored.kind,
        },
        'webhook received',
      );
      deps.metrics.webhooks.inc({ platform, outcome: stored.kind });
      if (stored.kind === 'foreign') throw refused('foreign');
      return { ok: true };
    };

    /** The predecessor's body, believed because of the API key. */
    const report = async (request: FastifyRequest) => {
      const caller = callerOf(request);
      const parsed = reported.safeParse(jsonOf(request.body));
      if (!parsed.success) throw invalid(parsed.error);
      const { orderId, items } = parsed.data;
      const done = await reportOrder(deps, caller, { orderId, items });
      if (done.kind === 'unknown_sku')
        throw new Problem(
          422,
          'domain.unknown_sku',
          'Nothing was booked: some SKUs are not known, or are bundles without parts.',
          done.items.map((index) => ({ field: `items.${index}.sku`, message: 'is not known', sku: items[index]?.sku })),
        );
      if (done.kind === 'booked') deps.wake();
      const after = await deps.store.tenant(caller.orgId, async (tx) => {
        const found: { sku: string; physical: number; broadcast: number }[] = [];
        for (const sku of new Set(items.map((item) => item.sku))) {
          const item = await readItem(tx, caller.orgId, sku);
          found.push({ sku, physical: item?.physical ?? 0, broadcast: item?.broadcast ?? 0 });
        }
        return found;
      });
      return {
        success: true,
        queued: done.kind === 'booked',
        id: done.id,
        inventoryAfter: Object.fromEntries(after.map(({ sku, physical }) => [sku, physical])),
        broadcastAfter: Object.fromEntries(after.map(({ sku, broadcast }) => [sku, broadcast])),
      };
    };

    scope.post(
      '/webhook/:platform/:token',
      { schema: { hide: true, params: z.object({ platform: z.string().max(40), token: z.string().max(200) }) } },
      async (request) =>
        receive(request.params.platform, request.params.token, request.body, request.headers, request.id),
    );
    scope.post(
      '/webhook/:platform',
      { schema: { hide: true, params: z.object({ platform: z.string().max(40) }) } },
      async (request) => {
        if (
          request.params.platform === 'shopify' &&
          request.caller !== null &&
          request.headers['x-shopify-hmac-sha256'] === undefined
        )
          return report(request);
        return receive(request.params.platform, null, request.body, request.headers, request.id);
      },
    );
  });
}
