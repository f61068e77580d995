import type { ChildProcess } from 'node:child_process';
import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { StoreError } from '#core/errors.ts';
import { realClock, realRandom } from '../testing/database.ts';
import { scratchFolder, scratchRoot } from '../testing/scratch.ts';
import { createStore } from '../tx.ts';
import { findPackage, findSetpriv } from './binaries.ts';
import type { EmbeddedOptions, EmbeddedPostgres } from './index.ts';
import { attachEmbedded, DataDirInUseError, startEmbedded } from './index.ts';
import { processAlive } from './postmaster.ts';

const asRoot = process.getuid?.() === 0;
const dataDir = scratchFolder('syncstate-embedded-');
const shelter = `${dataDir}-shelter`;
const log: string[] = [];
const start = (options: Partial<EmbeddedOptions> = {}): Promise<EmbeddedPostgres> =>
  startEmbedded({ dataDir, log: (line) => log.push(line), shelter, ...options });

async function ask(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}

async function until(what: () => boolean, timeoutMs = 10_000): Promise<void> {
  const end = performance.now() + timeoutMs;
  while (!what()) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((done) => setTimeout(done, 10));
  }
}

/** Runs `fn` with an embedded database on the folder and stops it. */
async function running<T>(
  options: Partial<EmbeddedOptions>,
  fn: (embedded: EmbeddedPostgres) => Promise<T>,
): Promise<T> {
  const embedded = await start(options);
  try {
    return await fn(embedded);
  } finally {
    await embedded.stop();
  }
}

interface Child {
  process: ChildProcess;
  /** Postmaster. */
  pid: number;
  lines: Record<string, unknown>[];
  /** Everything it said has been read. */
  silent: Promise<void>;
}

