/** Feeds against answers as the fact sheet says (§4), over the real transport. */
import { afterEach, describe, expect, test } from 'vitest';
import { createBudgets } from '../kit/budget.ts';
import type { BulkRow, Channel, StockBulkPort } from '../kit/ports.ts';
import { type CallLogEntry, createTransport } from '../kit/transport.ts';
import {
  type Asked,
  calling,
  feedAnswer,
  fixture,
  openAmazon,
  realClock,
  type Told,
  type VendorServer,
  vendorServer,
} from './amazon.testing.ts';
import { outcomesOf } from './feeds.ts';
import { amazon } from './index.ts';
import type { FeedReport } from './wire.ts';

const ends: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

type Answers = (asked: Asked, url: string) => Told | null;

async function opened(answers: Answers = () => null): Promise<{
  channel: Channel;
  bulk: StockBulkPort;
  server: VendorServer;
  log: CallLogEntry[];
  read(...skus: string[]): Promise<void>;
}> {
  const server: VendorServer = await vendorServer((asked) => {
    const own = answers(asked, server.url);
    if (own !== null) return own;
    if (/^\/(feeds|_s3)/.test(asked.path)) return feedAnswer(asked, server.url);
    const sku = decodeURIComponent(asked.path.split('/').at(-1) ?? '');
    return { body: { ...fixture<object>(sku.startsWith('FBA') ? 'item-fba' : 'item-merchant'), sku } };
  });
  const log: CallLogEntry[] = [];
  const { channel, close } = openAmazon(server.url, {}, realClock, (entry) => log.push(entry));
  ends.push(close, () => server.close());
  const { bulk } = channel.stock;
  if (!bulk) throw new Error('no feeds');
  const read = async (...skus: string[]) => {
    await channel.stock.read(
      skus.map((stockKey) => ({ stockKey, channelLocation: 'DEFAULT' })),
      calling(),
    );
  };
  return { channel, bulk, server, log, read };
}

const document = (...skus: string[]) => ({
  sent: skus.length,
  rows: skus.map((stockKey, index) => ({ messageId: index + 1, stockKey })),
});

const row = (messageId: number, stockKey: string, value: number): BulkRow => ({
  messageId,
  ref: { stockKey, channelLocation: 'DEFAULT' },
  value,
});

