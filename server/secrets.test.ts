import { inspect } from 'node:util';
import { expect, test } from 'vitest';
import { createVault, fingerprint, Secret } from './secrets.ts';

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
