/**
 * P1–P6 and P10 from outside: the real process, three simulated channels, random actors, faults and kills, and a judge that
 * reads the simulators' truth. One fixed seed here; longer exploration by hand:
 *
 *   node_modules/.bin/node --disable-warning=ExperimentalWarning server/chaos-explore.testing.ts --seeds 1-20 --seconds 20 --kills 3
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import {
  api,
  calm,
  killAndRestart,
  launch,
  type OneProcess,
  places,
  rampage,
  rest,
  sim,
  stop,
} from './chaos.testing.ts';
import { look, settled } from './chaos-judge.testing.ts';

let product: OneProcess | null = null;
let folder = '';
async function begin(): Promise<OneProcess> {
  folder = mkdtempSync(join(tmpdir(), 'syncstate-chaos-'));
  const dataDir = join(folder, 'data');
  mkdirSync(dataDir);
  product = await launch({ dataDir, profile: 'open' });
  return product;
}
afterEach(async () => {
  if (product) await stop(product);
  product = null;
  rmSync(folder, { recursive: true, force: true });
});

test('buyers, staff, meddlers, faults and two kills: every number and order is right once things are quiet', async () => {
  const running = await begin();
  const history = await rampage(running, { seed: 11, ms: 6_000, kills: 2 });
  const verdict = await settled(running, history, 60_000, 1_500);
  expect(verdict.wrong).toEqual([]);
  expect(history.disasters).toHaveLength(2);
  expect(verdict.orders).toBeGreaterThan(20);
  expect(verdict.writes).toBeGreaterThan(20);
}, 150_000);

test('a start while every channel refuses us comes up, and is right when they no longer do', async () => {
  const begun = performance.now();
  const running = await begin();
  const usualMs = performance.now() - begun;
  for (const place of places) await sim(running, place, '/faults', { kind: 'revoke' });
  await api(running, '/api/counts', { sku: 'DEMO-001', quantity: 7 });
  const killed = performance.now();
  await killAndRestart(running, { database: true });
  // Ready means serving: nobody waits for what only a channel can end. The first start of all, on this machine as it is
  // now, did as much and more (a database was made, every channel answered).
  expect(performance.now() - killed).toBeLessThan(Math.max(12_000, 3 * usualMs));
  const states = async () => (await look(running)).connections.map(({ state }) => state);
  // Said with the first refused call, which serving does not wait for.
  const said = performance.now() + 20_000;
  while (!(await states()).includes('unauthorized') && performance.now() < said) await rest(50);
  expect(await states()).toContain('unauthorized');
  await calm(running);
  const end = performance.now() + 40_000;
  const numbers = async () => {
    const { truths } = await look(running);
    return places.map((place) => truths[place].items.find(({ sku }) => sku === 'DEMO-001')?.quantity);
  };
  while ((await numbers()).some((units) => units !== 7) && performance.now() < end) await rest(100);
  expect(await numbers()).toEqual([7, 7, 7]);
}, 120_000);
