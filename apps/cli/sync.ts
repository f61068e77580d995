/** sync: one connection made right now, and waited for. */
import type { Deps } from '#server/deps.ts';
import { dirtyOrgs, lanesWithWork } from '#store/listings/system.ts';
import { readConnections } from '#store/views/connections.ts';
import { type Cli, examples } from './cli.ts';
import { findConnection, statesOf } from './connection-lookup.ts';
import type { Exit, Output } from './output.ts';
import type { Session } from './session.ts';
import { wholeNumber } from './values.ts';

export function syncCommands(cli: Cli): void {
  cli.withSession<{ timeout: number }>(
    cli.program
      .command('sync')
      .argument('<connection>')
      .option('--timeout <seconds>', 'how long to wait until every number is right', wholeNumber(1, 3_600), 60)
      .description('now: orders since the last mark, then all stock read, then publish; waits for it')
      .addHelpText('after', examples('sync "My shop"', 'sync "My shop" --timeout 300 --json')),
    (session, { args, options, output }) => syncConnection(session, args[0] ?? '', options.timeout * 1_000, output),
  );
}

async function syncConnection(session: Session, named: string, timeoutMs: number, output: Output): Promise<Exit> {
  const { id: orgId } = session.organization();
  const found = await findConnection(session, named);
  const ref = { orgId, connectionId: found.id };
  const deps = await session.deps();
  const until = session.clock.monotonicMs() + timeoutMs;
  // Beside a running server the work itself is that server's; without one it is done here.
  const ours = session.reached !== 'attached';

  let swept = false;
  const sweeping = deps.intake.requestSweep(ref).finally(() => (swept = true));
  while (ours && !swept) {
    await deps.intake.drain();
    await session.clock.sleep(20);
  }
  const orders = await sweeping;
  const settled = found.paused || (await settleStock(session, deps, ref, until));
  if (ours) {
    await deps.publisher.stop();
    await deps.intake.stop();
  }
  const [after = found] = await session.store.tenant(orgId, (tx) => readConnections(tx, orgId, found.id));
  const ok = orders.kind === 'done' && settled;
  output.result(
    { ok, connectionId: found.id, orders, settled, waiting: after.waiting, targets: after.targets },
    (print) => {
      print(
        orders.kind === 'done'
          ? `Orders: ${orders.seen} read, ${orders.stored} taken in.`
          : orders.kind === 'incomplete'
            ? `Orders: ${orders.seen} read, some are not applied (${orders.reason}).`
            : orders.kind === 'failed'
              ? `Orders: not read: ${orders.message}`
              : 'Orders: the connection is gone.',
      );
      print(
        `Stock: ${statesOf(after) || 'nothing listed'}${found.paused ? ' (paused: nothing is written)' : ''}${settled ? '.' : `; not settled within ${timeoutMs / 1_000} s, it goes on.`}`,
      );
    },
  );
  return ok ? 0 : 1;
}

/** Reads every number of the connection and publishes what is due; false when that is not over in time or it broke off. */
async function settleStock(
  session: Session,
  deps: Deps,
  ref: { orgId: string; connectionId: string },
  until: number,
): Promise<boolean> {
  const { store, clock } = session;
  await deps.publisher.requestStockSweep(ref);
  while (clock.monotonicMs() < until) {
    if (session.reached !== 'attached') await deps.publisher.drain();
    const busy = await store.system(async (tx) => ({
      dirty: await dirtyOrgs(tx),
      lanes: await lanesWithWork(tx, clock.now()),
    }));
    if (!busy.dirty.includes(ref.orgId) && !busy.lanes.some(({ connectionId }) => connectionId === ref.connectionId))
      return true;
    const [now] = await store.tenant(ref.orgId, (tx) => readConnections(tx, ref.orgId, ref.connectionId));
    if (now?.state === 'unauthorized') return false;
    await clock.sleep(50);
  }
  return false;
}
