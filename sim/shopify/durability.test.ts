import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startTestShop } from './shop.testing.ts';

const PROGRAM = fileURLToPath(new URL('./durability.testing.ts', import.meta.url));

describe('a killed shop', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'sim-shopify-'));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  /** Starts a shop in a process of its own; resolves with its URL. */
  async function startChild() {
    const child = spawn(process.execPath, [PROGRAM, dir], { stdio: ['ignore', 'pipe', 'inherit'] });
    const url = await new Promise<string>((resolve, reject) => {
      let text = '';
      child.stdout.on('data', (part: Buffer) => {
        text += part.toString();
        if (text.includes('\n')) resolve(text.trim());
      });
      child.once('exit', (code) => reject(new Error(`the shop ended early with ${code}`)));
    });
    const killed = () =>
      new Promise<void>((resolve) => {
        child.once('exit', () => resolve());
        child.kill('SIGKILL');
      });
    return { url, killed };
  }

  it('after kill -9 in the middle of orders, every answered order is there, and the numbers still add up', async () => {
    const child = await startChild();
    await post(`${child.url}/_sim/faults`, { kind: 'status', match: { operation: 'orderCancel' }, status: 502 });
    await post(`${child.url}/_sim/profile`, { profile: 'vendor' });
    await post(`${child.url}/_sim/clock`, { advanceMs: 3_600_000 });
    const answered: string[] = [];
    const buyers = Array.from({ length: 8 }, async () => {
      for (;;) {
        const { id } = await post(`${child.url}/_sim/orders`, { lines: [{ sku: 'A', quantity: 1 }] });
        answered.push(id);
      }
    });
    const ended = Promise.allSettled(buyers);
    while (answered.length < 150) await new Promise((resolve) => setTimeout(resolve, 2));
    await child.killed();
    await ended;

    const shop = await startTestShop({ dir, catalog: [{ sku: 'A', title: 'A', quantities: { MAIN: 5 } }] });
    const { body: state } = await shop.control('/state');
    const ids = new Set(state.orders.map((order: { id: string }) => order.id));
    expect(answered.filter((id) => !ids.has(id))).toEqual([]);
    expect(state.items).toEqual([
      expect.objectContaining({ sku: 'A', quantity: 100_000 - ids.size, committed: ids.size }),
    ]);
    expect(state.profile).toBe('vendor');
    expect(Date.parse(state.now) - Date.now()).toBeGreaterThan(3_590_000);
    expect((await shop.control('/faults')).body.faults).toEqual([
      expect.objectContaining({ kind: 'status', status: 502, operation: 'orderCancel' }),
    ]);
    expect(shop.simulator.pendingWebhooks()).toBeGreaterThanOrEqual(answered.length);
    await shop.close();
  });

  it('pending webhooks go out after a restart, to the new port, and calls keep their numbers', async () => {
    const first = await startTestShop({ dir });
    await first.gql(
      'mutation { webhookSubscriptionCreate(topic: ORDERS_CREATE, webhookSubscription: { uri: "http://127.0.0.1:9/hook" }) { userErrors { message } } }',
    );
    const { body: order } = await first.control('/orders', { lines: [{ sku: 'A', quantity: 1 }] });
    const { next } = (await first.control('/calls')).body;
    await first.close();

    const second = await startTestShop({ dir });
    expect((await second.numbers('A')).available).toBe(9);
    await second.simulator.retarget(null, second.receiverUrl);
    const [hook] = await second.webhooks(1);
    expect(JSON.parse(hook?.body ?? '').admin_graphql_api_id).toBe(order.id);
    const { calls } = (await second.control(`/calls?since=${next}`)).body;
    expect(calls[0].n).toBe(next + 1);
    await second.close();
  });
});

async function post(url: string, body: object) {
  const response = await fetch(url, { method: 'POST', body: JSON.stringify(body) });
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()) as { id: string };
}
