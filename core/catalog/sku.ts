/**
 * SKU: what a merchant calls a variant, and when two of them are the same.
 *
 *   NFC, trimmed, 1–200 code points, no control characters; then compared exactly (case and inner space count)
 *
 * Used wherever a SKU enters: API, imports, channel catalogues. The database compares with collation "C".
 */

export type SkuProblem = 'empty' | 'too_long' | 'control_character';

export const MAX_SKU_CODE_POINTS = 200;

/** The SKU in its one spelling, or why it cannot be one. */
export function parseSku(text: string): { kind: 'sku'; sku: string } | { kind: 'invalid'; problem: SkuProblem } {
  const sku = text.normalize('NFC').trim();
  if (sku === '') return { kind: 'invalid', problem: 'empty' };
  if (codePoints(sku) > MAX_SKU_CODE_POINTS) return { kind: 'invalid', problem: 'too_long' };
  if (/\p{Cc}/u.test(sku) || !sku.isWellFormed()) return { kind: 'invalid', problem: 'control_character' };
  return { kind: 'sku', sku };
}

/** The SKU in its one spelling, or null. */
export function normalizeSku(text: string): string | null {
  const parsed = parseSku(text);
  return parsed.kind === 'sku' ? parsed.sku : null;
}

/** A channel's word for an item, which need not be a possible SKU of ours: in one spelling, so that two ways to tell it agree. */
export const channelSkuOf = (text: string): string => text.normalize('NFC').trim();

function codePoints(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}
