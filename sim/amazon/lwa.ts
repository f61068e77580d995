/**
 * Login with Amazon: the token endpoint and the tokens it gave out.
 * `POST /auth/o2/token`, form-encoded, grants refresh_token and client_credentials, 3600 s (vendors/amazon.md §2.2,
 * documented). Errors have OAuth's shape. Tokens are journaled: one given before a restart is good after it.
 */
import type { SimCore } from '#sim/kit/core.ts';
import type { VendorCall, VendorReply } from '#sim/kit/model.ts';
import { accessDenied } from './answers.ts';
import type { Rows, TokenRow } from './rows.ts';

export const TOKEN_PATH = '/auth/o2/token';
export const TOKEN_OPERATION = 'lwa.token';
const LIFE_SECONDS = 3600;
const SCOPES = ['sellingpartnerapi::notifications', 'sellingpartnerapi::client_credential:rotation'];

export interface Lwa {
  answer(call: VendorCall): VendorReply;
  /** The seller's consent is gone: the refresh token is dead (planted fault). */
  revoked(): VendorReply;
  unavailable(status: number): VendorReply;
  /** @throws ApiError 403 for a token that is missing, unknown or expired (§10) */
  check(token: string | undefined): TokenRow;
}

export function createLwa(
  core: SimCore,
  rows: Rows,
  account: { clientId: string; clientSecret: string; refreshToken: string },
): Lwa {
  function answer(call: VendorCall): VendorReply {
    if (!/^application\/x-www-form-urlencoded/i.test(call.headers['content-type'] ?? ''))
      return refuse(
        400,
        'unsupported_grant_type',
        'The authorization grant type is not supported by the authorization server',
      );
    const form = new URLSearchParams(call.body.toString('utf8'));
    const grant = form.get('grant_type');
    const needed = [
      'grant_type',
      'client_id',
      'client_secret',
      ...(grant === 'refresh_token' ? ['refresh_token'] : []),
    ];
    const absent = needed.find((field) => (form.get(field) ?? '') === '');
    if (absent !== undefined)
      return refuse(400, 'invalid_request', `The request is missing a required parameter : ${absent}`, requestId());
    if (form.get('client_id') !== account.clientId || form.get('client_secret') !== account.clientSecret)
      return refuse(401, 'invalid_client', 'Client authentication failed');
    if (grant === 'refresh_token') {
      if (form.get('refresh_token') !== account.refreshToken) return invalidGrant();
      return grantToken('seller', { refresh_token: account.refreshToken });
    }
    if (grant !== 'client_credentials')
      return refuse(
        400,
        'unsupported_grant_type',
        'The authorization grant type is not supported by the authorization server',
      );
    if (!SCOPES.includes(form.get('scope') ?? ''))
      return refuse(400, 'invalid_scope', 'The requested scope is invalid');
    return grantToken('grantless', {});
  }

  function grantToken(kind: TokenRow['kind'], extra: Record<string, string>): VendorReply {
    const now = core.clock.now();
    const token = `Atza|sim-${core.ids.uuid()}`;
    core.tables.transact(() => {
      for (const old of [...rows.tokens.all()]) if (old.expiresAt < now) rows.tokens.delete(old.token);
      rows.tokens.put(token, { token, kind, expiresAt: now + LIFE_SECONDS * 1000 });
    });
    return reply(200, { access_token: token, token_type: 'bearer', expires_in: LIFE_SECONDS, ...extra });
  }

  const requestId = () => core.ids.uuid();
  const invalidGrant = () =>
    refuse(
      400,
      'invalid_grant',
      "The request has an invalid grant parameter : refresh_token. User may have revoked or didn't grant the permission.",
    );

  function refuse(status: number, error: string, description: string, index?: string): VendorReply {
    return reply(status, {
      error,
      error_description: description,
      ...(index === undefined ? {} : { error_index: index }),
    });
  }

  function reply(status: number, body: Record<string, unknown>): VendorReply {
    const headers = {
      'content-type': 'application/json;charset=UTF-8',
      'cache-control': 'no-store',
      'x-amzn-RequestId': requestId(),
    };
    return { status, headers, body: JSON.stringify(body), applied: false };
  }

  return {
    answer,
    revoked: invalidGrant,
    unavailable: (status) =>
      refuse(status, status === 401 ? 'invalid_client' : 'server_error', 'The service is unavailable'),
    check(token) {
      if (token === undefined || token === '') throw accessDenied('');
      const row = rows.tokens.get(token);
      if (row === undefined) throw accessDenied('The access token you provided is revoked, malformed or invalid.');
      if (row.expiresAt <= core.clock.now()) throw accessDenied('The access token you provided has expired.');
      return row;
    },
  };
}
