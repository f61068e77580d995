import { describe, expect, it } from 'vitest';
import { seededRandom } from '#sim/kit/chance.ts';
import { startTestShop } from './shop.testing.ts';

interface Line {
  sku: string;
  waiting: number;
  shipped: number;
}

describe('random lives', () => {
  it.each([1, 2, 3])(
    "seed %i: through 250 random acts the shop's numbers equal a naive count after each",
    async (seed) => {
      const random = seededRandom(seed);
      const pick = <T>(from: readonly T[]): T => from[Math.floor(random.next() * from.length)] as T;
      const upTo = (most: number) => 1 + Math.floor(random.next() * most);
      const shop = await startTestShop({
        catalog: ['A', 'B', 'C'].map((sku) => ({ sku, title: sku, quantities: { MAIN: 60, EAST: 20 } })),
      });
      const onHand: Record<string, number> = { A: 80, B: 80, C: 80 };
      const available: Record<string, number> = { A: 80, B: 80, C: 80 };
      const orders = new Map<string, Map<string, Line>>();
      const move = (book: Record<string, number>, sku: string, units: number) => {
        book[sku] = (book[sku] ?? 0) + units;
      };
      let refusals = 0;

      for (let step = 0; step < 250; step += 1) {
        const act = pick(['place', 'place', 'place', 'edit', 'cancel', 'part', 'ship', 'return', 'stock']);
        const sku = pick(['A', 'B', 'C']);
        const [order, lines] = pick([...orders]) ?? ['none', new Map<string, Line>()];
        const line = lines.get(sku) ?? { sku, waiting: 0, shipped: 0 };
        const restock = random.next() < 0.5;
        const units = upTo(5);
        if (act === 'place') {
          const { status, body } = await shop.control('/orders', { lines: [{ sku, quantity: units }] });
          expect(status).toBe((available[sku] ?? 0) >= units ? 201 : 409);
          if (status !== 201) continue;
          orders.set(body.id, new Map([[sku, { sku, waiting: units, shipped: 0 }]]));
          move(available, sku, -units);
        } else if (act === 'edit') {
          const { status } = await shop.control('/edits', {
            order,
            lines: [{ sku, quantity: line.waiting + line.shipped + units }],
          });
          if (status !== 200) refusals += 1;
          else {
            move(available, sku, -units);
            lines.set(sku, { ...line, waiting: line.waiting + units });
          }
        } else if (act === 'cancel') {
          const { status } = await shop.control('/cancellations', { order, restock });
          if (status !== 200) refusals += 1;
          else {
            for (const { sku: each, waiting } of lines.values())
              move(restock ? available : onHand, each, restock ? waiting : -waiting);
            orders.delete(order);
          }
        } else if (act === 'part') {
          const { status } = await shop.control('/cancellations', {
            order,
            restock,
            lines: [{ sku, quantity: units }],
          });
          expect(status === 200).toBe(line.waiting >= units);
          if (status !== 200) continue;
          move(restock ? available : onHand, sku, restock ? units : -units);
          lines.set(sku, { ...line, waiting: line.waiting - units });
        } else if (act === 'ship') {
          const { status } = await shop.control('/fulfillments', { order, lines: [{ sku, quantity: units }] });
          expect(status === 200).toBe(line.waiting >= units);
          if (status !== 200) continue;
          move(onHand, sku, -units);
          lines.set(sku, { ...line, waiting: line.waiting - units, shipped: line.shipped + units });
        } else if (act === 'return') {
          const { status } = await shop.control('/returns', {
            order,
            restock,
            lines: [{ sku, quantity: units, disposition: 'SELLABLE' }],
          });
          expect(status === 200).toBe(line.shipped >= units);
          if (status !== 200) continue;
          if (restock) for (const book of [available, onHand]) move(book, sku, units);
          lines.set(sku, { ...line, shipped: line.shipped - units });
        } else if (step % 5 === 0) {
          const before = (await shop.numbers(sku)).available ?? 0;
          await shop.control('/stock', { sku, quantity: before + units });
          for (const book of [available, onHand]) move(book, sku, units);
        }
        await agree(sku);
      }
      for (const sku of ['A', 'B', 'C']) await agree(sku);
      expect(refusals).toBeLessThan(200);
      await shop.close();

      async function agree(sku: string) {
        const [main, east] = [await shop.numbers(sku), await shop.numbers(sku, 'EAST')];
        const total = (name: string) => (main[name] ?? 0) + (east[name] ?? 0);
        const waiting = [...orders.values()].reduce((sum, lines) => sum + (lines.get(sku)?.waiting ?? 0), 0);
        expect({ available: total('available'), committed: total('committed'), onHand: total('on_hand') }).toEqual({
          available: available[sku],
          committed: waiting,
          onHand: onHand[sku],
        });
        expect(Math.min(main.available ?? 0, east.available ?? 0)).toBeGreaterThanOrEqual(0);
      }
    },
  );
});
