/**
 * What every policy knows of stock: units less the sales it has heard of. Facts always post, and never below 0: what was sold beyond the
 * goods is a shortfall, and no number (core/stock/posting.ts). The number to show is the product's own `publishable`.
 */
import { publishable, resolvePolicy } from '#core/stock/publishable.ts';

const silent = { buffer: null, shareBp: null, cap: null };

export class Book {
  readonly #available: Int32Array;
  readonly #buffer: number;

  constructor(skus: number, unitsEach: number, buffer: number) {
    this.#available = new Int32Array(skus).fill(unitsEach);
    this.#buffer = buffer;
  }

  available(sku: number): number {
    return this.#available[sku] ?? 0;
  }

  sold(sku: number): void {
    this.#available[sku] = Math.max(0, this.available(sku) - 1);
  }

  toShow(sku: number): number {
    return toShow(this.available(sku), this.#buffer);
  }
}

/** One place, one number: what the product would show of so many units. */
export function toShow(available: number, buffer: number): number {
  const place = { locationIds: ['MAIN'], isDefault: true, priority: 1, policy: silent, held: 0 };
  const { targets } = publishable({
    components: [{ variantId: 'v', sku: 'v', units: 1, available: { MAIN: available }, buffer: 0 }],
    policy: resolvePolicy({ organization: { ...silent, buffer } }),
    targets: [{ targetId: 't', channelLocation: 'MAIN', ...place }],
  });
  return targets[0]?.desired ?? 0;
}
