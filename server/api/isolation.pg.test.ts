/**
 * P7 from outside: every operation that the running server describes is called by another organization with this one's ids, in paths,
 * queries, cursors and bodies. None shows or changes anything. A route that a later change adds is tried without a line here; one
 * whose ids are of a new kind fails until `kinds` says where they are.
 *
 * The stranger has a SKU of the same name. Nothing but the API runs meanwhile, so what changed was changed by a call.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { appUrl } from '#store/roles.ts';
import { createDeps, type Deps } from '../deps.ts';
import { type Demo, startDemo } from '../testing/demo.ts';
import { nextId, shopOrder } from '../testing/shop-order.ts';
import { type Api, createApi } from './app.ts';

interface Schema {
  type?: string;
  format?: string;
  enum?: unknown[];
  minimum?: number;
  anyOf?: Schema[];
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
}
interface Operation {
  parameters?: { name: string; in: string; schema?: Schema }[];
  requestBody?: { content?: Record<string, { schema?: Schema }> };
  security?: unknown[];
}
interface Call {
  method: string;
  /** As it is described. */
  route: string;
  url: string;
  body?: unknown;
  /** What of the other organization's the call itself names. */
  names: string[];
}

/** Where the ids of a route's parameter are; `$1` is the organization. */
const kinds: Record<string, string> = {
  'alerts/{id}': 'select id from alerts where org_id = $1',
  'connections/{id}': 'select id from connections where org_id = $1',
  // Of the connection above: paths name both.
  'imports/{importId}':
    'select id from catalog_imports where org_id = $1 and connection_id = (select id from connections where org_id = $1 order by id limit 1)',
  'dead-letters/{id}': `select id from inbox where org_id = $1 and state = 'dead'`,
  'drift/{id}': 'select id from drifts where org_id = $1',
  'feeds/{id}': 'select id from feeds where org_id = $1',
  'files/{id}': 'select id from import_files where org_id = $1',
  'inventory/{sku}': `select sku as id from variants where org_id = $1 and sku = 'DEMO-LAST'`,
  'buffer/{sku}': `select sku as id from variants where org_id = $1 and sku = 'DEMO-LAST'`,
  'mapping/{sku}': `select sku as id from variants where org_id = $1 and sku = 'DEMO-LAST'`,
  'listings/{id}': 'select id from listings where org_id = $1',
  'orders/{id}': 'select id from orders where org_id = $1',
  'runs/{id}': 'select id from runs where org_id = $1',
};

let demo: Demo;
let deps: Deps;
let api: Api;
let stranger: { orgId: string; key: string };
let operations: { method: string; route: string; operation: Operation }[];
/** One of each kind. */
const theirs: Record<string, string> = {};
/** What only the demo's organization may be shown: its ids, names and numbers at channels. */
let secrets: Set<string>;

const owner = async <R extends object>(sql: string, values: unknown[] = []): Promise<R[]> =>
  (await demo.db.owner.query<R>(sql, values)).rows;

beforeAll(async () => {
  demo = await startDemo();
  await oneOfEach();
  stranger = await demo.stranger();
  for (const sku of ['DEMO-001', 'DEMO-FBA'])
    await owner('insert into variants (org_id, id, sku) values ($1, $2, $3)', [stranger.orgId, randomUUID(), sku]);
  const { config } = demo.running.deps;
  await demo.running.stop();
  deps = await createDeps({
    config,
    dataDir: demo.dataDir,
    appUrl: appUrl(demo.db.ownerUrl),
    soleProcess: false,
  });
  api = await createApi(deps.api);
  const described = (await api.inject('/api/openapi.json')).json<{
    paths: Record<string, Record<string, Operation>>;
  }>();
  operations = Object.entries(described.paths).flatMap(([route, methods]) =>
    Object.entries(methods)
      .filter(([, { security }]) => security === undefined)
      .map(([method, operation]) => ({ method: method.toUpperCase(), route, operation })),
  );
  for (const [kind, sql] of Object.entries(kinds))
    theirs[kind] = (await owner<{ id: string }>(`${sql} order by id limit 1`, [demo.demo.organizationId]))[0]?.id ?? '';
  const known = await namesOf(stranger.orgId);
  secrets = new Set([...(await namesOf(demo.demo.organizationId))].filter((name) => !known.has(name)));
}, 60_000);
afterAll(async () => {
  await api?.close();
  await deps?.end();
  await demo?.stop();
});

