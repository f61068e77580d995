/** Every route, in one list. */
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { alertRoutes } from './attention.ts';
import { bulkRoutes } from './bulk.ts';
import { catalogImportRoutes } from './catalog-imports.ts';
import { connectionRoutes } from './connections.ts';
import { driftRoutes } from './drift.ts';
import { eventRoutes } from './events.ts';
import { explainRoutes } from './explain.ts';
import { feedRoutes } from './feeds.ts';
import { freshnessRoutes } from './freshness.ts';
import { healthRoutes } from './health.ts';
import { importRoutes } from './imports.ts';
import { letterRoutes } from './letters.ts';
import { operationRoutes } from './operation.ts';
import { orderRoutes } from './orders.ts';
import { policyRoutes } from './policies.ts';
import { returnRoutes } from './returns.ts';
import { runRoutes } from './runs.ts';
import { scarcityRoutes } from './scarcity.ts';
import { stockRoutes } from './stock.ts';
import { traceRoutes } from './trace.ts';
import { watchRoutes } from './watches.ts';
import { webhookRoutes } from './webhooks.ts';

export const routes: ((app: Api, deps: ApiDeps) => Promise<void>)[] = [
  healthRoutes,
  stockRoutes,
  explainRoutes,
  policyRoutes,
  scarcityRoutes,
  bulkRoutes,
  importRoutes,
  runRoutes,
  orderRoutes,
  connectionRoutes,
  catalogImportRoutes,
  operationRoutes,
  driftRoutes,
  freshnessRoutes,
  watchRoutes,
  feedRoutes,
  alertRoutes,
  letterRoutes,
  eventRoutes,
  returnRoutes,
  traceRoutes,
  webhookRoutes,
];
