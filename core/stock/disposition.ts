/**
 * Disposition: the condition goods are in, and where returned goods go by it.
 *
 *   on hand = sellable + damaged + quarantine + expired        (incoming is expected, not here)
 *
 * Only sellable goods can be claimed. Unknown words go to quarantine: never sold, never lost, seen by a person.
 */

export const dispositions = ['sellable', 'damaged', 'quarantine', 'expired'] as const;
export type Disposition = (typeof dispositions)[number];

/** A place in a position that holds goods: a disposition, or goods expected but not here. */
export const buckets = [...dispositions, 'incoming'] as const;
export type Bucket = (typeof buckets)[number];

/**
 * Amazon's returned-goods words (customer returns report, `detailed-disposition`; documented), as contract.md maps them.
 * `nothing`: the goods do not come back to stock at all.
 */
const amazonDispositions: Readonly<Record<string, Disposition | 'nothing'>> = {
  SELLABLE: 'sellable',
  CUSTOMER_DAMAGED: 'damaged',
  WAREHOUSE_DAMAGED: 'damaged',
  CARRIER_DAMAGED: 'damaged',
  DAMAGED: 'damaged',
  DEFECTIVE: 'damaged',
  EXPIRED: 'expired',
  UNKNOWN: 'quarantine',
  UNSELLABLE: 'nothing',
};

/** Where goods returned with Amazon's word go; a word we do not know goes to quarantine. */
export function returnedBucket(word: string): Disposition | 'nothing' {
  return amazonDispositions[word.trim().toUpperCase()] ?? 'quarantine';
}
