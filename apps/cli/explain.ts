/** explain: how a published number comes about, step by step, now or at a past time. */
import { normalizeSku } from '#core/catalog/sku.ts';
import { type ExplainedTarget, explain } from '#server/flows/explain.ts';
import { listLocations } from '#store/catalog/lookup.ts';
import { type Cli, examples } from './cli.ts';
import { findConnection } from './connection-lookup.ts';
import { CommandError, table, unknown } from './output.ts';
import { timeOption } from './values.ts';

interface ExplainOptions {
  at?: number;
  connection?: string;
}

export function explainCommands(cli: Cli): void {
  cli.withSession<ExplainOptions>(
    cli.program
      .command('explain')
      .argument('<sku>')
      .option('--connection <name|id>', 'only there')
      .option('--at <time>', 'as it was then (business time); an age such as 2h counts back from now', timeOption)
      .description('every published number of a SKU, taken apart')
      .addHelpText('after', examples('explain DEMO-001', 'explain KIT-2 --connection demo-a --at 2h')),
    async (session, { args, options, output }) => {
      const { id: orgId } = session.organization();
      const sku = normalizeSku(args[0] ?? '');
      if (sku === null) throw unknown(`SKU "${args[0]}"`);
      const now = session.clock.now();
      if (options.at !== undefined && options.at > now)
        throw new CommandError('cli.usage', 'That time is still to come: nothing is known of it.', 2);
      const only = options.connection === undefined ? null : (await findConnection(session, options.connection)).id;
      const { all, locations } = await session.store.readOnly(orgId, async (tx) => ({
        all: await explain(tx, orgId, sku, null, now, options.at ?? null),
        locations: await listLocations(tx, orgId),
      }));
      if (all === null) throw unknown(`SKU ${sku}`);
      const targets = all.filter(({ connectionId }) => only === null || connectionId === only);
      const codes = new Map(locations.map(({ id, code }) => [id, code]));
      output.result({ sku, at: new Date(options.at ?? now).toISOString(), targets }, (print) => {
        if (targets.length === 0) print(`${sku} is not listed${only === null ? ' on any channel' : ' there'}.`);
        for (const target of targets) tell(target, codes, print);
      });
    },
  );
}

function tell(target: ExplainedTarget, codes: ReadonlyMap<string, string>, print: (line: string) => void): void {
  print(`${target.connection}  ${target.channelLocation}  should show ${target.desired}`);
  const rows = target.steps.map((step) => [
    step.label,
    step.amount > 0 ? `+${step.amount}` : String(step.amount),
    step.running,
    codes.get(step.source) ?? (/^[0-9a-f-]{36}$/.test(step.source) ? '' : step.source),
  ]);
  for (const line of table(['step', 'units', 'total', 'from'], rows)) print(`  ${line}`);
  for (const line of channelInWords(target)) print(`  ${line}`);
  print('');
}

/** Where nothing else says why it is not right yet. */
const stateWords: Readonly<Record<string, string>> = {
  pending: 'It waits for its turn to be sent.',
  sent: 'No answer came yet. It is read back before anything is sent again.',
  unknown: 'Whether the last write arrived is not known. It is read back before anything is sent again.',
};

function channelInWords({ channel, past }: ExplainedTarget): string[] {
  if (past)
    return [
      past.observed === null
        ? 'Nothing was seen of it by then.'
        : `It showed ${past.observed}, seen ${past.observedAt}.`,
      past.sent === null
        ? 'Nothing had been sent.'
        : `Last sent: ${past.sent} at ${past.sentAt} (${past.outcome ?? 'outcome unknown'}).`,
    ];
  if (!channel) return [];
  const unseen = channel.unseen > 0 ? `, ${channel.unseen} presumed sold there` : '';
  const unbooked = channel.unbooked > 0 ? `, ${channel.unbooked} sold there and not booked yet` : '';
  return [
    [channel.state, channel.reason ?? stateWords[channel.state]].filter(Boolean).join(': '),
    `It shows ${channel.observed ?? 'nothing known'}${channel.observedAt === null ? '' : `, seen ${channel.observedAt}`}; expected ${channel.expected ?? 'unknown'}${unseen}${unbooked}; last accepted ${channel.accepted ?? 'nothing'}.`,
  ];
}
