/**
 * Two servers and two workers on one PostgreSQL: what is agreed on is agreed on in the database, whoever dies or sleeps.
 * One fleet for all tests. Rounds with faults, meddlers and more disasters: `npm run rounds -- --rounds 30`.
 */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { scratchFolder } from '#store/testing/scratch.ts';
import { api, connectionOf, emptyHistory, type Place, rampage, rest, sim } from './chaos.testing.ts';
import { type Call, callsOf, look, settled, writesIn } from './chaos-judge.testing.ts';
import { type Disaster, type Fleet, type Member, startFleet } from './fleet.testing.ts';

let fleet: Fleet;
let folder = '';
beforeAll(async () => {
  folder = scratchFolder('syncstate-fleet-');
  // The database's own account walks through it.
  chmodSync(folder, 0o711);
  const dataDir = join(folder, 'data');
  mkdirSync(dataDir);
  fleet = await startFleet({ dataDir, servers: 2, workers: 2, patienceMs: 3_000 });
}, 300_000);
afterAll(async () => {
  await fleet?.stop();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

async function until(what: () => Promise<boolean>, withinMs = 180_000): Promise<void> {
  for (const end = performance.now() + withinMs; !(await what().catch(() => false)); await rest(50))
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${what.toString().slice(0, 300)}`);
}

const named = (name: string) => fleet.members.find((one) => one.name === name) as Member;

async function shown(place: Place, sku: string): Promise<number | undefined> {
  const connection = connectionOf(fleet, place);
  const main = connection.locations.find(({ code }) => code === 'MAIN')?.externalId;
  const { items } = (
    await sim<{ items: { sku: string; location: string; quantity: number }[] }>(fleet, place, '/state')
  ).body;
  return items.find((item) => item.sku === sku && item.location === main)?.quantity;
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
/** Writes to shop B that left, oldest first; what was withdrawn before it was sent is none. */
const attempts = () =>
  fleet.query<Attempt>(
    `select a.call_key, a.lease_generation::int as generation, a.outcome, a.value, v.sku from attempts a
       join targets t on t.org_id = a.org_id and t.id = a.target_id join variants v on v.org_id = t.org_id and v.id = t.variant_id
     where a.connection_id = $1 and a.outcome is distinct from 'not_sent' order by a.sent_at`,
    [connectionOf(fleet, 'shopB').id],
  );
const isOpen = ({ outcome }: Attempt) => outcome === null || outcome === 'unknown';
const allProven = () => until(async () => !(await attempts()).some(isOpen));
const lastGeneration = async () => Math.max(...(await attempts()).map(({ generation }) => generation));
const keyOf = (call: Call) => (call.body as { variables: { key: string } }).variables.key;
const writeCalls = async () =>
  (await callsOf(fleet, 'shopB')).filter(({ operation }) => operation === 'inventorySetQuantities');
/** How often shop B took this number, as it says itself. */
async function taken(sku: string, units: number): Promise<number> {
  const { truths } = await look(fleet);
  const writes = writesIn('shopB', await callsOf(fleet, 'shopB'), truths.shopB);
  return writes.filter((write) => write.sku === sku && write.to === units).length;
}

/**
 * Worker 1, alone at work, is stopped while it waits for shop B's answer to a write that shop B took. On a busy machine it may have
 * given up waiting before that, and looked: then it goes on, and is caught at another number.
 * @returns the number
 */
async function stoppedAmid(sku: string, first: number, worker: { stop(): unknown; goOn(): unknown }): Promise<number> {
  await fleet.kill(named('worker 2'));
  // What the killed one held is over before the lane of the other is looked at.
  await count('DEMO-019', first);
  await everywhere('DEMO-019', first);
  for (let units = first; ; units -= 1) {
    await sim(fleet, 'shopB', '/faults', undefined, 'DELETE');
    const fault = { kind: 'timeout_after', times: 1, ms: 30_000, match: { operation: 'inventorySetQuantities' } };
    await sim(fleet, 'shopB', '/faults', fault);
    await count(sku, units);
    await until(async () => (await taken(sku, units)) > 0);
    await worker.stop();
    if ((await attempts()).some((one) => one.sku === sku && one.value === units && isOpen(one))) return units;
    await worker.goOn();
    await everywhere(sku, units);
  }
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
}, 300_000);

test('a worker killed amid a write is succeeded: the write is read back, not repeated, and what came later is sent', async () => {
  const [one, other] = [named('worker 1'), named('worker 2')];
  const units = await stoppedAmid('DEMO-016', 41, { stop: () => fleet.kill(one), goOn: () => fleet.start(one) });
  const killedAt = Date.now();
  const before = await lastGeneration();
  await count('DEMO-017', 17);
  await fleet.start(other);
  await everywhere('DEMO-016', units);
  await everywhere('DEMO-017', 17);
  await allProven();
  const sent = (await attempts()).filter(({ sku, value }) => sku === 'DEMO-016' && value === units);
  expect(sent.filter(({ outcome }) => outcome === 'proven_applied')).toHaveLength(1);
  expect(sent.filter(({ generation }) => generation > before)).toEqual([]);
  expect(await taken('DEMO-016', units)).toBe(1);
  const later = (await attempts()).filter(({ sku }) => sku === 'DEMO-017');
  expect(later.filter(({ generation }) => generation <= before)).toEqual([]);
  expect(await taken('DEMO-017', 17)).toBe(1);
  // Until its request could no longer arrive, nobody looked.
  const { truths } = await look(fleet);
  const key = truths.shopB.items.find(({ sku }) => sku === 'DEMO-016')?.stockKey;
  const readBack = (await callsOf(fleet, 'shopB')).find(
    ({ at, operation, body }) =>
      operation === 'nodes' && Date.parse(at) > killedAt && JSON.stringify(body).includes(`${key}"`),
  );
  expect(Date.parse(readBack?.at ?? '') - killedAt).toBeGreaterThan(fleet.leaseMs);
  await fleet.start(one);
}, 900_000);

