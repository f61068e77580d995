/** The `syncstate` command under the pinned Node (apps/cli/syncstate.mjs): parses, runs one command, ends with its exit code. */
import { version } from '#server/version.ts';
import { accessCommands } from './access.ts';
import { attentionCommands } from './attention.ts';
import { benchCommands } from './bench.ts';
import { createCli } from './cli.ts';
import { connectionCommands } from './connections.ts';
import { fileCommands } from './files.ts';
import { maintenanceCommands } from './maintenance.ts';
import { simulateCommands } from './simulate.ts';
import { startCommands } from './start.ts';
import { stockCommands } from './stock.ts';
import { syncCommands } from './sync.ts';

// A reader that has seen enough (`syncstate export movements | head`) ends the command quietly.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

const cli = createCli(version);
startCommands(cli);
maintenanceCommands(cli);
accessCommands(cli);
connectionCommands(cli);
syncCommands(cli);
fileCommands(cli);
stockCommands(cli);
attentionCommands(cli);
simulateCommands(cli);
benchCommands(cli);
process.exit(await cli.run(process.argv.slice(2)));
