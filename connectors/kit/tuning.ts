/**
 * What one connection may say otherwise than its vendor's manifest: patience, settle time, order lag, and documents of
 * many numbers. The table is the one place of their names, bounds and words; `tuned` lays them over a manifest.
 *
 * Used by every connector's settings, by whoever opens a connection, and by `syncstate connection settings`.
 */
import { z } from 'zod';
import type { Manifest } from './ports.ts';

export interface Tunable {
  name: string;
  /** What it does, for people. */
  words: string;
  kind: 'ms' | 'units' | 'rows' | 'switch';
  /** Bounds of what may be said; a switch is true or false. */
  least: number;
  most: number;
  /** What the manifest says; undefined: this vendor has no such thing. */
  of(manifest: Manifest): number | boolean | undefined;
}

const hour = 3_600_000;

export const tunables = [
  {
    name: 'requestTimeoutMs',
    words: 'how long an answer of the channel is waited for',
    kind: 'ms',
    least: 100,
    most: 120_000,
    of: (manifest) => manifest.requestTimeoutMs,
  },
  {
    name: 'settleMs',
    words: 'how long after it was accepted a number may take to show',
    kind: 'ms',
    least: 0,
    most: 600_000,
    of: (manifest) => manifest.stock.settleMs,
  },
  {
    name: 'orderLagMs',
    words: 'how long after a sale the channel may take to tell of it when asked',
    kind: 'ms',
    least: 0,
    most: hour,
    of: (manifest) => manifest.orders.lagMs,
  },
  {
    name: 'bulk',
    words: 'whether many numbers may travel as one document (a feed)',
    kind: 'switch',
    least: 0,
    most: 1,
    of: ({ stock }) => (stock.bulk ? true : undefined),
  },
  {
    name: 'bulkRowsMin',
    words: 'from how many waiting numbers on they travel as one document',
    kind: 'rows',
    least: 1,
    most: 1_000_000,
    of: ({ stock }) => stock.bulk?.rowsMin,
  },
  {
    name: 'bulkLeastUnits',
    words: 'numbers below this always travel singly',
    kind: 'units',
    least: 0,
    most: 1_000_000_000,
    of: ({ stock }) => stock.bulk?.leastUnits,
  },
  {
    name: 'bulkEveryMs',
    words: 'from one document to the next at least',
    kind: 'ms',
    least: 0,
    most: 24 * hour,
    of: ({ stock }) => stock.bulk?.everyMs,
  },
  {
    name: 'bulkStuckMs',
    words: 'a document not worked off after this is stuck: its numbers travel singly',
    kind: 'ms',
    least: 1_000,
    most: 72 * hour,
    of: ({ stock }) => stock.bulk?.stuckMs,
  },
] as const satisfies readonly Tunable[];

type Name = (typeof tunables)[number]['name'];

/** For a connector's own settings schema: refused, with the name, when it opens. */
export const tuningSchema = Object.fromEntries(
  tunables.map(({ name, kind, least }) => [name, (kind === 'switch' ? z.boolean() : z.int().min(least)).optional()]),
) as { [N in Name]: z.ZodOptional<N extends 'bulk' ? z.ZodBoolean : z.ZodInt> };

/** A manifest as one connection's settings change it. What cannot be used counts as not said. */
export function tuned(manifest: Manifest, settings: Record<string, unknown>): Manifest {
  const said = <N extends Name>(name: N) => {
    const { success, data } = tuningSchema[name].safeParse(settings[name]);
    return success ? data : undefined;
  };
  const number = (name: Exclude<Name, 'bulk'>, fallback: number): number => Number(said(name) ?? fallback);
  const { bulk, ...stock } = manifest.stock;
  return {
    ...manifest,
    requestTimeoutMs: number('requestTimeoutMs', manifest.requestTimeoutMs),
    stock: {
      ...stock,
      settleMs: number('settleMs', stock.settleMs),
      ...(bulk && said('bulk') !== false
        ? {
            bulk: {
              ...bulk,
              rowsMin: number('bulkRowsMin', bulk.rowsMin),
              leastUnits: number('bulkLeastUnits', bulk.leastUnits),
              everyMs: number('bulkEveryMs', bulk.everyMs),
              stuckMs: number('bulkStuckMs', bulk.stuckMs),
            },
          }
        : {}),
    },
    orders: { ...manifest.orders, lagMs: number('orderLagMs', manifest.orders.lagMs) },
  };
}
