import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MigrationError, pendingMigrations, readMigrations } from './migrate.ts';
import { administratorSql, appPassword, appUrl, scramVerifier } from './roles.ts';

const file = (name: string, sha256 = `hash of ${name}`) => ({ name, sql: '', sha256 });
const applied = (name: string, sha256 = `hash of ${name}`) => ({ name, sha256 });

function folderOf(names: readonly string[]): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'migrations-'));
  try {
    for (const name of names) writeFileSync(join(folder, name), `-- ${name}\n`);
    return readMigrations(folder).map((migration) => migration.name);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('files are taken in the order of their numbers, and only .sql counts', () => {
  expect(folderOf(['0010_c.sql', '0002_b.sql', '0001_a.sql', 'README.md'])).toEqual([
    '0001_a.sql',
    '0002_b.sql',
    '0010_c.sql',
  ]);
});

test('two files with one number, or a name without a number, are refused', () => {
  expect(() => folderOf(['0001_a.sql', '0001_b.sql'])).toThrow('0001_b.sql: number 0001 is taken twice.');
  expect(() => folderOf(['first.sql'])).toThrow('first.sql: a migration is named NNNN_words.sql.');
});

test('only what was not applied is pending', () => {
  const pending = pendingMigrations([file('0001_a.sql'), file('0002_b.sql')], [applied('0001_a.sql')]);
  expect(pending.map(({ name }) => name)).toEqual(['0002_b.sql']);
});

test('a file that changed after it was applied is refused by name', () => {
  expect(() => pendingMigrations([file('0001_a.sql', 'new')], [applied('0001_a.sql', 'old')])).toThrow(
    '0001_a.sql has changed since it was applied: restore it and write a new migration.',
  );
});

test('an unapplied file before an applied one is refused', () => {
  expect(() => pendingMigrations([file('0001_a.sql'), file('0002_b.sql')], [applied('0002_b.sql')])).toThrow(
    '0001_a.sql was not applied but 0002_b.sql was: give it the next number.',
  );
});

test('a database ahead of this release is left alone', () => {
  expect(pendingMigrations([file('0001_a.sql')], [applied('0001_a.sql'), applied('0002_b.sql')])).toEqual([]);
});

test('the app login follows from the owner login: same input, same password, and the owner password is not in it', () => {
  const url = appUrl('postgres://owner:s%40cret@db.example:6432/stock?sslmode=require');
  expect(url).toBe(appUrl('postgres://owner:s%40cret@db.example:6432/stock?sslmode=require'));
  const parsed = new URL(url);
  expect([parsed.username, parsed.host, parsed.pathname, parsed.search]).toEqual([
    'syncstate_app',
    'db.example:6432',
    '/stock',
    '?sslmode=require',
  ]);
  expect(parsed.password).toMatch(/^[A-Za-z0-9_-]{43}$/);
  expect(url).not.toContain('cret');
  expect(appPassword('postgres://owner:other@db.example/stock')).not.toBe(parsed.password);
});

test('an owner without a password gives an app role without one, never a password anybody could compute', () => {
  expect(appPassword('postgres://owner@db.example/stock')).toBeNull();
  expect(appUrl('postgres://owner@db.example/stock')).toBe('postgres://syncstate_app@db.example/stock');
  expect(administratorSql('postgres://owner@db.example/stock', false)).toBe(
    'create role syncstate_app login nosuperuser nocreatedb nocreaterole nobypassrls noreplication;',
  );
});

test('a URL that cannot be read is refused without repeating it', () => {
  const attempt = () => appUrl('host=db password=hunter2');
  expect(attempt).toThrow(MigrationError);
  expect(attempt).not.toThrow(/hunter2/);
});

test('the SCRAM verifier is what RFC 7677 gives for its own example', () => {
  // RFC 7677 section 3: password "pencil", this salt, 4096 iterations; keys recomputed with Python's hashlib.
  const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
  expect(scramVerifier('pencil', salt)).toBe(
    'SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=',
  );
});