describe('a feed', () => {
  test('is a document of one merge patch per SKU, under its own number, as the product type that was read', async () => {
    const { bulk, server, read } = await opened();
    await read('MUG / blue #1', 'CAP');
    const { documentId, left } = await bulk.prepare([row(4, 'MUG / blue #1', 70), row(5, 'CAP', 12)], calling('bulk'));
    expect({ documentId, left }).toEqual({ documentId: 'amzn1.tortuga.4.na.sim-0001.DOC1', left: [] });
    const upload = server.asked.find(({ method }) => method === 'PUT');
    const { messages, header } = JSON.parse(upload?.body ?? '{}');
    expect(header).toEqual({ sellerId: 'A1SIMSELLER', version: '2.0', issueLocale: 'en_US' });
    expect(messages[0]).toEqual({
      messageId: 4,
      sku: 'MUG / blue #1',
      operationType: 'PATCH',
      productType: 'DRINKING_CUP',
      patches: [
        {
          op: 'merge',
          path: '/attributes/fulfillment_availability',
          value: [{ fulfillment_channel_code: 'DEFAULT', quantity: 70 }],
        },
      ],
    });
    expect(messages[1]).toMatchObject({ messageId: 5, sku: 'CAP' });
  });

  test('leaves out what Amazon fulfils and what was not read, and makes no document of nothing', async () => {
    const { bulk, server, read } = await opened();
    await read('FBA-1');
    const before = server.asked.length;
    const { left } = await bulk.prepare([row(1, 'FBA-1', 50), row(2, 'NEVER-READ', 60)], calling('bulk'));
    expect(left).toEqual([1, 2]);
    expect(server.asked.length).toBe(before);
  });

  test('is started with the first marketplace, followed, listed over all pages, and cancelled', async () => {
    const { bulk, server } = await opened();
    expect(await bulk.submit('DOC1', calling('bulk'))).toEqual({ submissionId: '900000000001' });
    expect(JSON.parse(server.asked.at(-1)?.body ?? '{}')).toEqual({
      feedType: 'JSON_LISTINGS_FEED',
      marketplaceIds: ['ATVPDKIKX0DER'],
      inputFeedDocumentId: 'DOC1',
    });
    expect(await bulk.status('900000000001', calling())).toEqual({
      submissionId: '900000000001',
      state: 'done',
      createdAt: Date.UTC(2026, 10, 21, 8),
      endedAt: Date.UTC(2026, 10, 21, 8, 9, 30),
      resultId: 'amzn1.tortuga.4.na.sim-0001.RES1',
    });
    const listed = await bulk.since(Date.UTC(2026, 10, 21, 8), calling());
    expect(listed.map(({ submissionId, state }) => [submissionId, state])).toEqual([
      ['900000000002', 'running'],
      ['900000000001', 'cancelled'],
    ]);
    await bulk.cancel('900000000001', calling('urgent'));
    expect(server.asked.at(-1)).toMatchObject({ method: 'DELETE', path: '/feeds/2021-06-30/feeds/900000000001' });
  });

  test('that can no longer be cancelled is no fault: its status tells', async () => {
    const { bulk } = await opened((asked) =>
      asked.method === 'DELETE' ? { status: 400, body: { errors: [{ code: 'InvalidInput', message: 'no' }] } } : null,
    );
    await expect(bulk.cancel('900000000001', calling('urgent'))).resolves.toBeUndefined();
  });

  test('whose start has no answer is unknown; one that was refused is refused', async () => {
    const lost = await opened((asked) => (asked.method === 'POST' && asked.path.endsWith('/feeds') ? 'cut' : null));
    await expect(lost.bulk.submit('DOC1', calling('bulk'))).rejects.toMatchObject({
      code: 'connector.outcome_unknown',
    });
    const refused = await opened((asked) =>
      asked.path.endsWith('/feeds')
        ? { status: 400, body: { errors: [{ code: 'InvalidInput', message: 'no' }] } }
        : null,
    );
    await expect(refused.bulk.submit('DOC1', calling('bulk'))).rejects.toMatchObject({ code: 'connector.rejected' });
    const busy = await opened((asked) => (asked.path.endsWith('/feeds') ? { status: 429 } : null));
    await expect(busy.bulk.submit('DOC1', calling('bulk'))).rejects.toMatchObject({ code: 'connector.rate_limited' });
  });
});

describe('a processing report', () => {
  test('is unpacked and read per message: rejected in Amazon’s words, a warning is no refusal', async () => {
    const { bulk } = await opened();
    expect(await bulk.outcomes('RES1', document('CAP', 'MUG-RED-11', 'CAP'), calling())).toEqual([
      { messageId: 1, kind: 'accepted' },
      {
        messageId: 2,
        kind: 'rejected',
        code: '90220',
        reason: "'[batteries_required]' is required but not supplied. The field does not have enough values.",
      },
      { messageId: 3, kind: 'accepted' },
    ]);
  });

  const report = (more: Partial<FeedReport>): FeedReport => ({
    issues: [],
    summary: { messagesProcessed: 2, messagesAccepted: 2, messagesInvalid: 0 },
    ...more,
  });
  test('that counts fewer than were sent proves nothing about those it does not name', () => {
    const counted = report({ summary: { messagesProcessed: 1, messagesAccepted: 1, messagesInvalid: 0 } });
    expect(outcomesOf(counted, document('A', 'B')).map(({ kind }) => kind)).toEqual(['missing', 'missing']);
    const named = { messageId: 1, severity: 'ERROR', message: 'no' };
    const half = report({
      issues: [named],
      summary: { messagesProcessed: 2, messagesAccepted: 1, messagesInvalid: 1 },
    });
    expect(outcomesOf(half, document('A', 'B')).map(({ kind }) => kind)).toEqual(['rejected', 'accepted']);
  });

  test('about other SKUs under our numbers is another feed’s, and proves nothing', () => {
    const other = report({ issues: [{ messageId: 1, sku: 'THEIRS', code: '1', severity: 'ERROR', message: 'no' }] });
    expect(outcomesOf(other, document('A', 'B')).map(({ kind }) => kind)).toEqual(['missing', 'missing']);
  });

  test('that blames a withdrawn product type does not blame the number: it is sent singly', () => {
    const gone = report({
      issues: [{ messageId: 1, sku: 'A', code: '4000003', severity: 'ERROR', message: 'gone' }],
      summary: { messagesProcessed: 2, messagesAccepted: 1, messagesInvalid: 1 },
    });
    expect(outcomesOf(gone, document('A', 'B')).map(({ kind }) => kind)).toEqual(['not_applied', 'accepted']);
  });

  test('with an error of the whole feed says so for every message it does not name', () => {
    const whole = report({ issues: [{ code: '4000001', severity: 'ERROR', message: 'The feed is not readable.' }] });
    expect(outcomesOf(whole, document('A'))).toEqual([
      { messageId: 1, kind: 'missing', reason: 'The feed is not readable.' },
    ]);
  });

  test('that is cut, no JSON or packed in a way we do not know is unreadable, never success', async () => {
    for (const body of ['{"issues":[', 'plain', '{}']) {
      const { bulk } = await opened((asked) => (asked.path.startsWith('/_s3') ? { body: Buffer.from(body) } : null));
      await expect(bulk.outcomes('RES1', document('A'), calling())).rejects.toMatchObject({
        code: 'connector.unreadable',
      });
    }
  });

  test('whose address has expired is unavailable: another address is asked for next time', async () => {
    const { bulk } = await opened((asked) => (asked.path.startsWith('/_s3') ? { status: 403 } : null));
    await expect(bulk.outcomes('RES1', document('A'), calling())).rejects.toMatchObject({
      code: 'connector.unavailable',
    });
  });
});

