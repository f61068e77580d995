/** drift: numbers at channels that no order explains; listed with cause and evidence, decided, and the policy. */
import { Option } from 'commander';
import { driftCauses, driftStates } from '#core/stock/drift.ts';
import { setPolicy } from '#store/catalog/policies.ts';
import { decideDrift } from '#store/drift/decide.ts';
import { hasSubject, readDriftPolicies } from '#store/drift/policy.ts';
import { type DriftEvidenceItem, readDrift, readDrifts } from '#store/drift/read.ts';
import { type Cli, examples } from './cli.ts';
import { findConnection } from './connection-lookup.ts';
import { CommandError, count, table, unknown, usage } from './output.ts';
import { isUuid, wholeNumber } from './values.ts';

interface ListOptions {
  since?: string;
  connection?: string;
  cause?: string;
  state?: string;
  limit: number;
}

export function driftCommands(cli: Cli): void {
  const drift = cli.program.command('drift').description('numbers at channels that no order explains');
  cli.withSession<ListOptions>(
    drift
      .command('list')
      .option('--since <time>', 'found at or after, e.g. 2026-11-28 or 2026-11-28T10:00:00Z')
      .option('--connection <connection>', 'only of this account')
      .addOption(new Option('--cause <cause>', 'only of this cause').choices([...driftCauses]))
      .addOption(new Option('--state <state>', 'only in this state; open: not ended').choices([...driftStates, 'open']))
      .option('--limit <n>', 'how many at most', wholeNumber(1, 1_000), 50)
      .description('newest first, with cause and what was done')
      .addHelpText('after', examples('drift list --state open', 'drift list --cause channel_edit --json')),
    async (session, { options, output }) => {
      const { id: orgId } = session.organization();
      const since = options.since === undefined ? null : new Date(options.since);
      if (since && Number.isNaN(since.getTime())) throw usage(`--since: ${options.since} is no time.`);
      const connection = options.connection === undefined ? null : await findConnection(session, options.connection);
      const { items, next } = await session.store.tenant(orgId, (tx) =>
        readDrifts(tx, orgId, {
          since,
          connectionId: connection?.id ?? null,
          cause: options.cause ?? null,
          state: options.state ?? null,
          search: null,
          limit: options.limit,
          after: null,
        }),
      );
      output.result({ items, more: next !== null }, (print) => {
        for (const line of table(
          ['found', 'connection', 'sku', 'ours', 'shown', 'cause', 'state', 'id'],
          items.map((one) => [
            one.foundAt.slice(0, 19),
            one.connection,
            one.sku ?? one.stockKey,
            one.expected ?? '?',
            one.observed ?? '?',
            one.cause,
            one.state,
            one.id,
          ]),
        ))
          print(line);
        if (items.length === 0) print('None: every number at the channels is explained.');
        if (next !== null) print('There are more: --limit');
      });
    },
  );
  cli.withSession(
    drift
      .command('show')
      .argument('<id>')
      .description('one with its evidence')
      .addHelpText('after', examples('drift show 0192f1c2-…')),
    async (session, { args, output }) => {
      const { id: orgId } = session.organization();
      const [id = ''] = args;
      const found = isUuid(id) ? await session.store.tenant(orgId, (tx) => readDrift(tx, orgId, id)) : null;
      if (!found) throw unknown(`drift ${id}`);
      output.result(found, (print) => {
        for (const line of describeDrift(found)) print(line);
      });
    },
  );
  for (const [verb, text] of [
    ['heal', 'write our number again'],
    ['adopt', "book the channel's number as a fact"],
    ['dismiss', 'leave it as it is until our number changes'],
  ] as const)
    cli.withSession(
      drift
        .command(verb)
        .argument('<id>')
        .description(text)
        .addHelpText('after', examples(`drift ${verb} 0192f1c2-…`)),
      async (session, { args, output }) => {
        const { id: orgId } = session.organization();
        const [id = ''] = args;
        const decided = isUuid(id)
          ? await session.store.tenant(orgId, (tx) =>
              decideDrift(tx, orgId, id, verb, { actor: 'cli', now: session.clock.now() }),
            )
          : { kind: 'unknown' as const };
        if (decided.kind === 'unknown') throw unknown(`drift ${id}`, 'Nothing was changed.');
        if (decided.kind === 'ended')
          throw new CommandError('domain.drift_ended', `This drift is ${decided.state}: nothing is left to decide.`);
        output.result({ id, state: decided.state }, (print) =>
          print(`${decided.state}; a running server carries it out. See: drift show ${id}`),
        );
      },
    );
  policyCommand(cli, drift.command('policy'));
}

