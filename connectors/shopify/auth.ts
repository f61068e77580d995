/**
 * Access tokens: which one a call carries, and when a new one is fetched.
 *
 *   static     given, never ends; a 401 means it is dead
 *   granted    client credentials → 24 h token, asked for again when needed (no refresh token)
 *   refreshed  refresh token → 1 h token and a new refresh token, stored before first use
 *
 * Renewed five minutes before the end, by one request at a time; a 401 renews once more (client.ts repeats the call
 * once). A lost refresh answer is recoverable: Shopify keeps the old refresh token valid until the new one is used
 * (`documented`, fact sheet §2.3), so the request counts as a read and may be repeated.
 */
import { z } from 'zod';
import type { Clock } from '#core/effects.ts';
import { ConnectorError } from '#core/errors.ts';
import { parseLossless } from '../kit/lossless.ts';
import type { CallOptions, ConnectionContext } from '../kit/ports.ts';
import { manifest, OAUTH_BUCKET } from './manifest.ts';
import type { ShopSettings } from './settings.ts';

const RENEW_EARLY_MS = 300_000;

const tokenSchema = z.looseObject({
  access_token: z.string().min(1),
  expires_in: z.number().positive().optional(),
  refresh_token: z.string().min(1).optional(),
});

export interface ShopAuth {
  token(options: CallOptions): Promise<string>;
  /** After a 401 on `deadToken`: a new token, or connector.unauthorized when there is no way to get one. */
  renew(deadToken: string, options: CallOptions): Promise<string>;
}

/** For answers that are already there: nobody is asked, so nobody asks for a token. */
export const noAuth: ShopAuth = { token: async () => '', renew: async () => '' };

interface Held {
  token: string;
  endsAt: number | null;
}

export function createAuth(
  settings: ShopSettings,
  context: Pick<ConnectionContext, 'transport' | 'clock' | 'renewCredentials'>,
): ShopAuth {
  const { clientId, clientSecret } = settings.credentials;
  let known = definedOnly(settings.credentials);
  let held = heldIn(known);
  let renewing: Promise<string> | null = null;

  const ask = (grant: Record<string, string>, options: CallOptions) => {
    if (!clientId || !clientSecret) throw unauthorized('The access token is no longer valid.');
    return requestToken(settings, context, { client_id: clientId, client_secret: clientSecret, ...grant }, options);
  };

  /** The stored refresh token for a new pair. */
  async function exchange(stored: Record<string, string>, options: CallOptions): Promise<Record<string, string>> {
    const grant = { grant_type: 'refresh_token', refresh_token: stored.refreshToken ?? '' };
    const granted = await ask(grant, options);
    const endsAt = endOf(granted.expires_in, context.clock);
    const { accessTokenExpiresAt: _, ...kept } = stored;
    return {
      ...kept,
      accessToken: granted.access_token,
      ...(granted.refresh_token !== undefined && { refreshToken: granted.refresh_token }),
      ...(endsAt !== null && { accessTokenExpiresAt: String(endsAt) }),
    };
  }

  async function fetchToken(options: CallOptions): Promise<string> {
    if (known.refreshToken === undefined) {
      const granted = await ask({ grant_type: 'client_credentials' }, options);
      held = { token: granted.access_token, endsAt: endOf(granted.expires_in, context.clock) };
      return held.token;
    }
    const { renewCredentials = async (from, work) => work(from) } = context;
    known = await renewCredentials(known, (stored) => exchange(stored, options));
    held = heldIn(known);
    if (held === null) throw unauthorized('No access token is stored.');
    return held.token;
  }

  function renewOnce(options: CallOptions): Promise<string> {
    renewing ??= fetchToken(options).finally(() => {
      renewing = null;
    });
    return renewing;
  }

  return {
    async token(options) {
      const now = context.clock.now();
      if (held && (held.endsAt === null || held.endsAt - RENEW_EARLY_MS > now)) return held.token;
      // A token that is near its end still works: a failing renewal does not stop the call yet.
      const usable = held && held.endsAt !== null && held.endsAt > now ? held.token : null;
      return renewOnce(options).catch((error: unknown) => {
        if (usable !== null && error instanceof ConnectorError && error.code !== 'connector.unauthorized')
          return usable;
        throw error;
      });
    },
    async renew(deadToken, options) {
      if (held && held.token !== deadToken) return held.token;
      return renewOnce(options);
    },
  };
}

async function requestToken(
  settings: ShopSettings,
  context: Pick<ConnectionContext, 'transport'>,
  body: Record<string, string>,
  options: CallOptions,
): Promise<z.infer<typeof tokenSchema>> {
  const answer = await context.transport.request({
    operation: `token:${body.grant_type}`,
    method: 'POST',
    url: `${settings.origin}/admin/oauth/access_token`,
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    body: JSON.stringify(body),
    write: false,
    bucket: OAUTH_BUCKET,
    budget: options.budget,
    signal: options.signal,
    timeoutMs: manifest.requestTimeoutMs,
  });
  // 401 and 400 invalid_grant both mean: authorise again (`observed`, fact sheet §2.3).
  if (answer.status !== 200)
    throw unauthorized(`Shopify refused the ${body.grant_type} grant with ${answer.status}.`, answer.status);
  const parsed = tokenSchema.safeParse(parseLossless(answer.body));
  if (!parsed.success)
    throw new ConnectorError('connector.unreadable', 'The token answer does not have the documented shape.', {
      status: answer.status,
    });
  return parsed.data;
}

const heldIn = ({ accessToken, accessTokenExpiresAt }: Record<string, string>): Held | null =>
  accessToken ? { token: accessToken, endsAt: accessTokenExpiresAt ? Number(accessTokenExpiresAt) : null } : null;

function endOf(expiresInSeconds: number | undefined, clock: Clock): number | null {
  return expiresInSeconds === undefined ? null : clock.now() + expiresInSeconds * 1000;
}

function definedOnly(values: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

function unauthorized(message: string, status: number | null = null): ConnectorError {
  return new ConnectorError('connector.unauthorized', message, { status, reason: 'token' });
}
