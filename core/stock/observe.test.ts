import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { goalOf } from './next-write.ts';
import {
  applyEffect,
  applyUnplaced,
  beginWrite,
  expectedHighOf,
  expectedOf,
  nothingShown,
  type ObservationContext,
  observe,
  presumeSold,
  releaseUnseen,
  type Shown,
  writeAccepted,
  writeApplied,
  writeNotDone,
  writeNotSeen,
  writeStale,
} from './observe.ts';

/** Seconds on the vendor's clock. */
const s = (second: number) => 1_800_000_000_000 + second * 1000;
const cas: ObservationContext = { compareAndSet: true, settling: false, unplaced: null };
const plain: ObservationContext = { compareAndSet: false, settling: false, unplaced: null };
const showing = (value: number, at: number): Shown => ({
  ...nothingShown,
  base: value,
  baseAt: s(at),
  observed: value,
  observedAt: s(at),
});
const sale = (units: number, at: number, seq = 1) => ({ units, from: s(at), to: s(at), seq });
const hook = (value: number, at: number) => ({ value, at: s(at), askedAfter: false });
const read = (value: number, at: number) => ({ value, at: s(at), askedAfter: true });
const brief = (shown: Shown) => ({ expected: expectedOf(shown), unseen: shown.unseen });

describe('sales and numbers, in every order', () => {
  test('a sale later than base lowers expected, and its own webhook confirms', () => {
    const sold = applyEffect(showing(10, 0), sale(1, 5), true);
    expect(brief(sold)).toEqual({ expected: 9, unseen: 0 });
    const seen = observe(sold, hook(9, 5), cas);
    expect(seen).toMatchObject({ verdict: 'as_expected', counted: true, gap: 0 });
    expect(brief(seen.shown)).toEqual({ expected: 9, unseen: 0 });
  });

  test('a number that overtakes its order is a gap, which the order consumes', () => {
    const seen = observe(showing(10, 0), hook(9, 5), cas);
    expect(seen).toMatchObject({ verdict: 'unseen_sale', gap: 1 });
    expect(brief(seen.shown)).toEqual({ expected: 9, unseen: 1 });
    expect(brief(applyEffect(seen.shown, sale(1, 5), true))).toEqual({ expected: 9, unseen: 0 });
  });

  test('two sales of one second, one known, one not: the number tells one, and the other shows later as a gap', () => {
    const sold = applyEffect(showing(10, 0), sale(1, 5), true);
    const first = observe(sold, hook(9, 5), cas);
    const second = observe(first.shown, hook(8, 6), cas);
    expect(second).toMatchObject({ verdict: 'unseen_sale', gap: 1 });
    expect(brief(second.shown)).toEqual({ expected: 8, unseen: 1 });
  });

  test('a reading from before a known sale leaves the sale in force', () => {
    const sold = applyEffect(showing(10, 0), sale(2, 8), true);
    expect(brief(observe(sold, read(10, 4), cas).shown)).toEqual({ expected: 8, unseen: 0 });
  });

  test('a restock raises expected; one already shown by base does not', () => {
    expect(expectedOf(applyEffect(showing(10, 5), sale(-2, 9), true))).toBe(12);
    expect(expectedOf(applyEffect(showing(10, 5), sale(-2, 1), true))).toBe(10);
  });

  test('an order of unknown size makes the number unknown', () => {
    expect(brief(applyEffect(showing(10, 0), { units: null, from: s(5), to: s(5), seq: 1 }, true))).toEqual({
      expected: null,
      unseen: 0,
    });
  });

  test('a burst of sales is kept in bounded space and still adds up', () => {
    let shown = showing(1_000, 0);
    for (let n = 1; n <= 500; n += 1) shown = applyEffect(shown, sale(1, 5 + n, n), true);
    expect(shown.effects.length).toBeLessThanOrEqual(64);
    expect(expectedOf(shown)).toBe(500);
  });
});

