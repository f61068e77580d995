/** The warehouse: what people with goods in their hands tell us, as the API books it (server/api/routes/stock.ts, returns.ts). */

import { HoldId, type LocationId, type VariantId } from '#core/ids.ts';
import type { Command } from '#core/stock/movement.ts';
import { post } from '#store/ledger/post.ts';
import type { SimProcess } from '../process.ts';
import { type Code, codes } from '../stage.ts';
import type { Act, ActContext, Deed } from './act.ts';

interface Place {
  sku: string;
  code: Code;
  variantId: VariantId;
  locationId: LocationId;
}

function somewhere({ stage, dice }: ActContext): Place {
  const sku = dice.of(stage.plain) ?? '';
  const code = dice.oneOf<Code>([...codes]);
  return { sku, code, variantId: stage.variants.get(sku) as VariantId, locationId: stage.locations[code] };
}

/** One command, as the API posts it. @returns the sellable units before and after; null: refused */
async function book(
  process: SimProcess,
  context: ActContext,
  at: Place,
  command: (keyed: { key: string; businessAt: number }) => Command,
): Promise<{ before: number; after: number } | null> {
  const { orgId } = context.stage;
  const { store, ids, clock } = process;
  const made = command({ key: `api:${ids.uuid()}`, businessAt: clock.now() });
  const [posted] = await store.tenant(
    orgId,
    (tx) => post(tx, orgId, [made], { actor: 'warehouse', now: clock.now(), ids }),
    { idempotent: true },
  );
  process.wake();
  const result = posted?.kind === 'duplicate' ? posted.first : posted;
  if (result?.kind !== 'posted') return null;
  const touched = result.positions.find((one) => one.variantId === at.variantId && one.locationId === at.locationId);
  return { before: touched?.before.sellable ?? 0, after: touched?.after.sellable ?? 0 };
}

type Stocked = Extract<Deed, { kind: 'receipt' | 'count' | 'breakage' | 'loss' }>;

const stockAct = (
  name: string,
  weight: number,
  make: (
    at: Place,
    context: ActContext,
  ) => { kind: Stocked['kind']; units: number; command: (keyed: { key: string; businessAt: number }) => Command },
): Act => ({
  name,
  weight,
  async perform(context) {
    const at = somewhere(context);
    const { kind, units, command } = make(at, context);
    context.tell(`${units} ${at.sku} in ${at.code}`);
    const deed: Stocked = { kind, sku: at.sku, location: at.code, units, before: null, after: null };
    context.ask(deed, (process) => book(process, context, at, command));
  },
});

const goods = ({ variantId, locationId }: Place) => ({ variantId, locationId });

export const warehouse: readonly Act[] = [
  {
    name: 'unloads a truck',
    weight: 2,
    async perform(context) {
      const { dice, stage, tell, ask } = context;
      const code = dice.oneOf<Code>([...codes]);
      const units = dice.whole(2, 5);
      tell(`${units} of everything in ${code}`);
      for (const sku of stage.plain) {
        const at = { sku, code, variantId: stage.variants.get(sku) as VariantId, locationId: stage.locations[code] };
        const deed: Stocked = { kind: 'receipt', sku, location: code, units, before: null, after: null };
        ask(deed, (process) =>
          book(process, context, at, (keyed) => ({
            ...keyed,
            ...goods(at),
            kind: 'receive',
            reason: 'received',
            units,
          })),
        );
      }
    },
  },
  stockAct('receives', 5, (at, { dice }) => {
    const units = dice.whole(1, 6);
    return {
      kind: 'receipt',
      units,
      command: (keyed) => ({ ...keyed, ...goods(at), kind: 'receive', reason: 'received', units }),
    };
  }),
  stockAct('counts', 4, (at, { dice }) => {
    const units = dice.whole(0, 10);
    return {
      kind: 'count',
      units,
      command: (keyed) => ({ ...keyed, ...goods(at), kind: 'count', reason: 'cycle_count', set: units }),
    };
  }),
  stockAct('breaks', 3, (at, { dice }) => {
    const units = dice.whole(1, 2);
    return {
      kind: 'breakage',
      units,
      command: (keyed) => ({
        ...keyed,
        ...goods(at),
        kind: 'adjust',
        reason: 'damaged',
        change: -units,
        fact: true,
        to: 'damaged',
      }),
    };
  }),
  stockAct('loses', 2, (at, { dice }) => {
    const units = dice.whole(1, 2);
    return {
      kind: 'loss',
      units,
      command: (keyed) => ({ ...keyed, ...goods(at), kind: 'adjust', reason: 'lost', change: -units, fact: true }),
    };
  }),
  {
    name: 'takes a return to the bench',
    weight: 3,
    async perform(context) {
      const { dice, tell, ask } = context;
      const at = somewhere(context);
      const [id, units] = [`R-${dice.whole(1, 4)}`, dice.whole(1, 2)];
      const bucket = dice.oneOf<'sellable' | 'damaged' | 'quarantine'>(['sellable', 'damaged', 'quarantine']);
      tell(`${id}: ${units} ${at.sku} in ${at.code}, ${bucket}`);
      ask({ kind: 'return', id, sku: at.sku, location: at.code, units, bucket }, async (process) => {
        const booked = await book(process, context, at, ({ businessAt }) => ({
          ...goods(at),
          kind: 'return',
          key: `return:amazon:${id}`,
          businessAt,
          reason: bucket,
          reference: id,
          units,
          bucket,
        }));
        return booked && {};
      });
    },
  },
  {
    name: 'moves to the other location',
    weight: 2,
    async perform(context) {
      const { dice, stage, tell, ask } = context;
      const at = somewhere(context);
      const to: Code = at.code === 'MAIN' ? 'EAST' : 'MAIN';
      const units = dice.whole(1, 3);
      tell(`${units} ${at.sku} from ${at.code} to ${to}`);
      ask({ kind: 'transfer', sku: at.sku, from: at.code, to, units }, async (process) => {
        const booked = await book(process, context, at, (keyed) => ({
          ...keyed,
          kind: 'transfer',
          reason: 'transfer',
          variantId: at.variantId,
          fromLocationId: at.locationId,
          toLocationId: stage.locations[to],
          units,
        }));
        return booked && {};
      });
    },
  },
  {
    name: 'holds for a checkout',
    weight: 2,
    async perform(context) {
      const { dice, tell, ask, scheduler } = context;
      const at = somewhere(context);
      const [units, until] = [dice.whole(1, 2), Math.floor(scheduler.now) + dice.whole(1_000, 1_800_000)];
      tell(`${units} ${at.sku}`);
      ask({ kind: 'hold', id: null, sku: at.sku, units, until }, async (process) => {
        const holdId = HoldId(process.ids.uuid());
        const booked = await book(process, context, at, (keyed) => ({
          ...keyed,
          kind: 'hold',
          reason: 'hold',
          origin: 'own',
          expiresAt: until,
          wish: true,
          lines: [{ holdId, variantId: at.variantId, units, locationId: null }],
        }));
        return booked && { id: holdId };
      });
    },
  },
];
