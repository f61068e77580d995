import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createBudgets } from '#connectors/kit/budget.ts';
import type { BudgetClass } from '#connectors/kit/ports.ts';
import { Agenda, clockOf } from './agenda.ts';
import { Caller } from './caller.ts';

interface Asked {
  at: number;
  kind: BudgetClass;
}

const limits = { perSecond: 2, burst: 1 };
const from = 1_000_000;

/** When each call left, in the order they left. */
function leftHere(asked: readonly Asked[]): string[] {
  const agenda = new Agenda(from);
  const caller = new Caller(agenda, limits);
  const left: string[] = [];
  for (const [index, { at, kind }] of asked.entries())
    agenda.at(from + at, () =>
      caller.ask(kind, () => {
        left.push(`${index} ${agenda.now - from}`);
        caller.settle();
      }),
    );
  agenda.run();
  return left;
}

async function leftThere(asked: readonly Asked[]): Promise<string[]> {
  const agenda = new Agenda(from);
  const budgets = createBudgets(clockOf(agenda), {
    one: { ratePerSecond: limits.perSecond, capacity: limits.burst },
  });
  const left: string[] = [];
  for (const [index, { at, kind }] of asked.entries())
    agenda.at(from + at, () => {
      void budgets.acquire('one', kind, 1, new AbortController().signal).then((permit) => {
        left.push(`${index} ${agenda.now - from}`);
        permit.release();
      });
    });
  await agenda.runPromises(() => new Promise((resolve) => setImmediate(resolve)));
  return left;
}

test('calls leave in the order and at the times of the product’s own queue', async () => {
  const kind = fc.constantFrom<BudgetClass>('urgent', 'bulk', 'read');
  const times = fc.array(fc.record({ at: fc.integer({ min: 0, max: 20_000 }), kind }), { maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(times, async (asked) => {
      const inOrder = [...asked].sort((a, b) => a.at - b.at);
      expect(leftHere(inOrder)).toEqual(await leftThere(inOrder));
    }),
    { numRuns: 40, seed: 1 },
  );
});

test('who has lost patience is told, leaves the queue and costs nothing', () => {
  const agenda = new Agenda(from);
  const caller = new Caller(agenda, limits);
  const seen: string[] = [];
  const ask = (name: string, withinMs: number) =>
    caller.ask('urgent', () => seen.push(`${name} ${agenda.now - from}`), {
      withinMs,
      abandoned: () => seen.push(`${name} gave up ${agenda.now - from}`),
    });
  ask('first', 100);
  ask('second', 100);
  ask('third', 10_000);
  agenda.run();
  expect(seen).toEqual(['first 0', 'second gave up 100', 'third 556']);
});
