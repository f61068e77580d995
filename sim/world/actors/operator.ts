/** The operator: settings, pauses, mappings, and asking for a sync. */
import type { VariantId } from '#core/ids.ts';
import { actOnFiltered, type LetterAct } from '#server/flows/letters.ts';
import { setPolicy } from '#store/catalog/policies.ts';
import { mapLocation } from '#store/connections/connections.ts';
import { pauseConnection, resumeConnection } from '#store/listings/halts.ts';
import { mapListing } from '#store/listings/listings.ts';
import type { Tx } from '#store/tx.ts';
import { type LetterFilter, noFilter } from '#store/views/letters.ts';
import type { SimProcess } from '../process.ts';
import type { Code } from '../stage.ts';
import type { Act, ActContext } from './act.ts';

/** A setting is changed in one transaction; its rows are its evidence. What is put right again is tried until it is answered. */
function change(
  context: ActContext,
  what: string,
  work: (tx: Tx, process: SimProcess) => Promise<unknown>,
  untilDone?: 'until done',
  /** What the API does once it is committed, without making the operator wait. */
  after?: (process: SimProcess) => Promise<unknown>,
): void {
  context.tell(what);
  context.ask(
    { kind: 'setting', what },
    async (process) => {
      await process.store.tenant(context.stage.orgId, (tx) => work(tx, process));
      process.wake();
      after?.(process).then(process.wake, () => undefined);
      return {};
    },
    untilDone,
  );
}

/** As the API's `/api/dead-letters`. */
export function dealWithLetters(context: ActContext, act: LetterAct, filter: LetterFilter): void {
  const { orgId } = context.stage;
  context.ask({ kind: 'setting', what: `${act} dead letters` }, async (process) => {
    context.count(`dead letters: ${act}`, await actOnFiltered(process, orgId, 'operator', act, filter));
    process.wake();
    return {};
  });
}

const by = ({ clock, ids }: SimProcess) => ({ actor: 'operator', now: clock.now(), ids });

