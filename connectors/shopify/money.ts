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

function decimalsOf(currency: string): number {
  if (!/^[A-Z]{3}$/.test(currency)) return 2;
  return new Intl.NumberFormat('en', { style: 'currency', currency }).resolvedOptions().maximumFractionDigits ?? 2;
}
