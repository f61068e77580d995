/** All commands, put together: what main.ts runs, and what tests run in their own process with their own streams. */
import { accessCommands } from './access.ts';
import { attentionCommands } from './attention.ts';
import { benchCommands } from './bench.ts';
import { createCli, type ParsedCli } from './cli.ts';
import { connectionCommands } from './connections.ts';
import { driftCommands } from './drift.ts';
import { explainCommands } from './explain.ts';
import { feedCommands } from './feeds.ts';
import { fileCommands } from './files.ts';
import { freshnessCommands } from './freshness.ts';
import { maintenanceCommands } from './maintenance.ts';
import { operationCommands } from './operation.ts';
import type { Streams } from './output.ts';
import { runCommands } from './runs.ts';
import { scarcityCommands } from './scarcity.ts';
import { simulateCommands } from './simulate.ts';
import { startCommands } from './start.ts';
import { statusCommands } from './status.ts';
import { stockCommands } from './stock.ts';
import { sweepCommands } from './sweep.ts';
import { syncCommands } from './sync.ts';
import { traceCommands } from './trace.ts';

export function createSyncState(version: string, streams: Streams): ParsedCli {
  const cli = createCli(version, streams);
  startCommands(cli);
  maintenanceCommands(cli);
  accessCommands(cli);
  connectionCommands(cli);
  syncCommands(cli);
  sweepCommands(cli);
  operationCommands(cli);
  feedCommands(cli);
  fileCommands(cli);
  runCommands(cli);
  stockCommands(cli);
  explainCommands(cli);
  scarcityCommands(cli);
  driftCommands(cli);
  freshnessCommands(cli);
  statusCommands(cli);
  traceCommands(cli);
  attentionCommands(cli);
  simulateCommands(cli);
  benchCommands(cli);
  return cli;
}
