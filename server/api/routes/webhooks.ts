/**
 * Where vendors tell us things. Raw bytes → connection → signature (constant time, fail closed) → inbox → 200.
 *
 * A correctly signed webhook is never refused for rate: a lost webhook is a lost order on some channels.
 * With a token the path names the connection; without one Shopify's shop domain does, but only when exactly one
 * connection has that shop and its own secret (a shared app secret signs for every shop: the header is unsigned).
 * Unknown token, no secret, wrong signature: all the same 401, so that nobody can probe.
 */
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { Problem } from '../problem.ts';
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';

const maxBody = 5 * 1_048_576;

export async function webhookRoutes(app: Api, deps: ApiDeps): Promise<void> {
  await app.register(async (plain) => {
    const scope = plain.withTypeProvider<ZodTypeProvider>();
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: maxBody }, (_request, body, done) => done(null, body));

    const receive = async (platform: string, token: string | null, body: unknown, headers: Record<string, string | string[] | undefined>) => {
      const refused = (outcome: string) => {
        deps.metrics.webhooks.inc({ platform, outcome });
        return new Problem(401, 'webhook.unsigned', 'The signature is missing or wrong. Nothing was stored.');
      };
      const connector = deps.registry.connector(platform);
      if (!connector?.webhook) throw new Problem(404, 'api.not_found', 'This platform sends no webhooks here.');
      const raw = Buffer.isBuffer(body) ? body : Buffer.alloc(0);
      const flat = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value[0] : value]));
      const candidates = await deps.intake.resolve(platform, token, flat['x-shopify-shop-domain'] ?? null);
      if (candidates === null) throw refused('unknown_connection');
      if (!connector.webhook.verify(raw, flat, candidates.secrets)) throw refused('bad_signature');
      const identity = connector.webhook.identify(raw, flat);
      const stored = await deps.intake.receive({
        orgId: candidates.orgId,
        connectionId: candidates.connectionId,
        source: 'webhook',
        kind: identity.kind,
        externalId: identity.externalId,
        topic: identity.topic,
        deliveryId: identity.deliveryId,
        body: raw,
      });
      deps.metrics.webhooks.inc({ platform, outcome: stored.kind });
      if (stored.kind === 'foreign') throw refused('foreign');
      return { ok: true };
    };

    scope.post('/webhook/:platform/:token', { schema: { hide: true, params: z.object({ platform: z.string().max(40), token: z.string().max(200) }) } }, async (request) =>
      receive(request.params.platform, request.params.token, request.body, request.headers),
    );
    scope.post('/webhook/:platform', { schema: { hide: true, params: z.object({ platform: z.string().max(40) }) } }, async (request) =>
      receive(request.params.platform, null, request.body, request.headers),
    );
  });
}
