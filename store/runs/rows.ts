/**
 * The rows of a run's file between its reading and their steps. They are stored as they are read, in the file's order; where they
 * stand decides which step has them (core/catalog/import-steps.ts, the same rule in memory):
 *
 *   place   the row where its SKU stands first: rows of one place share a step
 *   phase   1 for all rows of a SKU of which any row belongs there
 *
 * Everything here is the holder's of the run. Statements are planned anew each time: the table grows from nothing to a million
 * rows within one run, and a plan that was made for the nothing would go through all of it for every row.
 */
import type { WaitingRow } from '#core/catalog/import-steps.ts';
import { StoreError } from '#core/errors.ts';
import type { Tx } from '../tx.ts';
import { announceRun, type HeldRun } from './runs.ts';

/** Rows of one phase whose places are from `from` to `to`. */
export interface StepRange {
  phase: number;
  from: number;
  to: number;
}

/** In statements whose first parameters are organization and run. */
const keyOf = (sku: string) => `md5($2::uuid::text || ${sku})::uuid`;
const firstOf = (key: string) =>
  `select f.phase, f.place from run_rows f where f.org_id = $1 and f.key = ${key} and f.item = f.place limit 1`;

/** @throws StoreError store.mismatch when the lease is gone; else nobody else takes the run until the commit */
export async function holdForStep(tx: Tx, run: HeldRun): Promise<void> {
  const { rows } = await tx.query(
    {
      name: 'run_hold_for_step',
      text: `select from runs where org_id = $1 and id = $2 and holder = $3 and state = 'running' for no key update`,
    },
    [run.orgId, run.id, run.holder],
  );
  if (rows.length === 0) throw new StoreError('store.mismatch', 'another process works on this run now');
}

/**
 * A run that the release before this one began has done some of its steps, and those were cut otherwise: it counts what has an
 * item, and only rows that have none wait for their steps.
 */
const isOlder = (run: HeldRun): boolean => Array.isArray(run.mark);

/** Nothing is stored yet, or not all; the file is read from its start. @returns whether there is more to be forgotten */
export async function beginReading(tx: Tx, run: HeldRun): Promise<boolean> {
  await holdForStep(tx, run);
  if (isOlder(run))
    await tx.query(
      `update runs set unchanged = 0, version = version + 1,
         succeeded = (select count(*) from run_items i where i.org_id = $1 and i.run_id = $2 and i.outcome = 'done'),
         failed = (select count(*) from run_items i where i.org_id = $1 and i.run_id = $2 and i.outcome = 'failed')
       where org_id = $1 and id = $2`,
      [run.orgId, run.id],
    );
  return forgetRows(tx, run);
}

/** Stores the next rows of the file. The same rows again change nothing. @param read how many that makes: people see it */
export async function keepRows(tx: Tx, run: HeldRun, rows: readonly WaitingRow[], read: number): Promise<void> {
  await holdForStep(tx, run);
  await tx.query(`update runs set message = $3, version = version + 1 where org_id = $1 and id = $2`, [
    run.orgId,
    run.id,
    `Its file is being read: ${read} rows so far; nothing is booked yet.`,
  ]);
  await announceRun(tx, run.orgId, run.id);
  await tx.query(
    `insert into run_rows (org_id, run_id, phase, place, item, turn, sku, key, says, refused)
     select $1, $2, greatest(told.latest, before.phase), coalesce(before.place, told.first), told.row, told.turn, told.sku, told.key, told.says, told.refused
     from (select t.*, ${keyOf('t.sku')} as key, case when t.sku is null then t.row else min(t.row) over same end as first,
         case when t.sku is null then t.phase else max(t.phase) over same end as latest
       from json_to_recordset($3) as t (row integer, turn integer, phase smallint, sku text, says json, refused json)
       window same as (partition by t.sku)) told
     left join lateral (${firstOf('told.key')}) before on true
     where not ($4 and exists (select from run_items i where i.org_id = $1 and i.run_id = $2 and i.item = told.row))
     on conflict do nothing`,
    [run.orgId, run.id, JSON.stringify(rows), isOlder(run)],
  );
  const later = [...new Set(rows.flatMap(({ phase, sku }) => (phase > 0 && sku !== null ? [sku] : [])))];
  if (later.length === 0) return;
  // Rows of these SKUs that came before, and belonged nowhere else then.
  await tx.query(
    `update run_rows r set phase = 1 from unnest($3::text[]) as s (sku) cross join lateral (${firstOf(keyOf('s.sku'))}) first
     where r.org_id = $1 and r.run_id = $2 and r.phase = 0 and r.place = first.place`,
    [run.orgId, run.id, later],
  );
}

