/**
 * Decimal texts of money as integer minor units, by the currency's own number of decimals (ISO 4217), without floats.
 * Used by map.ts. Shopify writes "89.99", and "1200.0" or "1200" for currencies without decimals.
 */
export function minorUnits(amount: string, currency: string): number | null {
  const match = /^(-?)(\d+)(?:\.(\d+))?$/.exec(amount.trim());
  if (!match) return null;
  const [, sign = '', whole = '0', fraction = ''] = match;
  const places = decimalsOf(currency);
  const kept = fraction.padEnd(places, '0').slice(0, places);
  const roundsUp = (fraction[places] ?? '0') >= '5' ? 1 : 0;
  const minor = Number(whole + kept) + roundsUp;
  if (!Number.isSafeInteger(minor)) return null;
  return sign === '-' ? -minor : minor;
}

/** Making a number format takes longer than mapping a whole order; there are few currencies. */
const decimals = new Map<string, number>();

function decimalsOf(currency: string): number {
  if (!/^[A-Z]{3}$/.test(currency)) return 2;
  const known = decimals.get(currency);
  if (known !== undefined) return known;
  const format = new Intl.NumberFormat('en', { style: 'currency', currency });
  const places = format.resolvedOptions().maximumFractionDigits ?? 2;
  decimals.set(currency, places);
  return places;
}
