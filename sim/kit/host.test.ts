import { request } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { seededIds, seededRandom } from './chance.ts';
import { createSimClock, realClock } from './clock.ts';
import { openSimCore, type SimCore } from './core.ts';
import { ControlRefusal, type SimOrder, type VendorModel } from './model.ts';
import { createSimulatorHost, type SimulatorHost } from './server.ts';
import { createSimulator } from './simulator.ts';

const order: SimOrder = { id: '1', status: 'paid', lines: [] };

/** A vendor with one number, which each PUT raises. */
function oneNumber(core: SimCore, seen: string[] = []): VendorModel {
  const numbers = core.tables.table<number>('numbers');
  return {
    identify: (call) => ({ operation: call.method === 'PUT' ? 'write' : 'read' }),
    answer(call) {
      seen.push(`${call.method} ${call.path}?${call.query}`);
      if (call.method === 'PUT') numbers.put('n', (numbers.get('n') ?? 0) + 1);
      return { status: 200, body: JSON.stringify({ n: numbers.get('n') ?? 0 }), applied: call.method === 'PUT' };
    },
    refuse: (fault) => ({ status: fault.status ?? 500, body: '{"vendor":"no"}', applied: false }),
    latencyMs: () => (core.profile.current() === 'vendor' ? [30, 30] : [0, 0]),
    retarget: () => {},
    start: () => {},
    close: () => Promise.resolve(),
    items: () => [],
    orders: () => [],
    placeOrder: ({ lines }) => {
      if (lines[0]?.sku === 'NONE') throw new ControlRefusal(409, 'none left');
      return { id: '1', lines: [] };
    },
    payOrder: () => order,
    editOrder: () => order,
    cancelOrder: () => order,
    returnGoods: () => order,
    fulfillOrder: () => order,
    setStock: ({ sku, quantity }) => ({
      sku,
      quantity,
      externalId: sku,
      stockKey: sku,
      location: 'DEFAULT',
      committed: 0,
    }),
    reset: () => numbers.clear(),
  };
}

