/**
 * A file of 50,000 stock rows, 1 % of them bad, as a run: from the first byte of the upload until the run has ended, in the
 * product as a user runs it. The server's resident memory is sampled beside it.
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
const badEvery = 100;
const rounds = 3;
const barMs = 5_000;
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
  const skus = Array.from({ length: count }, (_, n) => skuOf(n));
  await owner.query(
    `insert into variants (org_id, id, sku) select $1, gen_random_uuid(), sku from unnest($2::text[]) sku`,
    [org, skus],
  );
  await owner.query('create table bench_rows (sku text primary key, units integer not null)');
  await owner.query('vacuum analyze');
}

const isBad = (n: number) => n % badEvery === 7;
const fileOf = (units: number) =>
  `sku,quantity\n${Array.from({ length: count }, (_, n) => `${skuOf(n)},${isBad(n) ? 'many' : units}`).join('\n')}\n`;

async function importOnce(product: Product, file: string): Promise<{ ms: number; peakMiB: number; ended: Ended }> {
  const headers = { authorization: `Bearer ${key}` };
  let peakMiB = residentMiB(product.pid);
  const from = performance.now();
  const answer = await fetch(`${product.url}/api/imports?kind=stock`, {
    method: 'POST',
    headers: { ...headers, 'content-type': 'text/csv' },
    body: file,
  });
  if (answer.status !== 202) throw new Error(`${answer.status}: ${await answer.text()}`);
  let ended = (await answer.json()) as Ended;
  const over = async () => {
    peakMiB = Math.max(peakMiB, residentMiB(product.pid));
    const asked = await fetch(`${product.url}/api/runs/${ended.id}`, { headers });
    if (!asked.ok) throw new Error(`${asked.status}: ${await asked.text()}`);
    ended = (await asked.json()) as Ended;
    return ['done', 'failed', 'cancelled'].includes(ended.state);
  };
  await until('the run has ended', over, 120_000, 100);
  const ms = performance.now() - from;
  const good = Array.from({ length: count }, (_, n) => n).filter((n) => !isBad(n)).length;
  if (ended.state !== 'done' || ended.succeeded !== good || ended.failed !== count - good)
    throw new Error(`not what the file says: ${JSON.stringify(ended)}`);
  return { ms, peakMiB, ended };
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
    const before = residentMiB(product.pid);
    const own: number[] = [];
    const bare: number[] = [];
    const peaks: number[] = [];
    for (let turn = 1; turn <= rounds; turn += 1) {
      const { ms, peakMiB } = await importOnce(product, fileOf(turn));
      own.push(ms);
      peaks.push(peakMiB);
      bare.push(await insertOnce(product.owner, turn));
    }
    const ms = median(own);
    const rows: BenchResult['rows'] = [
      {
        case: `${count} stock rows, 1 % bad`,
        'median s': round(ms / 1_000),
        'worst s': round(Math.max(...own) / 1_000),
        'rows/s': Math.round((count / ms) * 1_000),
        'bare insert s': round(median(bare) / 1_000),
        ratio: round(ms / median(bare)),
        'MiB before': before,
        'MiB peak by round': peaks.join(' '),
        bar: `< ${barMs / 1_000} s`,
        is: met(ms < barMs),
      },
    ];
    return { title: 'A stock file as a run', rows, settings: { ...(await product.settings()), rounds, badEvery } };
  } finally {
    await product.stop();
  }
}
