/**
 * A dry run: what would the channel say to this number? Asked of the channel itself where it can be (Amazon's validation
 * preview), by the same connector that would write; nothing is written there, and nothing is recorded here.
 */
import type { StockPreview } from '#connectors/kit/ports.ts';
import type { Store } from '#store/tx.ts';
import { type ListingNumber, listingNumbers } from '#store/views/listings.ts';
import type { ConnectionRef, OpenedConnection } from './publisher-types.ts';

export interface AskedNumber extends StockPreview {
  sku: string | null;
  channelSku: string;
  connection: string;
  channelLocation: string;
  quantity: number;
}

export type Asked =
  | { kind: 'unknown_listing' }
  /** The channel offers no such question, or the connection cannot be opened. */
  | { kind: 'cannot_ask'; connection: string }
  | { kind: 'asked'; items: AskedNumber[] };

/** @param quantity null: the number each target should show now. Throws ConnectorError when the channel does not answer. */
export async function askChannel(
  deps: { store: Store; openConnection(ref: ConnectionRef): Promise<OpenedConnection | null> },
  orgId: string,
  listingId: string,
  quantity: number | null,
  signal: AbortSignal,
): Promise<Asked> {
  const numbers = await deps.store.tenant(orgId, (tx) => listingNumbers(tx, orgId, listingId));
  const [first] = numbers;
  if (!first) return { kind: 'unknown_listing' };
  const opened = await deps.openConnection({ orgId, connectionId: first.connectionId });
  const preview = opened?.channel.stock.preview;
  if (!preview) return { kind: 'cannot_ask', connection: first.connection };
  const items: AskedNumber[] = [];
  for (const number of numbers) items.push(await one(number));
  return { kind: 'asked', items };

  async function one({ sku, stockKey, connection, channelLocation, desired }: ListingNumber): Promise<AskedNumber> {
    const value = quantity ?? desired ?? 0;
    const said = await preview?.({ ref: { stockKey, channelLocation }, value }, { budget: 'read', signal });
    const { verdict, issues } = said ?? { verdict: 'invalid', issues: [] };
    return { sku, channelSku: stockKey, connection, channelLocation, quantity: value, verdict, issues };
  }
}