describe('race 2: compare-and-set after an unseen sale', () => {
  test('after stale, the gap is presumed sold and is not given back', () => {
    const stale = writeStale(beginWrite(showing(10, 0), { value: 12, from: 10, seq: 0 }));
    expect(expectedOf(stale)).toBeNull();
    const seen = observe(stale, read(9, 5), cas);
    expect(seen).toMatchObject({ verdict: 'unseen_sale', gap: 1 });
    expect(goalOf(12, seen.shown.unseen)).toBe(11);
  });

  test('unseen survives our own write, further reads, and a raise', () => {
    const seen = observe(showing(10, 0), read(9, 5), cas).shown;
    const written = writeApplied(beginWrite(seen, { value: 11, from: 9, seq: 0 }), { value: 11, seq: 0, at: s(6) });
    expect(brief(written)).toEqual({ expected: 11, unseen: 1 });
    const again = observe(written, read(11, 7), cas).shown;
    expect(goalOf(14, again.unseen)).toBe(13);
  });

  test('gaps add up', () => {
    const once = observe(showing(10, 0), read(9, 5), cas).shown;
    expect(observe(once, read(6, 9), cas).shown).toMatchObject({ unseen: 4, unseenAt: s(9) });
  });

  test('only orders read past the gap make it a channel edit', () => {
    const seen = observe(showing(10, 0), read(9, 5), cas).shown;
    expect(releaseUnseen(seen, null).unseen).toBe(1);
    expect(releaseUnseen(seen, s(5) + 999).unseen).toBe(1);
    expect(releaseUnseen(seen, s(6)).unseen).toBe(0);
  });

  test('an order later than the gap does not consume it', () => {
    const seen = observe(showing(10, 0), read(9, 5), cas).shown;
    expect(brief(applyEffect(seen, sale(1, 7), true))).toEqual({ expected: 8, unseen: 1 });
  });
});

describe('units given back that we learn of late', () => {
  const back = (units: number, from: number, at: number) => ({ units: -units, from: s(from), to: s(at), seq: 2 });

  test('a restock that base already held uncovers the sales that hid behind it', () => {
    // 97; 3 given back at 2 and 3 sold at 5, both not yet imported: the number looks as expected.
    const seen = observe(showing(97, 0), read(97, 8), cas);
    expect(seen).toMatchObject({ verdict: 'as_expected', gap: 0 });
    const restocked = applyEffect(seen.shown, back(3, 1, 2), true);
    expect(restocked).toMatchObject({ unseen: 3, unseenAt: s(8), surplus: 0 });
    // What we want grows by 3, what is sent does not.
    expect(goalOf(100, restocked.unseen)).toBe(97);
    expect(brief(applyEffect(restocked, sale(3, 5), true))).toEqual({ expected: 97, unseen: 0 });
  });

  test('a restock seen first as a number too high explains it, and hides nothing', () => {
    const seen = observe(showing(97, 0), hook(100, 5), cas);
    expect(seen).toMatchObject({ verdict: 'higher', shown: { surplus: 3, surplusAt: s(5) } });
    expect(brief(applyEffect(seen.shown, back(3, 1, 5), true))).toEqual({ expected: 100, unseen: 0 });
    const healed = writeApplied(beginWrite(seen.shown, { value: 97, from: 100, seq: 0 }), {
      value: 97,
      seq: 0,
      at: s(6),
    });
    const imported = applyEffect(healed, back(3, 1, 5), true);
    expect(brief(imported)).toEqual({ expected: 97, unseen: 0 });
    expect(imported).toMatchObject({ surplus: 0, surplusAt: null });
  });

  test('P6: units too many at one time explain no restock of a later one, however old its order is', () => {
    // A sold 3 and was cancelled, told as nothing in one version. Then B, sold before all this, gives 3 back and C takes them.
    const cancelled = observe(observe(showing(97, 0), hook(94, 2), cas).shown, hook(97, 4), cas).shown;
    const seen = observe(releaseUnseen(cancelled, s(5)), read(97, 10), cas).shown;
    const told = applyEffect(seen, back(3, 0, 8), true);
    expect(goalOf(100, told.unseen)).toBe(97);
    expect(brief(applyEffect(told, sale(3, 9), true))).toEqual({ expected: 97, unseen: 0 });
  });

  test('somebody’s edit of an earlier time explains no later restock', () => {
    const edited = observe(showing(97, 0), hook(100, 5), cas).shown;
    const later = observe(edited, read(100, 20), cas).shown;
    expect(applyEffect(later, back(3, 8, 9), true)).toMatchObject({ unseen: 3, surplus: 3 });
  });
});

