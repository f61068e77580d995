/** status: is everything working now, and if not, what, why and since when. */
import { type Cli, examples } from './cli.ts';
import { table } from './output.ts';

export function statusCommands(cli: Cli): void {
  cli.withSession(
    cli.program
      .command('status')
      .description(
        'each part of the installation: ok, degraded or down, why and since when; exit 1 when something is down',
      )
      .addHelpText('after', examples('status', 'status --json')),
    async (session, { output }) => {
      const { id: orgId } = session.organization();
      const health = await (await session.deps()).api.health.check(orgId);
      output.result(health, (print) => {
        const rows = health.parts.map(({ state, part, reason, since }) => [
          state,
          part,
          state === 'ok' ? '' : (since ?? '').slice(0, 19),
          reason,
        ]);
        for (const line of table(['state', 'part', 'since', 'why'], rows, Number.POSITIVE_INFINITY)) print(line);
      });
      return health.state === 'down' ? 1 : 0;
    },
  );
}
