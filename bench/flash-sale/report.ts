/** What the sales came to, over all seeds: the rows of the bench, and the tables the documents keep between their markers. */
import { quantile } from '../kit/figures.ts';
import type { Outcome } from './sale.ts';
import type { PolicyKind, Scenario } from './scenarios.ts';

export interface Spread {
  least: number;
  median: number;
  most: number;
}

/** One policy in one sale at one learning delay. */
export interface Case {
  scenario: Scenario;
  kind: PolicyKind;
  learnS: number;
  outcomes: readonly Outcome[];
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  return { least: sorted[0] ?? 0, median: quantile(sorted, 0.5), most: sorted.at(-1) ?? 0 };
}

const whole = (value: number): string => value.toLocaleString('en-US');

const inWords = ({ least, median, most }: Spread): string =>
  least === most ? whole(median) : `${whole(median)} (${whole(least)}–${whole(most)})`;

function spreadIn(outcomes: readonly Outcome[], of: (outcome: Outcome) => number): string {
  return inWords(spreadOf(outcomes.map(of)));
}

/** Minutes after the last buyer; without an end when some numbers stay wrong in every sale. */
function rightIn(outcomes: readonly Outcome[]): string {
  const minutes = outcomes.flatMap(({ rightAfterS }) =>
    rightAfterS === null ? [] : [Math.round(rightAfterS / 6) / 10],
  );
  return minutes.length < outcomes.length ? 'never' : inWords(spreadOf(minutes));
}

export function rowOf({ scenario, kind, learnS, outcomes }: Case): Record<string, string | number> {
  return {
    figure: `${scenario.name}: ${kind.name}`,
    'learning s': learnS,
    oversold: spreadIn(outcomes, ({ oversold }) => oversold),
    refused: spreadIn(outcomes, ({ refused }) => refused),
    unsold: spreadIn(outcomes, ({ unsold }) => unsold),
    'of these wanted': spreadIn(outcomes, ({ missed }) => missed),
    reads: spreadIn(outcomes, ({ reads }) => reads),
    writes: spreadIn(outcomes, ({ writes }) => writes),
    backlog: spreadIn(outcomes, ({ backlog }) => backlog),
    'right after min': rightIn(outcomes),
  };
}

/** A Markdown table, the first column on the left. */
export function markdown(rows: readonly Record<string, string | number>[]): string {
  const columns = Object.keys(rows[0] ?? {});
  const line = (cells: readonly (string | number)[]) => `| ${cells.join(' | ')} |`;
  return [
    line(columns),
    line(columns.map((_, index) => (index === 0 ? '---' : '--:'))),
    ...rows.map((row) => line(columns.map((column) => row[column] ?? ''))),
  ].join('\n');
}

/** The README's: the sale, a line per policy, oversold at every delay, the rest at the first. */
export function shortTable(cases: readonly Case[]): string {
  const first = cases.filter(({ learnS }) => learnS === cases[0]?.learnS);
  return markdown(
    first.map(({ kind, outcomes }) => {
      const median = (of: (outcome: Outcome) => number) => whole(spreadOf(outcomes.map(of)).median);
      const oversold = cases
        .filter((one) => one.kind === kind)
        .map((one) => [`oversold, heard after ${one.learnS} s`, spreadIn(one.outcomes, (outcome) => outcome.oversold)]);
      return {
        policy: `${kind.name}: ${kind.says}`,
        ...Object.fromEntries(oversold),
        refused: median(({ refused }) => refused),
        calls: median(({ reads, writes }) => reads + writes),
        backlog: median(({ backlog }) => backlog),
        'right after, min': rightIn(outcomes).replace(/ .*/, ''),
      };
    }),
  );
}

/** The text with what stands between `<!-- name -->` and `<!-- /name -->` replaced. */
export function fillIn(text: string, name: string, content: string): string {
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const from = text.indexOf(open);
  const to = text.indexOf(close);
  if (from < 0 || to < from) throw new Error(`no place for ${name}`);
  return `${text.slice(0, from + open.length)}\n${content}\n${text.slice(to)}`;
}