describe('race 3: what overlaps an absolute write', () => {
  const accepted = (value: number, from: number, settled: number) =>
    writeAccepted(beginWrite(showing(from, 0), { value, from, seq: 0 }), s(settled));

  test('3a: a sale that our write overwrote stays missing from the number, so the cut is still to be sent', () => {
    // Amazon 10; sold at 60; our 9 in force at 65; read back 9; the order arrives later.
    const settled = observe(accepted(9, 10, 65), read(9, 70), plain);
    expect(settled).toMatchObject({ write: 'applied', gap: 0 });
    const imported = applyEffect(settled.shown, sale(1, 60), false);
    expect(brief(imported)).toEqual({ expected: 9, unseen: 0 });
  });

  test('3a: of the same instant as the write nothing is provable: unknown, read', () => {
    const settled = observe(accepted(9, 10, 65), read(9, 65), plain).shown;
    expect(expectedOf(applyEffect(settled, sale(1, 65), false))).toBeNull();
  });

  test('of the same instant as a later reading it counts: nothing of ours can have overwritten it', () => {
    const settled = observe(observe(accepted(9, 10, 65), read(9, 65), plain).shown, read(9, 90), plain).shown;
    expect(expectedOf(applyEffect(settled, sale(1, 90), false))).toBe(8);
  });

  test('3b: a cancel with restock raises the number; without knowing it the raise is not taken for sales', () => {
    const seen = observe(showing(9, 0), hook(10, 5), cas);
    expect(seen).toMatchObject({ verdict: 'higher', gap: 0 });
    expect(brief(seen.shown)).toEqual({ expected: 10, unseen: 0 });
  });

  test('3c: units of unknown place make every level unknown and are found by reading, without a false gap', () => {
    const levels = [applyUnplaced(showing(5, 0), sale(1, 4)), applyUnplaced(showing(5, 0), sale(1, 4))];
    expect(levels.map(expectedOf)).toEqual([null, null]);
    const unplaced = { units: 1, at: s(4) };
    const here = observe(levels[0] as Shown, read(4, 6), { ...cas, unplaced });
    expect(here).toMatchObject({ verdict: 'as_expected', gap: 0, unplacedUsed: 1 });
    const there = observe(levels[1] as Shown, read(5, 6), { ...cas, unplaced: { units: 0, at: s(4) } });
    expect(there).toMatchObject({ verdict: 'as_expected', gap: 0, unplacedUsed: 0 });
  });

  test('3c: a level that was read once explains no later gap by units of unknown place', () => {
    const unplaced = { units: 1, at: s(4) };
    const looked = observe(applyUnplaced(showing(5, 0), sale(1, 4)), read(5, 6), { ...cas, unplaced }).shown;
    expect(observe(looked, hook(4, 9), { ...cas, unplaced })).toMatchObject({
      verdict: 'unseen_sale',
      gap: 1,
      unplacedUsed: 0,
    });
  });

  test('3c: a restock of unknown place is possible everywhere, so no sale can hide behind it', () => {
    const level = applyUnplaced(showing(5, 0), sale(-1, 4));
    expect(expectedHighOf(level)).toBe(6);
    expect(observe(level, read(6, 6), cas)).toMatchObject({ verdict: 'as_expected', gap: 0 });
  });

  test('an order that arrives while our call is on its way is not lost with the answer', () => {
    const sent = beginWrite(showing(10, 0), { value: 12, from: 10, seq: 0 });
    const during = applyEffect(sent, sale(1, 5), true);
    expect(expectedOf(writeApplied(during, { value: 12, seq: 0, at: s(5) }))).toBe(11);
  });

  test('an order older than our proven number is in it already', () => {
    const written = writeApplied(beginWrite(showing(10, 0), { value: 12, from: 10, seq: 0 }), {
      value: 12,
      seq: 0,
      at: s(20),
    });
    expect(expectedOf(applyEffect(written, sale(1, 3), true))).toBe(12);
  });
});

