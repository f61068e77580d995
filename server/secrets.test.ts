import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { createVault, fingerprint, keptOnce, Secret } from './secrets.ts';

const key = (id: string, fill: number) => ({ id, key: new Uint8Array(32).fill(fill) });
const owner = { orgId: 'org', connectionId: 'connection', column: 'credentials' as const };

test('what was sealed opens for its owner only: not for another row, organization or column', () => {
  const vault = createVault([key('k1', 1)]);
  const sealed = vault.seal('{"accessToken":"shpat_1"}', owner);
  expect(vault.open(sealed, owner).reveal()).toBe('{"accessToken":"shpat_1"}');
  for (const other of [
    { ...owner, orgId: 'other' },
    { ...owner, connectionId: 'other' },
    { ...owner, column: 'webhook_secrets' as const },
  ]) {
    expect(() => vault.open(sealed, other)).toThrow(expect.objectContaining({ code: 'secrets.unreadable' }));
  }
});

test('every sealing takes a fresh nonce: the same text never looks the same', () => {
  const vault = createVault([key('k1', 1)]);
  const sealed = Array.from({ length: 200 }, () => vault.seal('same', owner).toString('hex'));
  expect(new Set(sealed).size).toBe(200);
  expect(new Set(sealed.map((hex) => hex.slice(8, 32))).size).toBe(200);
});

test('a changed byte anywhere does not open', () => {
  const vault = createVault([key('k1', 1)]);
  const sealed = vault.seal('secret', owner);
  for (let at = 0; at < sealed.length; at += 1) {
    const changed = Buffer.from(sealed);
    changed[at] = (changed[at] ?? 0) ^ 1;
    expect(() => vault.open(changed, owner)).toThrow(expect.objectContaining({ code: 'secrets.unreadable' }));
  }
});

test('the first key seals, every key of the ring opens, a key that left does not', () => {
  const old = createVault([key('k1', 1)]).seal('secret', owner);
  const rotated = createVault([key('k2', 2), key('k1', 1)]);
  expect(rotated.open(old, owner).reveal()).toBe('secret');
  expect(rotated.isOutdated(old)).toBe(true);
  expect(rotated.isOutdated(rotated.seal('secret', owner))).toBe(false);
  expect(() => createVault([key('k2', 2)]).open(old, owner)).toThrow(
    expect.objectContaining({ code: 'secrets.unreadable' }),
  );
});

test('a vault without a key, or with one of the wrong length, is not made', () => {
  expect(() => createVault([])).toThrow(expect.objectContaining({ code: 'secrets.no_key' }));
  expect(() => createVault([{ id: 'k', key: new Uint8Array(16) }])).toThrow(
    expect.objectContaining({ code: 'secrets.bad_key' }),
  );
});

test('a secret prints as [secret] however it is printed', () => {
  const secret = new Secret('hush');
  expect([`${secret}`, JSON.stringify({ secret }), inspect({ secret }), String(secret)].join(' ')).not.toContain(
    'hush',
  );
  expect(JSON.stringify({ secret })).toBe('{"secret":"[secret]"}');
  expect(secret.reveal()).toBe('hush');
});

test('a fingerprint tells equal secrets and nothing else', () => {
  expect(fingerprint('one').equals(fingerprint('one'))).toBe(true);
  expect(fingerprint('one').equals(fingerprint('two'))).toBe(false);
  expect(fingerprint('one').length).toBe(16);
});

test('two first starts at the same moment keep one key: the second takes what the first made', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'syncstate-kept-'));
  try {
    const file = join(folder, 'one');
    const second = () => {
      expect(keptOnce(file, () => 'first')).toBe('first');
      return 'second';
    };
    expect(keptOnce(file, second)).toBe('first');
    expect(keptOnce(file, () => 'third')).toBe('first');
    expect(readFileSync(file, 'utf8')).toBe('first\n');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    // In threads of their own, let go at once.
    const turn = new Int32Array(new SharedArrayBuffer(4));
    const script = `
      const { parentPort, workerData } = require('node:worker_threads');
      void import(workerData.module).then(({ keptOnce }) => {
        parentPort.postMessage('here');
        Atomics.wait(workerData.turn, 0, 0);
        parentPort.postMessage(Array.from({ length: 50 }, (_, n) => keptOnce(workerData.file + n, () => workerData.name + n)));
      });`;
    const module = new URL('secrets.ts', import.meta.url).href;
    const workers = ['a', 'b'].map(
      (name) => new Worker(script, { eval: true, workerData: { module, turn, name, file: join(folder, 'many') } }),
    );
    const said = <T>(worker: Worker) => new Promise<T>((done) => worker.once('message', done));
    await Promise.all(workers.map((worker) => said(worker)));
    const kept = workers.map((worker) => said<string[]>(worker));
    Atomics.store(turn, 0, 1);
    Atomics.notify(turn, 0);
    const [one, other] = await Promise.all(kept);
    expect(one).toHaveLength(50);
    expect(other).toEqual(one);
    await Promise.all(workers.map((worker) => worker.terminate()));
    expect(readdirSync(folder)).toHaveLength(51);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
