/**
 * Reading connections to their end. Bounded: Shopify pages to at most 25,000 objects (`documented`, fact sheet §0.8), so a
 * connection that goes on beyond the bound is a fault, not a longer loop.
 */
import { ConnectorError } from '#core/errors.ts';

export interface Page<T> {
  pageInfo: { hasNextPage: boolean; endCursor?: string | null | undefined };
  nodes: T[];
}

const MOST_PAGES = 500;

/** All nodes of a connection whose first page is known. `next` answers null when the object went away meanwhile: then what is known. */
export async function readOn<T>(
  first: Page<T>,
  next: (after: string | null) => Promise<Page<T> | null>,
): Promise<Page<T>> {
  const nodes = [...first.nodes];
  let { pageInfo } = first;
  for (let page = 1; pageInfo.hasNextPage; page += 1) {
    if (page > MOST_PAGES)
      throw new ConnectorError('connector.unreadable', 'A connection does not end.', { pages: page });
    const following = await next(pageInfo.endCursor ?? null);
    if (following === null) break;
    nodes.push(...following.nodes);
    pageInfo = following.pageInfo;
  }
  return { pageInfo: { hasNextPage: false, endCursor: null }, nodes };
}

/** All nodes of a connection from its start. */
export async function readAll<T>(next: (after: string | null) => Promise<Page<T>>): Promise<T[]> {
  return (await readOn<T>({ pageInfo: { hasNextPage: true, endCursor: null }, nodes: [] }, next)).nodes;
}