/** An order with an alert, a dead letter, a hold, a transfer, a run, a file of failed rows; a drift and a feed as rows. */
async function oneOfEach(): Promise<void> {
  const orgId = demo.demo.organizationId;
  await demo.deliver('shopA', (await shopOrder(demo, 'shopA', [{ sku: 'DEMO-LAST', quantity: 3 }])).text);
  await demo.ok('/api/holds', { body: { sku: 'DEMO-002', quantity: 1 } });
  await demo.ok('/api/transfers', { body: { sku: 'DEMO-003', from: 'MAIN', to: 'EAST', quantity: 1 } });
  const csv = { body: 'sku,quantity\nDEMO-004,5\nNO-SUCH,1\n', headers: { 'content-type': 'text/csv' } };
  await demo.ok('/api/inventory/bulk', csv);
  await demo.ok('/api/imports?kind=stock', { ...csv, headers: { ...csv.headers, 'idempotency-key': 'one' } });
  await demo.ok('/api/inventory/adjustments', {
    body: { sku: 'DEMO-001', change: -1, reason: 'correction' },
    headers: { 'idempotency-key': 'one' },
  });
  // An order that cannot be taken in holds what is not raised before orders are known past its first number: those go first.
  await demo.quiet();
  const line = { sku: 'DEMO-010', quantity: 1, id: nextId() };
  await demo.deliver('shopA', (await shopOrder(demo, 'shopA', [line, line])).text);
  await owner(
    `insert into drifts (org_id, id, target_id, connection_id, units, state, observed_at, found_at, last_at)
     select t.org_id, $2, t.id, t.connection_id, -1, 'asked', now(), now(), now() from targets t where t.org_id = $1 limit 1`,
    [orgId, randomUUID()],
  );
  await owner(
    `insert into feeds (org_id, id, connection_id, state, lease_generation, created_at)
     select org_id, $2, id, 'done', 1, now() from connections where org_id = $1 and platform = 'amazon'`,
    [orgId, randomUUID()],
  );
  await demo.until(
    async () =>
      (await demo.ok<{ items: unknown[] }>('/api/dead-letters')).items.length > 0 &&
      (await demo.ok<{ items: unknown[] }>('/api/alerts')).items.length > 0 &&
      (await demo.ok<{ items: unknown[] }>('/api/runs?open=true')).items.length === 0,
  );
  await demo.quiet();
}

/** Every table that holds rows of organizations. */
const tables = async (): Promise<string[]> =>
  (
    await owner<{ name: string }>(
      `select c.relname as name from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'org_id'
       where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace order by 1`,
    )
  ).map(({ name }) => name);

/** All ids in rows of an organization, and its names of eight characters and more. */
async function namesOf(orgId: string): Promise<Set<string>> {
  const columns = await owner<{ table: string; column: string }>(
    `select c.table_name as table, c.column_name as column from information_schema.columns c
     where c.table_schema = 'public' and c.table_name = any ($1) and (c.data_type = 'uuid'
       or c.column_name in ('sku', 'external_id', 'stock_key', 'channel_location', 'shop_domain', 'base_url', 'webhook_token'))`,
    [await tables()],
  );
  const found = new Set<string>();
  for (const { table, column } of columns)
    for (const { value } of await owner<{ value: string }>(
      `select distinct ${column}::text as value from ${table} where org_id = $1 and length(${column}::text) >= 8`,
      [orgId],
    ))
      found.add(value);
  return found;
}

/** What is stored of an organization, table by table. */
async function stateOf(orgId: string): Promise<Record<string, string>> {
  const state: Record<string, string> = {};
  for (const table of await tables()) {
    const [row] = await owner<{ rows: string }>(
      `select count(*) || ':' || md5(coalesce(string_agg(t::text, ',' order by t::text), '')) as rows from ${table} t where org_id = $1`,
      [orgId],
    );
    state[table] = row?.rows ?? '';
  }
  return state;
}

