/** Writes against what the channel sold, where its number alone does not tell: judged by evidence written by hand. */
import { describe, expect, test } from 'vitest';
import { createAuditor, inWords } from './auditor.ts';
import { attempt, booked, channel, emptyRows, evidence, order, rightRows } from './evidence.testing.ts';
import type { ChannelCall, ChannelChange, ChannelEvidence, Evidence, Rows } from './evidence.ts';

const call = (kind: 'read' | 'write', at: number, value: number | null = null): ChannelCall => ({
  n: at,
  at,
  kind,
  stockKey: 'CUP',
  location: 'DEFAULT',
  value,
  from: null,
  applied: true,
});
const change = (before: number, after: number, at: number): ChannelChange => ({
  stockKey: 'CUP',
  location: 'DEFAULT',
  before,
  after,
  at,
  cause: 'ours',
});
const ours = (id: string, value: number) =>
  attempt({ id, value, targetId: 'amazon cup', connectionId: 'amazon', outcome: 'accepted' });
const buyer = order(3, { at: 'CUP@DEFAULT' });

interface Moment {
  now: number;
  rows?: Partial<Rows>;
  /** Attempts recorded by now; the last one is new. */
  attempts?: Rows['attempts'];
  amazon?: Partial<ChannelEvidence>;
}
/** Moments at Amazon, one after the other. @returns what all of them show */
function found(...moments: Moment[]): string[] {
  const auditor = createAuditor();
  let known: Rows['attempts'] = [];
  return moments.flatMap(({ now, rows = {}, attempts = known, amazon = {} }, n) => {
    const all: Rows = { ...rightRows(), ...rows, attempts };
    const fresh: Rows =
      n === 0 ? all : { ...emptyRows(), attempts: attempts.filter((one) => !known.some(({ id }) => id === one.id)) };
    known = attempts;
    const seen: Evidence = evidence(all, {
      now,
      step: n + 1,
      fresh,
      channels: [channel('shop'), channel('amazon', { now, ...amazon })],
    });
    return auditor.step(seen).map(inWords);
  });
}

describe('P6 without compare-and-set: a write that comes into force over sales', () => {
  const begins = [
    { now: 800 },
    { now: 900, attempts: [ours('a1', 9)], amazon: { calls: [call('read', 850), call('write', 900, 9)] } },
  ];
  const later = (value: number): Moment => ({
    now: 1_300,
    attempts: [ours('a1', 9), ours('a2', value)],
    amazon: { orders: [buyer], calls: [call('read', 1_200), call('write', 1_300, value)] },
  });

  test('hides those sold since the reading it rests on: the next write is not to blame for them', () => {
    const sold = { now: 1_000, amazon: { orders: [buyer] } };
    const inForce = { now: 1_100, amazon: { orders: [buyer], changes: [change(7, 9, 1_100)] } };
    expect(found(...begins, sold, inForce, later(10))).toEqual([]);
  });

  test('hides none sold after it, which the next reading shows', () => {
    const inForce = { now: 1_000, amazon: { changes: [change(10, 9, 1_000)] } };
    const sold = { now: 1_100, amazon: { orders: [buyer] } };
    expect(found(...begins, inForce, sold, later(7))).toEqual([]);
    expect(found(...begins, inForce, sold, later(8))).toEqual([
      'P6 · CUP at amazon · a write gives back units that were sold there (3 of them not yet in the book): expected at most 7, found 8 (step 5)',
    ]);
  });

  test('hides none once the book has known them all at a write', () => {
    const sold = { now: 1_000, amazon: { orders: [buyer] } };
    const inForce = { now: 1_100, amazon: { orders: [buyer], changes: [change(7, 9, 1_100)] } };
    const second = { ...buyer, id: '2', lines: buyer.lines.map((line) => ({ ...line, id: '21' })) };
    const known = booked(3, 'amazon');
    const put = {
      now: 1_200,
      rows: known,
      attempts: [ours('a1', 9), ours('a2', 7)],
      amazon: {
        orders: [buyer],
        calls: [call('read', 1_150), call('write', 1_160, 7)],
        changes: [change(9, 7, 1_200)],
      },
    };
    const next = (value: number): Moment => ({
      now: 1_500,
      rows: known,
      attempts: [...put.attempts, ours('a3', value)],
      amazon: { orders: [buyer, second], calls: [call('read', 1_400), call('write', 1_500, value)] },
    });
    const again = { now: 1_300, rows: known, amazon: { orders: [buyer, second] } };
    const p6 = (...moments: Moment[]) => found(...moments).filter((line) => line.startsWith('P6'));
    expect(p6(...begins, sold, inForce, put, again, next(4))).toEqual([]);
    expect(p6(...begins, sold, inForce, put, again, next(5))).toEqual([
      'P6 · CUP at amazon · a write gives back units that were sold there (3 of them not yet in the book): expected at most 4, found 5 (step 7)',
    ]);
  });
});

test('P6: units that were taken back and are still owed in the book are free for others sold since', () => {
  const known = booked(1, 'amazon');
  const kept = order(1, { at: 'CUP@DEFAULT' });
  const back = {
    ...kept,
    cancelled: true,
    lines: kept.lines.map((line) => ({ ...line, open: 0, taken: { 'CUP@DEFAULT': 0 } })),
  };
  const second = { ...buyer, id: '2', lines: buyer.lines.map((line) => ({ ...line, id: '21' })) };
  const next = (value: number): Moment => ({
    now: 1_300,
    rows: known,
    attempts: [ours('a1', value)],
    amazon: { orders: [back, second], calls: [call('read', 1_200), call('write', 1_300, value)] },
  });
  const told = (value: number) =>
    found(
      { now: 1_000, rows: known, amazon: { orders: [kept] } },
      { now: 1_100, rows: known, amazon: { orders: [back, second] } },
      next(value),
    ).filter((line) => line.startsWith('P6'));
  expect(told(7)).toEqual([]);
  expect(told(8)).toEqual([
    'P6 · CUP at amazon · a write gives back units that were sold there (2 of them not yet in the book): expected at most 7, found 8 (step 3)',
  ]);
});
