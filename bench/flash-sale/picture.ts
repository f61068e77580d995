/**
 * The picture of the sale: units oversold by policy, a group per learning delay, the median as a bar and the spread over seeds as a line.
 * Plain SVG with its own background, in the reader's light or dark; the same figures always give the same file.
 */
import { type Case, spreadOf } from './report.ts';

const width = 880;
const left = 150;
const right = 70;
const rowHeight = 17;
const groupGap = 34;
const top = 64;
const tick = 250;

/** Each readable on white and on near-black. */
const colours = ['#d1495b', '#c77d0a', '#2a9d5c', '#8a8f98', '#2f8fd0', '#8b6fd6', '#6b7280'];

const style = `
    .paper { fill: #ffffff } text { font: 12px system-ui, sans-serif; fill: #1f2328 } .title { font-size: 15px; font-weight: 600 }
    .small { font-size: 11px; fill: #59636e } .rule { stroke: #d1d9e0 } .spread { stroke: #1f2328; stroke-width: 1.2 }
    @media (prefers-color-scheme: dark) {
      .paper { fill: #0d1117 } text { fill: #e6edf3 } .small { fill: #9198a1 } .rule { stroke: #30363d } .spread { stroke: #e6edf3 }
    }`;

export function drawSale(cases: readonly Case[], seeds: number): string {
  const delays = [...new Set(cases.map(({ learnS }) => learnS))];
  const kinds = [...new Set(cases.map(({ kind }) => kind))];
  const spreads = cases.map(({ outcomes }) => spreadOf(outcomes.map(({ oversold }) => oversold)));
  const most = Math.ceil(Math.max(1, ...spreads.map((one) => one.most)) / tick) * tick;
  const x = (units: number) => left + (units / most) * (width - left - right);
  const groupHeight = kinds.length * rowHeight + groupGap;
  const height = top + delays.length * groupHeight + 20;
  const parts: string[] = [];
  for (let units = 0; units <= most; units += tick)
    parts.push(
      `<line class="rule" x1="${at(x(units))}" y1="${top - 8}" x2="${at(x(units))}" y2="${height - 24}"/>`,
      `<text class="small" x="${at(x(units))}" y="${height - 8}" text-anchor="middle">${units.toLocaleString('en-US')}</text>`,
    );
  for (const [group, learnS] of delays.entries()) {
    const y = top + group * groupHeight;
    parts.push(`<text x="${left + 5}" y="${y + 6}" font-weight="600">a sale is heard of after ${learnS} s</text>`);
    for (const [row, kind] of kinds.entries()) {
      const index = cases.findIndex((one) => one.kind === kind && one.learnS === learnS);
      const spread = spreads[index];
      if (spread) parts.push(...bar(kind.name, spread, x, y + 14 + row * rowHeight, colours[row] ?? '#6b7280'));
    }
  }
  const title = 'Units oversold in a flash sale';
  const under = `1,000 SKUs × 10 units, 10 buyers/s for 10 min, two channels at 0.5 and 2 calls/s; median and spread of ${seeds} seeds`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${title}">
  <style>${style}
  </style>
  <rect class="paper" width="${width}" height="${height}"/>
  <text class="title" x="16" y="26">${title}</text>
  <text class="small" x="16" y="44">${under}</text>
  ${parts.join('\n  ')}
</svg>
`;
}

function bar(
  name: string,
  { least, median, most }: { least: number; median: number; most: number },
  x: (units: number) => number,
  y: number,
  colour: string,
): string[] {
  const middle = y + rowHeight / 2 - 2;
  return [
    `<text x="${left - 8}" y="${y + 10}" text-anchor="end">${name}</text>`,
    `<rect x="${left}" y="${y}" width="${at(Math.max(1, x(median) - left))}" height="${rowHeight - 4}" fill="${colour}"/>`,
    `<line class="spread" x1="${at(x(least))}" y1="${middle}" x2="${at(x(most))}" y2="${middle}"/>`,
    `<text class="small" x="${at(x(most) + 6)}" y="${y + 10}">${median.toLocaleString('en-US')}</text>`,
  ];
}

const at = (value: number): string => value.toFixed(1);
