/** One session of the connectors' conformance suite against a mounted simulator: its control calls over real HTTP. */
import type { ConformanceControl, ConformanceSession } from '#connectors/kit/conformance.ts';
import type { Channel, Manifest, StockRef } from '#connectors/kit/ports.ts';
import type { SimulatorHost } from './server.ts';

export async function sessionOf(session: {
  url: string;
  host: SimulatorHost;
  transport: { close(): void };
  channel: Channel;
  manifest: Manifest;
  skus: readonly string[];
  location: string;
  unknownRef: StockRef;
  unknownOrderId: string;
}): Promise<ConformanceSession> {
  const control = async <T>(path: string, body?: unknown): Promise<T> => {
    const answer = await fetch(
      `${session.url}/_sim${path}`,
      body === undefined
        ? {}
        : { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) },
    );
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return (await answer.json()) as T;
  };
  const calls: ConformanceControl = {
    state: () => control('/state'),
    edit: (sku, quantity, location) =>
      control('/stock', { sku, quantity, ...(location === undefined ? {} : { location }) }),
    order: (body) => control('/orders', body),
    fault: (body) => control('/faults', body),
    advance: (ms) => control('/clock', { advanceMs: ms }),
  };
  const { items } = await calls.state();
  let stopped = false;
  const stop = async () => {
    if (stopped) return;
    stopped = true;
    await session.host.close();
  };
  return {
    channel: session.channel,
    manifest: session.manifest,
    control: calls,
    refs: session.skus.map((sku) => ({
      sku,
      ref: {
        stockKey: items.find((item) => item.sku === sku && item.location === session.location)?.stockKey ?? '',
        channelLocation: session.location,
      },
    })),
    unknownRef: session.unknownRef,
    unknownOrderId: session.unknownOrderId,
    stop,
    async close() {
      session.transport.close();
      await stop();
    },
  };
}
