import { afterEach, describe, expect, test } from 'vitest';
import type { Channel } from '../kit/ports.ts';
import {
  type Asked,
  calling,
  fixture,
  openAmazon,
  realClock,
  type Told,
  type VendorServer,
  vendorServer,
} from './amazon.testing.ts';

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
});

async function amazonAt(
  answer: (asked: Asked, nth: number) => Told,
  lwa?: (asked: Asked, nth: number) => Told | Promise<Told>,
  clock = realClock,
): Promise<{ server: VendorServer; channel: Channel }> {
  const server = await vendorServer(answer, lwa);
  const { channel, close } = openAmazon(server.url, {}, clock);
  open.push({ close }, server);
  return { server, channel };
}

const ok = (): Told => ({ body: fixture('item-merchant') });
const mug = { stockKey: 'MUG-BLUE-11', channelLocation: 'DEFAULT' };
const read = (channel: Channel, signal?: AbortSignal) => channel.stock.read([mug], calling('read', signal));
const tokenOf = (asked: Asked) => asked.headers['x-amz-access-token'];

describe('Login with Amazon', () => {
  test('asks for a token by form, once for many calls at once', async () => {
    const { server, channel } = await amazonAt(ok);
    await Promise.all([read(channel), read(channel), read(channel)]);
    expect(server.tokensAsked).toHaveLength(1);
    expect(server.tokensAsked[0]?.headers['content-type']).toBe('application/x-www-form-urlencoded;charset=UTF-8');
    expect(Object.fromEntries(new URLSearchParams(server.tokensAsked[0]?.body))).toEqual({
      grant_type: 'refresh_token',
      refresh_token: 'Atzr|1',
      client_id: 'amzn1.client',
      client_secret: 'hush',
    });
    expect(server.asked.map(tokenOf)).toEqual(['Atza|1', 'Atza|1', 'Atza|1']);
  });

  test('a token is renewed a minute before it ends', async () => {
    let nowMs = 0;
    const { server, channel } = await amazonAt(ok, undefined, { ...realClock, monotonicMs: () => nowMs });
    await read(channel);
    nowMs = 3_539_000;
    await read(channel);
    expect(server.tokensAsked).toHaveLength(1);
    nowMs = 3_541_000;
    await read(channel);
    expect(server.asked.map(tokenOf)).toEqual(['Atza|1', 'Atza|1', 'Atza|2']);
  });

  test('a token that lives for two seconds is used for most of them', async () => {
    let nowMs = 0;
    const short = (_: Asked, nth: number): Told => ({
      body: { access_token: `Atza|${nth}`, token_type: 'bearer', expires_in: 2 },
    });
    const { server, channel } = await amazonAt(ok, short, { ...realClock, monotonicMs: () => nowMs });
    await read(channel);
    nowMs = 1700;
    await read(channel);
    expect(server.tokensAsked).toHaveLength(1);
    nowMs = 1900;
    await read(channel);
    expect(server.tokensAsked).toHaveLength(2);
  });

  test('a token that Amazon calls expired is renewed once, by one call for all, and each call repeated', async () => {
    const { server, channel } = await amazonAt((asked) =>
      tokenOf(asked) === 'Atza|1' ? { status: 403, body: fixture('error-expired') } : ok(),
    );
    const answers = await Promise.all([read(channel), read(channel)]);
    expect(answers.flat().map((reading) => reading.kind)).toEqual(['quantity', 'quantity']);
    expect(server.tokensAsked).toHaveLength(2);
    expect(server.asked.map(tokenOf).sort()).toEqual(['Atza|1', 'Atza|1', 'Atza|2', 'Atza|2']);
  });

  test('a write refused for its token was not done, and is repeated once', async () => {
    const { server, channel } = await amazonAt((asked) => {
      if (asked.method === 'GET') return ok();
      return tokenOf(asked) === 'Atza|1'
        ? { status: 403, body: fixture('error-expired') }
        : { body: fixture('submission-accepted') };
    });
    const outcome = await channel.stock.write([{ ref: mug, value: 3, from: null }], 'k', calling('urgent'));
    expect(outcome).toMatchObject([{ kind: 'accepted' }]);
    expect(server.asked.filter((asked) => asked.method === 'PATCH')).toHaveLength(2);
  });

  test('a second refusal of a fresh token ends it: unauthorized, no loop', async () => {
    const { server, channel } = await amazonAt(() => ({ status: 403, body: fixture('error-expired') }));
    await expect(read(channel)).rejects.toMatchObject({ code: 'connector.unauthorized' });
    expect(server.asked).toHaveLength(2);
    expect(server.tokensAsked).toHaveLength(2);
  });

  test('a 403 for another reason is not a matter of tokens', async () => {
    const { server, channel } = await amazonAt(() => ({ status: 403, body: fixture('error-denied') }));
    await expect(read(channel)).rejects.toMatchObject({
      code: 'connector.unauthorized',
      details: { operation: 'getListingsItem', status: 403, vendorCode: 'Unauthorized', requestId: 'req-1' },
    });
    expect(server.asked).toHaveLength(1);
    expect(server.tokensAsked).toHaveLength(1);
  });

  test.each([
    [400, 'invalid_grant', 'connector.unauthorized'],
    [401, 'invalid_client', 'connector.unauthorized'],
    [400, 'invalid_request', 'connector.rejected'],
  ])('LWA answers %i %s: %s, and Amazon is not called', async (status, error, code) => {
    const { server, channel } = await amazonAt(ok, () => ({ status, body: { error, error_description: 'No.' } }));
    await expect(read(channel)).rejects.toMatchObject({ code });
    expect(server.asked).toEqual([]);
  });

  test('no secret is in the error of a refused token', async () => {
    const { channel } = await amazonAt(ok, () => ({
      status: 400,
      body: { error: 'invalid_grant', error_description: 'revoked' },
    }));
    const error = await read(channel).catch((thrown: unknown) => thrown);
    expect(JSON.stringify(error) + String((error as Error).message)).not.toMatch(/hush|Atzr/);
  });

  test('after a failed renewal the next call tries again', async () => {
    const { server, channel } = await amazonAt(ok, (_, nth) =>
      nth === 1
        ? { status: 400, body: { error: 'invalid_grant' } }
        : { body: { access_token: 'Atza|new', expires_in: 3600 } },
    );
    await expect(read(channel)).rejects.toMatchObject({ code: 'connector.unauthorized' });
    expect(await read(channel)).toMatchObject([{ kind: 'quantity' }]);
    expect(server.asked.map(tokenOf)).toEqual(['Atza|new']);
  });

  test('one caller giving up does not take the token from another who waits', async () => {
    let release: (told: Told) => void = () => undefined;
    const { server, channel } = await amazonAt(ok, () => new Promise<Told>((resolve) => (release = resolve)));
    const patient = read(channel);
    await expect(read(channel, AbortSignal.timeout(100))).rejects.toMatchObject({ code: 'connector.unavailable' });
    release({ body: { access_token: 'Atza|late', expires_in: 3600 } });
    expect(await patient).toMatchObject([{ kind: 'quantity', value: 7 }]);
    expect(server.tokensAsked).toHaveLength(1);
    expect(server.asked.map(tokenOf)).toEqual(['Atza|late']);
  });
});
