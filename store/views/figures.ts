/** Figures that are facts of the database, for metrics and health; scope system, one statement. */
import type { Store } from '../tx.ts';

export interface Figure {
  orgId: string | null;
  connectionId: string | null;
  figure: string;
  value: number;
}

export async function readFigures(store: Store, now: number): Promise<Figure[]> {
  const { rows } = await store.system(
    (tx) =>
      tx.query<Figure>(
        {
          name: 'figures',
          text: `select org_id as "orgId", connection_id as "connectionId", figure, value from system_figures(to_timestamp($1::float8 / 1000.0))`,
        },
        [now],
      ),
    { idempotent: true, statementTimeoutMs: 5_000 },
  );
  return rows;
}

/** At most one look per `everyMs`; calls meanwhile share it. */
export function cachedFigures(
  store: Store,
  clock: { now(): number; monotonicMs(): number },
  everyMs = 5_000,
): () => Promise<Figure[]> {
  let at = Number.NEGATIVE_INFINITY;
  let known: Promise<Figure[]> = Promise.resolve([]);
  return () => {
    if (clock.monotonicMs() - at < everyMs) return known;
    at = clock.monotonicMs();
    known = readFigures(store, clock.now()).catch(() => []);
    return known;
  };
}
