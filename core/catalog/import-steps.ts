/**
 * The rows of a file → steps: what is booked in one transaction, and in which order.
 *
 *   rows of one SKU share a step, in the file's order; groups stand where their first row stands
 *   a product file's bundles come after everything else (phase 1): their parts may stand anywhere in the file
 *   a group begins a new step when the rows before it, in its phase, have filled one (`rowsPerStep`)
 *
 * Steps follow from the file alone. A run keeps its rows in the database and cuts the same steps there (store/runs/rows.ts); a
 * call that answers at once has them in memory, here. Pure.
 */
import {
  checkMappingRow,
  checkProductRow,
  checkStockRow,
  type MappingRow,
  type ProductRow,
  type RawRow,
  type RowError,
  type StockRow,
} from './import-rows.ts';

export type ImportKind = 'stock' | 'products' | 'mapping';
export type StockMode = 'set' | 'add';
export type SaidRow = StockRow | ProductRow | MappingRow;

/** A row that waits for its step: what it says, or why it is refused. */
export interface WaitingRow {
  row: number;
  /** A record that says several things is several rows of one number: the first is 0. */
  turn: number;
  /** What shares a step; null: it stands alone. */
  sku: string | null;
  phase: number;
  says: SaidRow | null;
  refused: { subject: string; field: string; value: string; reason: string } | null;
}

/**
 * By phase: large enough that a commit costs little, short enough to hold up no live event and, of products, not the event
 * feed of the whole installation.
 */
export const rowsPerStep: Readonly<Record<ImportKind, readonly number[]>> = {
  stock: [1_000],
  products: [2_000, 200],
  mapping: [500],
};

const checks = {
  stock: checkStockRow,
  products: (row: RawRow) => checkProductRow(row),
  mapping: (row: RawRow) => checkMappingRow(row),
};

const phaseOf = (says: SaidRow): number => ('components' in says && (says.components ?? []).length > 0 ? 1 : 0);

/** What a record of a file said, each thing checked; then what of it could not be understood. */
export function waitingRows(
  kind: ImportKind,
  mode: StockMode,
  record: { rows: readonly RawRow[]; errors: readonly RowError[] },
): WaitingRow[] {
  const refuse = ({ row, field, value, reason }: RowError, turn: number, subject: string): WaitingRow => ({
    row,
    turn,
    sku: null,
    phase: 0,
    says: null,
    refused: { subject, field, value, reason },
  });
  const checked = record.rows.map((row, turn): WaitingRow => {
    const found = checks[kind](row, mode);
    if (!found.ok) return refuse(found.error, turn, row.values.sku ?? '');
    const says = found.value;
    return { row: row.row, turn, sku: kind === 'mapping' ? null : says.sku, phase: phaseOf(says), says, refused: null };
  });
  const lost = record.errors.map((error, place) => refuse(error, record.rows.length + place, error.value));
  return [...checked, ...lost];
}

/** The steps of rows that are in memory, in the file's order. @param sizes rows of a step, by phase */
export function stepsInMemory(sizes: readonly number[], rows: readonly WaitingRow[]): WaitingRow[][] {
  const bySku = new Map<string, { place: number; phase: number }>();
  for (const { sku, row, phase } of rows) {
    if (sku === null) continue;
    const known = bySku.get(sku) ?? { place: row, phase };
    bySku.set(sku, { ...known, phase: Math.max(known.phase, phase) });
  }
  const standing = rows.map((row) => {
    const known = row.sku === null ? undefined : bySku.get(row.sku);
    return { place: known?.place ?? row.row, row: { ...row, phase: known?.phase ?? row.phase } };
  });
  return sizes.flatMap((size, phase) => {
    const groups = Map.groupBy(
      standing.filter(({ row }) => row.phase === phase),
      ({ place }) => place,
    );
    const steps = new Map<number, WaitingRow[]>();
    let before = 0;
    for (const [, group] of [...groups].sort(([a], [b]) => a - b)) {
      const step = Math.floor(before / size);
      before += group.length;
      const rowsOfStep = steps.get(step) ?? [];
      rowsOfStep.push(...group.map(({ row }) => row));
      steps.set(step, rowsOfStep);
    }
    return [...steps.values()];
  });
}
