/** What we count, for /metrics. Labels are few and bounded: no SKU, no order, no tenant. */
import { Counter, collectDefaultMetrics, Histogram, Registry } from 'prom-client';

export function createMetrics() {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  return {
    registry,
    httpSeconds: new Histogram({
      name: 'syncstate_http_seconds',
      help: 'Time to answer a request',
      labelNames: ['method', 'route', 'status'],
      buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
      registers,
    }),
    webhooks: new Counter({
      name: 'syncstate_webhooks_total',
      help: 'Webhooks by what became of them',
      labelNames: ['platform', 'outcome'],
      registers,
    }),
    outsideSeconds: new Histogram({
      name: 'syncstate_outside_call_seconds',
      help: 'Time a vendor took to answer',
      labelNames: ['platform', 'operation', 'outcome'],
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers,
    }),
  };
}

export type Metrics = ReturnType<typeof createMetrics>;