describe('race 7: while a write settles', () => {
  const accepted = writeAccepted(beginWrite(showing(10, 0), { value: 4, from: 10, seq: 0 }), s(120));

  test('neither the old nor the new number proves anything, but both are shown', () => {
    for (const value of [10, 4]) {
      const seen = observe(accepted, read(value, 30), { ...plain, settling: true });
      expect(seen).toMatchObject({ verdict: 'settling', counted: false });
      expect(seen.shown).toMatchObject({ base: 10, observed: value, unseen: 0 });
      expect(expectedOf(seen.shown)).toBeNull();
    }
  });

  test('settled: the new number is proof, the old one is not applied yet, a lower one is a gap', () => {
    expect(observe(accepted, read(4, 125), plain)).toMatchObject({ write: 'applied', verdict: 'as_expected', gap: 0 });
    expect(observe(accepted, read(10, 125), plain)).toMatchObject({ write: 'not_applied', counted: false });
    expect(observe(accepted, read(3, 125), plain)).toMatchObject({ write: 'applied', verdict: 'unseen_sale', gap: 1 });
  });

  test('a raise that was taken and sold from is a gap against the raise', () => {
    const raised = writeAccepted(beginWrite(showing(3, 0), { value: 8, from: 3, seq: 0 }), s(120));
    expect(observe(raised, read(7, 125), plain)).toMatchObject({ verdict: 'unseen_sale', gap: 1 });
    expect(observe(raised, read(3, 125), plain)).toMatchObject({ write: 'not_applied', counted: false });
  });

  test('a sale surely after the write was in force explains a lower number', () => {
    const sold = applyEffect(accepted, sale(1, 130), false);
    expect(observe(sold, read(3, 140), plain)).toMatchObject({ verdict: 'as_expected', gap: 0 });
  });
});

describe('an answer that never came', () => {
  const open = beginWrite(showing(10, 0), { value: 4, from: 10, seq: 0 });

  test('is unknown, at most the higher of both', () => {
    expect(expectedOf(open)).toBeNull();
    expect(expectedHighOf(open)).toBe(10);
    expect(expectedHighOf(beginWrite(showing(3, 0), { value: 8, from: 3, seq: 0 }))).toBe(8);
  });

  test('is decided by the next reading', () => {
    expect(observe(open, read(4, 5), cas)).toMatchObject({ write: 'applied', gap: 0 });
    expect(observe(open, read(10, 5), cas)).toMatchObject({ write: 'not_applied', gap: 0, counted: true });
    expect(observe(open, read(7, 5), cas)).toMatchObject({ verdict: 'unseen_sale', gap: 3 });
    expect(observe(open, read(12, 5), cas)).toMatchObject({ verdict: 'higher', gap: 0 });
  });

  test('P6: a raise that may have been taken and sold again is not given twice, until orders say that nobody bought', () => {
    const raise = beginWrite(showing(10, 0), { value: 12, from: 10, seq: 0 });
    const seen = observe(raise, read(10, 5), cas);
    expect(seen).toMatchObject({ gap: 2, counted: true, write: null });
    expect(goalOf(12, seen.shown.unseen)).toBe(10);
    expect(goalOf(12, releaseUnseen(seen.shown, s(6)).unseen)).toBe(12);
    // The vendor's absolute writes come into force late: there the old number means "not yet".
    expect(observe(raise, read(10, 5), plain)).toMatchObject({ verdict: 'not_applied', gap: 0, counted: false });
  });

  test('P6: without compare-and-set a raise that was never answered nor seen may have been sold again', () => {
    const raise = beginWrite(showing(10, 0), { value: 13, from: 10, seq: 0 });
    expect(writeNotSeen(raise, s(9))).toMatchObject({ pending: null, unseen: 3, unseenAt: s(9) });
    expect(writeNotSeen(open, s(9))).toMatchObject({ pending: null, unseen: 0, unseenAt: null });
  });

  test('P6: a stock webhook while a cut is on its way proves nothing: it may be a sale of as many units', () => {
    const cut = beginWrite(showing(10, 0), { value: 9, from: 10, seq: 0 });
    const seen = observe(cut, hook(9, 5), cas);
    expect(seen).toMatchObject({ verdict: 'settling', counted: false, write: null, shown: { base: 10, observed: 9 } });
    // The call answers stale: the unit is missing because it was sold.
    const looked = observe(writeStale(seen.shown), read(9, 6), cas);
    expect(looked).toMatchObject({ verdict: 'unseen_sale', gap: 1 });
    expect(goalOf(9, looked.shown.unseen)).toBe(8);
  });

  test('a call that surely did nothing leaves what was known', () => {
    expect(expectedOf(writeNotDone(open))).toBe(10);
  });

  test('0 written without looking: all that may have stood there is presumed sold', () => {
    const blind = presumeSold(showing(6, 0), s(4));
    expect(blind).toMatchObject({ unseen: 6, unseenAt: s(4) });
    expect(goalOf(6, blind.unseen)).toBe(0);
  });
});