/** A process of child.testing.ts, once its database answers. */
async function child(mode: string, folder = dataDir): Promise<Child> {
  const process_ = spawn(process.execPath, [join(import.meta.dirname, 'child.testing.ts'), folder, mode], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines: Record<string, unknown>[] = [];
  const reader = createInterface({ input: process_.stdout }).on('line', (line) => lines.push(JSON.parse(line)));
  const silent = new Promise<void>((done) => reader.once('close', done));
  await until(() => lines.length > 0 || process_.exitCode !== null, 30_000);
  return { process: process_, pid: Number(lines[0]?.pid), lines, silent };
}

async function kill(victim: ChildProcess): Promise<void> {
  const gone = new Promise((done) => victim.once('close', done));
  victim.kill('SIGKILL');
  await gone;
}

const data = join(dataDir, 'postgres', 'data');
beforeAll(async () => {
  await running({}, (embedded) => ask(embedded.url, 'create table kept (n integer)'));
});
afterAll(() => {
  for (const folder of [dataDir, shelter]) rmSync(folder, { recursive: true, force: true });
});

describe('an ordinary start', () => {
  test('made the cluster once, with fsync, checksums and the same collation everywhere, and no way in but the socket', () =>
    running({}, async ({ url, adopted }) => {
      expect(adopted).toBe(false);
      expect(log.filter((line) => line.startsWith('made a PostgreSQL 18'))).toHaveLength(1);
      const [shown] = await ask(
        url,
        `select current_setting('fsync') as fsync, current_setting('synchronous_commit') as sync, current_setting('ssl') as ssl,
          current_setting('listen_addresses') as addresses, current_setting('data_checksums') as checksums, current_setting('timezone') as zone,
          current_database() as database, (select datlocale from pg_database where datname = current_database()) as locale,
          (select string_agg(distinct auth_method, ',') from pg_hba_file_rules) as methods`,
      );
      expect(shown).toEqual({
        fsync: 'on',
        sync: 'on',
        ssl: 'off',
        addresses: '',
        checksums: 'on',
        zone: 'UTC',
        database: 'syncstate',
        locale: 'C.UTF-8',
        methods: 'scram-sha-256',
      });
      expect(await ask(url, 'select * from kept')).toEqual([]);
    }));

  test('keeps its password and its folders from other users, and refuses a wrong password', () =>
    running({}, async ({ url }) => {
      for (const name of ['postgres.key', 'postgres.json'])
        expect(statSync(join(dataDir, name)).mode & 0o777).toBe(0o600);
      for (const name of ['data', 'socket']) expect(statSync(join(dataDir, 'postgres', name)).mode & 0o777).toBe(0o700);
      const wrong = new URL(url);
      wrong.password = 'wrong';
      await expect(ask(wrong.toString(), 'select 1')).rejects.toMatchObject({ code: '28P01' });
    }));

  test('a command attaches beside it, finds nothing when none runs, and leaves no trace', async () => {
    expect(await attachEmbedded(dataDir)).toBeNull();
    expect(await attachEmbedded(join(dataDir, 'elsewhere'))).toBeNull();
    expect(existsSync(join(dataDir, 'elsewhere'))).toBe(false);
    await running({}, async ({ url }) => {
      expect(await attachEmbedded(dataDir)).toEqual({ url });
    });
    expect(await attachEmbedded(dataDir)).toBeNull();
  });

  test('stop ends the postmaster and frees the folder; a second stop does nothing', async () => {
    const embedded = await start();
    await Promise.all([embedded.stop(), embedded.stop()]);
    expect(processAlive(embedded.pid)).toBe(false);
    expect(existsSync(join(data, 'postmaster.pid'))).toBe(false);
    await running({}, async ({ adopted }) => expect(adopted).toBe(false));
  });

  test('a second start on the folder names the holder and leaves it running', () =>
    running({}, async ({ url, pid }) => {
      const refused: unknown = await start().catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(DataDirInUseError);
      expect((refused as DataDirInUseError).inUse).toMatchObject({ pid: process.pid, folder: dataDir });
      expect(await ask(url, 'select 1 as one')).toEqual([{ one: 1 }]);
      expect(processAlive(pid)).toBe(true);
    }));

  test('a folder that was moved keeps its database', async () => {
    const moved = `${dataDir}-moved`;
    renameSync(dataDir, moved);
    try {
      await running({ dataDir: moved }, async ({ url }) => expect(await ask(url, 'select * from kept')).toEqual([]));
    } finally {
      renameSync(moved, dataDir);
    }
  });

  test('a path too long for a socket gets a short folder of its own', async () => {
    const long = join(dataDir, '..', `syncstate-embedded-${'long-'.repeat(20)}`);
    renameSync(dataDir, long);
    try {
      const socket = await running({ dataDir: long }, async ({ url }) => {
        expect(await ask(url, 'select * from kept')).toEqual([]);
        expect(await attachEmbedded(long)).toEqual({ url });
        return new URL(url).searchParams.get('host') ?? '';
      });
      expect(socket).toMatch(/^\/tmp\/syncstate-[0-9a-f]{12}$/);
      rmSync(socket, { recursive: true });
    } finally {
      renameSync(long, dataDir);
    }
  });
});

describe('what a crash leaves', () => {
  test('a postmaster that dies is started again, with everything committed', () =>
    running({}, async (embedded) => {
      const first = embedded.pid;
      await ask(embedded.url, 'insert into kept values (1)');
      process.kill(first, 'SIGKILL');
      await until(() => embedded.pid !== first);
      expect(await ask(embedded.url, 'select n from kept')).toEqual([{ n: 1 }]);
      await ask(embedded.url, 'delete from kept');
    }));

  test('writers with repeatable work ride out the death of the postmaster: no call fails, nothing is missing', () =>
    running({}, async (embedded) => {
      await ask(embedded.url, 'create table ridden (n integer primary key)');
      const store = createStore(embedded.url, { clock: realClock, random: realRandom, max: 4 });
      const insert = (n: number) =>
        store.system((tx) => tx.query('insert into ridden values ($1) on conflict do nothing', [n]), {
          idempotent: true,
        });
      const writer = async (first: number) => {
        for (let n = first; n < 1_200; n += 4) await insert(n);
      };
      const writers = Promise.all([0, 1, 2, 3].map(writer));
      await new Promise((done) => setTimeout(done, 40));
      process.kill(embedded.pid, 'SIGKILL');
      await writers;
      expect(store.metrics()).toMatchObject({ committed: 1_200, failed: 0 });
      expect(store.metrics().retried).toBeGreaterThan(0);
      expect(await ask(embedded.url, 'select count(*)::int as rows from ridden')).toEqual([{ rows: 1_200 }]);
      await store.end();
    }));

  test('after kill -9 of the parent PostgreSQL dies with it where the system can do that', async () => {
    const parent = await child('hold');
    await kill(parent.process);
    if (findSetpriv()) await until(() => !processAlive(parent.pid));
    await running({}, async ({ adopted }) => expect(adopted).toBe(findSetpriv() === null));
  });

  test('an orphan is adopted: same process, same data, and stop ends it', async () => {
    const parent = await child('orphan');
    await kill(parent.process);
    expect(processAlive(parent.pid)).toBe(true);
    await running({}, async ({ pid, adopted, url }) => {
      expect({ pid, adopted }).toEqual({ pid: parent.pid, adopted: true });
      expect(await ask(url, 'select * from kept')).toEqual([]);
    });
    expect(processAlive(parent.pid)).toBe(false);
  });

  test('an adopted postmaster that dies is started again', async () => {
    const parent = await child('orphan');
    await kill(parent.process);
    await running({}, async (embedded) => {
      process.kill(parent.pid, 'SIGKILL');
      await until(() => embedded.pid !== parent.pid);
      expect(await ask(embedded.url, 'select * from kept')).toEqual([]);
    });
  });

  test('an orphan with other settings is ended, and a new one started', async () => {
    const parent = await child('orphan');
    await kill(parent.process);
    await running({ settings: { work_mem: '5MB' } }, async ({ pid, adopted, url }) => {
      expect(adopted).toBe(false);
      expect(pid).not.toBe(parent.pid);
      expect(processAlive(parent.pid)).toBe(false);
      expect(await ask(url, 'show work_mem')).toEqual([{ work_mem: '5MB' }]);
    });
  });

  test('a stale pid file that names a living stranger of the same user stops nobody, and the stranger lives', async () => {
    const { uid, gid } = statSync(data);
    const stranger = spawn('sleep', ['30'], { stdio: 'ignore', ...(asRoot ? { uid, gid } : {}) });
    writeFileSync(
      join(data, 'postmaster.pid'),
      `${stranger.pid}\n${data}\n1700000000\n5432\n${join(dataDir, 'postgres/socket')}\n\n  1 1\nready   \n`,
    );
    await running({}, async ({ adopted }) => expect(adopted).toBe(false));
    expect(processAlive(stranger.pid ?? 0)).toBe(true);
    stranger.kill();
  });

  test('a kill while the cluster was being made leaves nothing that looks finished', async () => {
    const fresh = scratchFolder('syncstate-embedded-');
    mkdirSync(join(fresh, 'postgres', 'nursery', 'data'), { recursive: true });
    writeFileSync(join(fresh, 'postgres', 'nursery', 'data', 'PG_VERSION'), '18\n');
    try {
      await running({ dataDir: fresh }, async ({ url }) =>
        expect(await ask(url, 'select 1 as one')).toEqual([{ one: 1 }]),
      );
      expect(existsSync(join(fresh, 'postgres', 'nursery'))).toBe(false);
      // From now on a missing cluster is a loss, and is not replaced by an empty one.
      rmSync(join(fresh, 'postgres', 'data'), { recursive: true });
      const refused: unknown = await start({ dataDir: fresh }).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(StoreError);
      expect(String(refused)).toContain('is gone: bring it back, or empty the data folder');
      expect(existsSync(join(fresh, 'postgres', 'data'))).toBe(false);
    } finally {
      rmSync(fresh, { recursive: true });
    }
  });

  test('a cluster of another major version is refused by name and left as it is', async () => {
    const fresh = scratchFolder('syncstate-embedded-');
    mkdirSync(join(fresh, 'postgres', 'data'), { recursive: true });
    writeFileSync(join(fresh, 'postgres', 'data', 'PG_VERSION'), '17\n');
    try {
      await expect(start({ dataDir: fresh })).rejects.toThrow(/is of PostgreSQL 17, the programs are 18/);
      expect(readdirSync(join(fresh, 'postgres', 'data'))).toEqual(['PG_VERSION']);
    } finally {
      rmSync(fresh, { recursive: true });
    }
  });

  test('kill -9 of the whole tree while it writes, five rounds: every number told as committed is there', async () => {
    let told = 0;
    for (let round = 0; round < 5; round += 1) {
      const writer = await child('write');
      await until(() => writer.lines.length > 20 + 37 * round);
      for (const pid of descendants(writer.pid)) killIfThere(pid);
      await kill(writer.process);
      await writer.silent;
      told = Number(writer.lines.at(-1)?.committed);
    }
    await running({}, async ({ url }) => {
      const [written] = await ask(url, 'select count(*)::int as rows, max(n) as last from written');
      // More may have been committed than we were told of, never less, and never with a gap.
      expect(written?.last).toBeGreaterThanOrEqual(told);
      expect(written?.rows).toBe(written?.last);
    });
  });
});

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone with its parent already.
  }
}

