/** The operator: settings, pauses, mappings, and asking for a sync. */
import type { VariantId } from '#core/ids.ts';
import { setPolicy } from '#store/catalog/policies.ts';
import { pauseConnection, resumeConnection } from '#store/listings/halts.ts';
import { mapListing } from '#store/listings/listings.ts';
import type { Tx } from '#store/tx.ts';
import type { SimProcess } from '../process.ts';
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
    weight: 1,
    async perform(context) {
      const { dice, stage } = context;
      const lastUnits = dice.oneOf<number | null>([null, 0, 2, 4]);
      change(context, `last units: ${lastUnits}`, (tx, { clock, ids }) =>
        setPolicy(
          tx,
          stage.orgId,
          { scope: 'organization', scopeId: stage.orgId },
          { lastUnits },
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
