/** Files of products and stock: CSV or JSON rows in, counts and per-row errors out. A dry run books nothing and counts the same. */
import { parse } from 'csv-parse';
import type { FastifyRequest } from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { collectRow, columnOf, productColumns, type RawRow, stockColumns } from '#core/catalog/import-rows.ts';
import { readImportFile } from '#store/catalog/bulk.ts';
import { importProducts, importStock } from '../../flows/import-rows.ts';
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { notFound, Problem } from '../problem.ts';
import { text } from './schemas.ts';
import { callerOf } from './stock.ts';

const maxBytes = 32 * 1_048_576;
const maxRows = 100_000;

const flag = z.enum(['true', 'false', '1', '0', '']).transform((text) => text !== 'false' && text !== '0');
const result = z.object({
  rows: z.number().int(),
  succeeded: z.number().int(),
  failed: z.number().int(),
  unchanged: z.number().int(),
  errors: z.array(z.object({ row: z.number().int(), field: z.string(), value: z.string(), reason: z.string() })),
  errorFile: z.string().nullable(),
});

const unreadable = (detail: string) => new Problem(400, 'import.unreadable', detail);

/** CSV text → rows by our column names. Comma, semicolon or tab; quotes, line breaks in quotes, BOM; unknown columns are kept out. */
export async function readCsv(
  text: string,
  columns: Readonly<Record<string, string>>,
  required: readonly string[],
): Promise<RawRow[]> {
  const header = text.slice(0, 4_096).split(/\r?\n/, 1)[0] ?? '';
  const delimiter = [',', ';', '\t'].reduce(
    (best, sign) => (header.split(sign).length > header.split(best).length ? sign : best),
    ',',
  );
  const rows: RawRow[] = [];
  let names: (string | null)[] | null = null;
  let row = 0;
  const parser = parse(text, {
    bom: true,
    delimiter,
    relax_column_count: true,
    skip_empty_lines: true,
    relax_quotes: false,
  });
  try {
    for await (const record of parser as AsyncIterable<string[]>) {
      row += 1;
      if (names === null) {
        names = record.map((title) => columnOf(columns, title));
        const missing = required.filter((name) => !names?.includes(name));
        if (missing.length > 0)
          throw unreadable(
            `The header must name the column ${missing.join(' and ')}. Found: ${record.slice(0, 20).join(', ')}`,
          );
        continue;
      }
      if (rows.length >= maxRows) throw new Problem(413, 'api.too_large', `At most ${maxRows} rows in one file.`);
      rows.push(
        collectRow(
          row,
          names.map((name, index) => [name, record[index] ?? ''] as const),
        ),
      );
    }
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw unreadable(
      `The CSV cannot be read near record ${row + 1}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  if (names === null) throw unreadable('The file is empty.');
  return rows;
}

/** JSON → rows: an array of objects, or { rows: […] } / { items: […] }. Row 2 is the first, as if a header stood above. */
export function readJsonRows(body: unknown, columns: Readonly<Record<string, string>>): RawRow[] {
  const wrapped = body as { rows?: unknown; items?: unknown } | null;
  const list = Array.isArray(body) ? body : Array.isArray(wrapped?.rows) ? wrapped.rows : wrapped?.items;
  if (!Array.isArray(list)) throw unreadable('Send an array of rows, or { "rows": [ … ] }.');
  if (list.length > maxRows) throw new Problem(413, 'api.too_large', `At most ${maxRows} rows in one call.`);
  return list.map((entry: unknown, index) => {
    const fields = typeof entry === 'object' && entry !== null ? Object.entries(entry as Record<string, unknown>) : [];
    const cells = fields
      .filter(([, value]) => value !== null && value !== undefined)
      .map(([title, value]) => [columnOf(columns, title), value] as const);
    return collectRow(
      index + 2,
      cells.map(([name, value]) => [name, name === null ? '' : cell(name, value)] as const),
    );
  });
}

function cell(name: string, value: unknown): string {
  if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (name === 'components' && Array.isArray(value))
    return value
      .map((part) =>
        typeof part === 'object' && part !== null
          ? `${(part as { sku?: unknown }).sku}:${(part as { units?: unknown }).units ?? 1}`
          : String(part),
      )
      .join('; ');
  return JSON.stringify(value);
}

export async function bulkRoutes(app: Api, deps: ApiDeps): Promise<void> {
  await app.register(async (plain) => {
    const scope = plain.withTypeProvider<ZodTypeProvider>();
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser(
      ['text/csv', 'application/json', 'text/plain'],
      { parseAs: 'string', bodyLimit: maxBytes },
      (_request, body, done) => done(null, body),
    );

    const rowsOf = async (
      request: FastifyRequest,
      columns: Readonly<Record<string, string>>,
      required: readonly string[],
    ): Promise<RawRow[]> => {
      const text = typeof request.body === 'string' ? request.body : '';
      if (!(request.headers['content-type'] ?? '').includes('json')) return readCsv(text, columns, required);
      let body: unknown;
      try {
        body = JSON.parse(text);
      } catch {
        throw unreadable('The body is not readable JSON.');
      }
      return readJsonRows(body, columns);
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
        const rows = await rowsOf(request, stockColumns, ['sku', 'quantity']);
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
        const rows = await rowsOf(request, productColumns, ['sku']);
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
      const file = z.uuid().safeParse(id).success
        ? await deps.store.tenant(orgId, (tx) => readImportFile(tx, orgId, id))
        : null;
      if (file === null) throw notFound(`import file ${id}`);
      return reply
        .type('text/csv; charset=utf-8')
        .header('content-disposition', `attachment; filename="${file.name}"`)
        .serializer((text: string) => text)
        .send(file.content.toString('utf8'));
    },
  );
}