/** A process and all that came from it. */
function descendants(pid: number): number[] {
  const table = spawnSync('ps', ['-eo', 'pid=,ppid='], { encoding: 'utf8' }).stdout.trim().split('\n');
  const pairs = table.map((line) => line.trim().split(/\s+/).map(Number));
  const below = (parent: number): number[] =>
    pairs.filter(([, ppid]) => ppid === parent).flatMap(([own = 0]) => [own, ...below(own)]);
  return [pid, ...below(pid)].filter((one) => processAlive(one));
}

/** A copy of the package as npm leaves it without install scripts: no symbolic links. */
function bareProgramsIn(folder: string): string {
  const native = join(folder, 'native');
  cpSync(findPackage().native, native, { recursive: true, verbatimSymlinks: true });
  for (const name of readdirSync(join(native, 'lib')))
    if (lstatSync(join(native, 'lib', name)).isSymbolicLink()) unlinkSync(join(native, 'lib', name));
  return native;
}

describe('programs', () => {
  test('get their missing library links', async () => {
    const folder = scratchFolder('syncstate-embedded-');
    chmodSync(folder, 0o755);
    try {
      const native = bareProgramsIn(folder);
      await running({ programs: { native, version: findPackage().version } }, async ({ url, pid }) => {
        expect(await ask(url, 'select 1 as one')).toEqual([{ one: 1 }]);
        if (process.platform === 'linux') expect(readlinkSync(`/proc/${pid}/exe`)).toBe(join(native, 'bin/postgres'));
      });
      expect(lstatSync(join(native, 'lib/libpq.so.5')).isSymbolicLink()).toBe(true);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  if (asRoot) {
    test('below a closed folder are copied to where the database user reaches them, links and all', async () => {
      const folder = scratchFolder('syncstate-embedded-');
      const version = `test.${process.pid}`;
      try {
        const native = bareProgramsIn(folder);
        await running({ programs: { native, version: `18.${version}` } }, async ({ url, pid }) => {
          expect(await ask(url, 'select 1 as one')).toEqual([{ one: 1 }]);
          expect(readlinkSync(`/proc/${pid}/exe`)).toBe(join(shelter, `native-18.${version}`, 'native/bin/postgres'));
        });
      } finally {
        rmSync(folder, { recursive: true });
        rmSync(join(shelter, `native-18.${version}`), { recursive: true, force: true });
      }
    });
  }
});

if (asRoot) {
  describe('started as root', () => {
    test('PostgreSQL runs as somebody else, who owns its files and cannot read ours', () =>
      running({}, async ({ pid }) => {
        const { uid } = statSync(data);
        expect(uid).not.toBe(0);
        expect(readFileSync(`/proc/${pid}/status`, 'utf8')).toMatch(
          new RegExp(`^Uid:\\s+${uid}\\s+${uid}\\s+${uid}\\s+${uid}$`, 'm'),
        );
        const attempt = spawnSync('cat', [join(dataDir, 'postgres.key')], { uid, encoding: 'utf8' });
        expect(attempt.stdout).toBe('');
        expect(attempt.status).toBe(1);
      }));

    test('below a closed folder the cluster lies elsewhere, and the data folder remembers where', async () => {
      const closed = mkdtempSync(join(scratchRoot(), 'syncstate-embedded-'));
      const inside = join(closed, 'data');
      let home = '';
      try {
        await running({ dataDir: inside }, ({ url }) => ask(url, 'create table kept (n integer)'));
        ({ home } = JSON.parse(readFileSync(join(inside, 'postgres.json'), 'utf8')) as { home: string });
        expect(home.startsWith(`${shelter}/`)).toBe(true);
        expect(statSync(closed).mode & 0o777).toBe(0o700);
        expect(existsSync(join(inside, 'postgres'))).toBe(false);
        await running({ dataDir: inside }, async ({ url }) => expect(await ask(url, 'select * from kept')).toEqual([]));
      } finally {
        rmSync(closed, { recursive: true });
        if (home !== '') rmSync(home, { recursive: true });
      }
    });

    test('an ordinary user makes and runs a cluster of their own, with or without a name in /etc/passwd', async () => {
      const programs = mkdtempSync(join(scratchRoot(), 'syncstate-embedded-'));
      chmodSync(programs, 0o755);
      cpSync(findPackage().native, join(programs, 'native'), { recursive: true, verbatimSymlinks: true });
      try {
        for (const uid of [statSync(data).uid, 54_321]) {
          const folder = mkdtempSync(join(scratchRoot(), 'syncstate-embedded-'));
          chmodSync(folder, 0o777);
          const args = [
            join(import.meta.dirname, 'child.testing.ts'),
            join(folder, 'data'),
            'once',
            String(uid),
            String(uid),
            join(programs, 'native'),
          ];
          const done = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 30_000 });
          rmSync(folder, { recursive: true });
          const namespaces =
            uid !== 54_321 || spawnSync('unshare', ['--user', '--map-user=65534', 'true'], { uid }).status === 0;
          if (namespaces)
            expect({ status: done.status, started: done.stdout.includes('"adopted":false') }, done.stderr).toEqual({
              status: 0,
              started: true,
            });
          else expect(done.stderr).toContain('has no entry in /etc/passwd');
        }
      } finally {
        rmSync(programs, { recursive: true });
      }
    });
  });
}
