/** Shapes shared by the routes: the validation layer of the HTTP edge (field-named errors, stated limits). */
import { z } from 'zod';
import { normalizeSku } from '#core/catalog/sku.ts';

/** NFC, trimmed, 1 to 200 code points. */
export const sku = z
  .string()
  .transform((text) => normalizeSku(text))
  .refine((text) => text !== null, 'must have 1 to 200 characters')
  .transform((text) => text ?? '');

export const locationCode = z.string().trim().min(1).max(100);
export const quantity = z.number().int('must be a whole number').min(0, 'must not be negative').max(1_000_000_000);
export const change = z.number().int('must be a whole number').min(-1_000_000_000).max(1_000_000_000).refine((value) => value !== 0, 'must not be 0');
export const units = z.number().int('must be a whole number').min(1, 'must be at least 1').max(1_000_000_000);

export const page = z.object({
  limit: z.coerce.number().int().min(1).max(500).default(50),
  cursor: z.string().max(1_000).optional(),
  search: z.string().trim().max(200).optional(),
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

/** Opaque cursors: base64url of JSON. A cursor we did not make is a 400. */
export const encodeCursor = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
export function decodeCursor(text: string | undefined): unknown {
  if (text === undefined) return null;
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch {
    return undefined;
  }
}
