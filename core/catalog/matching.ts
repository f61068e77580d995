/**
 * Matching: what a channel's item is to us, and how the two differ.
 *
 * Only an exact SKU maps by itself (sku.ts). SKUs that differ in case or spaces alone are told as suggestions, for a
 * person: two sizes of a screw may differ by a capital letter. Pure; used by the catalogue import and its report.
 */
import { normalizeSku, parseSku } from './sku.ts';

export interface ChannelItem {
  channelSku: string;
  title: string;
  barcode: string | null;
  /** Its number follows from its parts at the channel: no product of ours by itself. */
  isBundleParent: boolean;
}

export interface OurProduct {
  sku: string;
  title: string;
  barcode: string | null;
}

export interface ItemIssue {
  field: string;
  reason: string;
}

/** What a person should mend at the channel; the import goes on all the same. */
export function issuesOf(item: ChannelItem): ItemIssue[] {
  const issues: ItemIssue[] = [];
  const parsed = parseSku(item.channelSku);
  if (parsed.kind === 'invalid') {
    const reasons = {
      empty: 'is missing: the item cannot be mapped by SKU',
      too_long: 'has more than 200 characters',
      control_character: 'holds control characters',
    };
    issues.push({ field: 'sku', reason: reasons[parsed.problem] });
  }
  if (item.title.trim() === '') issues.push({ field: 'title', reason: 'is missing' });
  if (item.barcode !== null && /^\d{8,14}$/.test(item.barcode) && !isGtin(item.barcode))
    issues.push({ field: 'barcode', reason: 'has a wrong check digit' });
  return issues;
}

/** Whether the item may become a product of ours, should nothing of ours have its SKU. */
export const canBecomeProduct = (item: ChannelItem): boolean =>
  !item.isBundleParent && normalizeSku(item.channelSku) !== null;

export interface FieldComparison {
  field: 'title' | 'barcode';
  verdict: 'equal' | 'differs' | 'ours_only' | 'theirs_only' | 'neither';
  ours: string | null;
  theirs: string | null;
}

export function compareFields(ours: OurProduct, theirs: ChannelItem): FieldComparison[] {
  return [comparison('title', ours.title, theirs.title), comparison('barcode', ours.barcode, theirs.barcode)];
}

function comparison(field: FieldComparison['field'], ours: string | null, theirs: string | null): FieldComparison {
  const [a, b] = [tidy(ours), tidy(theirs)];
  const verdict = a === null ? (b === null ? 'neither' : 'theirs_only') : b === null ? 'ours_only' : null;
  return { field, verdict: verdict ?? (a === b ? 'equal' : 'differs'), ours: a, theirs: b };
}

const tidy = (text: string | null): string | null => text?.normalize('NFC').trim() || null;

/** GTIN-8, -12, -13, -14: the last digit makes the sum weighted 3, 1, 3, 1 from the right a multiple of ten (GS1). */
export function isGtin(text: string): boolean {
  if (!/^(?:\d{8}|\d{12,14})$/.test(text)) return false;
  const sum = [...text].reverse().reduce((total, digit, place) => total + Number(digit) * (place % 2 === 0 ? 1 : 3), 0);
  return sum % 10 === 0;
}
