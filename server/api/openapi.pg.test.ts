/** The description of the running server, linted by rules of our own, and held against what it really answers. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { type Demo, startDemo } from '../testing/demo.ts';
import type { Operation } from './openapi.ts';

interface Described {
  openapi: string;
  info: { title?: string; version?: string; description?: string };
  paths: Record<
    string,
    Record<
      string,
      Operation & {
        parameters?: { name: string; in: string; schema?: unknown }[];
        requestBody?: { content?: Record<string, { schema?: unknown }> };
      }
    >
  >;
  components: { schemas: Record<string, unknown>; securitySchemes: Record<string, unknown> };
  security: Record<string, unknown>[];
}

let demo: Demo;
let described: Described;
beforeAll(async () => {
  demo = await startDemo();
  described = await demo.ok<Described>('/api/openapi.json');
});
afterAll(() => demo?.stop());

const operations = () =>
  Object.entries(described.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ name: `${method} ${path}`, path, method, operation })),
  );

const rules: [rule: string, broken: (operation: ReturnType<typeof operations>[number]) => boolean][] = [
  [
    'has an operationId of letters and digits',
    ({ operation }) => !/^[a-z][a-zA-Z0-9]{2,79}$/.test(operation.operationId ?? ''),
  ],
  ['has a summary of one line', ({ operation }) => !/^\S.{3,170}[^.\s]$/.test(operation.summary ?? '')],
  [
    'has exactly one tag',
    ({ operation }) => operation.tags?.length !== 1 || !/^[a-z-]+$/.test(operation.tags[0] ?? ''),
  ],
  [
    'has a success answer',
    ({ operation }) => !Object.keys(operation.responses).some((status) => /^20[0-9]$/.test(status)),
  ],
  [
    'refuses with a problem',
    ({ operation }) =>
      JSON.stringify(operation.responses.default?.content) !==
      '{"application/problem+json":{"schema":{"$ref":"#/components/schemas/Problem"}}}',
  ],
  [
    'says its credential: the document’s, or in words none',
    ({ operation, path }) => (operation.security !== undefined) !== ['/health', '/ready', '/metrics'].includes(path),
  ],
  [
    'declares every path parameter, with a schema',
    ({ operation, path }) => {
      const names = [...path.matchAll(/\{([^}]+)\}/g)].map(([, name]) => name);
      const declared = (operation.parameters ?? [])
        .filter((one) => one.in === 'path' && one.schema !== undefined)
        .map(({ name }) => name);
      return JSON.stringify(names) !== JSON.stringify(declared);
    },
  ],
  [
    'has a body only where one is read',
    ({ operation, method }) => method === 'get' && operation.requestBody !== undefined,
  ],
];

test.each(rules)('every operation %s', (_rule, broken) => {
  expect(operations().length).toBeGreaterThan(80);
  expect(
    operations()
      .filter(broken)
      .map(({ name }) => name),
  ).toEqual([]);
});

test('operationIds are unique, and stay what they are called by', () => {
  const names = operations().map(({ operation }) => operation.operationId);
  expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([]);
  for (const known of [
    'getInventoryBySku',
    'postInventoryAdjustments',
    'getDeadLetters',
    'patchDeadLettersById',
    'postDeadLettersByIdRetry',
    'postWebhookAmazonReturn',
  ])
    expect(names).toContain(known);
});

test('the document is OpenAPI 3.1 as one object: version, title, credential, and no reference that leads nowhere', () => {
  expect(described.openapi).toMatch(/^3\.1\.\d+$/);
  expect(described.info).toMatchObject({
    title: 'SyncState',
    version: expect.stringMatching(/^\d+\.\d+\.\d+/),
    description: expect.any(String),
  });
  expect(
    described.security
      .flatMap((one) => Object.keys(one))
      .filter((name) => !(name in described.components.securitySchemes)),
  ).toEqual([]);
  const refs = [...JSON.stringify(described).matchAll(/"\$ref":"([^"]*)"/g)].map(([, ref = '']) => ref);
  expect(refs.length).toBeGreaterThan(80);
  const lost = refs.filter(
    (ref) =>
      ref
        .replace('#/', '')
        .split('/')
        .reduce<unknown>((at, part) => (at as Record<string, unknown> | undefined)?.[part], described) === undefined,
  );
  expect(lost).toEqual([]);
});

test('every success answer has a schema', () => {
  const bare = operations()
    .filter(({ operation }) =>
      Object.entries(operation.responses).some(
        ([status, { content }]) =>
          /^20/.test(status) && Object.values(content ?? {}).every(({ schema }) => schema === undefined),
      ),
    )
    .map(({ name }) => name);
  expect(bare).toEqual([]);
});

test('what is described is what is answered: what can be read of the demo fits its schema', async () => {
  const wrong: unknown[] = [];
  let checked = 0;
  for (const { name, path, method, operation } of operations()) {
    const schema = operation.responses['200']?.content?.['application/json']?.schema;
    const real = path
      .replace('/connections/{id}', `/connections/${demo.connection('shopA').id}`)
      .replace('{sku}', 'DEMO-001');
    if (method !== 'get' || real.includes('{') || schema === undefined || JSON.stringify(schema).includes('$ref'))
      continue;
    const answer = await demo.api(real);
    if (answer.status !== 200) continue;
    checked += 1;
    const fits = z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]).safeParse(answer.body);
    if (!fits.success) wrong.push([name, fits.error.issues.slice(0, 3)]);
  }
  expect(wrong).toEqual([]);
  expect(checked).toBeGreaterThan(20);
});
