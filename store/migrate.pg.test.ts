import { cpSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { EmbeddedPostgres } from './embedded/index.ts';
import { startEmbedded } from './embedded/index.ts';
import { appUrl, MigrationError, migrate } from './migrate.ts';
import { emptyDatabase } from './testing/database.ts';
import { scratchFolder } from './testing/scratch.ts';

const files = readdirSync(join(import.meta.dirname, 'migrations')).sort();

async function rowsOf(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}

const tablesOf = (url: string) => rowsOf(url, `select tablename from pg_tables where schemaname = 'public' order by 1`);
const recorded = async (url: string) =>
  (await rowsOf(url, 'select name from schema_migrations order by 1')).map(({ name }) => name);

/** An empty database whose owner URL is passed to `fn`. */
async function withEmpty(fn: (url: string) => Promise<void>): Promise<void> {
  const db = await emptyDatabase();
  try {
    await fn(db.ownerUrl);
  } finally {
    await db.drop();
  }
}

/** A copy of the migrations, changed by `fn`. */
async function withFolder(fn: (folder: string) => Promise<void>): Promise<void> {
  const folder = scratchFolder('syncstate-migrations-');
  try {
    for (const name of files.slice(0, 2)) cpSync(join(import.meta.dirname, 'migrations', name), join(folder, name));
    await fn(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('an empty database gets every migration, in order, once', () =>
  withEmpty(async (url) => {
    expect(await migrate(url)).toEqual({ applied: files });
    expect(await recorded(url)).toEqual(files);
    expect(await migrate(url)).toEqual({ applied: [] });
  }));

test('twenty at once: one migrates, nineteen find nothing to do, nobody fails', () =>
  withEmpty(async (url) => {
    const results = await Promise.all(Array.from({ length: 20 }, () => migrate(url)));
    expect(results.filter(({ applied }) => applied.length > 0)).toEqual([{ applied: files }]);
    expect(await recorded(url)).toEqual(files);
  }));

test('a file changed after it was applied stops the migration and nothing is written', () =>
  withEmpty(async (url) =>
    withFolder(async (folder) => {
      await migrate(url, folder);
      writeFileSync(join(folder, files[0] ?? ''), 'create table sneaked_in (id integer);');
      writeFileSync(join(folder, '9999_next.sql'), 'create table next_one (id integer);');
      await expect(migrate(url, folder)).rejects.toMatchObject({ code: 'migrate.changed' });
      expect(await tablesOf(url)).not.toContainEqual({ tablename: 'next_one' });
      expect(await recorded(url)).toEqual(files.slice(0, 2));
    }),
  ));

test('a migration that fails leaves nothing of itself, keeps those before it, and runs when mended', () =>
  withEmpty(async (url) =>
    withFolder(async (folder) => {
      writeFileSync(join(folder, '9999_next.sql'), 'create table next_one (id integer); select 1 / 0;');
      await expect(migrate(url, folder)).rejects.toThrow('9999_next.sql failed: division by zero');
      expect(await recorded(url)).toEqual(files.slice(0, 2));
      expect(await tablesOf(url)).not.toContainEqual({ tablename: 'next_one' });
      writeFileSync(join(folder, '9999_next.sql'), 'create table next_one (id integer);');
      expect(await migrate(url, folder)).toEqual({ applied: ['9999_next.sql'] });
    }),
  ));

// Roles belong to a whole cluster, so what is said about them needs one of its own.
let cluster: EmbeddedPostgres;
const dataDir = scratchFolder('syncstate-test-');

beforeAll(async () => {
  cluster = await startEmbedded({ dataDir, log: () => undefined, settings: { fsync: 'off' } });
});
afterAll(async () => {
  await cluster.stop();
  rmSync(dataDir, { recursive: true });
});

function loginAs(user: string, password: string, database: string): string {
  const url = new URL(cluster.url);
  url.username = user;
  url.password = password;
  url.pathname = `/${database}`;
  return url.toString();
}

test('a role made by an administrator is enough for an owner who may not make roles', async () => {
  await rowsOf(cluster.url, `create role modest login password 'modest-password'`);
  await rowsOf(cluster.url, 'create database modest owner modest');
  const modest = loginAs('modest', 'modest-password', 'modest');

  const refusal: unknown = await migrate(modest).catch((error: unknown) => error);
  expect(refusal).toBeInstanceOf(MigrationError);
  const message = (refusal as MigrationError).message;
  expect(message).toMatch(
    /may not make the role syncstate_app\. An administrator must run:\n\ncreate role syncstate_app login .* password 'SCRAM-SHA-256\$/,
  );
  expect(message).not.toContain(new URL(appUrl(modest)).password);
  expect(await tablesOf(modest)).toEqual([]);

  await rowsOf(cluster.url, /^create role .*;$/m.exec(message)?.[0] ?? '');
  expect(await migrate(modest)).toEqual({ applied: files });
  expect(await rowsOf(appUrl(modest), 'select current_user::text as me')).toEqual([{ me: 'syncstate_app' }]);
  await rowsOf(cluster.url, 'drop database modest with (force)');
  await rowsOf(cluster.url, 'drop role syncstate_app');
});

test('eight databases of one cluster migrate at once and make the one role together', async () => {
  const names = Array.from({ length: 8 }, (_, index) => `shop_${index}`);
  for (const name of names) await rowsOf(cluster.url, `create database ${name}`);
  const owner = new URL(cluster.url);
  const urls = names.map((name) => loginAs(owner.username, owner.password, name));
  const results = await Promise.all(urls.map((url) => migrate(url)));
  expect(results).toEqual(names.map(() => ({ applied: files })));
  expect(
    await rowsOf(
      cluster.url,
      `select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb from pg_roles where rolname = 'syncstate_app'`,
    ),
  ).toEqual([{ rolsuper: false, rolbypassrls: false, rolcreaterole: false, rolcreatedb: false }]);
});

test('a working app password is left alone, one that does not work is set again', async () => {
  const owner = new URL(cluster.url);
  const url = loginAs(owner.username, owner.password, 'shop_0');
  const stored = async () =>
    (await rowsOf(cluster.url, `select rolpassword from pg_authid where rolname = 'syncstate_app'`))[0]?.rolpassword;
  const before = await stored();
  await migrate(url);
  expect(await stored()).toBe(before);
  await rowsOf(cluster.url, `alter role syncstate_app password 'something else'`);
  await migrate(url);
  expect(await rowsOf(appUrl(url), 'select 1 as one')).toEqual([{ one: 1 }]);
});

test('an app role that could look past row security is refused', async () => {
  await rowsOf(cluster.url, 'alter role syncstate_app bypassrls');
  const owner = new URL(cluster.url);
  await expect(migrate(loginAs(owner.username, owner.password, 'shop_1'))).rejects.toThrow(
    'The role syncstate_app is not bound by row security.',
  );
  await rowsOf(cluster.url, 'alter role syncstate_app nobypassrls');
});
