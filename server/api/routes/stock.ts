/** Stock: what there is, why, and the commands that change it. */

import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { LocationId, VariantId } from '#core/ids.ts';
import { HoldId } from '#core/ids.ts';
import type { Command, Posted } from '#core/stock/movement.ts';
import { findPlace, listLocations } from '#store/catalog/lookup.ts';
import { readItem, readItems } from '#store/views/inventory.ts';
import { readMovements } from '#store/views/movements.ts';
import type { Api, Caller } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { badField, notFound, Problem } from '../problem.ts';
import {
  change,
  encodeCursor,
  inventoryItem,
  locationCode,
  nameCursor,
  page,
  pageOf,
  quantity,
  sku,
  text,
  timeCursor,
  units,
} from './schemas.ts';

export const callerOf = (request: FastifyRequest): Caller => {
  if (request.caller === null) throw new Problem(401, 'api.unauthorized', 'Send an API key.');
  return request.caller;
};

const adjustReason = z.enum(['cycle_count', 'received', 'correction', 'damaged', 'lost', 'found', 'other']);
const note = text(1_000).optional();
const stockAnswer = z.object({
  sku: z.string(),
  location: z.string(),
  before: z.number().int(),
  after: z.number().int(),
});

/** The variant and location a request names, or the problem that says which is unknown. Bundles have no goods of their own. */
async function place(
  deps: ApiDeps,
  orgId: string,
  named: { sku: string; location?: string | undefined },
): Promise<{ variantId: VariantId; locationId: LocationId; location: string }> {
  const found = await deps.store.tenant(orgId, (tx) => findPlace(tx, orgId, named.sku, named.location ?? null));
  if (found.variantId === null) throw notFound(`SKU ${named.sku}`);
  if (found.locationId === null || found.locationCode === null)
    throw new Problem(422, 'domain.unknown_location', `There is no location ${named.location}.`, [
      { field: 'location', message: 'is not known' },
    ]);
  if (found.isBundle)
    throw new Problem(422, 'domain.bundle_has_no_stock', `${named.sku} is a bundle: book its components.`, [
      { field: 'sku', message: 'is a bundle' },
    ]);
  return { variantId: found.variantId, locationId: found.locationId, location: found.locationCode };
}

/** The sellable units of the place before and after; a replayed command answers with its first result. */
export function outcome(
  posted: Posted,
  variantId: VariantId,
  locationId: LocationId,
  sku: string,
): { before: number; after: number } {
  if (posted.kind === 'insufficient') {
    const missing = posted.missing.reduce((total, entry) => total + entry.missing, 0);
    throw new Problem(
      409,
      'domain.insufficient',
      `${missing} × ${sku} missing. Nothing was booked. Count again, or book what there is.`,
      [
        ...posted.missing.map((entry) => ({
          field: 'sku',
          message: `${entry.missing} missing`,
          sku,
          missing: entry.missing,
        })),
      ],
    );
  }
  const result = posted.kind === 'duplicate' ? posted.first : posted;
  if (result.kind === 'nothing') throw new Problem(409, 'domain.nothing_to_do', `Nothing to do: ${result.reason}.`);
  const touched = result.positions.find(
    (position) => position.variantId === variantId && position.locationId === locationId,
  );
  return { before: touched?.before.sellable ?? 0, after: touched?.after.sellable ?? 0 };
}

