/**
 * pgbench, the yardstick of ledger benches: `pgbench -N` (update one of 100,000 accounts, read it, note it: one transaction) with
 * 8 connections on the very server that is measured. Taken from the system, else from Debian's package, unpacked beside the results.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const tools = join(import.meta.dirname, '..', 'results', 'tools');

const candidates = (): string[] => {
  const versions = (root: string) =>
    existsSync(root) ? readdirSync(root).map((name) => join(root, name, 'bin', 'pgbench')) : [];
  return [...versions('/usr/lib/postgresql'), ...versions(join(tools, 'usr', 'lib', 'postgresql'))].filter(existsSync);
};

async function find(): Promise<string> {
  const [known] = candidates();
  if (known) return known;
  mkdirSync(tools, { recursive: true });
  await run('apt-get', ['download', 'postgresql-15', 'libpq5'], { cwd: tools });
  for (const file of readdirSync(tools).filter((name) => name.endsWith('.deb')))
    await run('dpkg', ['-x', file, '.'], { cwd: tools });
  const [found] = candidates();
  if (!found) throw new Error('the package has no pgbench');
  return found;
}

export interface Pgbench {
  /** Transactions a second, `pgbench -N`, prepared statements. */
  perSecond(seconds: number): Promise<number>;
}

/** @param url of the owner; makes the database `pgbench` beside the measured one. Null with the reason when it cannot be had. */
export async function openPgbench(
  url: string,
  createDatabase: (name: string) => Promise<void>,
): Promise<Pgbench | { missing: string }> {
  try {
    const program = await find();
    await createDatabase('pgbench');
    const { username, password, searchParams } = new URL(url);
    const libraries = ['x86_64-linux-gnu', 'aarch64-linux-gnu']
      .map((arch) => join(tools, 'usr', 'lib', arch))
      .join(':');
    const env = {
      ...process.env,
      PGHOST: searchParams.get('host') ?? new URL(url).hostname,
      PGPORT: new URL(url).port || '5432',
      PGUSER: username,
      PGPASSWORD: decodeURIComponent(password),
      PGDATABASE: 'pgbench',
      LD_LIBRARY_PATH: libraries,
    };
    await run(program, ['-i', '-q', '-s', '1'], { env });
    return {
      async perSecond(seconds) {
        const { stdout } = await run(
          program,
          ['-N', '-n', '-c', '8', '-j', '1', '-M', 'prepared', '-T', String(seconds)],
          { env },
        );
        return Math.round(Number(/tps = ([\d.]+)/.exec(stdout)?.[1] ?? 0));
      },
    };
  } catch (error) {
    return { missing: error instanceof Error ? error.message.slice(0, 200) : String(error) };
  }
}
