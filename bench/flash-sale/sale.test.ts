import { expect, test } from 'vitest';
import { drawSale } from './picture.ts';
import { fillIn, markdown, rowOf, shortTable, spreadOf } from './report.ts';
import { play, policies, type Scenario } from './scenarios.ts';

const small: Scenario = {
  name: 'small',
  says: 'one seed of the bench, made small',
  skus: 200,
  unitsEach: 5,
  ordersPerSecond: 10,
  seconds: 90,
  learnS: [1],
};
const cases = policies.map((kind) => ({
  scenario: small,
  kind,
  learnS: 1,
  outcomes: [play(small, kind, 1, 1)],
}));

test('a small sale comes out exactly so under each policy', () => {
  const came = cases.map(({ kind, outcomes: [one] }) => [
    kind.name,
    [one?.oversold, one?.refused, one?.unsold, one?.missed],
    [one?.reads, one?.writes, one?.stale, one?.backlog, one?.rightAfterS],
  ]);
  expect(came).toEqual([
    ['a queue', [165, 0, 600, 0], [0, 1130, 0, 927, 1161]],
    ['b sweep', [105, 0, 600, 0], [0, 304, 0, 302, 582]],
    ['c ours', [48, 0, 600, 0], [13, 296, 23, 160, 183]],
    ['d none', [105, 0, 600, 0], [0, 0, 0, 0, null]],
    ['e ours, last 3', [19, 73, 631, 31], [10, 254, 14, 122, 150]],
    ['e ours, last 8', [17, 101, 648, 48], [6, 252, 11, 119, 132]],
    ['bound', [21, 0, 600, 0], [0, 401, 0, 201, 256]],
  ]);
});

test('a sale played twice comes out the same', () => {
  const [, , ours] = policies;
  expect(ours && play(small, ours, 1, 1)).toEqual(cases[2]?.outcomes[0]);
});

test('demand within the limits: nobody oversells, nobody is refused, and everybody but no sync is right in the end', () => {
  const calm = { ...small, unitsEach: 100, ordersPerSecond: 0.2, seconds: 300 };
  const outcomes = policies.map((kind) => play(calm, kind, 1, 1));
  expect(outcomes.map(({ sold, oversold, refused }) => [sold, oversold, refused])).toEqual(
    policies.map(() => [60, 0, 0]),
  );
  expect(policies.filter((_, index) => outcomes[index]?.rightAfterS === null).map(({ name }) => name)).toEqual([
    'd none',
  ]);
});

test('spreads, rows and tables say the same', () => {
  expect(spreadOf([3, 1, 2])).toEqual({ least: 1, median: 2, most: 3 });
  const [queue] = cases;
  expect(queue && rowOf(queue)).toMatchObject({ figure: 'small: a queue', 'learning s': 1, refused: '0' });
  expect(shortTable(cases).split('\n')).toHaveLength(2 + policies.length);
  expect(markdown([{ a: 'x', b: 1 }])).toBe('| a | b |\n| --- | --: |\n| x | 1 |');
  expect(fillIn('1\n<!-- t -->\nold\n<!-- /t -->\n2', 't', 'new')).toBe('1\n<!-- t -->\nnew\n<!-- /t -->\n2');
});

test('the picture is the same every time and has a bar for every policy', () => {
  const picture = drawSale(cases, 1);
  expect(picture).toBe(drawSale(cases, 1));
  expect(picture.match(/<rect /g)).toHaveLength(1 + policies.length);
});