/** Values of a body: the other's id wherever an id may stand, else the smallest that passes. */
function sampleOf(schema: Schema, name: string, ids: Record<string, string>): unknown {
  if (schema.anyOf) return sampleOf(schema.anyOf[0] ?? {}, name, ids);
  if (schema.enum) return schema.enum[0];
  if (schema.format === 'uuid') return ids[name] ?? ids.id;
  if (schema.format === 'date-time') return new Date(0).toISOString();
  if (schema.type === 'integer' || schema.type === 'number') return Math.max(1, schema.minimum ?? 1);
  if (schema.type === 'boolean') return true;
  if (schema.type === 'array') return [sampleOf(schema.items ?? {}, name === 'ids' ? 'letter' : name, ids)];
  if (schema.type === 'object')
    return Object.fromEntries(
      (schema.required ?? []).map((key) => [key, sampleOf(schema.properties?.[key] ?? {}, key, ids)]),
    );
  if (name === 'letter') return ids.letter;
  if (name === 'sku') return 'DEMO-001';
  if (name === 'asin') return 'B000000001';
  if (['location', 'from'].includes(name)) return 'MAIN';
  if (name === 'to') return 'EAST';
  return 'SELLABLE';
}

/** The smallest body, then one for each place of an id in it, by the name of that place. */
function bodiesOf(schema: Schema, ids: Record<string, string>): { place: string | null; body: object }[] {
  const shape = schema.anyOf?.[0] ?? schema;
  const smallest = sampleOf(shape, '', ids) as Record<string, unknown>;
  // Where one of several is needed and none is required alone.
  if ('buffer' in (shape.properties ?? {})) smallest.buffer = 1;
  const bodies: { place: string | null; body: object }[] = [{ place: null, body: smallest }];
  for (const [name, property] of Object.entries(shape.properties ?? {})) {
    const inner = property.anyOf?.[0] ?? property;
    if (name === 'filter') {
      bodies.push({ place: 'filter.connectionId', body: { ...smallest, filter: { connectionId: ids.connectionId } } });
      continue;
    }
    if (inner.format !== 'uuid' && name !== 'ids') continue;
    const scopes = shape.properties?.scope?.enum ?? [null];
    for (const scope of scopes) {
      const id = scope === null ? ids[name] : ids[`${scope}Id`];
      const value = name === 'ids' ? [ids.letter] : (id ?? ids.id);
      bodies.push({
        place: scope === null ? name : `${name} of ${scope}`,
        body: { ...smallest, ...(scope !== null && { scope }), [name]: value },
      });
    }
  }
  return bodies;
}

const idsOf = () => ({
  id: theirs['connections/{id}'] ?? '',
  connectionId: theirs['connections/{id}'] ?? '',
  listingId: theirs['listings/{id}'] ?? '',
  listing: theirs['listings/{id}'] ?? '',
  replay: theirs['imports/{importId}'] ?? '',
  letter: theirs['dead-letters/{id}'] ?? '',
});

/** `/api/connections/{id}/imports/{importId}` with ids of the kinds its segments say. */
function filled(route: string): { path: string; names: string[] } {
  const names: string[] = [];
  const path = route.replace('{level}', 'critical').replaceAll(/([^/]+)\/(\{\w+\})/g, (_, of: string, name: string) => {
    const id = theirs[`${of}/${name}`];
    if (!id) throw new Error(`nothing of the demo's is known as ${of}/${name} (${route})`);
    names.push(id);
    return `${of}/${encodeURIComponent(id)}`;
  });
  return { path, names };
}

async function ask(key: string, { method, url, body }: Call) {
  const csv = typeof body === 'string';
  return api.inject({
    method: method as 'GET',
    url,
    headers: {
      authorization: `Bearer ${key}`,
      ...(body !== undefined && { 'content-type': csv ? 'text/csv' : 'application/json' }),
    },
    ...(body !== undefined && { payload: csv ? body : JSON.stringify(body) }),
  });
}

/** What an answer says of the other organization beyond what the call itself named. */
function leaks(text: string, named: readonly string[]): string[] {
  const rest = named.reduce((left, name) => left.replaceAll(name, ''), text);
  return [...secrets].filter((secret) => rest.includes(secret));
}

/** A stream, read in events.pg.test.ts. */
const streams = ['/api/events'];

