/**
 * What a connection may say about documents of many numbers, over its vendor's manifest: from how many changes on, for
 * which numbers, how often, and when one counts as stuck. `bulk: false` = every number travels singly.
 */
import { z } from 'zod';
import type { StockCapability } from './ports.ts';

export const bulkSettings = {
  bulk: z.boolean().optional(),
  bulkRowsMin: z.int().min(1).optional(),
  bulkLeastUnits: z.int().min(0).optional(),
  bulkEveryMs: z.int().min(0).optional(),
  bulkStuckMs: z.int().min(1_000).optional(),
};

const schema = z.object(bulkSettings);

/** Settings that are not usable count as not given: the connector refuses them when it opens. */
export function withBulkSettings(stock: StockCapability, settings: Record<string, unknown>): StockCapability {
  const { bulk, ...rest } = stock;
  const said = schema.safeParse(settings).data ?? {};
  if (!bulk || said.bulk === false) return rest;
  return {
    ...rest,
    bulk: {
      ...bulk,
      rowsMin: said.bulkRowsMin ?? bulk.rowsMin,
      leastUnits: said.bulkLeastUnits ?? bulk.leastUnits,
      everyMs: said.bulkEveryMs ?? bulk.everyMs,
      stuckMs: said.bulkStuckMs ?? bulk.stuckMs,
    },
  };
}
