/** trace, calls: what happened to one order, event or SKU, and what was said to the channels. */
import { type CallFilter, type CallItem, readCalls } from '#store/views/calls.ts';
import { readTrace } from '#store/views/trace.ts';
import { type Cli, examples } from './cli.ts';
import { findConnection } from './connection-lookup.ts';
import { count, table, unknown, usage } from './output.ts';
import { timeOption } from './values.ts';

interface CallOptions {
  connection?: string;
  operation?: string;
  status?: string;
  sku?: string;
  correlation?: string;
  from?: number;
  to?: number;
  limit?: string;
  bodies?: boolean;
}

export function traceCommands(cli: Cli): void {
  cli.withSession(
    cli.program
      .command('trace')
      .argument('<order number|external id|correlation id|sku>')
      .description(
        'the whole path of an order: event, claims, attempts, calls, what the channels showed; with times and gaps',
      )
      .addHelpText(
        'after',
        `${examples('trace 1042', 'trace DEMO-001 --json')}\n\nA correlation id is the x-request-id of the webhook or API call, and stands in every log line of the path.`,
      ),
    async (session, { args, output }) => {
      const { id: orgId } = session.organization();
      const term = args[0] ?? '';
      const trace = await session.store.readOnly(orgId, (tx) => readTrace(tx, orgId, term));
      if (trace === null) throw unknown(`order, event or SKU "${term}"`);
      output.result({ ...trace }, (print) => {
        for (const { number, externalId, id } of trace.orders) print(`order ${number}  ${externalId}  ${id}`);
        const rows = trace.stations.map(({ at, gapMs, station, text, correlationId }) => [
          at,
          gapMs === null ? '' : `+${gapMs} ms`,
          station,
          correlationId ?? '',
          text,
        ]);
        for (const line of table(['time', 'after', 'station', 'correlation', 'what'], rows, Number.POSITIVE_INFINITY))
          print(line);
        print(`${count(trace.stations.length, 'station')} in ${trace.tookMs} ms`);
      });
    },
  );
  cli.withSession<CallOptions>(
    cli.program
      .command('calls')
      .option('--connection <name|id>', 'only of this connection')
      .option('--operation <name>', 'only of this operation')
      .option('--status <code|failed>', 'only with this status; "failed": 400 and above, or no answer')
      .option('--sku <sku>', 'only calls that carried it')
      .option('--correlation <id>', 'only calls made for this event')
      .option('--from <time>', 'not before; an age such as 2h counts back from now', timeOption)
      .option('--to <time>', 'before', timeOption)
      .option('--limit <n>', 'how many, newest first', '50')
      .option('--bodies', 'print requests and answers too')
      .description('calls to vendors with their answers, secrets removed; kept for 90 days')
      .addHelpText(
        'after',
        examples('calls --status failed --from 2h', 'calls --sku DEMO-001 --bodies', 'calls --json'),
      ),
    async (session, { options, output }) => {
      const { id: orgId } = session.organization();
      const connection =
        options.connection === undefined ? null : (await findConnection(session, options.connection)).id;
      const filter = filterOf(options, connection);
      const { items } = await session.store.tenant(orgId, (tx) => readCalls(tx, orgId, filter));
      output.result({ items }, (print) => tellCalls(items, options.bodies === true, print));
    },
  );
}

function filterOf(options: CallOptions, connectionId: string | null): CallFilter {
  const limit = Number(options.limit);
  if (!Number.isInteger(limit) || limit < 1 || limit > 1_000) throw usage('--limit is a number from 1 to 1000.');
  const code = options.status === undefined || options.status === 'failed' ? null : Number(options.status);
  if (code !== null && !(Number.isInteger(code) && code >= 0 && code <= 599))
    throw usage('--status is a status such as 429, 0 for no answer, or "failed".');
  if (options.correlation !== undefined && !/^[0-9a-f-]{36}$/i.test(options.correlation))
    throw usage('--correlation is the id as the log has it.');
  return {
    from: options.from === undefined ? null : new Date(options.from),
    to: options.to === undefined ? null : new Date(options.to),
    connectionId,
    operation: options.operation ?? null,
    status: options.status === 'failed' ? 'failed' : code,
    sku: options.sku ?? null,
    correlationId: options.correlation ?? null,
    limit,
    after: null,
  };
}

function tellCalls(items: readonly CallItem[], bodies: boolean, print: (line: string) => void): void {
  if (items.length === 0) print('No call fits.');
  if (!bodies) {
    const rows = items.map((call) => [
      call.at.slice(0, 23),
      call.operation,
      call.status ?? call.code ?? 'no answer',
      call.tookMs,
      call.attempt,
      call.skus.join(' '),
    ]);
    for (const line of table(['time', 'operation', 'status', 'ms', 'try', 'SKUs'], rows)) print(line);
    return;
  }
  for (const call of items) {
    print(`${call.at}  ${call.method} ${call.url}  ${call.status ?? call.code ?? 'no answer'} in ${call.tookMs} ms`);
    if (call.request !== null) print(`  > ${call.request}`);
    if (call.response !== null) print(`  < ${call.response}`);
  }
}