function policyCommand(cli: Cli, command: ReturnType<Cli['program']['command']>): void {
  cli.withSession<{ connection?: string; listing?: string }>(
    command
      .argument('[heal|ask|adopt|inherit]')
      .option('--connection <connection>', 'of this account only')
      .option('--listing <id>', 'of this listing only')
      .description('shows what is done about drift, or sets it; the most specific wins, without any: heal')
      .addHelpText('after', examples('drift policy', 'drift policy ask', 'drift policy adopt --connection "My shop"')),
    async (session, { args, options, output }) => {
      const { id: orgId } = session.organization();
      const [wanted] = args;
      if (wanted !== undefined) {
        if (!['heal', 'ask', 'adopt', 'inherit'].includes(wanted))
          throw usage(`heal, ask, adopt or inherit, not ${wanted}.`);
        const connection = options.connection === undefined ? null : await findConnection(session, options.connection);
        const listing = options.listing ?? null;
        if (listing !== null && !(await session.store.tenant(orgId, (tx) => hasSubject(tx, orgId, 'listing', listing))))
          throw unknown(`listing ${listing}`);
        const scope = listing !== null ? 'listing' : connection ? 'connection' : 'organization';
        const value = wanted === 'inherit' ? null : (wanted as 'heal' | 'ask' | 'adopt');
        await session.store.tenant(orgId, (tx) =>
          setPolicy(
            tx,
            orgId,
            { scope, scopeId: listing ?? connection?.id ?? orgId },
            { drift: value },
            { actor: 'cli', now: session.clock.now(), id: session.ids.uuid() },
          ),
        );
      }
      const items = await session.store.tenant(orgId, (tx) => readDriftPolicies(tx, orgId));
      output.result({ items }, (print) => {
        for (const line of table(
          ['of', 'name', 'policy'],
          items.map(({ scope, name, id, drift }) => [scope, name ?? id, drift]),
        ))
          print(line);
        if (items.length === 0) print('Everything is healed: no policy says otherwise.');
      });
    },
  );
}

function describeDrift(drift: DriftEvidenceItem): string[] {
  const { evidence } = drift;
  const lines = [
    `${drift.sku ?? drift.stockKey} at ${drift.connection} (${drift.channelLocation}): shows ${drift.observed ?? '?'}, expected ${drift.expected ?? '?'}.`,
    `Cause ${drift.cause}, ${drift.state}${drift.policy === null ? '' : ` by policy ${drift.policy}`}${drift.decidedBy === null ? '' : ` (${drift.decidedBy})`}; seen ${count(drift.times, 'time')}.`,
    `Observed ${drift.observedAt}, found ${drift.foundAt}, ended ${drift.endedAt ?? '–'}.`,
    `Base ${evidence.base ?? '?'} at ${evidence.baseAt ?? '?'}; orders read to ${evidence.ordersReadTo ?? '?'}.`,
  ];
  if (drift.reason !== null) lines.push(`Why: ${drift.reason}`);
  for (const { units, sure } of evidence.effects) lines.push(`  effect: ${units} taken${sure ? '' : ' (not sure)'}`);
  for (const one of evidence.attempts)
    lines.push(`  write: ${one.from ?? 'blind'} → ${one.value} at ${one.sentAt}: ${one.outcome ?? 'no answer'}`);
  for (const one of evidence.explained)
    lines.push(
      `  order ${one.externalId}: explains ${one.units} (${one.source === 'sweep' ? 'found by a sweep' : 'came by itself'})`,
    );
  for (const one of evidence.ordersConsidered)
    lines.push(`  order ${one.number}: considered, took ${one.taken ?? '?'}`);
  for (const one of evidence.observations) lines.push(`  ${one.source} ${one.at}: ${one.value}, ${one.verdict}`);
  return lines;
}
