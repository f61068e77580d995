/** Small arithmetic of benches: quantiles, rounding, waiting. */

export const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

export const round = (value: number, digits = 2): number => Number(value.toFixed(digits));

/** @param sorted ascending */
export const quantile = (sorted: readonly number[], part: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN;

export function quantiles(values: Iterable<number>): { n: number; p50: number; p95: number; p99: number } {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part: number) => round(quantile(sorted, part), 1);
  return { n: sorted.length, p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

export const median = (values: readonly number[]): number =>
  quantile(
    [...values].sort((a, b) => a - b),
    0.5,
  );

export const met = (yes: boolean): string => (yes ? 'met' : 'missed');

/** @throws when it is not so within the time */
export async function until(
  what: string,
  holds: () => Promise<boolean> | boolean,
  withinMs: number,
  everyMs = 50,
): Promise<void> {
  const end = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`);
    await pause(everyMs);
  }
}