test('a worker stopped past its lease sends nothing when it goes on: it has been succeeded, and what it had sent was read back', async () => {
  const sleeper = named('worker 1');
  const units = await stoppedAmid('DEMO-016', 81, {
    stop: () => sleeper.child.kill('SIGSTOP'),
    goOn: () => sleeper.child.kill('SIGCONT'),
  });
  const before = await lastGeneration();
  await count('DEMO-017', 18);
  await fleet.start(named('worker 2'));
  await everywhere('DEMO-017', 18);
  await everywhere('DEMO-016', units);
  const awakeAt = Date.now();
  sleeper.child.kill('SIGCONT');
  for (const next of [21, 22, 23]) {
    await count('DEMO-018', next);
    await everywhere('DEMO-018', next);
  }
  await allProven();
  const generationOf = new Map((await attempts()).map(({ call_key, generation }) => [call_key, generation]));
  const calls = await writeCalls();
  const order = calls.map((call) => generationOf.get(keyOf(call)) ?? 0);
  expect(order).toEqual([...order].sort((a, b) => a - b));
  const sinceThen = calls.filter(({ at }) => Date.parse(at) >= awakeAt);
  expect(sinceThen.length).toBeGreaterThanOrEqual(3);
  expect(sinceThen.filter((call) => (generationOf.get(keyOf(call)) ?? 0) <= before)).toEqual([]);
  const sent = (await attempts()).filter(({ sku, value }) => sku === 'DEMO-016' && value === units);
  expect(sent.filter(({ outcome }) => outcome === 'proven_applied')).toHaveLength(1);
  expect(await taken('DEMO-016', units)).toBe(1);
}, 900_000);

const rounds: Disaster[][] = [
  ['worker killed', 'server killed'],
  ['database killed'],
  ['worker frozen', 'server frozen'],
];

test('three rounds under load, with processes killed, the database killed, processes stopped past their leases: all is right', async () => {
  const history = emptyHistory();
  for (const [n, disasters] of rounds.entries()) {
    const before = history.disasters.length;
    for (const disaster of disasters) {
      fleet.disasters = [disaster];
      await rampage(fleet, {
        seed: 70 + 10 * n + history.disasters.length,
        ms: 1_000,
        pause: 150,
        kills: 1,
        history,
        faults: false,
        meddling: false,
      });
    }
    const verdict = await settled(fleet, history, 600_000, 1_000);
    expect(verdict.wrong).toEqual([]);
    expect(history.disasters.slice(before).map((what) => what.replace(/ \d/, ''))).toEqual(disasters);
  }
  expect(history.acts).toBeGreaterThan(60);
}, 3_600_000);
