/**
 * start, server, worker: the long-running roles.
 *
 *   starting → (the server answers) running → (SIGTERM or SIGINT) stopping → exit 0 within 5 s
 *
 * A signal may come in any state and more than once (a process group gets it twice: from outside and from the launcher).
 * What is not over after 4.5 s is left: a kill at any instruction loses nothing.
 */
import { flushCompileCache } from 'node:module';
import { resolve } from 'node:path';
import { lockDataDirSoon } from '#store/embedded/lock.ts';
import { type Cli, examples } from './cli.ts';
import { CommandError, type Output } from './output.ts';
import { configOf, type GlobalOptions } from './session.ts';

type Role = 'start' | 'server' | 'worker';

const hurryMs = 4_500;

export function startCommands(cli: Cli): void {
  const { program } = cli;
  const start = program
    .command('start')
    .description('run everything in one process, with the bundled database unless DATABASE_URL is set')
    .addHelpText('after', examples('start', 'start --data-dir /var/lib/syncstate'));
  const server = program
    .command('server')
    .description('API and webhooks only; any number beside any number of workers')
    .addHelpText('after', examples('server'));
  const worker = program
    .command('worker')
    .description('takes in events and publishes stock, without an API')
    .addHelpText('after', examples('worker'));
  cli.on(start, ({ options, output }) => serve('start', options, output));
  cli.on(server, ({ options, output }) => serve('server', options, output));
  cli.on(worker, ({ options, output }) => serve('worker', options, output));
}

async function serve(role: Role, options: GlobalOptions, output: Output): Promise<0> {
  const stopped = signalled();
  const config = serverConfig(options);
  // Before the server's code is loaded: a second start is told at once.
  if (role === 'start') await refuseIfInUse(resolve(config.dataDir));
  const { run } = await import('#server/main.ts');
  const running = await run(role, config);
  output.result(
    { role, url: running.url, openLink: running.openLink, pid: process.pid, dataDir: resolve(config.dataDir) },
    (print) => {
      print(running.url === null ? 'SyncState works.' : `SyncState is running: ${running.url}`);
      if (running.openLink !== null) print(`Open ${running.openLink} (the key in the link signs you in to the demo)`);
      else if (running.url !== null) print('Sign in with an API key: syncstate key create <name>');
    },
  );
  // Kept now, too: a server that is killed leaves the next one its compiled code all the same.
  flushCompileCache();
  await stopped;
  await running.stop();
  return 0;
}

/** A server logs as its environment says; only commands are quiet by default. */
function serverConfig(options: GlobalOptions): ReturnType<typeof configOf> {
  process.env.LOG_LEVEL ??= 'info';
  return configOf(options);
}

/** Resolves at the first signal; from then on the process ends with 0 in time, whatever still runs. */
function signalled(): Promise<void> {
  return new Promise((done) => {
    let first = true;
    const stop = (): void => {
      if (!first) return;
      first = false;
      setTimeout(() => process.exit(0), hurryMs).unref();
      done();
    };
    process.on('SIGTERM', stop);
    process.on('SIGINT', stop);
    process.on('SIGHUP', stop);
  });
}

async function refuseIfInUse(dataDir: string): Promise<void> {
  const lock = await lockDataDirSoon(dataDir);
  if (lock.kind === 'locked') return lock.release();
  const instead = 'start with another SYNCSTATE_DATA_DIR';
  throw new CommandError(
    'start.in_use',
    lock.holder === 'command'
      ? `${lock.message} Start again when it is done, or ${instead}.`
      : `${lock.message} It was left alone; stop it first, or ${instead}.`,
  );
}
