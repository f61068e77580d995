/**
 * Two servers and two workers on one PostgreSQL: what is agreed on is agreed on in the database, whoever dies or sleeps.
 * Rounds of random disasters under load: `npm run rounds -- --rounds 30`.
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { scratchFolder } from '#store/testing/scratch.ts';
import { api, connectionOf, type Place, rest, sim } from './chaos.testing.ts';
import { type Call, callsOf, look } from './chaos-judge.testing.ts';
import { type Fleet, leaseMs, type Member, startFleet } from './fleet.testing.ts';

let fleet: Fleet;
let folder = '';
beforeAll(async () => {
  folder = scratchFolder('syncstate-fleet-');
  // The database's own account walks through it.
  chmodSync(folder, 0o711);
  const dataDir = join(folder, 'data');
  mkdirSync(dataDir);
  fleet = await startFleet({ dataDir, servers: 2, workers: 2 });
}, 120_000);
afterAll(async () => {
  await fleet?.stop();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

async function until(what: () => Promise<boolean>, withinMs = 60_000): Promise<void> {
  for (const end = performance.now() + withinMs; !(await what().catch(() => false)); await rest(50))
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${what.toString().slice(0, 300)}`);
}

const named = (name: string) => fleet.members.find((one) => one.name === name) as Member;

async function shown(place: Place, sku: string): Promise<number | undefined> {
  const connection = connectionOf(fleet, place);
  const main = place === 'amazon' ? null : connection.locations.find(({ code }) => code === 'MAIN')?.externalId;
  const { items } = (
    await sim<{ items: { sku: string; location: string; quantity: number }[] }>(fleet, place, '/state')
  ).body;
  return items.find((item) => item.sku === sku && (main === null || item.location === main))?.quantity;
}
const count = (sku: string, quantity: number) => api(fleet, '/api/counts', { sku, quantity });
const everywhere = (sku: string, units: number) =>
  until(async () => {
    for (const place of ['shopA', 'shopB', 'amazon'] as const) if ((await shown(place, sku)) !== units) return false;
    return true;
  });

interface Attempt {
  call_key: string;
  generation: number;
  outcome: string | null;
  value: number;
  sku: string;
}
/** Writes to a shop, oldest first. */
const attemptsAt = (place: Place) =>
  fleet.query<Attempt>(
    `select a.call_key, a.lease_generation::int as generation, a.outcome, a.value, v.sku from attempts a
       join targets t on t.org_id = a.org_id and t.id = a.target_id join variants v on v.org_id = t.org_id and v.id = t.variant_id
     where a.connection_id = $1 order by a.sent_at`,
    [connectionOf(fleet, place).id],
  );
const keyOf = (call: Call) => (call.body as { variables: { key: string } }).variables.key;
const writesTo = async (place: 'shopA' | 'shopB') =>
  (await callsOf(fleet, place)).filter(({ operation }) => operation === 'inventorySetQuantities');

/** Worker 1 alone has the lane of shop B, whose answer to the write of this number does not come. */
async function sendUnanswered(sku: string, units: number): Promise<void> {
  await fleet.kill(named('worker 2'));
  // What the killed one held is over before the lane of the other is looked at.
  await count('DEMO-019', units);
  await everywhere('DEMO-019', units);
  const fault = { kind: 'timeout_after', times: 1, ms: 20_000, match: { operation: 'inventorySetQuantities' } };
  await sim(fleet, 'shopB', '/faults', fault);
  await count(sku, units);
  await until(async () => (await writesTo('shopB')).some(({ status }) => status === null));
}

test('a sale taken in by one server is known to the other and shown by every channel', async () => {
  named('server 2').up = false;
  const ordered = await sim<{ id: string }>(fleet, 'shopA', '/orders', { lines: [{ sku: 'DEMO-015', quantity: 1 }] });
  expect(ordered.status).toBe(201);
  await everywhere('DEMO-015', 99);
  named('server 2').up = true;
  for (const { port } of [named('server 1'), named('server 2')]) {
    const answer = await fetch(`http://127.0.0.1:${port}/api/inventory/DEMO-015`, {
      headers: { authorization: `Bearer ${fleet.demo.apiKey}` },
    });
    const { physical, committed, available } = (await answer.json()) as Record<string, number>;
    expect({ physical, committed, available }).toEqual({ physical: 100, committed: 1, available: 99 });
  }
  const { orders } = await look(fleet);
  expect(orders).toHaveLength(1);
}, 90_000);

test('a worker killed amid a write is succeeded: the write is read back, not repeated, and what came later is sent', async () => {
  await sendUnanswered('DEMO-016', 41);
  const before = Math.max(...(await attemptsAt('shopB')).map(({ generation }) => generation));
  await fleet.kill(named('worker 1'));
  const killedAt = Date.now();
  await count('DEMO-017', 17);
  await fleet.start(named('worker 2'));
  await everywhere('DEMO-016', 41);
  await everywhere('DEMO-017', 17);
  await until(async () =>
    (await attemptsAt('shopB')).every(({ outcome }) => outcome !== null && outcome !== 'unknown'),
  );
  const attempts = await attemptsAt('shopB');
  const sent = (sku: string) =>
    attempts
      .filter((one) => one.sku === sku)
      .map(({ value, outcome, generation }) => [value, outcome, generation > before]);
  expect(sent('DEMO-016')).toEqual([[41, 'proven_applied', false]]);
  expect(sent('DEMO-017')).toEqual([[17, 'applied', true]]);
  // Until its request could no longer arrive, nobody looked.
  const [target] = await fleet.query<{ stock_key: string }>(
    `select t.stock_key from targets t join variants v on v.org_id = t.org_id and v.id = t.variant_id where v.sku = 'DEMO-016' and t.connection_id = $1`,
    [connectionOf(fleet, 'shopB').id],
  );
  const readBack = (await callsOf(fleet, 'shopB')).find(
    ({ at, operation, body }) =>
      operation === 'nodes' && Date.parse(at) > killedAt && JSON.stringify(body).includes(`${target?.stock_key}"`),
  );
  expect(Date.parse(readBack?.at ?? '') - killedAt).toBeGreaterThan(leaseMs);
  await fleet.start(named('worker 1'));
}, 120_000);

test('a worker stopped past its lease sends nothing when it goes on: it has been succeeded, and what it had sent was read back', async () => {
  await sendUnanswered('DEMO-016', 42);
  const sleeper = named('worker 1');
  sleeper.child.kill('SIGSTOP');
  const before = Math.max(...(await attemptsAt('shopB')).map(({ generation }) => generation));
  await count('DEMO-017', 18);
  await fleet.start(named('worker 2'));
  await everywhere('DEMO-017', 18);
  await everywhere('DEMO-016', 42);
  sleeper.child.kill('SIGCONT');
  for (const units of [21, 22, 23]) {
    await count('DEMO-018', units);
    await everywhere('DEMO-018', units);
  }
  await until(async () =>
    (await attemptsAt('shopB')).every(({ outcome }) => outcome !== null && outcome !== 'unknown'),
  );
  const attempts = await attemptsAt('shopB');
  const generationOf = new Map(attempts.map(({ call_key, generation }) => [call_key, generation]));
  const order = (await writesTo('shopB')).map((call) => generationOf.get(keyOf(call)) ?? 0);
  expect(order).toEqual([...order].sort((a, b) => a - b));
  expect(Math.max(...order)).toBeGreaterThan(before);
  const first = attempts.filter(({ sku, value }) => sku === 'DEMO-016' && value === 42);
  expect(first.map(({ outcome }) => outcome)).toEqual(['proven_applied']);
}, 120_000);
