/**
 * The flash sale, side by side: the same buyers, limits, latencies and (no) buffers for a queue of absolute updates, a sweep, ours, nothing at
 * all, and ours with the last units on one channel; a model in virtual time (bench/flash-sale/). What it is made of, what it leaves out, and
 * why its figures are what they are: docs/flash-sale.md. That the model does what the product does is shown by
 * bench/flash-sale/product.pg.test.ts.
 *
 *   demand.ts     who wants what, when, where              channel.ts    the channels and their limits
 *   others.ts     (a), (b), (d) and the yardstick          ours.ts, lane.ts, rows.ts   (c), (e): the product's own decisions
 *   sale.ts       one sale, judged                         report.ts, picture.ts       tables and picture
 *
 * Writes the tables into README.md and docs/flash-sale.md, and docs/flash-sale.svg. One core, about 80 s of it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { drawSale } from './flash-sale/picture.ts';
import { type Case, fillIn, markdown, rowOf, shortTable } from './flash-sale/report.ts';
import { channels, play, policies, scenarios, sweepEveryMs } from './flash-sale/scenarios.ts';
import type { BenchResult } from './run.ts';

const seeds = Array.from({ length: 20 }, (_, index) => index + 1);
const root = join(import.meta.dirname, '..');

export async function run(): Promise<BenchResult> {
  const cases: Case[] = scenarios.flatMap((scenario) =>
    scenario.learnS.flatMap((learnS) =>
      policies.map((kind) => ({
        scenario,
        kind,
        learnS,
        outcomes: seeds.map((seed) => play(scenario, kind, learnS, seed)),
      })),
    ),
  );
  const sale = cases.filter(({ scenario }) => scenario === scenarios[0]);
  const rows = cases.map(rowOf);
  writeFileSync(join(root, 'docs', 'flash-sale.svg'), drawSale(sale, seeds.length));
  fill('README.md', shortTable(sale));
  fill(join('docs', 'flash-sale.md'), markdown(rows));
  return {
    title: `Flash sale, side by side; median (least–most) of ${seeds.length} seeds`,
    rows,
    settings: {
      channels,
      bufferUnits: 0,
      sweepEveryMs,
      scenarios,
      oversoldBySeed: Object.fromEntries(
        cases.map(({ scenario, kind, learnS, outcomes }) => [
          `${scenario.name}, ${learnS} s, ${kind.name}`,
          outcomes.map(({ oversold }) => oversold),
        ]),
      ),
    },
  };
}

function fill(path: string, table: string): void {
  const file = join(root, path);
  writeFileSync(file, fillIn(readFileSync(file, 'utf8'), 'flash-sale', table));
}
