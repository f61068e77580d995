/**
 * Who may call: access tokens and the token endpoint's grants (sheet §2).
 *
 *   static               never expires (the pasted token of an old custom app)
 *   client_credentials   24 h, no refresh token
 *   authorization_code   expiring=1: 1 h with a refresh token of 90 days; otherwise it never expires
 *   refresh_token        a new pair; the old access token dies at once, the old refresh token when the new pair is
 *                        first used (documented since 2026-08-28: a lost answer can be asked for again)
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { SimCore } from '#sim/kit/core.ts';
import type { VendorCall, VendorReply } from '#sim/kit/model.ts';

const CLIENT_CREDENTIALS_S = 86_399;
const EXPIRING_S = 3_600;
const REFRESH_S = 7_776_000;
const CODE_MS = 10 * 60_000;

interface AccessRow {
  token: string;
  scope: string;
  expiresAt: number | null;
  /** The refresh token that dies when this one is first used. */
  replaces: string | null;
}

interface RefreshRow {
  token: string;
  scope: string;
  expiresAt: number;
  access: string;
  replaces: string | null;
  replacedBy: string | null;
}

export interface AuthOptions {
  shopDomain: string;
  clientId: string;
  clientSecret: string;
  accessToken: string;
  /** Comma separated. */
  scope: string;
}

export interface Auth {
  /** @returns the granted scopes, or null for a token that is unknown, expired or missing. */
  scopesOf(token: string | undefined): ReadonlySet<string> | null;
  tokenEndpoint(call: VendorCall): VendorReply;
  authorizeEndpoint(call: VendorCall): VendorReply;
  /** The app is uninstalled: every token dies, the pasted one too. */
  uninstall(): void;
}

