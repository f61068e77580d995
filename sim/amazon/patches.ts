/**
 * Listing patches: what a PATCH of `fulfillment_availability` asks for, whether Amazon refuses it, and what it does.
 * Pure. Rules and codes: vendors/amazon.md §3.2–§3.4 (documented and observed there; `assumed` where marked here).
 *
 *   entries are keyed by the selector fulfillment_channel_code; other channels' entries are never touched
 *   merge         absent fields stay
 *   replace, add  absent fields are wiped (add like replace: assumed)
 *   delete        removes the entries named; without a value all of them (assumed)
 *
 * A quantity for an FBA channel flips the offer to merchant-fulfilled: it becomes the DEFAULT entry's quantity (§5.6).
 */

export interface ChannelEntry {
  /** DEFAULT (by the merchant) or AMAZON_… (by Amazon). */
  code: string;
  quantity: number | null;
  leadTimeDays: number | null;
  restockDate: string | null;
}

export interface Patch {
  op: 'add' | 'replace' | 'merge' | 'delete';
  path: string;
  value?: Record<string, unknown>[] | undefined;
}

export interface Issue {
  code: string;
  message: string;
  severity: 'ERROR' | 'WARNING' | 'INFO';
  attributeNames?: string[];
  categories: string[];
}

export const MERCHANT_CHANNEL = 'DEFAULT';
export const GENERIC_PRODUCT_TYPE = 'PRODUCT';
const AVAILABILITY = 'fulfillment_availability';
const FIELDS = ['fulfillment_channel_code', 'quantity', 'lead_time_to_ship_max_days', 'restock_date', 'marketplace_id'];
const LONGEST_LEAD_TIME_DAYS = 30;

export const attributeOf = (patch: Patch): string => patch.path.slice('/attributes/'.length);

/** @returns why Amazon answers INVALID; empty = ACCEPTED (or VALID in a preview). */
export function patchIssues(patches: readonly Patch[], productType: string, ownProductType: string | null): Issue[] {
  const known = productType === GENERIC_PRODUCT_TYPE || ownProductType === null || productType === ownProductType;
  if (!known) {
    const message = `The product type '${productType}' is invalid or unsupported.`;
    return [{ code: '4000003', message, severity: 'ERROR', categories: ['INVALID_ATTRIBUTE'] }];
  }
  return patches.flatMap((patch) => {
    const attribute = attributeOf(patch);
    if (!/^[a-z0-9_]+$/.test(attribute)) return [attributesInvalid(attribute)];
    if (attribute !== AVAILABILITY) return [];
    return (patch.value ?? []).flatMap((value) => entryIssues(patch.op, value));
  });
}

function entryIssues(op: Patch['op'], value: Record<string, unknown>): Issue[] {
  const unknown = Object.keys(value).filter((field) => !FIELDS.includes(field));
  if (unknown.length > 0) return unknown.map(attributesInvalid);
  const code = value.fulfillment_channel_code;
  if (typeof code !== 'string' || code === '') return [missing('fulfillment_channel_code')];
  if (code !== MERCHANT_CHANNEL && !/^AMAZON_[A-Z]+$/.test(code))
    return [attributesInvalid('fulfillment_channel_code')];
  if (op === 'delete') return [];
  const { quantity, lead_time_to_ship_max_days: leadTime } = value;
  if (quantity === undefined && code === MERCHANT_CHANNEL) return [missing('quantity')];
  if (quantity !== undefined && !isWhole(quantity)) return [attributesInvalid('quantity')];
  if (leadTime !== undefined && (!isWhole(leadTime) || leadTime > LONGEST_LEAD_TIME_DAYS))
    return [attributesInvalid('lead_time_to_ship_max_days')];
  return [];
}

const isWhole = (value: unknown): value is number => typeof value === 'number' && Number.isInteger(value) && value >= 0;

const attributesInvalid = (name: string): Issue => ({
  code: '90000900',
  message: 'The attributes are invalid.',
  severity: 'ERROR',
  attributeNames: [name],
  categories: ['INVALID_ATTRIBUTE'],
});

const missing = (name: string): Issue => ({
  code: '90220',
  message: `'${name}' is required but missing.`,
  severity: 'ERROR',
  attributeNames: [AVAILABILITY],
  categories: ['MISSING_ATTRIBUTE'],
});

/** @param patches without issues */
export function applyPatches(channels: readonly ChannelEntry[], patches: readonly Patch[]): ChannelEntry[] {
  let result = [...channels];
  for (const patch of patches) {
    if (attributeOf(patch) !== AVAILABILITY) continue;
    if (patch.op === 'delete') {
      const gone = patch.value?.map((value) => value.fulfillment_channel_code);
      result = gone === undefined ? [] : result.filter((entry) => !gone.includes(entry.code));
      continue;
    }
    for (const value of patch.value ?? []) result = putEntry(result, value, patch.op === 'merge');
  }
  return result;
}

function putEntry(channels: ChannelEntry[], value: Record<string, unknown>, keepAbsent: boolean): ChannelEntry[] {
  const quantity = (value.quantity as number | undefined) ?? null;
  const given = value.fulfillment_channel_code as string;
  const code = quantity === null ? given : MERCHANT_CHANNEL;
  const before = keepAbsent ? channels.find((entry) => entry.code === code) : undefined;
  const entry: ChannelEntry = {
    code,
    quantity: quantity ?? before?.quantity ?? null,
    leadTimeDays: (value.lead_time_to_ship_max_days as number | undefined) ?? before?.leadTimeDays ?? null,
    restockDate: (value.restock_date as string | undefined) ?? before?.restockDate ?? null,
  };
  const index = channels.findIndex((other) => other.code === code);
  return index < 0 ? [...channels, entry] : channels.with(index, entry);
}
