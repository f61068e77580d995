import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ReceiveMessageCommand } from '@aws-sdk/client-sqs';
import { afterEach, expect, test } from 'vitest';
import { type Account, connect, listing, startAccount, stockPatch } from './account.testing.ts';

const folders: string[] = [];
const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sim-amazon-'));
  folders.push(folder);
  return folder;
}

async function startProcess(folder: string): Promise<{ account: Account; kill(): Promise<void> }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'process.testing.ts'), folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const exited = new Promise<void>((resolve) => child.on('exit', () => resolve()));
  const base = await new Promise<string>((resolve, reject) => {
    child.stdout?.once('data', (data: Buffer) => resolve(data.toString('utf8').trim()));
    child.once('exit', () => reject(new Error('The process ended')));
  });
  return {
    account: connect(base),
    async kill() {
      child.kill('SIGKILL');
      await exited;
    },
  };
}

const receive = async (account: Account) =>
  (await account.sqs.send(new ReceiveMessageCommand({ QueueUrl: account.queueUrl, MaxNumberOfMessages: 10 })))
    .Messages ?? [];

test('goods, orders, tokens, subscriptions, messages, the clock and promised writes survive a kill', async () => {
  const folder = newFolder();
  const first = await startProcess(folder);
  await first.account.subscribe('ORDER_CHANGE');
  const placed = await first.account.control<{ id: string }>('POST', '/orders', {
    lines: [{ sku: 'MUG', quantity: 2 }],
  });
  await first.account.write('PLATE', 1);
  await first.account.advance(60_000);
  await first.kill();

  const second = await startProcess(folder);
  expect(await second.account.item('MUG')).toEqual({ quantity: 8, committed: 2 });
  expect(await second.account.item('PLATE')).toEqual({ quantity: 5, committed: 0 });
  const token = await first.account.sellerToken();
  const read = await second.account.call('GET', listing('MUG'), undefined, { 'x-amz-access-token': token });
  expect(read.status).toBe(200);
  expect((await receive(second.account)).map((one) => one.Body)).toEqual([expect.stringContaining(placed.body.id)]);
  await second.account.advance(60_000);
  expect(await second.account.item('PLATE')).toEqual({ quantity: 1, committed: 0 });
  await second.account.control('POST', '/orders', { lines: [{ sku: 'MUG', quantity: 1 }] });
  await second.kill();

  const third = await startProcess(folder);
  const state = await third.account.control<{ orders: { id: string }[] }>('GET', '/state');
  expect(state.body.orders).toHaveLength(2);
  expect(new Set(state.body.orders.map((one) => one.id)).size).toBe(2);
  const { calls } = (await third.account.control<{ calls: { n: number; operation: string }[] }>('GET', '/calls')).body;
  expect(calls.map((one) => one.operation)).toContain('patchListingsItem');
  await third.kill();
});

test('every write answered before a kill is there after it', async () => {
  const folder = newFolder();
  const { account, kill } = await startProcess(folder);
  await account.control('POST', '/profile', { profile: 'open' });
  const answered: number[] = [];
  const writing = (async () => {
    for (let n = 1; ; n += 1) {
      await account.call(
        'PATCH',
        listing('MUG'),
        stockPatch('merge', [{ fulfillment_channel_code: 'DEFAULT', quantity: n }]),
      );
      answered.push(n);
    }
  })().catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 300));
  await kill();
  await writing;
  const last = answered.at(-1) ?? 0;
  expect(last).toBeGreaterThan(3);
  const again = await startProcess(folder);
  const { quantity } = await again.account.item('MUG');
  expect([last, last + 1]).toContain(quantity);
  await again.kill();
});

test('what was in flight is visible again after a clean stop, what was deleted stays deleted', async () => {
  const folder = newFolder();
  const before = await startAccount({ dir: folder });
  await before.subscribe('ORDER_CHANGE');
  await before.control('POST', '/orders', { lines: [{ sku: 'MUG', quantity: 1 }] });
  expect(await receive(before)).toHaveLength(1);
  await before.close();
  const after = await startAccount({ dir: folder });
  expect(await receive(after)).toHaveLength(1);
  await after.control('POST', '/reset', {});
  await after.advance(60_000);
  expect(await receive(after)).toEqual([]);
  await after.close();
});
