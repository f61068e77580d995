/**
 * Imports of files as runs: the file streams into the database in parts, whatever its size up to the limit, and the run
 * begins when the last part is there. An upload that breaks off leaves a run that ends as failed; nothing is booked of it.
 *
 * `Idempotency-Key` names the run: the same key again answers the run that is there, whatever the body.
 */
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { createRun, keepRunFile, refuseRun, releaseRun } from '#store/runs/runs.ts';
import { readRun } from '#store/views/runs.ts';
import { importFormats } from '../../files.ts';
import type { Api } from '../app.ts';
import type { ApiDeps } from '../deps.ts';
import { notFound, Problem } from '../problem.ts';
import { runView } from './runs.ts';
import { text } from './schemas.ts';
import { callerOf } from './stock.ts';

export const maxImportBytes = 64 * 1_048_576;
const partBytes = 1_048_576;

const flag = z.enum(['true', 'false', '1', '0', '']).transform((value) => value !== 'false' && value !== '0');

export async function importRoutes(app: Api, deps: ApiDeps): Promise<void> {
  await app.register(async (plain) => {
    const scope = plain.withTypeProvider<ZodTypeProvider>();
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { bodyLimit: maxImportBytes }, (_request, payload, done) => done(null, payload));
    scope.post(
      '/api/imports',
      {
        bodyLimit: maxImportBytes,
        config: { ownIdempotency: true },
        schema: {
          summary: 'Import a file of stock, products or mappings as a run; the format is told by its content',
          querystring: z.object({
            kind: z.enum(['stock', 'products', 'mapping']),
            format: z.enum(importFormats as [string, ...string[]]).default('auto'),
            mode: z
              .enum(['set', 'add'])
              .default('set')
              .describe('Stock: the shelf holds exactly this, or so many more'),
            dryRun: flag.default(false).describe('Does everything and takes it back: the counts are the real ones'),
            name: text(200).optional().describe('What the run is called, e.g. the name of the file'),
          }),
          response: { 202: runView },
        },
      },
      async (request, reply) => {
        const { orgId, actor, keyId } = callerOf(request);
        const { kind, format, mode, dryRun, name } = request.query;
        const named = request.headers['idempotency-key'];
        const key =
          named === undefined
            ? null
            : `api:${createHash('sha256')
                .update(JSON.stringify([keyId, named]))
                .digest('base64url')}`;
        const run = await deps.store.tenant(orgId, (tx) =>
          createRun(
            tx,
            orgId,
            {
              id: deps.ids.uuid(),
              kind: `import-${kind}`,
              connectionId: null,
              title: name ?? `${kind} file`,
              params: { format, mode },
              dryRun,
              actor,
              key,
              inverseOf: null,
              state: 'receiving',
            },
            deps.clock.now(),
          ),
        );
        if (run.isNew) {
          await receive(deps, orgId, run.id, request.body as Readable);
          deps.runs.wake();
        } else reply.header('idempotency-replayed', 'true');
        const view = await deps.store.tenant(orgId, (tx) => readRun(tx, orgId, run.id, deps.clock.now()));
        if (view === null) throw notFound(`run ${run.id}`);
        return reply.code(202).send(view);
      },
    );
  });
}

/** A slow upload gives a sign of life this often: well before it counts as dead (store/runs/runs.ts). */
const signEveryMs = 15_000;

/** Stores the parts and releases the run; whatever goes wrong ends it. */
export async function receive(
  deps: Pick<ApiDeps, 'store' | 'clock'>,
  orgId: string,
  runId: string,
  body: Readable,
): Promise<void> {
  let part = 0;
  let bytes = 0;
  let waiting: Buffer[] = [];
  let waitingBytes = 0;
  let kept = deps.clock.now();
  const keep = async () => {
    const content = Buffer.concat(waiting);
    waiting = [];
    waitingBytes = 0;
    await deps.store.tenant(orgId, (tx) => keepRunFile(tx, orgId, runId, part, content, deps.clock.now()));
    part += 1;
    kept = deps.clock.now();
  };
  try {
    for await (const chunk of body) {
      bytes += (chunk as Buffer).length;
      if (bytes > maxImportBytes)
        throw new Problem(413, 'api.too_large', `A file may have at most ${maxImportBytes / 1_048_576} MB.`);
      waiting.push(chunk as Buffer);
      waitingBytes += (chunk as Buffer).length;
      if (waitingBytes >= partBytes || deps.clock.now() - kept >= signEveryMs) await keep();
    }
    if (bytes === 0) throw new Problem(400, 'import.unreadable', 'The file is empty.');
    if (waitingBytes > 0) await keep();
    await deps.store.tenant(orgId, (tx) => releaseRun(tx, orgId, runId));
  } catch (error) {
    const why =
      error instanceof Problem
        ? error
        : { code: 'run.upload_lost', message: 'The upload broke off; nothing was booked.' };
    await deps.store.tenant(orgId, (tx) => refuseRun(tx, orgId, runId, why, deps.clock.now()));
    throw error;
  }
}