export async function stockRoutes(app: Api, deps: ApiDeps): Promise<void> {
  app.get(
    '/api/inventory',
    {
      schema: {
        summary: 'SKUs with their positions and every listing’s numbers, in SKU order',
        querystring: page.extend({ location: locationCode.optional() }),
        response: {
          200: z.object({
            items: z.array(inventoryItem),
            nextCursor: z.string().nullable(),
            totalSkus: z.number().int(),
          }),
        },
      },
    },
    async (request) => {
      const { orgId } = callerOf(request);
      const { limit, cursor, search, location } = request.query;
      const after = nameCursor('inventory', cursor);
      const found = await deps.store.tenant(orgId, (tx) =>
        readItems(tx, orgId, { limit, after, search: search ?? null, location: location ?? null }),
      );
      return {
        items: found.items,
        nextCursor: encodeCursor('inventory', found.next === null ? null : [found.next]),
        totalSkus: found.totalSkus,
      };
    },
  );

  app.get(
    '/api/inventory/:sku',
    { schema: { summary: 'One SKU', params: z.object({ sku }), response: { 200: inventoryItem } } },
    async (request) => {
      const { orgId } = callerOf(request);
      const item = await deps.store.tenant(orgId, (tx) => readItem(tx, orgId, request.params.sku));
      if (item === null) throw notFound(`SKU ${request.params.sku}`);
      return item;
    },
  );

  app.post(
    '/api/inventory/adjustments',
    {
      schema: {
        summary: 'Set (a count, a fact) or change the sellable units of a SKU at a location',
        body: z
          .object({
            sku,
            location: locationCode.optional(),
            set: quantity.optional(),
            change: change.optional(),
            reason: adjustReason,
            note,
          })
          .refine((body) => (body.set === undefined) !== (body.change === undefined), {
            message: 'send either set or change',
            path: ['set'],
          }),
        response: { 200: stockAnswer },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      const { body } = request;
      const at = await place(deps, caller.orgId, body);
      const common = {
        key: request.effectKey,
        businessAt: deps.clock.now(),
        reason: body.reason,
        reference: body.note ?? null,
        variantId: at.variantId,
        locationId: at.locationId,
      };
      const command: Command =
        body.set !== undefined
          ? { ...common, kind: 'count', set: body.set }
          : {
              ...common,
              kind: 'adjust',
              change: body.change ?? 0,
              fact: body.reason === 'damaged' || body.reason === 'lost',
              ...(body.reason === 'damaged' && (body.change ?? 0) < 0 ? { to: 'damaged' as const } : {}),
            };
      const posted = await deps.command(caller, command);
      return { sku: body.sku, location: at.location, ...outcome(posted, at.variantId, at.locationId, body.sku) };
    },
  );

  app.post(
    '/api/receipts',
    {
      schema: {
        summary: 'Goods arrived; waiting shortfalls are filled first',
        body: z.object({ sku, location: locationCode.optional(), quantity: units, reference: text(200).optional() }),
        response: { 200: stockAnswer },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      const { body } = request;
      const at = await place(deps, caller.orgId, body);
      const posted = await deps.command(caller, {
        kind: 'receive',
        key: request.effectKey,
        businessAt: deps.clock.now(),
        reason: 'received',
        reference: body.reference ?? null,
        variantId: at.variantId,
        locationId: at.locationId,
        units: body.quantity,
      });
      return { sku: body.sku, location: at.location, ...outcome(posted, at.variantId, at.locationId, body.sku) };
    },
  );

  app.post(
    '/api/counts',
    {
      schema: {
        summary: 'Someone counted: the shelf holds exactly this many sellable units',
        body: z.object({ sku, location: locationCode.optional(), quantity, note }),
        response: { 200: stockAnswer },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      const { body } = request;
      const at = await place(deps, caller.orgId, body);
      const posted = await deps.command(caller, {
        kind: 'count',
        key: request.effectKey,
        businessAt: deps.clock.now(),
        reason: 'cycle_count',
        reference: body.note ?? null,
        variantId: at.variantId,
        locationId: at.locationId,
        set: body.quantity,
      });
      return { sku: body.sku, location: at.location, ...outcome(posted, at.variantId, at.locationId, body.sku) };
    },
  );

  app.post(
    '/api/transfers',
    {
      schema: {
        summary: 'Move free sellable units from one location to another',
        body: z.object({ sku, from: locationCode, to: locationCode, quantity: units, reference: text(200).optional() }),
        response: { 200: z.object({ sku: z.string(), from: stockAnswer, to: stockAnswer }) },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      const { body } = request;
      const from = await place(deps, caller.orgId, { sku: body.sku, location: body.from });
      const to = await place(deps, caller.orgId, { sku: body.sku, location: body.to });
      if (from.locationId === to.locationId) throw badField('to', 'must be another location');
      const posted = await deps.command(caller, {
        kind: 'transfer',
        key: request.effectKey,
        businessAt: deps.clock.now(),
        reason: 'transfer',
        reference: body.reference ?? null,
        variantId: from.variantId,
        fromLocationId: from.locationId,
        toLocationId: to.locationId,
        units: body.quantity,
      });
      const side = (at: typeof from) => ({
        sku: body.sku,
        location: at.location,
        ...outcome(posted, at.variantId, at.locationId, body.sku),
      });
      return { sku: body.sku, from: side(from), to: side(to) };
    },
  );

  app.post(
    '/api/holds',
    {
      schema: {
        summary: 'Hold units for a while (a checkout); refused whole when they are not free',
        body: z.object({
          sku,
          location: locationCode.optional(),
          quantity: units,
          expiresInSeconds: z.number().int().min(1).max(31_536_000).default(1_800),
          reference: text(200).optional(),
        }),
        response: {
          201: z.object({ id: z.string(), sku: z.string(), quantity: z.number().int(), expiresAt: z.string() }),
        },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request);
      const { body } = request;
      const at = await place(deps, caller.orgId, body);
      const now = deps.clock.now();
      const expiresAt = now + body.expiresInSeconds * 1000;
      const posted = await deps.command(caller, {
        kind: 'hold',
        key: request.effectKey,
        businessAt: now,
        reason: 'hold',
        reference: body.reference ?? null,
        origin: 'own',
        expiresAt,
        wish: true,
        lines: [
          {
            holdId: HoldId(deps.ids.uuid()),
            variantId: at.variantId,
            units: body.quantity,
            locationId: body.location === undefined ? null : at.locationId,
          },
        ],
      });
      outcome(posted, at.variantId, at.locationId, body.sku);
      const result = posted.kind === 'duplicate' ? posted.first : posted;
      const id = result.kind === 'posted' ? (result.claims[0]?.claimId ?? '') : '';
      return reply
        .code(201)
        .send({ id, sku: body.sku, quantity: body.quantity, expiresAt: new Date(expiresAt).toISOString() });
    },
  );

  app.get('/api/locations', { schema: { summary: 'Where goods are', querystring: page } }, async (request) => {
    const { orgId } = callerOf(request);
    const locations = await deps.store.tenant(orgId, (tx) => listLocations(tx, orgId));
    return pageOf(
      'locations',
      locations,
      request.query,
      ({ code }) => code,
      ({ code, name }) => `${code}\n${name}`,
    );
  });

  app.get(
    '/api/movements',
    {
      schema: {
        summary: 'Immutable ledger entries, newest first; search: the beginning of a SKU, a reference or a reason',
        querystring: page.extend({ sku: sku.optional() }),
      },
    },
    async (request) => {
      const { orgId } = callerOf(request);
      const { limit, search } = request.query;
      const after = timeCursor('movements', request.query.cursor);
      const found = await deps.store.tenant(orgId, (tx) =>
        readMovements(tx, orgId, { sku: request.query.sku ?? null, search: search ?? null, limit, after }),
      );
      return { items: found.items, nextCursor: encodeCursor('movements', found.next) };
    },
  );
}
