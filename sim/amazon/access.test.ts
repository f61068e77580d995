import { afterEach, describe, expect, test } from 'vitest';
import { type Account, CREDENTIALS, listing, SELLER, startAccount } from './account.testing.ts';

let account: Account;
afterEach(() => account.close());

const form = {
  grant_type: 'refresh_token',
  refresh_token: CREDENTIALS.refreshToken,
  client_id: CREDENTIALS.clientId,
  client_secret: CREDENTIALS.clientSecret,
};

describe('the token endpoint', () => {
  test('a refresh token gives an access token for an hour, and itself again', async () => {
    account = await startAccount();
    const { status, body } = await account.token(form);
    expect(status).toBe(200);
    expect(body).toMatchObject({ token_type: 'bearer', expires_in: 3600, refresh_token: CREDENTIALS.refreshToken });
    expect(String(body.access_token)).toMatch(/^Atza\|/);
  });

  test('client credentials give a token of their scope, without refresh token', async () => {
    account = await startAccount();
    const { refresh_token: _, ...rest } = form;
    const grantless = { ...rest, grant_type: 'client_credentials', scope: 'sellingpartnerapi::notifications' };
    const { status, body } = await account.token(grantless);
    expect(status).toBe(200);
    expect(body.refresh_token).toBeUndefined();
    expect((await account.token({ ...grantless, scope: 'everything' })).status).toBe(400);
  });

  test.each([
    ['a dead refresh token', { ...form, refresh_token: 'Atzr|old' }, 400, 'invalid_grant'],
    ['a wrong secret', { ...form, client_secret: 'expired' }, 401, 'invalid_client'],
    ['an unknown grant', { ...form, grant_type: 'password' }, 400, 'unsupported_grant_type'],
    ['a missing field', { grant_type: 'refresh_token', client_id: CREDENTIALS.clientId }, 400, 'invalid_request'],
  ])('%s is refused', async (_, fields, status, error) => {
    account = await startAccount();
    const reply = await account.token(fields);
    expect(reply.status).toBe(status);
    expect(reply.body).toMatchObject({ error });
    expect(reply.body.access_token).toBeUndefined();
  });

  test('a JSON body is refused, and no credential is logged', async () => {
    account = await startAccount();
    const url = `${account.base}/auth/o2/token`;
    const reply = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(form),
    });
    expect(reply.status).toBe(400);
    expect(await reply.json()).toMatchObject({ error: 'unsupported_grant_type' });
    await account.token(form);
    const { body } = await account.control('GET', '/calls');
    expect(JSON.stringify(body)).not.toMatch(/Atz|oa2-cs/);
  });
});

describe('the gate', () => {
  const get = (headers: Record<string, string>) => account.call('GET', listing('MUG'), undefined, headers);

  test('no token, an unknown one and an expired one are 403 with their own details', async () => {
    account = await startAccount();
    const details = async (headers: Record<string, string>) => {
      const reply = await get(headers);
      expect(reply.status).toBe(403);
      return reply.body.errors?.[0]?.details;
    };
    expect(await details({ 'x-amz-access-token': '' })).toBe('');
    expect(await details({ 'x-amz-access-token': 'Atza|other' })).toBe(
      'The access token you provided is revoked, malformed or invalid.',
    );
    expect((await get({})).status).toBe(200);
    await account.advance(3_600_000);
    expect(await details({})).toBe('The access token you provided has expired.');
    account.forgetTokens();
    expect((await get({})).status).toBe(200);
  });

  test('a user agent is needed, and short', async () => {
    account = await startAccount();
    expect((await get({ 'user-agent': '' })).status).toBe(403);
    expect((await get({ 'user-agent': 'x'.repeat(501) })).status).toBe(403);
  });

  test('a grantless token reads no listing, a seller token makes no destination', async () => {
    account = await startAccount();
    expect((await account.grantless('GET', listing('MUG'))).status).toBe(403);
    expect((await account.call('GET', '/notifications/v1/destinations')).status).toBe(403);
  });

  test('unknown paths are 403, a body that is not JSON by its type is 415', async () => {
    account = await startAccount();
    expect((await account.call('GET', '/orders/v9/orders')).status).toBe(403);
    const reply = await account.call('PATCH', listing('MUG'), '{}', { 'content-type': 'text/plain' });
    expect(reply.status).toBe(415);
  });

  test('every answer has a request id; the open profile shows no rate and refuses nothing', async () => {
    account = await startAccount();
    const replies = await Promise.all(Array.from({ length: 40 }, () => get({})));
    expect(replies.every((one) => one.status === 200)).toBe(true);
    expect(new Set(replies.map((one) => one.headers.get('x-amzn-requestid'))).size).toBe(40);
    expect(replies[0]?.headers.get('x-amzn-ratelimit-limit')).toBeNull();
  });
});

