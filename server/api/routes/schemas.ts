/** Shapes shared by the routes: the validation layer of the HTTP edge (field-named errors, stated limits). */
import { z } from 'zod';
import { normalizeSku } from '#core/catalog/sku.ts';
import { badField } from '../problem.ts';

/** NFC, trimmed, 1 to 200 code points. */
export const sku = z
  .string()
  .transform((text) => normalizeSku(text))
  .refine((text) => text !== null, 'must have 1 to 200 characters')
  .transform((text) => text ?? '');

/** Text the database can hold: no NUL, no half of a surrogate pair. */
export const text = (most: number) =>
  z
    .string()
    .trim()
    .max(most)
    .refine((value) => value.isWellFormed() && !value.includes('\0'), 'must not contain NUL or broken Unicode');

export const locationCode = text(100).min(1);
export const quantity = z.number().int('must be a whole number').min(0, 'must not be negative').max(1_000_000_000);
export const change = z
  .number()
  .int('must be a whole number')
  .min(-1_000_000_000)
  .max(1_000_000_000)
  .refine((value) => value !== 0, 'must not be 0');
export const units = z.number().int('must be a whole number').min(1, 'must be at least 1').max(1_000_000_000);

export const page = z.object({
  limit: z.coerce.number().int().min(1).max(500).default(50),
  cursor: z.string().max(1_000).optional(),
  search: text(200).optional(),
});

const nullableInteger = z.number().int().nullable();

export const problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.number().int(),
    code: z.string(),
    detail: z.string(),
    errors: z.array(z.looseObject({ field: z.string(), message: z.string() })).optional(),
  })
  .describe('application/problem+json; codes in docs/errors.md');

export const inventoryItem = z.object({
  sku: z.string(),
  title: z.string(),
  onHand: z.number().int(),
  committed: z.number().int(),
  reserved: z.number().int(),
  available: z.number().int(),
  physical: z.number().int(),
  buffer: z.number().int(),
  broadcast: z.number().int(),
  lastBroadcast: z.object({ count: z.number().int(), txId: z.string(), timestamp: z.string() }).nullable(),
  bundle: z
    .object({
      components: z.array(z.object({ sku: z.string(), units: z.number().int(), available: z.number().int() })),
      limiting: z.string().nullable(),
    })
    .nullable(),
  positions: z.array(
    z.object({
      location: z.string(),
      sellable: z.number().int(),
      damaged: z.number().int(),
      quarantine: z.number().int(),
      expired: z.number().int(),
      incoming: z.number().int(),
      committed: z.number().int(),
      reserved: z.number().int(),
      available: z.number().int(),
    }),
  ),
  listings: z.array(
    z.object({
      id: z.string(),
      connectionId: z.string(),
      platform: z.string(),
      externalId: z.string(),
      variantExternalId: z.string().nullable(),
      channelSku: z.string(),
      stockKey: z.string(),
      channelLocation: z.string(),
      desired: nullableInteger,
      expected: nullableInteger,
      accepted: nullableInteger,
      observed: nullableInteger,
      state: z.string(),
      reason: z.string().nullable(),
      updatedAt: z.string(),
    }),
  ),
});

/**
 * Opaque cursors: base64url of [list, …where to go on]. A cursor that is garbled, or of another list, is a 400.
 * It names a place in an order, never a row: one of another organization shows nothing of it.
 */
export function encodeCursor(list: string, at: readonly string[] | null): string | null {
  return at === null ? null : Buffer.from(JSON.stringify([list, ...at])).toString('base64url');
}

function decodeCursor<T extends readonly string[]>(
  list: string,
  cursor: string | undefined,
  shape: z.ZodType<T>,
): T | null {
  if (cursor === undefined) return null;
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
  } catch {
    throw badField('cursor', 'is not one of ours');
  }
  const [of, ...at] = Array.isArray(value) ? (value as unknown[]) : [];
  const parsed = shape.safeParse(at);
  if (of !== list || !parsed.success) throw badField('cursor', 'is not one of ours');
  return parsed.data;
}

const inTime = z.iso.datetime().refine((stamp) => !stamp.startsWith('0000'));
const timeAndId = z.tuple([inTime, z.uuid()]);
const timeAndText = z.tuple([inTime, text(300)]);
const name = z.tuple([text(1_000)]);

/** Where a list in order of time goes on: [time, id]; null at its beginning. */
export const timeCursor = (list: string, cursor: string | undefined): [string, string] | null =>
  decodeCursor(list, cursor, timeAndId);
/** The same where ids are no UUIDs. */
export const timeTextCursor = (list: string, cursor: string | undefined): [string, string] | null =>
  decodeCursor(list, cursor, timeAndText);
/** Where a list in order of a name goes on; null at its beginning. */
export const nameCursor = (list: string, cursor: string | undefined): string | null =>
  decodeCursor(list, cursor, name)?.[0] ?? null;

/** A page of a short list that is in memory whole, in the order given; `nameOf` is unique. */
export function pageOf<T>(
  list: string,
  items: readonly T[],
  query: z.infer<typeof page>,
  nameOf: (item: T) => string,
  textOf: (item: T) => string,
) {
  const after = nameCursor(list, query.cursor);
  const wanted = query.search?.toLowerCase() ?? '';
  const found = items.filter((item) => textOf(item).toLowerCase().includes(wanted));
  const from = after === null ? 0 : found.findIndex((item) => nameOf(item) === after) + 1;
  if (after !== null && from === 0) throw badField('cursor', 'is not one of ours');
  const shown = found.slice(from, from + query.limit);
  const last = shown.at(-1);
  return {
    items: shown,
    nextCursor: from + query.limit < found.length && last !== undefined ? encodeCursor(list, [nameOf(last)]) : null,
  };
}