describe('a preview', () => {
  test.each([
    ['submission-valid', 'valid', []],
    [
      'submission-invalid',
      'invalid',
      [
        { code: '18027', severity: 'WARNING', message: 'The main image is small.' },
        { code: '90000900', severity: 'ERROR', message: 'The attributes are invalid.' },
      ],
    ],
    // ACCEPTED would mean that it was stored: that is no preview's answer.
    ['submission-accepted', 'invalid', []],
  ])('that answers %s is %s, in Amazon’s words, and asks in its own mode', async (name, verdict, issues) => {
    const { channel, server } = await opened((asked) => (asked.method === 'PATCH' ? { body: fixture(name) } : null));
    const said = await channel.stock.preview?.(
      { ref: { stockKey: 'CAP', channelLocation: 'DEFAULT' }, value: 7 },
      calling(),
    );
    expect(said).toEqual({ verdict, issues });
    expect(server.asked.at(-1)?.query.get('mode')).toBe('VALIDATION_PREVIEW');
    expect(server.asked.filter(({ method }) => method === 'PATCH')).toHaveLength(1);
  });
});

describe('presigned addresses', () => {
  test('are secrets: neither the call that uses one nor the answer that gives one is logged with its query', async () => {
    const { bulk, log, read } = await opened();
    await read('CAP');
    await bulk.prepare([row(1, 'CAP', 12)], calling('bulk'));
    await bulk.outcomes('RES1', document('A'), calling());
    expect(log.map(({ operation }) => operation)).toEqual(
      expect.arrayContaining(['createFeedDocument', 'uploadDocument', 'getFeedDocument', 'downloadDocument']),
    );
    expect(JSON.stringify(log)).not.toContain('hush');
    expect(log.find(({ operation }) => operation === 'uploadDocument')?.url).toMatch(/DOC1\?\[secret\]$/);
    const told = log.find(({ operation }) => operation === 'createFeedDocument')?.responseBody ?? '';
    expect(JSON.parse(told).url).toMatch(/DOC1\?\[secret\]$/);
  });

  test.each([
    ['another host', 'https://evil.example.com/doc'],
    ['somebody else’s bucket', 'https://mine.s3.amazonaws.com/doc'],
    ['a private address', 'https://10.0.0.7/doc'],
    ['plain http', 'http://tortuga-prod-na.s3.amazonaws.com/doc'],
  ])('that lead to %s are refused by a live connection before anything is sent', async (_, url) => {
    const transport = createTransport({
      clock: realClock,
      random: { next: () => 0 },
      kind: 'live',
      baseUrl: null,
      allowedHosts: amazon.manifest.hosts,
      allowCustomEndpoints: false,
      budgets: createBudgets(realClock, amazon.manifest.budgets),
    });
    ends.push(() => transport.close());
    const call = {
      operation: 'uploadDocument',
      method: 'PUT' as const,
      headers: {},
      write: false,
      bucket: 'uploadDocument',
    };
    await expect(transport.request({ ...call, url, timeoutMs: 1_000, ...calling() })).rejects.toMatchObject({
      code: 'connector.rejected',
      details: { reason: 'endpoint_not_allowed' },
    });
  });
});