describe('usage plans of the vendor profile', () => {
  const search = () => account.call('GET', '/orders/2026-01-01/orders?lastUpdatedAfter=2020-01-01T00:00:00Z');

  test('the burst is granted, then 429 without rate header; a slow rate refills with the clock', async () => {
    account = await startAccount({ profile: 'vendor' });
    await account.call('GET', listing('MUG'));
    const burst = await Promise.all(Array.from({ length: 20 }, search));
    expect(burst.map((one) => one.status)).toEqual(Array(20).fill(200));
    expect(burst[0]?.headers.get('x-amzn-ratelimit-limit')).toBe('0.0056');
    const refused = await search();
    expect(refused.status).toBe(429);
    expect(refused.body).toEqual({
      errors: [{ code: 'QuotaExceeded', message: 'You exceeded your quota for the requested resource.', details: '' }],
    });
    expect(refused.headers.get('x-amzn-ratelimit-limit')).toBeNull();
    expect(refused.headers.get('retry-after')).toBeNull();
    await account.advance(179_000);
    expect((await search()).status).toBe(200);
    expect((await search()).status).toBe(429);
  });

  test('each operation has its own bucket, the preview too; 400 and 404 show the rate', async () => {
    account = await startAccount({ profile: 'vendor' });
    await account.call('GET', listing('MUG'));
    const writes = await Promise.all(Array.from({ length: 8 }, (_, n) => account.write('PLATE', n)));
    expect(writes.filter((one) => one.status === 200).length).toBeGreaterThanOrEqual(5);
    expect(writes.filter((one) => one.status === 429).length).toBeGreaterThanOrEqual(1);
    const preview = await account.call('PATCH', listing('MUG', '&mode=VALIDATION_PREVIEW'), {});
    expect([preview.status, preview.headers.get('x-amzn-ratelimit-limit')]).toEqual([400, '1']);
    const unknown = await account.call('GET', listing('NONE'));
    expect([unknown.status, unknown.headers.get('x-amzn-ratelimit-limit')]).toEqual([404, '5']);
  });

  test('a refused write is not applied', async () => {
    account = await startAccount({ profile: 'vendor' });
    await account.call('GET', listing('MUG'));
    await Promise.all(Array.from({ length: 12 }, () => account.write('PLATE', 1)));
    const { body } = await account.control<{ calls: { operation: string; status: number; applied: boolean }[] }>(
      'GET',
      '/calls',
    );
    const refused = body.calls.filter((one) => one.status === 429);
    expect(refused.length).toBeGreaterThanOrEqual(1);
    expect(refused.some((one) => one.applied)).toBe(false);
  });
});

describe('planted faults on calls', () => {
  interface Calls {
    calls: { operation: string; status: number | null; applied: boolean; body: unknown }[];
  }
  const plant = (fault: Record<string, unknown>) => account.control('POST', '/faults', fault);
  const lastCall = async () => (await account.control<Calls>('GET', '/calls')).body.calls.at(-1);

  test("a status fault answers in Amazon's words and changes nothing", async () => {
    account = await startAccount();
    await plant({ kind: 'status', status: 429, retryAfter: 7, match: { operation: 'patchListingsItem' }, times: 1 });
    const reply = await account.write('MUG', 1);
    expect(reply.status).toBe(429);
    expect(reply.headers.get('retry-after')).toBe('7');
    expect(await account.shown('MUG')).toBe(10);
    expect((await account.write('MUG', 1)).status).toBe(200);
    await plant({ kind: 'status', status: 500, match: { operation: 'getListingsItem' }, times: 1 });
    expect((await account.call('GET', listing('MUG'))).body).toMatchObject({ errors: [{ code: 'InternalFailure' }] });
  });

  test('timeout_before applies nothing, timeout_after applies and says nothing', async () => {
    account = await startAccount();
    await account.call('GET', listing('MUG'));
    await plant({ kind: 'timeout_before', ms: 20, match: { operation: 'patchListingsItem' }, times: 1 });
    await expect(account.write('MUG', 1)).rejects.toThrow();
    expect(await lastCall()).toMatchObject({ operation: 'patchListingsItem', status: null, applied: false });
    expect(await account.shown('MUG')).toBe(10);
    await plant({ kind: 'timeout_after', ms: 20, match: { operation: 'patchListingsItem' }, times: 1 });
    await expect(account.write('MUG', 1)).rejects.toThrow();
    expect(await account.shown('MUG')).toBe(1);
  });

  test('revoke kills the refresh token and the access token until it is deleted', async () => {
    account = await startAccount();
    await account.call('GET', listing('MUG'));
    const { body } = await plant({ kind: 'revoke' });
    const reply = await account.call('GET', listing('MUG'));
    expect(reply.status).toBe(403);
    expect(reply.body).toMatchObject({ errors: [{ code: 'Unauthorized' }] });
    expect((await account.token(form)).body).toMatchObject({ error: 'invalid_grant' });
    await account.control('DELETE', `/faults/${String(body.id)}`);
    expect((await account.call('GET', listing('MUG'))).status).toBe(200);
  });

  test('the log names operations and tells what was applied', async () => {
    account = await startAccount();
    await account.write('MUG', 4);
    await account.write('NONE', 4);
    await account.call('GET', `/listings/2021-08-01/items/${SELLER}?marketplaceIds=ATVPDKIKX0DER`);
    const { calls } = (await account.control<Calls>('GET', '/calls?since=1')).body;
    expect(calls.map((one) => [one.operation, one.status, one.applied])).toEqual([
      ['patchListingsItem', 200, true],
      ['patchListingsItem', 200, false],
      ['searchListingsItems', 200, false],
    ]);
    expect(calls[0]?.body).toMatchObject({ productType: 'PRODUCT' });
  });
});
