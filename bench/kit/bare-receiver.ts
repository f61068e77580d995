/** The yardstick of bench/webhook.ts, a process of its own: Fastify, raw bodies, one fdatasync for all that came meanwhile, 200. */
import { fdatasync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Fastify from 'fastify';
import { answerQuestions } from './child.ts';

const dir = mkdtempSync(join(tmpdir(), 'syncstate-bare-'));
const file = openSync(join(dir, 'received'), 'a');
process.on('exit', () => rmSync(dir, { recursive: true, force: true }));

let waiting: { body: Buffer; done(): void }[] = [];
let syncing = false;

function flush(): void {
  if (syncing || waiting.length === 0) return;
  syncing = true;
  const batch = waiting;
  waiting = [];
  writeSync(file, Buffer.concat(batch.map(({ body }) => body)));
  fdatasync(file, () => {
    syncing = false;
    for (const { done } of batch) done();
    flush();
  });
}

const app = Fastify();
app.removeAllContentTypeParsers();
app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
app.post('/*', async (request) => {
  await new Promise<void>((done) => {
    waiting.push({ body: request.body as Buffer, done });
    setImmediate(flush);
  });
  return { ok: true };
});
await app.listen({ port: 0, host: '127.0.0.1' });
const { port } = app.server.address() as AddressInfo;

answerQuestions(async () => `http://127.0.0.1:${port}`);
