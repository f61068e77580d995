import { expect, test } from 'vitest';
import { inWords } from './audit-finding.ts';
import { auditImports } from './audit-imports.ts';
import { emptyRows, evidence, movement, rightRows } from './evidence.testing.ts';
import type { Act } from './evidence.ts';

const file = (more: Partial<Extract<Act, { kind: 'import' }>> = {}): Act => ({
  kind: 'import',
  id: 'f',
  rows: [
    { sku: 'CUP', location: 'MAIN', units: 4 },
    { sku: 'CUP', location: 'MAIN', units: -2 },
  ],
  maybeCancelled: false,
  step: 1,
  at: 900,
  outcome: 'done',
  ...more,
});
const came = (effectKey: string, units: number, id = effectKey) =>
  movement({ id, effectKey, units, kind: 'adjustment', reason: 'import' });
const went = (effectKey: string, units: number) =>
  movement({
    ...came(effectKey, units),
    fromLocation: 'main',
    fromBucket: 'sellable',
    toLocation: null,
    toBucket: null,
  });

/** @returns what is found on the way, and at quiet */
function judge(act: Act, ...movements: ReturnType<typeof movement>[]): [string[], string[]] {
  const audit = auditImports();
  const fresh = { ...emptyRows(), movements };
  const onTheWay = audit.look(evidence(rightRows(), { fresh, acts: [act] }));
  return [onTheWay.map(inWords), audit.atQuiet(2).map(inWords)];
}

test('a file of which each row is booked as it says, or refused where it takes away, is right; so is one taken back', () => {
  const booked = [came('run:f:1', 4), went('run:f:2', 2)];
  expect(judge(file(), ...booked)).toEqual([[], []]);
  expect(judge(file(), came('run:f:1', 4))).toEqual([[], []]);
  expect(judge(file(), ...booked, went('undo:f:1', 4), came('undo:f:2', 2))).toEqual([[], []]);
});

test('a row that is booked twice, and one that is taken back twice, are seen at once', () => {
  const twice = 'P3 · CUP · row 1 of import f in MAIN is booked: expected 4, found 8 (step 1)';
  expect(judge(file(), came('run:f:1', 4), came('run:f:1', 4, 'again'))[0]).toEqual([twice]);
  const back = 'P3 · CUP · row 1 of import f in MAIN is taken back: expected -4, found -8 (step 1)';
  expect(judge(file(), came('run:f:1', 4), went('undo:f:1', 4), { ...went('undo:f:1', 4), id: 'again' })[0]).toEqual([
    back,
  ]);
});

test('what was accepted and never booked is seen at quiet, unless somebody cancelled it or nobody knows that it was accepted', () => {
  const lost = 'P10 · CUP · row 1 of import f in MAIN was accepted: expected 4 booked, found 0 (step 2)';
  expect(judge(file())).toEqual([[], [lost]]);
  expect(judge(file({ maybeCancelled: true }))).toEqual([[], []]);
  expect(judge(file({ outcome: 'unknown' }))).toEqual([[], []]);
});
