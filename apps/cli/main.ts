/** The `syncstate` command under the pinned Node (apps/cli/syncstate.mjs): parses, runs one command, ends with its exit code. */
import { version } from '#server/version.ts';
import { createCli } from './cli.ts';
import { startCommands } from './start.ts';

// A reader that has seen enough (`syncstate export movements | head`) ends the command quietly.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

const cli = createCli(version);
startCommands(cli);
process.exit(await cli.run(process.argv.slice(2)));
