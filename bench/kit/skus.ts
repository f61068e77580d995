/** What a bench and its simulated shops both name. */

export const skuOf = (number: number): string => `BENCH-${String(number).padStart(6, '0')}`;

export interface CallCount {
  /** Number of the last call so far: `since` of the next question. */
  next: number;
  counts: Record<string, number>;
  /** Writes that were carried out, in order: when (Unix ms), and the stock items they named. */
  writes: { at: number; items: string[] }[];
}
