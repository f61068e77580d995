/** Scarcity: who may offer the last units. Policy, never goods: a change re-publishes what it touches. */
import { z } from 'zod';
import { setPolicy } from '#store/catalog/policies.ts';
import { readConnections } from '#store/views/connections.ts';
import { readScarceItems, readScarcitySettings } from '#store/views/scarcity.ts';
import { readWindows } from '#store/views/window.ts';
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { notFound } from '../problem.ts';
import { encodeCursor, nameCursor, page, sku } from './schemas.ts';
import { callerOf } from './stock.ts';

const setting = z.object({
  scope: z.enum(['organization', 'connection', 'variant']),
  connectionId: z.string().nullable(),
  connection: z.string().nullable(),
  sku: z.string().nullable(),
  lastUnits: z.number().int().nullable().describe('At this many available units or fewer; 0 = never'),
  to: z.enum(['priority', 'sales']).nullable().describe('Who gets them: highest priority, or most sold in two weeks'),
});
const answer = z.object({
  settings: z.array(setting),
  items: z.array(
    z.object({
      sku: z.string(),
      connectionId: z.string(),
      connection: z.string(),
      lastUnits: z.number().int(),
      available: z.number().int().describe('When it began'),
      since: z.string(),
    }),
  ),
  nextCursor: z.string().nullable(),
});
const windows = z.object({
  items: z.array(
    z.object({
      connectionId: z.string(),
      connection: z.string(),
      platform: z.string(),
      samples: z.number().int(),
      p50Ms: z.number().int().nullable().describe('From the sale, by the selling channel’s own time'),
      p99Ms: z.number().int().nullable(),
      p50OursMs: z.number().int().nullable().describe('From the arrival of the news of it'),
      p99OursMs: z.number().int().nullable(),
      canOversell: z.number().int().describe('Most units of one SKU sold here within one window, in two weeks'),
      sku: z.string().nullable(),
      overOffered: z.number().int().describe('Units shown just now beyond what should be: corrections on their way'),
    }),
  ),
});
const wanted = z
  .strictObject({
    sku: sku.optional().describe('For this SKU alone'),
    connectionId: z.uuid('must be the id of a connection').optional().describe('For this connection alone'),
    lastUnits: z
      .number()
      .int('must be a whole number')
      .min(0, 'must not be negative')
      .max(1_000_000, 'must be at most 1,000,000')
      .nullable()
      .describe('null takes the setting away'),
    to: z.enum(['priority', 'sales']).nullable().optional(),
  })
  .refine((body) => body.sku === undefined || body.connectionId === undefined, {
    message: 'goes without connectionId',
    path: ['sku'],
  });

export async function scarcityRoutes(app: Api, deps: ApiDeps): Promise<void> {
  app.get(
    '/api/windows',
    {
      schema: {
        summary:
          'Per connection: from a sale elsewhere to its corrected number, as measured, and the units that can oversell',
        response: { 200: windows },
      },
    },
    async (request) => {
      const { orgId } = callerOf(request);
      return { items: await deps.store.tenant(orgId, (tx) => readWindows(tx, orgId, null, deps.clock.now())) };
    },
  );

  app.get(
    '/api/scarcity',
    {
      schema: {
        summary: 'Where last units are offered: the settings, and the SKUs that are scarce now',
        querystring: page,
        response: { 200: answer },
      },
    },
    async (request) => {
      const { orgId } = callerOf(request);
      const { limit, search, cursor } = request.query;
      const after = nameCursor('scarcity', cursor);
      return deps.store.tenant(orgId, async (tx) => {
        const found = await readScarceItems(tx, orgId, { limit, after, search: search ?? null });
        return {
          settings: await readScarcitySettings(tx, orgId),
          items: found.items,
          nextCursor: encodeCursor('scarcity', found.next === null ? null : [found.next]),
        };
      });
    },
  );

  app.put(
    '/api/scarcity',
    {
      schema: {
        summary: 'Offer the last units on one connection only, for the organization, a connection or a SKU',
        body: wanted,
        response: { 200: z.object({ settings: z.array(setting) }) },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      const { sku, connectionId, lastUnits, to } = request.body;
      const { orgId } = caller;
      const subject =
        sku !== undefined
          ? { variantSku: sku }
          : connectionId !== undefined
            ? { scope: 'connection' as const, scopeId: connectionId }
            : { scope: 'organization' as const, scopeId: orgId };
      const settings = await deps.store.tenant(orgId, async (tx) => {
        if (connectionId !== undefined && (await readConnections(tx, orgId, connectionId)).length === 0)
          throw notFound(`connection ${connectionId}`);
        const whom = lastUnits === null ? null : to;
        const fields = { lastUnits, ...(whom !== undefined && { lastUnitsTo: whom }) };
        const by = { actor: caller.actor, now: deps.clock.now(), id: deps.ids.uuid() };
        if (!(await setPolicy(tx, orgId, subject, fields, by))) throw notFound(`SKU ${sku}`);
        return readScarcitySettings(tx, orgId);
      });
      deps.wake();
      return { settings };
    },
  );
}
