/**
 * The one lock order. Every transaction takes locks of these kinds in this order, and rows of one kind sorted by their key:
 *
 *   1. sequence key    advisory, transaction-scoped: (connection, kind, external id) of the inbox
 *   2. order           the order's row
 *   3. position        all positions of a variant at once, by (org, variant, location)      ledger_take
 *   4. claim           no lock of its own: a claim row is only written under its variant's positions
 *   5. dirty row       by (org, variant)                                                     ledger_book
 *
 * New positions are made after those that exist are locked, sorted in one statement, and then their variants' rows are locked, by SKU
 * (positions_beside): who makes one waits for no position afterwards, and nobody makes another of that variant meanwhile.
 * One that is not locked then, because another transaction made it meanwhile, is locked without waiting, or the transaction is repeated. An effect key needs no lock: two transactions with the same key meet at its primary
 * key (written sorted, after all positions are locked), and the later one is repeated and finds the first result. Code that needs two kinds in the other order ends its transaction in between.
 */
export const lockOrder = ['sequence key', 'order', 'position', 'claim', 'dirty row'] as const;
