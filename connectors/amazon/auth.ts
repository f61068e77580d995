/**
 * Login with Amazon: one access token per channel, shared by all its calls.
 *
 * States: empty → fetching → held. A held token is used until it is within its margin of expiry or a call reports it
 * dead; then exactly one refresh runs, whoever asks meanwhile waits for it. A failed refresh leaves the state empty, so
 * that the next caller tries again. A caller that gives up stops waiting; the refresh itself goes on for the others.
 *
 * Called by client.ts before every call, and once more when Amazon says the token is dead.
 */
import type { Clock } from '#core/effects.ts';
import { ConnectorError } from '#core/errors.ts';
import type { Transport } from '../kit/ports.ts';
import { jsonOrNull, tokenFault } from './errors.ts';
import { manifest } from './manifest.ts';
import type { AmazonCredentials } from './settings.ts';
import { tokenAnswer } from './wire.ts';

export interface TokenSource {
  /** A token that is not known to be dead. Throws connector.unauthorized when the grant is gone. */
  token(signal: AbortSignal): Promise<string>;
  /** A token other than `dead`: the one another call has fetched meanwhile, else a new one. */
  renew(dead: string, signal: AbortSignal): Promise<string>;
}

/** For answers that are already there: nobody is asked, so nobody asks for a token. */
export const noTokens: TokenSource = { token: async () => '', renew: async () => '' };

export interface TokenOptions {
  url: string;
  credentials: AmazonCredentials;
  transport: Transport;
  clock: Clock;
  /** The application's own token, without the seller's grant. */
  grantless?: boolean;
}

interface HeldToken {
  value: string;
  renewAtMs: number;
}

/** A minute early [§2.2, advice]; for short-lived tokens a tenth of their life, so that they are used at all. */
const RENEW_EARLY_MS = 60_000;

export function tokenSource(options: TokenOptions): TokenSource {
  let held: HeldToken | null = null;
  let fetching: Promise<HeldToken> | null = null;

  function refresh(): Promise<HeldToken> {
    fetching ??= fetchToken(options)
      .then((token) => {
        held = token;
        return token;
      })
      .finally(() => {
        fetching = null;
      });
    return fetching;
  }

  async function token(signal: AbortSignal): Promise<string> {
    if (held !== null && options.clock.monotonicMs() < held.renewAtMs) return held.value;
    return (await unlessAborted(refresh(), signal)).value;
  }

  async function renew(dead: string, signal: AbortSignal): Promise<string> {
    if (held !== null && held.value === dead) held = null;
    return token(signal);
  }

  return { token, renew };
}

/** Destinations and the removal of subscriptions belong to the application: documented [§2.2]. */
const NOTIFICATIONS_SCOPE = 'sellingpartnerapi::notifications';

async function fetchToken({ url, credentials, transport, clock, grantless }: TokenOptions): Promise<HeldToken> {
  const startedMs = clock.monotonicMs();
  const answer = await transport.request({
    operation: 'lwa.token',
    method: 'POST',
    url,
    headers: { 'content-type': 'application/x-www-form-urlencoded;charset=UTF-8', accept: 'application/json' },
    body: new URLSearchParams({
      ...(grantless === true
        ? { grant_type: 'client_credentials', scope: NOTIFICATIONS_SCOPE }
        : { grant_type: 'refresh_token', refresh_token: credentials.refreshToken }),
      client_id: credentials.clientId,
      client_secret: credentials.clientSecret,
    }).toString(),
    /** Changes nothing: a lost answer is simply asked again. */
    write: false,
    budget: 'urgent',
    bucket: 'lwa',
    timeoutMs: manifest.requestTimeoutMs,
    signal: new AbortController().signal,
  });
  if (answer.status !== 200) throw tokenFault(answer.status, answer.body);
  const parsed = tokenAnswer.safeParse(jsonOrNull(answer.body));
  if (!parsed.success)
    throw new ConnectorError('connector.unreadable', 'Login with Amazon sent no token', { operation: 'lwa' });
  const lifeMs = parsed.data.expires_in * 1000;
  return { value: parsed.data.access_token, renewAtMs: startedMs + lifeMs - Math.min(RENEW_EARLY_MS, lifeMs / 10) };
}

/** Waits for work that others share; the wait ends with the signal, the work does not. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const gone = () =>
    new ConnectorError('connector.unavailable', 'The caller stopped waiting for a token', { operation: 'lwa' });
  if (signal.aborted) {
    work.catch(() => undefined);
    throw gone();
  }
  let giveUp: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    giveUp = () => reject(gone());
    signal.addEventListener('abort', giveUp, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}