export const operator: readonly Act[] = [
  {
    name: 'sets a buffer',
    weight: 2,
    async perform(context) {
      const { dice, stage } = context;
      const sku = dice.of(stage.plain) ?? '';
      const buffer = dice.whole(0, 3);
      change(context, `buffer of ${sku}: ${buffer}`, (tx, { clock, ids }) =>
        setPolicy(
          tx,
          stage.orgId,
          { variantSku: sku },
          { buffer },
          { actor: 'operator', now: clock.now(), id: ids.uuid() },
        ),
      );
    },
  },
  {
    name: 'sets a share and a cap',
    weight: 1,
    async perform(context) {
      const { dice, stage } = context;
      const channel = dice.of(stage.channels);
      if (!channel) return;
      const scopeId = channel.connection.connectionId;
      const shareBp = dice.oneOf<number | null>([null, 10_000, 5_000, 8_000]);
      const cap = dice.oneOf<number | null>([null, null, 3, 5]);
      change(context, `${channel.place}: share ${shareBp}, cap ${cap}`, (tx, { clock, ids }) =>
        setPolicy(
          tx,
          stage.orgId,
          { scope: 'connection', scopeId },
          { shareBp, cap },
          { actor: 'operator', now: clock.now(), id: ids.uuid() },
        ),
      );
    },
  },
  {
    name: 'changes the scarcity rule',
    weight: 2,
    async perform(context) {
      const { dice, stage } = context;
      const lastUnits = dice.oneOf<number | null>([null, 0, 2, 4]);
      const lastUnitsTo = dice.oneOf<'priority' | 'sales' | null>([null, 'priority', 'sales']);
      const sku = dice.of(stage.plain) ?? '';
      const [whose, scope, scopeId] = dice.oneOf<[string, 'organization' | 'variant' | 'connection', string]>([
        ['everything', 'organization', stage.orgId],
        [sku, 'variant', stage.variants.get(sku) ?? ''],
        ['amazon-a', 'connection', stage.channels.at(-1)?.connection.connectionId ?? ''],
      ]);
      change(context, `last units of ${whose}: ${lastUnits} to ${lastUnitsTo}`, (tx, { clock, ids }) =>
        setPolicy(
          tx,
          stage.orgId,
          { scope, scopeId },
          { lastUnits, lastUnitsTo },
          { actor: 'operator', now: clock.now(), id: ids.uuid() },
        ),
      );
    },
  },
  {
    name: 'pauses a connection',
    weight: 2,
    async perform(context) {
      const { dice, stage } = context;
      const channel = dice.of(stage.channels);
      if (!channel) return;
      const { orgId, connectionId } = channel.connection;
      const ms = dice.whole(500, 120_000);
      // Half of them resume by themselves, the others are resumed by hand.
      const until = dice.chance(0.5) ? Math.floor(context.scheduler.now) + ms : null;
      change(context, `${channel.place} pauses for ${ms} ms`, (tx, process) =>
        pauseConnection(tx, orgId, connectionId, { reason: 'world', until }, by(process)),
      );
      context.later(ms, async () => {
        if (until === null)
          change(
            context,
            `${channel.place} resumes`,
            (tx, process) => resumeConnection(tx, orgId, connectionId, by(process)),
            'until done',
          );
      });
    },
  },
  {
    name: 'unmaps a listing and maps it again',
    weight: 1,
    async perform(context) {
      const { dice, stage } = context;
      const channel = dice.of(stage.channels);
      const sku = dice.of(stage.plain) ?? '';
      const listing = channel?.listings.get(sku);
      if (!channel || !listing) return;
      const { orgId } = channel.connection;
      const compareAndSet = channel.platform === 'shopify';
      const map = (variantId: VariantId | null) =>
        change(
          context,
          `${channel.place} ${sku} ${variantId ? 'mapped' : 'unmapped'}`,
          (tx, { clock, ids }) => mapListing(tx, orgId, listing, variantId, { ids, now: clock.now(), compareAndSet }),
          variantId === null ? undefined : 'until done',
          variantId === null ? undefined : ({ intake }) => intake.completeUnmapped(channel.connection),
        );
      map(null);
      context.later(dice.whole(10, 60_000), async () => map(stage.variants.get(sku) as VariantId));
    },
  },
  {
    name: 'maps locations anew',
    weight: 2,
    async perform(context) {
      const { dice, stage } = context;
      const channel = dice.of(stage.channels.filter(({ platform }) => platform === 'shopify'));
      if (!channel) return;
      const { orgId, connectionId } = channel.connection;
      // The places swap what stands behind them, one has it all, or it is as at first.
      const [main, east] = dice.oneOf<[Code, Code]>([
        ['EAST', 'MAIN'],
        ['MAIN', 'MAIN'],
        ['MAIN', 'EAST'],
        ['MAIN', 'EAST'],
      ]);
      change(context, `${channel.place}: MAIN behind ${main}, EAST behind ${east}`, async (tx) => {
        await mapLocation(tx, orgId, connectionId, channel.locations[main], stage.locations.MAIN);
        await mapLocation(tx, orgId, connectionId, channel.locations[east], stage.locations.EAST);
      });
    },
  },
  {
    name: 'looks through the dead letters',
    weight: 2,
    async perform(context) {
      const act = context.dice.chance(0.7) ? 'retry' : 'discard';
      context.tell(act);
      dealWithLetters(context, act, noFilter);
    },
  },
  {
    name: 'asks for a sync',
    weight: 1,
    async perform({ dice, stage, crew, tell }) {
      const channel = dice.of(stage.channels);
      const process = dice.of(crew.living());
      if (!channel || !process) return;
      tell(channel.place);
      void process.intake
        .requestSweep(channel.connection)
        .then(() => process.publisher.requestStockSweep(channel.connection))
        .catch(() => undefined);
    },
  },
];