test('the stranger is somebody, and the demo has one of every kind', async () => {
  expect(Object.entries(theirs).filter(([, id]) => id === '')).toEqual([]);
  expect(secrets.size).toBeGreaterThan(500);
  const mine = await ask(stranger.key, { method: 'GET', route: '', url: '/api/inventory', names: [] });
  expect(mine.json<{ items: { sku: string }[] }>().items.map(({ sku }) => sku)).toEqual(['DEMO-001', 'DEMO-FBA']);
});

test('what a path names of another organization is 404 in every operation, for its owner it is there; nothing changes', async () => {
  const before = await stateOf(demo.demo.organizationId);
  const wrong: unknown[] = [];
  let tried = 0;
  for (const { method, route, operation } of operations) {
    const { path, names } = filled(route);
    if (names.length === 0) continue;
    const schema = operation.requestBody?.content?.['application/json']?.schema;
    const bodies = schema ? bodiesOf(schema, idsOf()).map(({ body }) => body) : [undefined];
    for (const body of bodies) {
      tried += 1;
      const answer = await ask(stranger.key, { method, route, url: path, body, names });
      if (answer.statusCode !== 404 || leaks(answer.body, names).length > 0)
        wrong.push([method, path, body, answer.statusCode, answer.body.slice(0, 300)]);
    }
    if (method === 'GET') {
      const own = await ask(demo.demo.apiKey, { method, route, url: path, names });
      if (own.statusCode !== 200) wrong.push(['its owner', method, path, own.statusCode, own.body.slice(0, 300)]);
    }
  }
  expect(wrong).toEqual([]);
  expect(tried).toBeGreaterThan(40);
  expect(await stateOf(demo.demo.organizationId)).toEqual(before);
});

test('lists and searches show nothing of another organization, whatever of its ids and cursors they are asked for', async () => {
  const before = await stateOf(demo.demo.organizationId);
  const [order] = await owner<{ external_id: string; correlation_id: string }>(
    'select external_id, correlation_id from inbox where org_id = $1 and correlation_id is not null order by id limit 1',
    [demo.demo.organizationId],
  );
  const ids: Record<string, string> = {
    ...idsOf(),
    externalId: order?.external_id ?? '',
    q: order?.external_id ?? '',
    correlationId: order?.correlation_id ?? '',
    search: 'DEMO-LAST',
    sku: 'DEMO-LAST',
    location: 'EAST',
  };
  const wrong: unknown[] = [];
  let cursors = 0;
  for (const { method, route, operation } of operations.filter(({ method }) => method === 'GET')) {
    if (streams.includes(route)) continue;
    const { path: named, names: inPath } = filled(route);
    // Of its own SKU, where a path must name one.
    const path = named.replace('DEMO-LAST', 'DEMO-001');
    if (path === named && inPath.length > 0) continue;
    const parameters = (operation.parameters ?? []).filter((one) => one.in === 'query').map(({ name }) => name);
    const queries: { query: string; names: string[] }[] = [{ query: '', names: [] }];
    for (const name of parameters) {
      const value = ids[name];
      if (value) queries.push({ query: `?${name}=${encodeURIComponent(value)}`, names: [value] });
    }
    if (route === '/api/trace')
      for (const value of Object.values(ids)) queries.push({ query: `?q=${value}`, names: [value] });
    if (parameters.includes('cursor')) {
      const page = await ask(demo.demo.apiKey, { method, route, url: `${path}?limit=1`, names: [] });
      const { nextCursor } = page.json<{ nextCursor: string | null }>();
      if (nextCursor !== null) {
        cursors += 1;
        queries.push({ query: `?cursor=${nextCursor}`, names: [] });
      }
    }
    for (const { query, names } of queries) {
      const answer = await ask(stranger.key, { method, route, url: `${path}${query}`, names });
      if (answer.statusCode >= 500 || leaks(answer.body, names).length > 0)
        wrong.push([`${path}${query}`, answer.statusCode, leaks(answer.body, names).slice(0, 5)]);
    }
  }
  expect(wrong).toEqual([]);
  expect(cursors).toBeGreaterThan(5);
  expect(await stateOf(demo.demo.organizationId)).toEqual(before);
});

