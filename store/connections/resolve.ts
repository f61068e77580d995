/** Whose webhook address this is: found across organizations by id (scope `system`), read inside its own (scope `tenant`). */
import type { Store, Tx } from '../tx.ts';

export interface FoundConnection {
  orgId: string;
  id: string;
  /** Another live connection is signed with the same secret. */
  sharesSecret: boolean;
}

const columns = 'org_id as "orgId", id, shares_secret as "sharesSecret"';

/**
 * The connection of a token; without one, the only connection with this shop, provided that its secret is its own: the
 * shop's name is an unsigned header, so with a shared secret it would let one shop write into another's book.
 */
export async function findWebhookConnection(
  store: Store,
  platform: string,
  token: string | null,
  shop: string | null,
): Promise<FoundConnection | null> {
  if (token !== null) {
    const found = await store.system((tx) => byToken(tx, platform, token));
    return found.length === 1 ? (found[0] ?? null) : null;
  }
  if (shop === null) return null;
  const found = await store.system((tx) => byShop(tx, platform, shop));
  const [only] = found;
  return found.length === 1 && only && !only.sharesSecret ? only : null;
}

async function byToken(tx: Tx, platform: string, token: string): Promise<FoundConnection[]> {
  const { rows } = await tx.query<FoundConnection>(
    { name: 'connection_by_token', text: `select ${columns} from system_find_connection_by_token($1, $2)` },
    [platform, token],
  );
  return rows;
}

async function byShop(tx: Tx, platform: string, shop: string): Promise<FoundConnection[]> {
  const { rows } = await tx.query<FoundConnection>(
    { name: 'connection_by_shop', text: `select ${columns} from system_find_connections_by_shop($1, $2)` },
    [platform, shop],
  );
  return rows;
}
