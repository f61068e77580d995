/**
 * A process with an embedded database, for tests that kill it:
 *
 *   node child.testing.ts <data folder> hold                  start and stay
 *   node child.testing.ts <data folder> orphan                the same, without the wish to die together
 *   node child.testing.ts <data folder> write                 start and insert 1, 2, 3 …, telling each number once committed
 *   node child.testing.ts <data folder> lock                  only take the folder's lock and stay
 *   node child.testing.ts <data folder> once <uid> <gid> <programs>   become that user, start, stop, end
 *
 * Says one JSON object per line on stdout.
 */
import pg from 'pg';
import { findPackage } from './binaries.ts';
import { startEmbedded } from './index.ts';
import { lockDataDir } from './lock.ts';

const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`);
const [dataDir = '', mode = '', uid, gid, native] = process.argv.slice(2);

// Whatever happens to the test, this process ends.
setTimeout(() => process.exit(3), 60_000);

async function write(url: string): Promise<never> {
  const client = new pg.Client({ connectionString: url });
  // Killed before us: nothing more to tell.
  client.on('error', () => process.exit(2));
  await client.connect();
  await client.query('create table if not exists written (n integer primary key)');
  const { rows } = await client.query<{ last: number }>('select coalesce(max(n), 0) as last from written');
  for (let n = (rows[0]?.last ?? 0) + 1; ; n += 1) {
    await client.query('insert into written values ($1)', [n]).catch(() => process.exit(2));
    say({ committed: n });
  }
}

if (mode === 'lock') {
  const lock = lockDataDir(dataDir);
  say({ kind: lock.kind });
  if (lock.kind === 'in_use') {
    process.stderr.write(`${lock.message}\n`);
    process.exit(1);
  }
} else {
  // Looked up before the change of user, who may not be able to read the repository.
  const programs = native === undefined ? findPackage() : { ...findPackage(), native };
  if (uid !== undefined && gid !== undefined) {
    process.setgroups?.([]);
    process.setgid?.(Number(gid));
    process.setuid?.(Number(uid));
  }
  const embedded = await startEmbedded({
    dataDir,
    programs,
    log: (line) => process.stderr.write(`${line}\n`),
    dieWithParent: mode !== 'orphan',
  }).catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  });
  say({ pid: embedded.pid, adopted: embedded.adopted, url: embedded.url });
  if (mode === 'write') await write(embedded.url);
  if (mode === 'once') {
    await embedded.stop();
    process.exit(0);
  }
}