describe('race 14: which observations count', () => {
  test('a late one confirms nothing, though its value equals expected', () => {
    const unknown = { ...showing(10, 60), unknown: true };
    const seen = observe(unknown, hook(10, 20), cas);
    expect(seen).toMatchObject({ verdict: 'old', counted: false });
    expect(expectedOf(seen.shown)).toBeNull();
  });

  test('of the same instant another number asks for a read, an equal one confirms', () => {
    expect(observe(showing(10, 60), hook(9, 60), cas)).toMatchObject({ verdict: 'same_instant', counted: false });
    expect(observe(showing(10, 60), hook(10, 60), cas)).toMatchObject({ verdict: 'as_expected', counted: false });
    expect(observe(showing(10, 60), read(9, 60), cas)).toMatchObject({ verdict: 'unseen_sale', counted: true });
  });

  test('below 0 offers no more than 0, and the units sold there are counted', () => {
    const seen = observe(applyEffect(showing(1, 0), sale(1, 5), true), hook(-3, 9), cas);
    expect(seen).toMatchObject({ verdict: 'unseen_sale', gap: 3 });
    expect(expectedOf(seen.shown)).toBe(-3);
    expect(observe(seen.shown, read(0, 9), cas)).toMatchObject({ verdict: 'as_expected', gap: 0 });
  });

  test('P6: units a shop sold below 0 are a gap too, and are not offered again when goods arrive', () => {
    const seen = observe(showing(1, 0), read(-2, 5), cas);
    expect(seen).toMatchObject({ verdict: 'unseen_sale', gap: 3 });
    expect(goalOf(10, seen.shown.unseen)).toBe(7);
    expect(brief(applyEffect(seen.shown, sale(3, 5), true))).toEqual({ expected: -2, unseen: 0 });
  });

  test('a first number holds raises until orders are known past it; what is seen or written later does not move that time', () => {
    for (const first of [read(7, 5), hook(7, 5)]) {
      const { shown } = observe(nothingShown, first, plain);
      expect(shown.raiseAfter).toBe(s(5));
      expect(observe(shown, read(4, 9), plain).shown.raiseAfter).toBe(s(5));
      const cut = beginWrite(shown, { value: 3, from: 7, seq: 0 });
      expect(writeApplied(cut, { value: 3, seq: 0, at: s(9) }).raiseAfter).toBe(s(5));
      expect(observe(writeAccepted(cut, s(8)), read(3, 9), plain).shown.raiseAfter).toBe(s(5));
    }
    expect(observe(showing(7, 0), read(4, 9), plain).shown.raiseAfter).toBeNull();
  });

  test('a cut without an answer that a look finds done may be a sale instead: raises wait for orders past that look', () => {
    const cut = beginWrite(showing(5, 0), { value: 3, from: 5, seq: 0 });
    const seen = observe(cut, read(3, 9), cas);
    expect(seen).toMatchObject({ verdict: 'as_expected', gap: 0, write: 'applied' });
    expect(seen.shown.raiseAfter).toBe(s(9));
    expect(writeApplied(cut, { value: 3, seq: 0, at: s(9) }).raiseAfter).toBeNull();
    const raise = beginWrite(showing(5, 0), { value: 8, from: 5, seq: 0 });
    expect(observe(raise, read(8, 9), cas).shown.raiseAfter).toBeNull();
  });

  test('what was written over a number that was never read is its first number', () => {
    const blind = beginWrite(nothingShown, { value: 0, from: null, seq: 0 });
    expect(writeApplied(blind, { value: 0, seq: 0, at: s(5) }).raiseAfter).toBe(s(5));
    expect(observe(writeAccepted(blind, s(4)), read(0, 5), plain).shown.raiseAfter).toBe(s(5));
  });

  test('so does the first number after an effect of unknown size: what was given back may hide as many units sold', () => {
    const cancelled = { units: null, from: s(27), to: s(27), seq: 3 };
    const known = applyEffect(applyEffect(showing(100, 26), sale(3, 27, 1), false), sale(2, 28, 2), false);
    const unknown = applyEffect(known, cancelled, false);
    expect(expectedOf(unknown)).toBeNull();
    const seen = observe(unknown, read(92, 31), plain);
    expect(seen).toMatchObject({
      verdict: 'unseen_sale',
      gap: 3,
      shown: { unseen: 3, raiseAfter: s(31), effects: [] },
    });
    expect(observe(known, read(92, 31), plain).shown.raiseAfter).toBeNull();
    // A look at how it was before says nothing of it.
    const before = observe(applyEffect(known, { ...cancelled, to: s(33) }, false), read(95, 31), plain).shown;
    expect(expectedOf(before)).toBeNull();
    expect(observe(before, read(92, 34), plain).shown).toMatchObject({ unseen: 3, raiseAfter: s(34), effects: [] });
  });

  test('the first number ever is simply the base', () => {
    expect(observe(nothingShown, read(7, 5), cas)).toMatchObject({ verdict: 'first', counted: true, gap: 0 });
  });
});