export function createAuth(core: SimCore, options: AuthOptions): Auth {
  const access = core.tables.table<AccessRow>('auth.access');
  const refresh = core.tables.table<RefreshRow>('auth.refresh');
  const codes = core.tables.table<{ expiresAt: number; scope: string }>('auth.codes');
  const installation = core.tables.table<{ uninstalledAt: number }>('auth.uninstalled');
  const secretToken = (prefix: string) => `${prefix}_${core.ids.uuid().replaceAll('-', '')}`;

  function issue(scope: string, lifeS: number | null, replaces: string | null): AccessRow {
    const expiresAt = lifeS === null ? null : core.clock.now() + lifeS * 1000;
    const row = { token: secretToken('shpat'), scope, expiresAt, replaces };
    access.put(row.token, row);
    return row;
  }

  function issuePair(scope: string, replaces: RefreshRow | null): VendorReply {
    const granted = issue(scope, EXPIRING_S, replaces?.token ?? null);
    const row: RefreshRow = {
      token: secretToken('shprt'),
      scope,
      expiresAt: core.clock.now() + REFRESH_S * 1000,
      access: granted.token,
      replaces: replaces?.token ?? null,
      replacedBy: null,
    };
    refresh.put(row.token, row);
    if (replaces !== null) refresh.put(replaces.token, { ...replaces, replacedBy: row.token });
    return json(200, {
      access_token: granted.token,
      scope,
      expires_in: EXPIRING_S,
      refresh_token: row.token,
      refresh_token_expires_in: REFRESH_S,
    });
  }

  function refreshGrant(token: string): VendorReply {
    const row = refresh.get(token);
    if (row === undefined || row.expiresAt <= core.clock.now()) {
      const error_description = 'This request requires an active refresh_token';
      return json(401, { error: 'invalid_request', error_description });
    }
    if (row.replaces !== null) refresh.delete(row.replaces);
    access.delete(row.access);
    const unused = row.replacedBy === null ? undefined : refresh.get(row.replacedBy);
    if (unused !== undefined) {
      access.delete(unused.access);
      refresh.delete(unused.token);
    }
    return issuePair(row.scope, { ...row, replaces: null });
  }

  function codeGrant(code: string, expiring: boolean): VendorReply {
    const row = codes.get(code);
    if (row === undefined || row.expiresAt <= core.clock.now()) {
      const error_description = 'The authorization code was not found or was already used';
      return json(400, { error: 'invalid_request', error_description });
    }
    codes.delete(code);
    installation.delete('app');
    if (expiring) return issuePair(row.scope, null);
    const granted = issue(row.scope, null, null);
    return json(200, { access_token: granted.token, scope: row.scope });
  }

  return {
    scopesOf(token) {
      if (token === undefined) return null;
      if (!installation.has('app') && same(token, options.accessToken)) return new Set(options.scope.split(','));
      const row = access.get(token);
      if (row === undefined || (row.expiresAt !== null && row.expiresAt <= core.clock.now())) return null;
      if (row.replaces !== null) {
        refresh.delete(row.replaces);
        access.put(row.token, { ...row, replaces: null });
      }
      return new Set(row.scope.split(','));
    },
    tokenEndpoint(call) {
      const given = readBody(call);
      if (given.client_id !== options.clientId || !same(given.client_secret ?? '', options.clientSecret)) {
        return json(400, {
          error: 'invalid_client',
          error_description: 'The client was not found or its secret is wrong',
        });
      }
      return core.tables.transact(() => {
        if (given.grant_type === 'client_credentials') {
          const granted = issue(options.scope, CLIENT_CREDENTIALS_S, null);
          return json(200, { access_token: granted.token, scope: options.scope, expires_in: CLIENT_CREDENTIALS_S });
        }
        if (given.grant_type === 'refresh_token') return refreshGrant(given.refresh_token ?? '');
        if (given.code !== undefined) return codeGrant(given.code, given.expiring === '1');
        return json(400, { error: 'unsupported_grant_type', error_description: 'This grant is not supported' });
      });
    },
    authorizeEndpoint(call) {
      const redirect = call.query.get('redirect_uri') ?? '';
      if (call.query.get('client_id') !== options.clientId || !URL.canParse(redirect)) {
        return json(400, { error: 'invalid_request', error_description: 'Unknown client or bad redirect_uri' });
      }
      const code = secretToken('code');
      codes.put(code, { expiresAt: core.clock.now() + CODE_MS, scope: call.query.get('scope') ?? options.scope });
      const shown: Record<string, string> = {
        code,
        host: Buffer.from(`${options.shopDomain}/admin`).toString('base64'),
        shop: options.shopDomain,
        state: call.query.get('state') ?? '',
        timestamp: String(Math.floor(core.clock.now() / 1000)),
      };
      const signed = Object.keys(shown)
        .sort()
        .map((name) => `${name}=${shown[name]}`)
        .join('&');
      const hmac = createHmac('sha256', options.clientSecret).update(signed).digest('hex');
      const target = new URL(redirect);
      for (const [name, value] of Object.entries({ ...shown, hmac })) target.searchParams.set(name, value);
      return { status: 302, headers: { location: target.toString() }, body: '', applied: true };
    },
    uninstall() {
      access.clear();
      refresh.clear();
      installation.put('app', { uninstalledAt: core.clock.now() });
    },
  };
}

/** JSON or form; numbers as text. */
function readBody(call: VendorCall): Record<string, string> {
  const text = call.body.toString('utf8');
  if ((call.headers['content-type'] ?? '').includes('x-www-form-urlencoded')) {
    return Object.fromEntries(new URLSearchParams(text));
  }
  try {
    const body = JSON.parse(text) as Record<string, unknown> | null;
    return Object.fromEntries(Object.entries(body ?? {}).map(([name, value]) => [name, String(value)]));
  } catch {
    return {};
  }
}

function same(given: string, expected: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}

export function json(status: number, body: unknown, applied = status < 300): VendorReply {
  return {
    status,
    headers: { 'content-type': 'application/json; charset=utf-8' },
    body: JSON.stringify(body),
    applied,
  };
}
