/** simulate: being the buyer, the shop owner or the trouble at a simulated channel, through its control under /_sim. */
import type { Command } from 'commander';
import { type Cli, examples, type Invocation } from './cli.ts';
import { findConnection } from './connection-lookup.ts';
import { CommandError, table, usage } from './output.ts';
import type { Session } from './session.ts';
import { lineOption, parseLine, type SkuUnits, wholeNumber } from './values.ts';

const faults = [
  'drop',
  'duplicate',
  'delay',
  'reorder',
  'status',
  'timeout_before',
  'timeout_after',
  'revoke',
  'half_batch',
  'feed_stuck',
];

interface Order {
  id: string;
  lines: { id: string; sku: string; quantity: number }[];
}

interface State {
  now: string;
  profile: string;
  items: { sku: string; location: string; quantity: number; committed: number }[];
  orders: { id: string; status: string; lines: { sku: string; quantity: number }[] }[];
}

export function simulateCommands(cli: Cli): void {
  const simulate = cli.program
    .command('simulate')
    .description('act at a simulated connection: buy, cancel, edit, break things (never possible on a live one)')
    .addHelpText(
      'after',
      examples(
        'simulate order "Demo A" DEMO-001=2',
        'simulate cancel "Demo A" gid://shopify/Order/1 --restock',
        'simulate edit-stock "Amazon" DEMO-001 7',
        'simulate fault "Demo A" drop --times 1',
      ),
    );
  buyerCommands(cli, simulate);
  ownerCommands(cli, simulate);
  troubleCommands(cli, simulate);
}

/** Calls the control of the connection named first; refuses a live one, as the API does. */
async function control<T>(session: Session, named: string, method: string, path: string, body?: unknown): Promise<T> {
  const connection = await findConnection(session, named);
  if (connection.kind !== 'simulated' || connection.baseUrl === null)
    throw new CommandError(
      'domain.not_simulated',
      `${connection.name} is a live connection: nothing is simulated there.`,
    );
  const answer = await fetch(`${connection.baseUrl}/_sim${path}`, {
    method,
    ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(15_000),
  }).catch((error: unknown) => {
    throw new CommandError(
      'cli.no_simulator',
      `The simulator of ${connection.name} does not answer (${error instanceof Error ? error.message : String(error)}). It runs with the demo: npm start`,
    );
  });
  const text = await answer.text();
  const told = text === '' ? null : (JSON.parse(text) as { error?: string });
  if (!answer.ok)
    throw new CommandError(
      'domain.refused_by_channel',
      `${connection.name}: ${told?.error ?? `status ${answer.status}`}`,
    );
  return told as T;
}

type Shape<Options> = (invocation: Invocation<Options>) => {
  path: string;
  body: Record<string, unknown>;
  told(answer: never): string;
};

/** A command that is one POST to the control. */
function posts<Options>(cli: Cli, command: Command, shape: Shape<Options>): void {
  cli.withSession<Options>(command, async (session, invocation) => {
    const { path, body, told } = shape(invocation);
    const answer = await control<never>(session, invocation.args[0] ?? '', 'POST', path, body);
    invocation.output.result(answer, (print) => print(told(answer)));
  });
}

const linesOf = (args: readonly string[], from: number): SkuUnits[] => args.slice(from).map(parseLine);

function buyerCommands(cli: Cli, simulate: Command): void {
  posts<{ pending?: boolean; oversell?: boolean; location?: string; id?: string }>(
    cli,
    simulate
      .command('order')
      .argument('<connection>')
      .argument('<sku=units...>')
      .option('--pending', 'not paid yet')
      .option('--oversell', 'more than the channel shows')
      .option('--location <id>', 'taken from this place of the channel')
      .option('--id <id>', "the order's own id")
      .description('a buyer buys')
      .addHelpText('after', examples('simulate order "Demo A" DEMO-001=2 DEMO-002')),
    ({ args, options }) => ({
      path: '/orders',
      body: {
        lines: linesOf(args, 1),
        status: options.pending === true ? 'pending' : 'paid',
        ...optional(options, ['location', 'id', 'oversell']),
      },
      told: (order: Order) =>
        `Order ${order.id}: ${order.lines.map(({ sku, quantity }) => `${quantity} × ${sku}`).join(', ')}`,
    }),
  );
  posts(
    cli,
    simulate.command('pay').argument('<connection>').argument('<order>').description('a pending order is paid'),
    ({ args }) => ({ path: '/payments', body: { order: args[1] }, told: () => `Order ${args[1]} is paid.` }),
  );
  posts<{ restock?: boolean; line?: SkuUnits[] }>(
    cli,
    simulate
      .command('cancel')
      .argument('<connection>')
      .argument('<order>')
      .option('--restock', 'the channel adds the units to its number again')
      .option('--line <sku=units>', 'only these; may be repeated', lineOption)
      .description('an order is cancelled'),
    ({ args, options }) => ({
      path: '/cancellations',
      body: { order: args[1], restock: options.restock === true, ...(options.line ? { lines: options.line } : {}) },
      told: () => `Order ${args[1]} is cancelled.`,
    }),
  );
  posts(
    cli,
    simulate
      .command('edit-order')
      .argument('<connection>')
      .argument('<order>')
      .argument('<sku=units...>', 'how many the buyer is to get of each')
      .description('an order is edited'),
    ({ args }) => ({
      path: '/edits',
      body: { order: args[1], lines: linesOf(args, 2) },
      told: () => `Order ${args[1]} is edited.`,
    }),
  );
  posts<{ restock?: boolean; disposition: string }>(
    cli,
    simulate
      .command('return')
      .argument('<connection>')
      .argument('<order>')
      .argument('<sku=units...>')
      .option('--restock', 'the channel adds them to its number')
      .option('--disposition <word>', "condition in the vendor's word", 'SELLABLE')
      .description('goods come back'),
    ({ args, options }) => ({
      path: '/returns',
      body: {
        order: args[1],
        restock: options.restock === true,
        lines: linesOf(args, 2).map((line) => ({ ...line, disposition: options.disposition })),
      },
      told: () => `Goods of order ${args[1]} came back.`,
    }),
  );
  posts(
    cli,
    simulate
      .command('fulfill')
      .argument('<connection>')
      .argument('<order>')
      .argument('<sku=units...>')
      .description('goods leave'),
    ({ args }) => ({
      path: '/fulfillments',
      body: { order: args[1], lines: linesOf(args, 2) },
      told: () => `Goods of order ${args[1]} left.`,
    }),
  );
}