/**
 * A channel with compare-and-set sells, restocks and takes our writes in true order; what we learn comes late, in any
 * order, or not at all. P6: a write never takes back a unit the channel sold and we have not been told of.
 */
test('P6: no write with compare-and-set ever gives back a unit the channel sold, whatever we learn and when', () => {
  const step = fc.record({
    act: fc.constantFrom('sell', 'sell', 'tell', 'hook', 'read', 'write', 'stock', 'tick'),
    pick: fc.nat(7),
    units: fc.integer({ min: 1, max: 3 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      let time = 10;
      let number = 10;
      /** The ledger's free units and, in truth, what is left of them less the sales it was not told of. */
      let ledger = 10;
      let seq = 0;
      const untold: { units: number; at: number }[] = [];
      const hooks: { value: number; at: number }[] = [];
      let shown = showing(10, 0);
      for (const { act, pick, units } of steps) {
        if (act === 'tick') time += 1 + (pick % 3);
        if (act === 'sell' && number >= units) {
          number -= units;
          untold.push({ units, at: time });
          hooks.push({ value: number, at: time });
        }
        if (act === 'tell' && untold.length > 0) {
          const [told] = untold.splice(pick % untold.length, 1);
          if (told) {
            seq += 1;
            ledger -= told.units;
            shown = applyEffect(shown, sale(told.units, told.at, seq), true);
          }
        }
        if (act === 'hook' && hooks.length > 0) {
          const [came] = hooks.splice(pick % hooks.length, 1);
          if (came) shown = observe(shown, hook(came.value, came.at), cas).shown;
        }
        if (act === 'read') shown = observe(shown, read(number, time), cas).shown;
        if (act === 'stock') ledger += units;
        if (act === 'write') {
          const from = expectedOf(shown);
          const goal = goalOf(Math.max(0, ledger), shown.unseen);
          if (from === null || goal === Math.max(0, from)) continue;
          const known = beginWrite(shown, { value: goal, from, seq });
          if (from !== number) {
            shown = writeStale(known);
            continue;
          }
          number = goal;
          shown = writeApplied(known, { value: goal, seq, at: s(time) });
          hooks.push({ value: number, at: time });
          const owed = untold.reduce((sum, one) => sum + one.units, 0);
          expect(number, 'offered, though sold').toBeLessThanOrEqual(Math.max(0, ledger - owed));
        }
      }
    }),
    { seed: 20261121, numRuns: 3_000 },
  );
});
