/**
 * `npm run hostile -- --minutes N [--seed S] [--coverage]`: hostile input with ever new seeds. A fault prints its seed and the
 * shrunk input and ends with 1. `--coverage` tells the lines of the parsers that were run, measured by V8 itself.
 */
import { readFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import fc from 'fast-check';
import { judge, type Parser, parsers, portParsers } from './parsers.testing.ts';
import { recordAmazon, recordShopify } from './recordings.testing.ts';

const runs = 25;
/** The program's own answer. */
const say = (line: string) => process.stdout.write(`${line}\n`);
const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '1' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
    coverage: { type: 'boolean', default: false },
  },
});

interface Covered {
  file: string;
  lines: number;
  run: number;
  missed: string;
}

const watched =
  /\/(?:connectors\/(?:amazon|shopify|kit)|core\/catalog\/formats)\/[^/]+\.ts$|\/server\/(?:files|workbook)\.ts$/;

/** Lines with code, and which of them were run: V8's ranges over the source, which Node keeps as it is written. */
function linesOf(
  url: string,
  functions: { ranges: { startOffset: number; endOffset: number; count: number }[] }[],
): Covered {
  const source = readFileSync(fileURLToPath(url), 'utf8');
  const state = new Uint8Array(source.length).fill(1);
  const ranges = functions
    .flatMap((one) => one.ranges)
    .sort((a, b) => b.endOffset - b.startOffset - (a.endOffset - a.startOffset));
  for (const { startOffset, endOffset, count } of ranges) state.fill(count > 0 ? 1 : 0, startOffset, endOffset);
  const isCode = (line: string) =>
    /[\w]/.test(line) && !/^\s*(?:\/\/|\/?\*|import |export (?:type|interface) )/.test(line);
  let at = 0;
  let lines = 0;
  const missed: number[] = [];
  for (const [n, line] of source.split('\n').entries()) {
    if (isCode(line)) {
      lines += 1;
      const begin = at + line.search(/\S/);
      if (state.subarray(begin, at + line.length).every((run) => run === 0)) missed.push(n + 1);
    }
    at += line.length + 1;
  }
  return {
    file: url.slice(url.indexOf('/', url.search(/\/(?:connectors|core|server)\//)) + 1),
    lines,
    run: lines - missed.length,
    missed: missed.join(' '),
  };
}

async function tellCoverage(session: Session): Promise<void> {
  const { result } = await session.post('Profiler.takePreciseCoverage');
  const table = result
    .filter(({ url }) => watched.test(url) && !/\.testing\.ts$/.test(url))
    .map(({ url, functions }) => linesOf(url, functions))
    .sort((a, b) => (a.file < b.file ? -1 : 1));
  const row = (cells: string[]) => say(`| ${cells.join(' | ')} |`);
  row(['file', 'lines', 'run', '%', 'not run']);
  row(['---', '---:', '---:', '---:', '---']);
  const percent = (run: number, lines: number) => ((100 * run) / lines).toFixed(1);
  for (const { file, lines, run, missed } of table)
    row([file, String(lines), String(run), percent(run, lines), missed]);
  const sum = (pick: (one: Covered) => number) => table.reduce((total, one) => total + pick(one), 0);
  const [lines, run] = [sum((one) => one.lines), sum((one) => one.run)];
  row(['all', String(lines), String(run), percent(run, lines), '']);
}

/** @returns false for a fault. */
async function attack(parser: Parser, seed: number): Promise<boolean> {
  const property = fc.asyncProperty(parser.input, async (input) => {
    const wrong = await judge(parser, input);
    if (wrong !== null) throw new Error(wrong);
  });
  const found = await fc.check(property, { seed, numRuns: parser.slow ? 3 : runs });
  if (!found.failed) return true;
  const [input] = found.counterexample ?? [Buffer.alloc(0)];
  say(`FAULT in ${parser.name} seed=${seed} path=${found.counterexamplePath ?? ''}`);
  say(String(found.errorInstance).slice(0, 2_000));
  say(`shrunk input, ${input.length} bytes: ${JSON.stringify(input.toString('latin1').slice(0, 2_000))}`);
  return false;
}

async function explore(): Promise<boolean> {
  const until = performance.now() + Number(values.minutes) * 60_000;
  let seed = Number(values.seed);
  let inputs = 0;
  const all = [
    ...parsers,
    ...portParsers('shopify', await recordShopify()),
    ...portParsers('amazon', await recordAmazon()),
  ];
  const faulty = new Set<Parser>();
  do {
    for (const parser of all) {
      if (performance.now() > until && inputs > all.length * runs) break;
      if (faulty.has(parser)) continue;
      if (!(await attack(parser, seed))) faulty.add(parser);
      inputs += parser.slow ? 3 : runs;
    }
    seed += 1;
  } while (performance.now() < until);
  say(`${all.length} parsers, ${inputs} inputs, seeds ${values.seed} to ${seed - 1}, ${faulty.size} with faults`);
  return faulty.size === 0;
}

const session = new Session();
session.connect();
if (values.coverage) {
  await session.post('Profiler.enable');
  await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
}
const isClean = await explore();
if (values.coverage) await tellCoverage(session);
process.exit(isClean ? 0 : 1);
