/** What the address may say; a wrong value falls back instead of breaking the page. */

export interface HomeSearch {
  /** Words searched for. */
  q?: string | undefined;
  /** The SKU opened beside the list. */
  sku?: string | undefined;
}

const words = (value: unknown, longest: number): string | undefined => {
  const text = typeof value === 'number' ? String(value) : value;
  return typeof text === 'string' && text.trim() !== '' && text.length <= longest ? text : undefined;
};

export function homeSearch(raw: Record<string, unknown>): HomeSearch {
  return { q: words(raw.q, 200), sku: words(raw.sku, 400) };
}