test('bodies that name another organization’s ids are refused or do without them; nothing of it changes', async () => {
  const before = await stateOf(demo.demo.organizationId);
  const answers: Record<string, number> = {};
  const wrong: unknown[] = [];
  for (const { method, route, operation } of operations.filter(({ method }) => method !== 'GET')) {
    const { path: named, names: inPath } = filled(route);
    const path = named.replace('DEMO-LAST', 'DEMO-001');
    if (path === named && inPath.length > 0) continue;
    const schema = operation.requestBody?.content?.['application/json']?.schema;
    const bodies = schema
      ? bodiesOf(schema, idsOf())
      : [{ place: null, body: /bulk|imports$/.test(route) ? 'sku,quantity,location\nDEMO-LAST,7,EAST\n' : undefined }];
    for (const { place, body } of bodies) {
      const url = route === '/api/imports' ? `${path}?kind=stock` : path;
      const names = [JSON.stringify(body), ...Object.values(idsOf()), 'DEMO-LAST'];
      const answer = await ask(stranger.key, { method, route, url, body, names });
      if (place !== null) answers[`${method} ${route} ${place}`] = answer.statusCode;
      if (answer.statusCode >= 500 || leaks(answer.body, names).length > 0)
        wrong.push([method, url, body, answer.statusCode, answer.body.slice(0, 300)]);
    }
  }
  expect(wrong).toEqual([]);
  // Filters find nothing of the caller's own; the organization's own policy takes no id.
  expect(answers).toEqual({
    'POST /api/dead-letters/discard filter.connectionId': 200,
    'POST /api/dead-letters/discard ids': 404,
    'POST /api/dead-letters/purge connectionId': 200,
    'POST /api/dead-letters/retry filter.connectionId': 202,
    'POST /api/dead-letters/retry ids': 404,
    'POST /api/drift/policy id of connection': 404,
    'POST /api/drift/policy id of listing': 404,
    'POST /api/drift/policy id of organization': 200,
    'POST /api/mapping connectionId': 404,
    'PUT /api/scarcity connectionId': 404,
  });
  expect(await stateOf(demo.demo.organizationId)).toEqual(before);
});

test('an import of another organization’s connection cannot be replayed on one’s own', async () => {
  const before = await stateOf(demo.demo.organizationId);
  const connection = randomUUID();
  await owner(
    `insert into connections (org_id, id, platform, kind, name, webhook_token) values ($1, $2, 'shopify', 'simulated', 'own', $3)`,
    [stranger.orgId, connection, connection],
  );
  const route = `/api/connections/${connection}/import`;
  const body = { replay: theirs['imports/{importId}'], dryRun: true };
  const answer = await ask(stranger.key, { method: 'POST', route, url: route, body, names: [] });
  expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([409, 'domain.no_raw_pages']);
  expect(await owner('select from catalog_imports where org_id = $1', [stranger.orgId])).toEqual([]);
  expect(await stateOf(demo.demo.organizationId)).toEqual(before);
});

test('the same Idempotency-Key of another organization is another call: nothing is replayed, nothing shared', async () => {
  const before = await stateOf(demo.demo.organizationId);
  const headers = { authorization: `Bearer ${stranger.key}`, 'idempotency-key': 'one' };
  const adjusted = await api.inject({
    method: 'POST',
    url: '/api/inventory/adjustments',
    headers,
    payload: { sku: 'DEMO-FBA', set: 5, reason: 'found' },
  });
  expect([adjusted.statusCode, adjusted.headers['idempotency-replayed'], adjusted.json()]).toEqual([
    200,
    undefined,
    { sku: 'DEMO-FBA', location: 'MAIN', before: 0, after: 5 },
  ]);
  const imported = await api.inject({
    method: 'POST',
    url: '/api/imports?kind=stock',
    headers: { ...headers, 'content-type': 'text/csv' },
    payload: 'sku,quantity\nDEMO-001,6\n',
  });
  expect([imported.statusCode, imported.headers['idempotency-replayed']]).toEqual([202, undefined]);
  expect(imported.json<{ id: string }>().id).not.toBe(theirs['runs/{id}']);
  expect(await stateOf(demo.demo.organizationId)).toEqual(before);
});
