/** The `syncstate` command under the pinned Node. */
import { readConfig, ConfigError } from '#server/config.ts';
import { run, StartRefused, type Role } from '#server/main.ts';

const [role = 'start'] = process.argv.slice(2);

async function start(): Promise<void> {
  const running = await run(role as Role, readConfig());
  const stop = (): void => {
    const hurry = setTimeout(() => process.exit(0), 4_500);
    hurry.unref();
    void running.stop().then(() => process.exit(0));
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  process.stdout.write(`SyncState is running: ${running.url}\n`);
  if (running.openLink !== null) process.stdout.write(`Open ${running.openLink}\n`);
}

try {
  await start();
} catch (error) {
  const known = error instanceof StartRefused || error instanceof ConfigError;
  process.stderr.write(`${known ? error.message : error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(1);
}
