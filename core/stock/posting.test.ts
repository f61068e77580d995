import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LocationId, type VariantId } from '#core/ids.ts';
import type { Command, NothingResult, Posted, PostedResult } from '#core/stock/movement.ts';
import { commands, now } from '../../store/ledger/commands.testing.ts';
import { Model } from '../../store/ledger/model.testing.ts';
import { Book, type LoadedClaim, type LoadedPosition } from './book.ts';
import { emptyPosition } from './position.ts';
import { decide } from './posting.ts';

const ground = { variants: ['v1', 'v2'], places: ['main', 'east', 'fba'], claims: ['a', 'b', 'c', 'd'] };
const places = [
  { id: LocationId('main'), code: 'MAIN', isDefault: true, priority: 100, servesOrders: true },
  { id: LocationId('east'), code: 'EAST', isDefault: false, priority: 50, servesOrders: true },
  { id: LocationId('fba'), code: 'FBA', isDefault: false, priority: 10, servesOrders: false },
];

/** Keeps the rows between batches as the store would, and loads claims only when asked. */
class Rows {
  positions = new Map<string, LoadedPosition>();
  claims = new Map<string, LoadedClaim>();
  firsts = new Map<string, PostedResult | NothingResult>();
  seq = 0;
  passes = 0;

  constructor() {
    for (const variantId of ground.variants) {
      for (const locationId of ground.places) {
        this.positions.set(variantId + locationId, {
          ...emptyPosition,
          variantId: variantId as VariantId,
          locationId: LocationId(locationId),
          version: 0,
        });
      }
    }
  }

  post(batch: Command[]): Posted[] {
    const shortfalls = new Set<VariantId>();
    const claims = new Set<VariantId>();
    const named = new Set<string>(batch.flatMap(claimsOf));
    const waiting = [...this.claims.values()]
      .filter((c) => c.kind === 'shortfall' && c.open > 0)
      .map((c) => c.variantId);
    for (;;) {
      this.passes += 1;
      const all = [...this.claims.values()];
      const found = all.filter((c) => c.open > 0 && (c.kind === 'shortfall' ? shortfalls : claims).has(c.variantId));
      const whole = new Set(found.map((c) => c.claimId + c.variantId));
      const wanted = all.filter((c) => named.has(c.claimId) || whole.has(c.claimId + c.variantId));
      const seqs = Array.from({ length: 2000 }, (_, i) => this.seq + i + 1);
      const book = new Book({
        places,
        positions: [...this.positions.values()],
        claims: wanted,
        waiting: [...new Set(waiting)],
        withShortfalls: shortfalls,
        withClaims: claims,
        seqs,
      });
      const decided = decide(book, batch, now, this.firsts);
      if (!book.complete) {
        for (const v of book.wants.shortfalls) shortfalls.add(v);
        for (const v of book.wants.claims) claims.add(v);
        continue;
      }
      this.seq += 2000;
      const changed = book.changed();
      for (const { variantId, locationId, version, now: numbers } of changed.positions)
        this.positions.set(variantId + locationId, { variantId, locationId, version, ...numbers });
      for (const { stored: _, touched: __, ...row } of changed.claims)
        this.claims.set([row.kind, row.as, row.claimId, row.variantId, row.locationId].join(), row);
      for (const { index, result } of decided.written) this.firsts.set((batch[index] as Command).key, result);
      return decided.answers;
    }
  }

  numbers(): Record<string, number[]> {
    const all = [...this.positions.values()].map((p) => [
      `${p.variantId} ${p.locationId}`,
      [p.sellable, p.damaged, p.quarantine, p.expired, p.incoming, p.committed, p.reserved],
    ]);
    return Object.fromEntries(all.filter(([, n]) => (n as number[]).some((units) => units !== 0)));
  }

  open(): string[] {
    return [...this.claims.values()]
      .filter((c) => c.open > 0)
      .map((c) => `${c.as} ${c.claimId} ${c.variantId} ${c.locationId ?? 'waits'} ${c.open}`)
      .sort();
  }
}

function claimsOf(command: Command): string[] {
  switch (command.kind) {
    case 'commit':
      return command.lines.map((line) => line.lineId);
    case 'hold':
      return command.lines.map((line) => line.holdId);
    case 'confirm':
      return [command.holdId, command.lineId ?? command.holdId];
    case 'expire':
      return [command.holdId];
    case 'release':
      return [command.claimId];
    case 'ship':
      return command.lineId === undefined ? [] : [command.lineId];
    default:
      return [];
  }
}

const brief = (answer: Posted) => ({
  kind: answer.kind,
  ...(answer.kind === 'nothing' ? { reason: answer.reason } : {}),
  ...(answer.kind === 'insufficient'
    ? { missing: answer.missing.map((m) => ({ variant: m.variantId, where: m.locationId, units: m.missing })) }
    : {}),
});

/** Every place is known to the model, as it is to the rows. */
function freshModel(): Model {
  const byPriority = [places[0], places[2], places[1]].filter((place) => place !== undefined);
  const model = new Model(byPriority.map(({ id, servesOrders }) => ({ id, serves: servesOrders })));
  for (const v of ground.variants) for (const p of ground.places) model.apply(receipt(v, p), now);
  return model;
}
const receipt = (v: string, p: string): Command => ({
  kind: 'receive',
  variantId: v as VariantId,
  locationId: LocationId(p),
  units: 2,
  key: `stock:${v}:${p}`,
  businessAt: now,
  reason: 'start',
});
const stock = ground.variants.flatMap((v) => ground.places.map((p) => receipt(v, p)));

test('commands in one batch, one by one, and in the naive model come to the same answers, numbers and claims', () => {
  fc.assert(
    fc.property(fc.array(commands(ground, 'k', 12), { minLength: 1, maxLength: 4 }), (batches) => {
      const [together, single, model] = [new Rows(), new Rows(), freshModel()];
      together.post(stock);
      single.post(stock);
      for (const batch of batches) {
        const expected = batch.map((command) => model.apply(command, now));
        expect(together.post(batch).map(brief)).toEqual(expected);
        expect(batch.flatMap((command) => single.post([command])).map(brief)).toEqual(expected);
        expect(together.numbers()).toEqual(model.positions());
        expect(single.numbers()).toEqual(model.positions());
        expect(together.open()).toEqual(model.openClaims());
        expect(single.open()).toEqual(model.openClaims());
      }
    }),
    { seed: 20261121, numRuns: 600 },
  );
});
