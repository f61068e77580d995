import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { canEnter, canRead, parsePasswd, serviceAccount } from './account.ts';

const passwd = `root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
# a comment
broken line
mac:*:-2:-2:Unprivileged User:/var/empty:/usr/bin/false
`;

test('passwd entries that cannot run anything are left out', () => {
  expect(parsePasswd(passwd).map(({ name, uid }) => [name, uid])).toEqual([
    ['root', 0],
    ['daemon', 1],
    ['nobody', 65_534],
  ]);
});

test('root hands PostgreSQL to a service account: postgres before nobody, nobody before any other, never root', () => {
  expect(serviceAccount(parsePasswd(passwd))?.name).toBe('nobody');
  expect(serviceAccount(parsePasswd(`${passwd}postgres:x:101:104::/:/bin/sh\n`))?.name).toBe('postgres');
  expect(serviceAccount(parsePasswd('root:x:0:0::/:/bin/sh\ngames:x:5:60::/:/bin/sh\n'))?.name).toBe('games');
  expect(serviceAccount(parsePasswd('root:x:0:0::/:/bin/sh\n'))).toBeNull();
});

test('an account reaches a folder only through parents that let it pass', () => {
  const folder = mkdtempSync(join(tmpdir(), 'syncstate-reach-'));
  try {
    const stranger = { uid: 12_345, gid: 12_345, name: null, foreign: true };
    const inner = join(folder, 'inner');
    const file = join(inner, 'file');
    mkdirSync(inner, { mode: 0o755 });
    writeFileSync(file, '', { mode: 0o644 });
    expect(canEnter(inner, stranger)).toBe(false);
    expect(canRead(file, stranger)).toBe(false);
    chmodSync(folder, 0o711);
    expect(canEnter(inner, stranger)).toBe(true);
    expect(canRead(file, stranger)).toBe(true);
    chmodSync(file, 0o600);
    expect(canRead(file, stranger)).toBe(false);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
