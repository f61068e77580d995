/**
 * One more process that takes orders in, for tests of kills and of two processes at once: started with a job as JSON,
 * says "ready", begins at the first line on its input, says "done", and ends. `killAt` ends it with SIGKILL at that point.
 */
import type { ChannelOrder } from '#connectors/kit/ports.ts';
import { createStore } from '#store/tx.ts';
import { clock, openShop, random, takeIn } from './intake.testing.ts';
import type { IntakeHooks } from './intake.ts';
import type { ConnectionRef } from './publisher-types.ts';
import { deliveryOf } from './sweep-orders.ts';

export interface Job {
  appUrl: string;
  connection: ConnectionRef;
  /** Delivered all at once. */
  orders: ChannelOrder[];
  /** A simulated shop behind the connection. */
  shop: { url: string; shopDomain: string } | null;
  sweep: boolean;
  /** "It changed" for this order, without content. */
  changed: string | null;
  killAt: keyof IntakeHooks | null;
}

const job = JSON.parse(process.argv[2] ?? '') as Job;
const store = createStore(job.appUrl, { clock, random, max: 10 });
const die = (): void => {
  process.kill(process.pid, 'SIGKILL');
};
const shop = job.shop ? openShop(job.shop.url, job.shop.shopDomain, job.connection.connectionId) : null;
const { intake, webhook } = takeIn(store, {
  opened: () => shop?.opened ?? null,
  // Sweeps only when the job says so.
  reading: false,
  hooks: job.killAt === null ? {} : { [job.killAt]: die },
});

process.stdout.write('ready\n');
process.stdin.once('data', async () => {
  if (job.sweep) intake.start();
  await Promise.all(job.orders.map((order) => intake.receive(deliveryOf(job.connection, order))));
  if (job.changed !== null) {
    const body = `{"order_edit":{"id":1,"order_id":${job.changed.split('/').pop()},"committed_at":"${new Date(clock.now()).toISOString()}"}}`;
    await webhook(job.connection, 'orders/edited', body);
  }
  if (job.sweep) await intake.requestSweep(job.connection);
  await intake.drain();
  await intake.stop();
  await store.end();
  process.stdout.write('done\n');
  process.exit(0);
});