describe('the simulator host', () => {
  let host: SimulatorHost;
  let core: SimCore;
  let url: string;
  const seen: string[] = [];
  beforeEach(async () => {
    const clock = realClock();
    const random = seededRandom(1);
    seen.length = 0;
    core = await openSimCore({ name: 'one', dir: null, clock, random, ids: seededIds(clock, random), profile: 'open' });
    host = await createSimulatorHost({ clock });
    host.mount(createSimulator(core, oneNumber(core, seen)));
    url = host.url('one');
  });
  afterEach(() => host.close());

  it('dates its answers by the simulator’s clock, also after it was advanced', async () => {
    await control('/clock', { advanceMs: 3_600_000 });
    const { headers } = await fetch(`${url}/thing`);
    const ahead = Date.parse(headers.get('date') ?? '') - Date.now();
    expect(Math.round(ahead / 60_000)).toBe(60);
  });

  const control = async (path: string, body?: unknown, method = body === undefined ? 'GET' : 'POST') => {
    const response = await fetch(`${url}/_sim${path}`, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  const write = async () => (await fetch(`${url}/n`, { method: 'PUT' })).status;

  it('several vendors live below one port, paths stay percent-encoded, unknown names are 404', async () => {
    const clock = realClock();
    const random = seededRandom(2);
    const other = await openSimCore({
      name: 'two',
      dir: null,
      clock,
      random,
      ids: seededIds(clock, random),
      profile: 'open',
    });
    host.mount(createSimulator(other, oneNumber(other)));
    expect(host.url('two')).toBe(`${host.origin}/two`);
    expect(await write()).toBe(200);
    expect(await (await fetch(`${host.url('two')}/n`)).json()).toEqual({ n: 0 });
    await fetch(`${url}/items/A%2FB%20C?x=%26`);
    expect(seen.at(-1)).toBe('GET /items/A%2FB%20C?x=%26');
    expect((await fetch(`${host.origin}/three/n`)).status).toBe(404);
    expect(() => host.mount(createSimulator(other, oneNumber(other)))).toThrow('already mounted');
  });

  it('control refuses bad bodies with 400, unknown routes with 404, rules with 409, and says why', async () => {
    expect(await control('/orders', { lines: [] })).toMatchObject({
      status: 400,
      body: { error: expect.stringContaining('lines') },
    });
    expect((await control('/orders', { lines: [{ sku: 'A', quantity: 0 }] })).status).toBe(400);
    expect((await control('/faults', { kind: 'earthquake' })).status).toBe(400);
    expect((await control('/clock', { advanceMs: -1 })).status).toBe(400);
    expect((await control('/nowhere', {})).status).toBe(404);
    expect((await control('/faults/none', undefined, 'DELETE')).status).toBe(404);
    expect(await control('/orders', { lines: [{ sku: 'NONE', quantity: 1 }] })).toEqual({
      status: 409,
      body: { error: 'none left' },
    });
    expect(await control('/orders', { lines: [{ sku: 'A', quantity: 1 }] })).toEqual({
      status: 201,
      body: { id: '1', lines: [] },
    });
    expect(seen).toEqual([]);
  });

  it('control is for loopback names only', async () => {
    const status = await new Promise<number | undefined>((resolve, reject) => {
      request(`${url}/_sim/state`, { headers: { host: 'evil.example' } }, (response) => {
        response.resume();
        resolve(response.statusCode);
      })
        .on('error', reject)
        .end();
    });
    expect(status).toBe(403);
  });

  it('a fault with times is used up, one without stands until deleted, a match leaves others alone', async () => {
    await control('/faults', { kind: 'status', status: 503, times: 2, match: { operation: 'write' } });
    expect((await fetch(`${url}/n`)).status).toBe(200);
    expect([await write(), await write(), await write()]).toEqual([503, 503, 200]);
    const { body } = await control('/faults', { kind: 'status', status: 429, times: null });
    expect([await write(), await write()]).toEqual([429, 429]);
    await control(`/faults/${body.id}`, undefined, 'DELETE');
    expect(await write()).toBe(200);
    await control('/faults', { kind: 'revoke' });
    expect((await control('/faults', undefined, 'DELETE')).body).toEqual({ removed: 1 });
    expect(await (await fetch(`${url}/n`)).json()).toEqual({ n: 2 });
  });

  it('a timeout before leaves the number, one after changes it, and neither answers', async () => {
    await control('/faults', { kind: 'timeout_before', times: 1, ms: 5 });
    await control('/faults', { kind: 'timeout_after', times: 1, ms: 5 });
    await expect(write()).rejects.toThrow();
    expect(core.tables.table<number>('numbers').get('n')).toBeUndefined();
    await expect(write()).rejects.toThrow();
    expect(core.tables.table<number>('numbers').get('n')).toBe(1);
    const { calls, next } = core.calls.since(0);
    expect(calls.map((call) => [call.n, call.operation, call.status, call.applied])).toEqual([
      [1, 'write', null, false],
      [2, 'write', null, true],
    ]);
    expect(core.calls.since(next)).toEqual({ next: 2, calls: [] });
    expect(core.calls.since(1).calls).toHaveLength(1);
  });

  it('no answer leaves before the disk has the change, neither to a call nor to control', async () => {
    const disk = Promise.withResolvers<void>();
    core.tables.durable = () => disk.promise;
    const answered: string[] = [];
    const pending = [
      write().then(() => answered.push('call')),
      control('/clock', { advanceMs: 1 }).then(() => answered.push('control')),
    ];
    await wait(40);
    expect(core.tables.table<number>('numbers').get('n')).toBe(1);
    expect(answered).toEqual([]);
    disk.resolve();
    await Promise.all(pending);
    expect(answered.sort()).toEqual(['call', 'control']);
  });

  it('the call log keeps the newest 20,000 and counts on', () => {
    for (let n = 0; n < 20_010; n += 1) {
      core.calls.add({
        at: '',
        method: 'GET',
        path: '',
        operation: 'x',
        status: 200,
        body: '',
        response: '',
        applied: false,
      });
    }
    const { next, calls } = core.calls.since(0);
    expect([next, calls.length, calls[0]?.n]).toEqual([20_010, 20_000, 11]);
  });

  it('the vendor profile takes its time; reset goes back to the starting profile and deletes faults', async () => {
    await control('/profile', { profile: 'vendor' });
    const started = performance.now();
    await write();
    expect(performance.now() - started).toBeGreaterThan(25);
    await control('/faults', { kind: 'status' });
    await control('/reset', {});
    expect((await control('/state')).body).toMatchObject({ profile: 'open', items: [], orders: [] });
    expect(await (await fetch(`${url}/n`)).json()).toEqual({ n: 0 });
  });
});

describe("a simulator's clock", () => {
  it('an advance wakes exactly the sleepers whose time has come, and time never goes back', async () => {
    const clock = createSimClock(realClock());
    const woken: string[] = [];
    const stop = new AbortController();
    const sleeps = [
      clock.sleep(60_000).then(() => woken.push('minute')),
      clock.sleep(3_600_000, stop.signal).then(() => woken.push('hour')),
    ];
    const before = clock.now();
    clock.advance(120_000);
    await wait(10);
    expect(woken).toEqual(['minute']);
    expect(clock.now() - before).toBeGreaterThanOrEqual(120_000);
    expect(() => clock.advance(-1)).toThrow('only moves forward');
    stop.abort();
    await Promise.all(sleeps);
    expect(woken).toEqual(['minute', 'hour']);
  });
});
