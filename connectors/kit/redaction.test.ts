/** Nothing secret reaches the outside-call log, wherever it stands. */
import { expect, test } from 'vitest';
import { maskSecrets, redactBody, redactHeaders, redactQueries, redactUrl } from './redaction.ts';

/** Chance from a seed (mulberry32), so that a failure can be repeated. */
function chanceFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

test('of 1,000 random calls with secrets in headers, bodies and addresses the log holds none', () => {
  const chance = chanceFrom(40);
  const pick = <T>(items: readonly T[]): T => items[Math.floor(chance() * items.length)] as T;
  const secret = (): string =>
    `SECRET${Array.from({ length: 24 }, () => pick([...'abcdefghkmnpqrstuvwxyz0123456789'])).join('')}`;
  const field = () =>
    pick([
      'access_token',
      'accessToken',
      'refresh_token',
      'client_secret',
      'password',
      'api_key',
      'signature',
      'assertion',
      'apiKey',
      'restrictedDataToken',
    ]);
  const presigned = () =>
    `https://bucket.example.com/feeds/${Math.floor(chance() * 1e6)}?X-Amz-Date=20261128T000000Z&X-Amz-Credential=${secret()}&X-Amz-Security-Token=${secret()}&X-Amz-Signature=${secret()}`;
  const addresses = [
    () => presigned(),
    () => `https://shop.example.com/admin?${field()}=${secret()}&limit=50`,
    () => `https://user:${secret()}@shop.example.com/orders`,
  ];
  const bodies = [
    () => JSON.stringify({ sku: 'MUG', [field()]: secret() }),
    () => JSON.stringify({ data: { nested: [{ [field()]: secret(), quantity: 3 }] } }),
    () => JSON.stringify({ [field()]: [secret(), secret()] }),
    () => JSON.stringify({ url: presigned(), feedDocumentId: '1' }),
    () => JSON.stringify({ body: JSON.stringify({ [field()]: secret() }) }),
    () => JSON.stringify({ message: `Authorization was Bearer ${secret()}` }),
    () => `grant_type=refresh_token&${field()}=${secret()}&scope=x`,
    () => `<a href="${presigned()}">document</a>`,
    () => JSON.stringify({ url: presigned() }).replaceAll('&', String.raw`\u0026`),
  ];
  const headers = [
    'authorization',
    'x-amz-access-token',
    'X-Shopify-Access-Token',
    'cookie',
    'x-custom-token',
    'X-Api-Key',
    'client-secret',
  ];
  for (let n = 0; n < 1_000; n += 1) {
    const made = {
      headers: { [pick(headers)]: secret(), location: presigned(), 'content-type': 'application/json' },
      url: pick(addresses)(),
      request: pick(bodies)(),
      response: pick(bodies)(),
    };
    const logged = {
      headers: redactHeaders(made.headers),
      url: redactUrl(made.url),
      request: redactBody(made.request),
      response: redactBody(made.response),
    };
    expect([n, JSON.stringify(made).includes('SECRET')]).toEqual([n, true]);
    expect([n, /SECRET\w*/.exec(JSON.stringify(logged))?.[0], logged]).toEqual([n, undefined, logged]);
  }
});

test('what is no secret stays readable: paging marks, numbers, addresses', () => {
  const page = JSON.stringify({
    nextToken: 'abc',
    pagination: { nextToken: 'def' },
    quantity: 3,
    url: 'https://shop.example.com/a?page=2',
  });
  expect(maskSecrets(page)).toBe(page);
  expect(redactUrl('https://api.example.com/orders?NextToken=abc&MarketplaceIds=X')).toBe(
    'https://api.example.com/orders?NextToken=abc&MarketplaceIds=X',
  );
  expect(redactHeaders({ 'Content-Type': 'application/json', 'x-request-id': '1' })).toEqual({
    'content-type': 'application/json',
    'x-request-id': '1',
  });
  expect(JSON.parse(maskSecrets(JSON.stringify({ a: 1, token: 'x', list: { tokens: ['y'] } })))).toEqual({
    a: 1,
    token: '[secret]',
    list: { tokens: ['[secret]'] },
  });
});

test.each([
  ['backslashes', '{"title":"', '\\'],
  ['names that never end', '{"', 'token'],
  ['lists that never end', '{', '"token":['],
  ['addresses without a query', '{', 'http://'],
  ['queries', '', '?token'],
])('masking takes time in proportion to the text: %s', (_what, begin, part) => {
  const cpuMs = (length: number) => {
    const text = begin + part.repeat(length / part.length);
    const before = process.cpuUsage();
    maskSecrets(text);
    redactQueries(text);
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1_000;
  };
  // A tenth of this took a minute once.
  expect(cpuMs(1_000_000)).toBeLessThan(10_000);
});

test('a secret of any length is masked, also one that is never closed', () => {
  expect(maskSecrets(`{"token":"${'\\a'.repeat(5_000_000)}","sku":"A"}`)).toBe('{"token":"[secret]","sku":"A"}');
  expect(maskSecrets(`{"sku":"A","clientSecret":"${'a'.repeat(5_000_000)}`)).toBe(
    '{"sku":"A","clientSecret":"[secret]"',
  );
  expect(maskSecrets('{"tokens":["a","b"')).toBe('{"tokens":["[secret]"]');
});
