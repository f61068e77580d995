/**
 * Files of stock rows, 1 % of them bad, as runs: from the first byte of the upload until the run has ended, in the product as a
 * user runs it. 50,000 rows for the time; then ten times as many in the same process, which must take no more memory: resident
 * and heap are sampled beside it, and the bench fails where the larger file needs more than a tenth more.
 *
 * Yardstick, interleaved: the same good rows by one multi-row insert into a bare keyed table, on one connection, one commit.
 */
import { createHash } from 'node:crypto';
import type pg from 'pg';
import { realIds } from '#server/deps.ts';
import { median, met, round, until } from './kit/figures.ts';
import { type Product, residentMiB, startProduct } from './kit/product.ts';
import { skuOf } from './kit/skus.ts';
import type { BenchResult } from './run.ts';

const count = 50_000;
const manyCount = 500_000;
const badEvery = 100;
const rounds = 5;
const barMs = 5_000;
/** Of the peak with the small file. */
const flatWithin = 1.1;
const key = 'bench-import';

interface Ended {
  id: string;
  state: string;
  message: string | null;
  succeeded: number;
  failed: number;
}

async function seed(owner: pg.Pool): Promise<void> {
  const org = realIds.uuid();
  await owner.query(`insert into organizations (org_id, name, slug) values ($1, 'Bench', 'bench-import')`, [org]);
  await owner.query(
    `insert into locations (org_id, id, code, name, is_default, priority) values ($1, $1, 'MAIN', 'Main', true, 1)`,
    [org],
  );
  await owner.query(`insert into api_keys (org_id, id, name, hash) values ($1, $1, 'bench', $2)`, [
    org,
    createHash('sha256').update(key).digest(),
  ]);
  const skus = Array.from({ length: manyCount }, (_, n) => skuOf(n));
  await owner.query(
    `insert into variants (org_id, id, sku) select $1, gen_random_uuid(), sku from unnest($2::text[]) sku`,
    [org, skus],
  );
  await owner.query('create table bench_rows (sku text primary key, units integer not null)');
  await owner.query('vacuum analyze');
}

const isBad = (n: number) => n % badEvery === 7;
const fileOf = (rows: number, units: number) =>
  `sku,quantity\n${Array.from({ length: rows }, (_, n) => `${skuOf(n)},${isBad(n) ? 'many' : units}`).join('\n')}\n`;

/** MiB, as the server itself says. */
interface Memory {
  resident: number;
  heap: number;
}

async function memoryOf(product: Product): Promise<Memory> {
  const text = await (await fetch(`${product.url}/metrics`)).text();
  const of = (name: string) => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? 0) / 1_048_576;
  return { resident: residentMiB(product.pid), heap: of('nodejs_heap_size_used_bytes') };
}

const most = (a: Memory, b: Memory): Memory => ({
  resident: Math.max(a.resident, b.resident),
  heap: Math.max(a.heap, b.heap),
});

async function importOnce(
  product: Product,
  rows: number,
  units: number,
): Promise<{ ms: number; cpu: number; peak: Memory }> {
  const headers = { authorization: `Bearer ${key}` };
  const file = fileOf(rows, units);
  let peak = await memoryOf(product);
  const before = product.cpu();
  const from = performance.now();
  const answer = await fetch(`${product.url}/api/imports?kind=stock`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'text/csv' },
    body: file,
  });
  if (answer.status !== 202) throw new Error(`${answer.status}: ${await answer.text()}`);
  let ended = (await answer.json()) as Ended;
  const over = async () => {
    peak = most(peak, await memoryOf(product));
    const asked = await fetch(`${product.url}/api/runs/${ended.id}`, { headers });
    if (!asked.ok) throw new Error(`${asked.status}: ${await asked.text()}`);
    ended = (await asked.json()) as Ended;
    return ['done', 'failed', 'cancelled'].includes(ended.state);
  };
  await until('the run has ended', over, 600_000, 100);
  const ms = performance.now() - from;
  const after = product.cpu();
  const good = Array.from({ length: rows }, (_, n) => n).filter((n) => !isBad(n)).length;
  if (ended.state !== 'done' || ended.succeeded !== good || ended.failed !== rows - good)
    throw new Error(`not what the file says: ${JSON.stringify(ended)}`);
  return { ms, cpu: after.server - before.server + after.database - before.database, peak };
}

async function insertOnce(owner: pg.Pool, units: number): Promise<number> {
  await owner.query('truncate bench_rows');
  const skus = Array.from({ length: count }, (_, n) => n)
    .filter((n) => !isBad(n))
    .map(skuOf);
  const from = performance.now();
  await owner.query('insert into bench_rows select sku, $2::int from unnest($1::text[]) sku', [skus, units]);
  return performance.now() - from;
}

export async function run(): Promise<BenchResult> {
  const product = await startProduct();
  try {
    await seed(product.owner);
    const own: number[] = [];
    const cpu: number[] = [];
    const bare: number[] = [];
    const peaks: number[] = [];
    let few = await memoryOf(product);
    const before = few.resident;
    for (let turn = 1; turn <= rounds; turn += 1) {
      const once = await importOnce(product, count, turn);
      own.push(once.ms);
      cpu.push(once.cpu);
      few = most(few, once.peak);
      peaks.push(once.peak.resident);
      bare.push(await insertOnce(product.owner, turn));
    }
    const { ms: manyMs, cpu: manyCpu, peak: many } = await importOnce(product, manyCount, rounds + 1);
    const ms = median(own);
    const isFlat = many.resident <= few.resident * flatWithin && many.heap <= few.heap * flatWithin;
    const rows: BenchResult['rows'] = [
      {
        case: `${count} stock rows, 1 % bad`,
        'median s': round(ms / 1_000),
        'worst s': round(Math.max(...own) / 1_000),
        'cpu s': round(median(cpu)),
        'rows/s': Math.round((count / ms) * 1_000),
        'bare insert s': round(median(bare) / 1_000),
        ratio: round(ms / median(bare)),
        'MiB resident': few.resident,
        'MiB heap': Math.round(few.heap),
        bar: `< ${barMs / 1_000} s`,
        is: met(ms < barMs),
      },
      {
        case: `${manyCount} stock rows, 1 % bad`,
        'median s': round(manyMs / 1_000),
        'cpu s': round(manyCpu),
        'rows/s': Math.round((manyCount / manyMs) * 1_000),
        'MiB resident': many.resident,
        'MiB heap': Math.round(many.heap),
        bar: `memory ≤ ${flatWithin} × of ${count} rows`,
        is: met(isFlat),
      },
    ];
    const settings = {
      ...(await product.settings()),
      rounds,
      badEvery,
      residentMiBBefore: before,
      residentMiBByRound: peaks,
    };
    const failed = isFlat ? [] : [`memory grows with the file: ${JSON.stringify({ few, many })}`];
    return { title: 'A stock file as a run', rows, settings, failed };
  } finally {
    await product.stop();
  }
}
