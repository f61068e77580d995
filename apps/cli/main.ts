/** The `syncstate` command under the pinned Node (apps/cli/syncstate.mjs): parses, runs one command, ends with its exit code. */
import { version } from '#server/version.ts';
import { createSyncState } from './program.ts';

// A reader that has seen enough (`syncstate export movements | head`) ends the command quietly.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

process.exit(await createSyncState(version, process).run(process.argv.slice(2)));
