/** Files of products and stock: CSV or JSON rows in, counts and per-row errors out. A dry run books nothing and counts the same. */

import { Readable } from 'node:stream';
import type { FastifyRequest } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import type { RawRow } from '#core/catalog/import-rows.ts';
import { readImportFile } from '#store/catalog/import-files.ts';
import { maxRows, openImport } from '../../files.ts';
import { importProducts, importStock } from '../../flows/import-rows.ts';
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { notFound } from '../problem.ts';
import { text } from './schemas.ts';
import { callerOf } from './stock.ts';

const maxBytes = 32 * 1_048_576;

const flag = z.enum(['true', 'false', '1', '0', '']).transform((text) => text !== 'false' && text !== '0');
const result = z.object({
  rows: z.number().int(),
  succeeded: z.number().int(),
  failed: z.number().int(),
  unchanged: z.number().int(),
  errors: z.array(z.object({ row: z.number().int(), field: z.string(), value: z.string(), reason: z.string() })),
  errorFile: z.string().nullable(),
});

export async function bulkRoutes(app: Api, deps: ApiDeps): Promise<void> {
  await app.register(async (plain) => {
    const scope = plain.withTypeProvider<ZodTypeProvider>();
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(
      ['text/csv', 'application/json', 'text/plain'],
      { parseAs: 'buffer', bodyLimit: maxBytes },
      (_request, body, done) => done(null, body),
    );

    const rowsOf = async (request: FastifyRequest, kind: 'stock' | 'products'): Promise<RawRow[]> => {
      const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
      const format = (request.headers['content-type'] ?? '').includes('json') ? 'json' : 'csv';
      const { records } = await openImport(() => [body], kind, format, maxRows.call);
      const rows: RawRow[] = [];
      for await (const record of records) rows.push(...record.rows);
      return rows;
    };
    const optionsOf = (request: FastifyRequest, dryRun: boolean) => ({
      orgId: callerOf(request).orgId,
      actor: callerOf(request).actor,
      key: request.effectKey,
      dryRun,
    });

    scope.post(
      '/api/inventory/bulk',
      {
        bodyLimit: maxBytes,
        schema: {
          summary: 'Stock of many SKUs: set (a count) or add; per-row errors; dry run',
          querystring: z.object({ mode: z.enum(['set', 'add']).default('set'), dryRun: flag.default(false) }),
          response: { 200: result },
        },
      },
      async (request) => {
        const rows = await rowsOf(request, 'stock');
        return importStock(deps, rows, request.query.mode, optionsOf(request, request.query.dryRun));
      },
    );

    scope.post(
      '/api/products/bulk',
      {
        bodyLimit: maxBytes,
        schema: {
          summary: 'Products by SKU: title, barcode, bundle components; per-row errors; dry run',
          querystring: z.object({ dryRun: flag.default(false) }),
          response: { 200: result },
        },
      },
      async (request) => {
        const rows = await rowsOf(request, 'products');
        return importProducts(deps, rows, optionsOf(request, request.query.dryRun));
      },
    );
  });

  app.get(
    '/api/imports/files/:id',
    {
      schema: {
        summary: 'The failed rows of an import as CSV, with the reason beside each',
        params: z.object({ id: text(100) }),
      },
    },
    async (request, reply) => {
      const { orgId } = callerOf(request);
      const { id } = request.params;
      const partOf = (part: number) => deps.store.tenant(orgId, (tx) => readImportFile(tx, orgId, id, part));
      const file = z.uuid().safeParse(id).success ? await partOf(0) : null;
      if (file === null) throw notFound(`import file ${id}`);
      return reply
        .type('text/csv; charset=utf-8')
        .header('content-disposition', `attachment; filename="${file.name}"`)
        .send(Readable.from(partsFrom(file, partOf)));
    },
  );
}

async function* partsFrom(
  first: { content: Buffer },
  partOf: (part: number) => Promise<{ content: Buffer } | null>,
): AsyncGenerator<Buffer> {
  yield first.content;
  for (let part = 1; ; part += 1) {
    const next = await partOf(part);
    if (next === null) return;
    yield next.content;
  }
}
