/** What people write on a command line → values, or a refusal that says what is expected. Pure, but for "now". */
import { InvalidArgumentError } from 'commander';

const units: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** "2026-11-21T09:00:00Z", "2026-11-21" (UTC), or an age: "30m", "2h", "3d". Unix ms. */
export function parseTime(text: string, now: number): number {
  const age = /^(\d{1,9})\s*([smhd])(?:\s+ago)?$/.exec(text.trim());
  if (age?.[1] && age[2]) return now - Number(age[1]) * (units[age[2]] ?? 0);
  const given = text.trim();
  const zoned = /^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?)?$/.exec(given);
  const at = zoned ? Date.parse(zoned[1] === undefined || zoned[4] !== undefined ? given : `${given}Z`) : Number.NaN;
  if (Number.isNaN(at))
    throw new InvalidArgumentError('A time is 2026-11-21T09:00:00Z, 2026-11-21 or an age such as 30m, 2h, 3d.');
  return at;
}

/** For commander: a time as above, against this machine's clock. */
export const timeOption = (text: string): number => parseTime(text, Date.now());

/** For commander: a time to come; "30m" is in half an hour. */
export function laterOption(text: string): number {
  const now = Date.now();
  const at = parseTime(text, now);
  const later = /^\d/.test(text) && /[smhd]$/.test(text.trim()) ? now + (now - at) : at;
  if (later <= now) throw new InvalidArgumentError('It must lie in the future.');
  return later;
}

/** A whole number within bounds. */
export const wholeNumber =
  (least: number, most: number) =>
  (text: string): number => {
    const value = /^[+-]?\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= least && value <= most))
      throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
    return value;
  };

export interface SkuUnits {
  sku: string;
  quantity: number;
}

/** "DEMO-001", "DEMO-001=3" or "DEMO-001:3": the last sign counts, so that a SKU may hold others. */
export function parseLine(text: string): SkuUnits {
  const match = /^(.+?)(?:[=:](\d{1,7}))?$/su.exec(text.trim());
  if (!match?.[1]) throw new InvalidArgumentError('A line is SKU=units, for example DEMO-001=2.');
  return { sku: match[1], quantity: match[2] === undefined ? 1 : Number(match[2]) };
}

/** For repeatable options. */
export const lineOption = (text: string, before: SkuUnits[] | undefined): SkuUnits[] => [
  ...(before ?? []),
  parseLine(text),
];

/** "MAIN=gid://…" → pairs. */
export function pairOption(text: string, before: [string, string][] | undefined): [string, string][] {
  const [left = '', right = ''] = text.split(/=(.*)/s);
  if (left.trim() === '' || right.trim() === '')
    throw new InvalidArgumentError('It must be OURS=THEIRS, for example MAIN=DEFAULT.');
  return [...(before ?? []), [left.trim(), right.trim()]];
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
export const isUuid = (text: string): boolean => uuid.test(text);

/** Case, spaces, dashes and dots do not count: "demo-a" is "Demo A". */
const folded = (text: string): string => text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '');

/**
 * What a person means among named things: the exact id or name; else the only one whose name (case, spaces and dashes
 * aside) is it, begins so or contains it, or whose id begins so. Null: none; a list: several, at the first step that found any.
 */
export function pickByName<T extends { id: string; name: string }>(
  things: readonly T[],
  named: string,
): T | null | T[] {
  const wanted = named.trim().toLowerCase();
  const plain = folded(named);
  const steps: ((thing: T) => boolean)[] = [
    ({ id, name }) => id === wanted || name === named,
    ({ name }) => plain !== '' && folded(name) === plain,
    ({ id, name }) => plain !== '' && (folded(name).startsWith(plain) || (wanted.length >= 4 && id.startsWith(wanted))),
    ({ name }) => plain !== '' && folded(name).includes(plain),
  ];
  for (const step of steps) {
    const [first, ...others] = things.filter(step);
    if (first) return others.length === 0 ? first : [first, ...others];
  }
  return null;
}
