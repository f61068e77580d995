/** How one connection behaves, changed by command beside the running server; and with it a stuck feed, made and seen by commands alone. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Demo } from '#server/testing/demo.ts';
import { type Ran, syncstate } from './cli.testing.ts';
import { startDemoForCommands } from './demo.testing.ts';

interface Told {
  settings: { name: string; value: number | boolean; own: number | boolean; said: boolean }[];
}

let demo: Demo;
beforeAll(async () => {
  demo = await startDemoForCommands();
});
afterAll(async () => {
  await demo?.stop();
});

const run = (...argv: string[]): Promise<Ran> => syncstate('--org', 'demo', ...argv);
const settings = async (place: 'shopA' | 'amazon', ...changes: string[]) =>
  (await run('connection', 'settings', demo.connection(place).name, ...changes, '--json')).json<Told>().settings;

test('settings are shown beside the channel’s own, set, taken back, and audited; others stay', async () => {
  expect((await settings('shopA')).map(({ name }) => name)).toEqual(['requestTimeoutMs', 'settleMs', 'orderLagMs']);
  const before = await settings('amazon');
  expect(before.find(({ name }) => name === 'bulkRowsMin')).toMatchObject({ value: 1_500, own: 1_500, said: false });

  const after = await settings('amazon', 'bulkRowsMin=7', 'bulk=false');
  const changed = after.filter((setting, n) => setting.value !== before[n]?.value);
  expect(changed).toMatchObject([
    { name: 'bulk', value: false, own: true, said: true },
    { name: 'bulkRowsMin', value: 7, own: 1_500, said: true },
  ]);
  expect(await settings('amazon', 'bulkRowsMin=', 'bulk=')).toEqual(before);

  const { rows } = await demo.db.owner.query(
    `select actor, details from audit where action = 'connection.settings' order by at, id`,
  );
  expect(rows).toEqual([
    { actor: 'cli', details: { bulk: { from: null, to: false }, bulkRowsMin: { from: null, to: 7 } } },
    { actor: 'cli', details: { bulk: { from: false, to: null }, bulkRowsMin: { from: 7, to: null } } },
  ]);
});

test.each([
  [['settle=3'], 'There is no setting "settle".'],
  [['settleMs'], '"settleMs" has no value'],
  [['settleMs=soon'], 'settleMs is a whole number from 0 to 600000 (ms), not "soon".'],
  [['settleMs=600001'], 'settleMs is a whole number from 0 to 600000 (ms), not "600001".'],
  [['bulk=1'], 'bulk is true or false, not "1".'],
  [['settleMs=5', 'shopDomain=x'], 'There is no setting "shopDomain".'],
])('%s is refused, and nothing is changed', async (changes, words) => {
  const before = await settings('amazon');
  const refused = await run('connection', 'settings', demo.connection('amazon').name, ...changes);
  expect(refused).toMatchObject({ exit: 2, stdout: '' });
  expect(refused.stderr).toContain(words);
  expect(await settings('amazon')).toEqual(before);
});

test('what a channel has not is refused by name', async () => {
  const refused = await run('connection', 'settings', demo.connection('shopA').name, 'bulk=true');
  expect(refused).toMatchObject({ exit: 2, stderr: expect.stringContaining('shopify has no bulk.') });
});

test('a feed that gets stuck is seen by commands alone: in the list, as an alert that says what happens now, and every number is right all the same', async () => {
  const amazon = demo.connection('amazon').name;
  await settings('amazon', 'bulkRowsMin=5', 'bulkLeastUnits=1', 'bulkEveryMs=0', 'bulkStuckMs=2000');
  expect((await run('simulate', 'fault', amazon, 'feed_stuck')).exit).toBe(0);
  const feeds = async () =>
    (await run('feed', 'list', '--json')).json<{ items: { id: string; state: string }[] }>().items;
  const file = join(demo.dataDir, 'stock.csv');
  let numbers: { sku: string; to: number }[] = [];
  // The lane takes its new settings a moment later: numbers that it wrote singly before are followed by others.
  for (let round = 0; round < 10 && (await feeds()).length === 0; round += 1) {
    numbers = Array.from({ length: 20 }, (_, n) => ({
      sku: `DEMO-0${String(n + 1).padStart(2, '0')}`,
      to: 60 + n + round,
    }));
    writeFileSync(file, `sku,location,quantity\n${numbers.map(({ sku, to }) => `${sku},MAIN,${to}\n`).join('')}`);
    expect((await run('import', 'stock', file)).exit).toBe(0);
    await demo.quiet();
  }
  await demo.until(async () => (await feeds()).some(({ state }) => state === 'stuck'));
  const listed = await run('alerts', 'list');
  expect(listed.stdout).toMatch(
    /has not ended feed \d+ of \d+ numbers within 2 s\. They are read back and written singly; no other feed is made until it ends\./,
  );
  for (const { sku, to } of numbers) await demo.until(async () => (await demo.shown('amazon', sku)) === to);
  expect((await feeds()).filter(({ state }) => state === 'stuck').length).toBe(1);
});