/** The file is read: from here on its steps are done, one element of `mark.done` each. */
export async function beginSteps(tx: Tx, run: HeldRun, mark: { done: readonly number[] }): Promise<void> {
  await holdForStep(tx, run);
  await tx.query(
    `update runs set mark = $3, message = null, version = version + 1, total = case when $4 then succeeded + failed + unchanged else 0 end
       + (select count(*) from run_rows w where w.org_id = $1 and w.run_id = $2)
     where org_id = $1 and id = $2`,
    [run.orgId, run.id, JSON.stringify(mark), isOlder(run)],
  );
  await announceRun(tx, run.orgId, run.id);
}

/** Those that wait; fewer than were stored when the run had ended before. */
export async function countRows(tx: Tx, run: HeldRun): Promise<number> {
  const { rows } = await tx.query<{ n: number }>(
    'select count(*)::int as n from run_rows where org_id = $1 and run_id = $2',
    [run.orgId, run.id],
  );
  return rows[0]?.n ?? 0;
}

/** In the order in which they are done. @param sizes rows of a step, by phase */
export async function readSteps(tx: Tx, run: HeldRun, sizes: readonly number[]): Promise<StepRange[]> {
  const { rows } = await tx.query<StepRange>(
    `select phase, min(place) as "from", max(place) as "to" from (
       select phase, place, div(sum(n) over (partition by phase order by place) - n, ($3::int[])[phase + 1]) as step from (
         select phase, place, count(*) as n from run_rows where org_id = $1 and run_id = $2 group by phase, place) places) steps
     group by phase, step order by phase, step`,
    [run.orgId, run.id, sizes],
  );
  return rows;
}

export async function readStepRows(tx: Tx, run: HeldRun, { phase, from, to }: StepRange): Promise<WaitingRow[]> {
  const { rows } = await tx.query<WaitingRow>(
    `select item as row, turn, sku, phase, says, refused from run_rows
     where org_id = $1 and run_id = $2 and phase = $3 and place between $4 and $5 order by place, item, turn`,
    [run.orgId, run.id, phase, from, to],
  );
  return rows;
}

/** The last row of each of these SKUs that are in the file. */
export async function findLastRows(
  tx: Tx,
  run: HeldRun,
  skus: readonly string[],
): Promise<Map<string, Pick<WaitingRow, 'phase' | 'says'>>> {
  const { rows } = await tx.query<Pick<WaitingRow, 'phase' | 'says'> & { sku: string }>(
    `select s.sku, first.phase, last.says from unnest($3::text[]) as s (sku)
     cross join lateral (${firstOf(keyOf('s.sku'))}) first
     cross join lateral (select l.says from run_rows l where l.org_id = $1 and l.run_id = $2 and l.phase = first.phase
       and l.place = first.place order by l.item desc, l.turn desc limit 1) last`,
    [run.orgId, run.id, skus],
  );
  return new Map(rows.map(({ sku, ...found }) => [sku, found]));
}

const rowsPerForgetting = 5_000;

/** @returns whether there are more */
export async function forgetRows(tx: Tx, run: HeldRun): Promise<boolean> {
  const { rowCount } = await tx.query(
    `delete from run_rows where org_id = $1 and run_id = $2 and ctid = any (array(
       select ctid from run_rows where org_id = $1 and run_id = $2 limit $3))`,
    [run.orgId, run.id, rowsPerForgetting],
  );
  return rowCount === rowsPerForgetting;
}
