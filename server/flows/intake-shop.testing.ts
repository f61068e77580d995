/** A simulated Shopify shop behind the real connector, for tests of what comes in. */
import type pg from 'pg';
import { seededIds, seededRandom } from '#sim/kit/chance.ts';
import { createSimulatorHost, type SimulatorHost } from '#sim/kit/server.ts';
import { createShopifySimulator } from '#sim/shopify/index.ts';
import { mapLocation } from '#store/connections/connections.ts';
import type { Store } from '#store/tx.ts';
import { importCatalog } from './import-catalog.ts';
import { clock, ids, makeConnection, type Org, openShop } from './intake.testing.ts';
import type { ConnectionRef, OpenedConnection } from './publisher-types.ts';

export interface SimulatedShop {
  connection: ConnectionRef & { token: string; secret: string };
  opened: OpenedConnection;
  url: string;
  shopDomain: string;
  control(path: string, body?: unknown): Promise<Record<string, unknown>>;
  /** Calls of an operation that reached the shop. */
  calls(operation: string): Promise<number>;
  close(): Promise<void>;
}

/** A simulated shop that sells the organization's SKUs, connected, its catalogue imported unless told otherwise. */
export async function simulatedShop(
  owner: pg.Pool,
  store: Store,
  org: Org,
  quantities: Record<string, number>,
  host: SimulatorHost,
  { imported = true }: { imported?: boolean } = {},
): Promise<SimulatedShop> {
  const name = `shop-${ids.uuid().slice(-8)}`;
  const shopDomain = `${name}.myshopify.com`;
  const connection = await makeConnection(owner, store, org, {
    shopDomain,
    unlisted: Object.keys(org.variants),
    places: {},
  });
  const seeded = seededRandom(3);
  const simulator = await createShopifySimulator({
    name,
    dir: null,
    clock,
    random: seeded,
    ids: seededIds(clock, seeded),
    profile: 'open',
    shopDomain,
    clientId: 'client',
    clientSecret: connection.secret,
    accessToken: 'shpat_test',
    locations: [{ name: 'MAIN', isDefault: true }, { name: 'EAST' }],
    catalog: Object.entries(quantities).map(([sku, units]) => ({
      sku,
      title: sku,
      quantities: { MAIN: units, EAST: 0 },
    })),
  });
  host.mount(simulator);
  const url = host.url(name);
  const { opened, close } = openShop(url, shopDomain, connection.connectionId);
  await store.tenant(org.orgId, async (tx) => {
    for (const place of simulator.locations())
      await mapLocation(
        tx,
        org.orgId,
        connection.connectionId,
        place.externalId,
        place.name === 'MAIN' ? org.main : org.east,
      );
  });
  if (imported) await importCatalog({ store, clock, ids, openConnection: async () => opened }, connection);
  return {
    connection,
    opened,
    url,
    async control(path, body) {
      const answer = await fetch(`${url}/_sim${path}`, {
        method: body === undefined ? 'GET' : 'POST',
        headers: { 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await answer.text();
      if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`);
      return text === '' ? {} : JSON.parse(text);
    },
    async calls(operation) {
      const answer = await fetch(`${url}/_sim/calls?since=0`);
      const { calls } = (await answer.json()) as { calls: { operation: string }[] };
      return calls.filter((call) => call.operation === operation).length;
    },
    shopDomain,
    close,
  };
}

export const openHost = (): Promise<SimulatorHost> => createSimulatorHost({ clock });