function ownerCommands(cli: Cli, simulate: Command): void {
  posts<{ location?: string }>(
    cli,
    simulate
      .command('edit-stock')
      .argument('<connection>')
      .argument('<sku>')
      .argument('<quantity>')
      .option('--location <id>', 'place of the channel')
      .description("somebody edits the number in the channel's admin"),
    ({ args, options }) => {
      const quantity = wholeNumber(0, 1_000_000_000)(args[2] ?? '');
      return {
        path: '/stock',
        body: { sku: args[1], quantity, ...optional(options, ['location']) },
        told: () => `${args[1]} shows ${quantity} there now.`,
      };
    },
  );
  cli.withSession<{ sku?: string }>(
    simulate
      .command('state')
      .argument('<connection>')
      .option('--sku <sku>', 'only this one')
      .description("the channel's truth: its numbers and orders"),
    async (session, { args, options, output }) => {
      const state = await control<State>(session, args[0] ?? '', 'GET', '/state');
      const items = state.items.filter(({ sku }) => options.sku === undefined || sku === options.sku);
      output.result({ ...state, items }, (print) => {
        for (const line of table(
          ['SKU', 'place', 'quantity', 'committed'],
          items.map((item) => [item.sku, item.location, item.quantity, item.committed]),
        ))
          print(line);
        print(`${state.orders.length} orders, profile ${state.profile}, ${state.now}`);
      });
    },
  );
  cli.withSession<{ since: number }>(
    simulate
      .command('calls')
      .argument('<connection>')
      .option('--since <n>', 'after this call', wholeNumber(0, Number.MAX_SAFE_INTEGER), 0)
      .description('calls the simulator received'),
    async (session, { args, options, output }) => {
      const told = await control<{
        next: number;
        calls: { n: number; at: string; operation: string; status: number; applied: boolean }[];
      }>(session, args[0] ?? '', 'GET', `/calls?since=${options.since}`);
      output.result(told, (print) => {
        for (const line of table(
          ['n', 'at', 'operation', 'status', 'applied'],
          told.calls.map((call) => [call.n, call.at, call.operation, call.status, call.applied]),
        ))
          print(line);
      });
    },
  );
}

interface FaultOptions {
  operation?: string;
  topic?: string;
  times?: number;
  ms?: number;
  status?: number;
  retryAfter?: number;
}

function troubleCommands(cli: Cli, simulate: Command): void {
  posts<FaultOptions>(
    cli,
    simulate
      .command('fault')
      .argument('<connection>')
      .argument('<kind>', faults.join(', '))
      .option('--operation <name>', 'only calls of this operation')
      .option('--topic <topic>', 'only events of this topic')
      .option('--times <n>', 'so often (default: until cleared)', wholeNumber(1, 1_000_000))
      .option('--ms <n>', 'how long', wholeNumber(0, 3_600_000))
      .option('--status <n>', 'the answer', wholeNumber(300, 599))
      .option('--retry-after <s>', 'what the answer asks to wait', wholeNumber(0, 86_400))
      .description('something goes wrong from now on')
      .addHelpText(
        'after',
        examples(
          'simulate fault "Demo A" drop --topic orders/create --times 1',
          'simulate fault "Amazon" status --status 503 --times 3',
        ),
      ),
    ({ args, options }) => {
      const kind = args[1] ?? '';
      if (!faults.includes(kind)) throw usage(`There is no fault "${kind}". There are: ${faults.join(', ')}`);
      const match = optional(options, ['operation', 'topic']);
      return {
        path: '/faults',
        body: {
          kind,
          ...optional(options, ['times', 'ms', 'status', 'retryAfter']),
          ...(Object.keys(match).length > 0 ? { match } : {}),
        },
        told: ({ id }: { id: string }) =>
          `Fault ${id} is set. Clear it: syncstate simulate clear-faults ${JSON.stringify(args[0])}`,
      };
    },
  );
  cli.withSession(
    simulate.command('clear-faults').argument('<connection>').description('nothing goes wrong any more'),
    async (session, { args, output }) => {
      const told = await control<{ removed: number }>(session, args[0] ?? '', 'DELETE', '/faults');
      output.result(told, (print) => print(`Cleared ${told.removed}.`));
    },
  );
  posts(
    cli,
    simulate
      .command('profile')
      .argument('<connection>')
      .argument('<profile>', 'open or vendor')
      .description('without limits and delays (open), or as documented (vendor)'),
    ({ args }) => ({ path: '/profile', body: { profile: args[1] }, told: () => `Profile ${args[1]}.` }),
  );
}

function optional(options: object, names: readonly string[]): Record<string, unknown> {
  const given = options as Record<string, unknown>;
  return Object.fromEntries(names.filter((name) => given[name] !== undefined).map((name) => [name, given[name]]));
}
