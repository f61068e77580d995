/** A shop in a process of its own, for the test that kills it: `node durability.testing.ts <folder>` prints its URL. */
import { startTestShop } from './shop.testing.ts';

const shop = await startTestShop({
  dir: process.argv[2] ?? null,
  catalog: [{ sku: 'A', title: 'A', quantities: { MAIN: 100_000 } }],
});
await shop.gql(
  'mutation { webhookSubscriptionCreate(topic: ORDERS_CREATE, webhookSubscription: { uri: "http://127.0.0.1:9/hook" }) { userErrors { message } } }',
);
process.stdout.write(`${shop.url}\n`);
