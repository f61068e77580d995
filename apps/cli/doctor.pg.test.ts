/** The doctor, with each misconfiguration planted: which finding, and what it advises. */
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { keepsSession } from '#store/fitness.ts';
import { type TestDatabase, testDatabase, testOrganization } from '#store/testing/database.ts';
import { scratchFolder } from '#store/testing/scratch.ts';
import { syncstate } from './cli.testing.ts';
import { judgeFitness, judgeStart } from './diagnosis.ts';

interface Told {
  ok: boolean;
  findings: { code: string; check: string; state: string; detail: string; advice: string }[];
}

let db: TestDatabase;
let orgId: string;
const dataDir = scratchFolder('syncstate-doctor-');
const before = { ...process.env };
const connectionId = randomUUID();

beforeAll(async () => {
  db = await testDatabase();
  orgId = await testOrganization(db);
});
afterAll(async () => {
  await db.drop();
  rmSync(dataDir, { recursive: true, force: true });
});
afterEach(async () => {
  process.env = { ...before };
  for (const table of ['connection_watches', 'orders', 'targets', 'connections'])
    await db.owner.query(`delete from ${table}`);
});

async function doctor(environment: Record<string, string> = {}): Promise<{ exit: number; ill: Told['findings'] }> {
  process.env = {
    ...before,
    DATABASE_URL: db.ownerUrl,
    SYNCSTATE_DATA_DIR: dataDir,
    PORT: '0',
    NODE_ENV: 'development',
    ...environment,
  };
  const ran = await syncstate('doctor', '--json');
  return { exit: ran.exit, ill: ran.json<Told>().findings.filter(({ state }) => state !== 'ok') };
}
const codes = ({ exit, ill }: Awaited<ReturnType<typeof doctor>>) => [
  exit,
  ill.map(({ code, state }) => `${code} ${state}`).sort(),
];

const connection = (kind: 'live' | 'simulated', settings: object = {}) =>
  db.owner.query(
    `insert into connections (org_id, id, platform, kind, name, webhook_token, settings) values ($1, $2, 'shopify', $3, 'Shop', 't', $4)`,
    [orgId, connectionId, kind, JSON.stringify(settings)],
  );

test('an installation in order has nothing to say and ends with 0', async () => {
  await connection('simulated', { settleMs: 5_000 });
  expect(codes(await doctor())).toEqual([0, []]);
});

test('a live shop without a key of ours and without an address for its events is warned of', async () => {
  await connection('live');
  const told = await doctor();
  expect(codes(told)).toEqual([0, ['public_url_missing warning', 'secret_key_missing warning']]);
  expect(told.ill.find(({ code }) => code === 'public_url_missing')?.advice).toContain(
    'Set SYNCSTATE_PUBLIC_URL to the https address',
  );
  expect(told.ill.find(({ code }) => code === 'secret_key_missing')?.advice).toContain('openssl rand -base64 32');
  const there = await doctor({ SYNCSTATE_PUBLIC_URL: 'https://stock.example.com/' });
  expect(there.ill.find(({ code }) => code === 'webhook_address_missing')?.advice).toContain(
    '--public-url https://stock.example.com.',
  );
});

test('what is wrong with a connection is found, each with its advice', async () => {
  await connection('simulated', { settleMs: 86_400_000, orderLagMs: -5 });
  await db.owner.query(
    `update connections set state = 'unauthorized', state_reason = 'revoked', webhooks_refused = 12, webhook_refused_at = now() where id = $1`,
    [connectionId],
  );
  await db.owner.query(
    `insert into targets (org_id, id, connection_id, stock_key, channel_location) values ($1, $2, $3, 'MUG', 'gid://L/7')`,
    [orgId, randomUUID(), connectionId],
  );
  await db.owner.query(
    `insert into orders (org_id, id, connection_id, external_id, number, status, payment, fulfillment, channel_version, content_hash, unmapped, placed_at)
     values ($1, $2, $3, 'o', '#7', 'new', 'paid', 'open', now(), 'x', true, now())`,
    [orgId, randomUUID(), connectionId],
  );
  await db.owner.query(
    `insert into connection_watches (org_id, connection_id, kind, next_at, error, failures, created_at) values ($1, $2, 'subscriptions', now(), 'no scope', 3, now())`,
    [orgId, connectionId],
  );
  const told = await doctor();
  expect(codes(told)).toEqual([
    1,
    [
      'lag_absurd failed',
      'location_unmapped failed',
      'orders_unmapped failed',
      'settle_absurd failed',
      'subscriptions_missing failed',
      'token_dead failed',
      'webhooks_refused failed',
    ],
  ]);
  const advice = Object.fromEntries(told.ill.map((finding) => [finding.code, `${finding.detail} → ${finding.advice}`]));
  expect(advice.location_unmapped).toContain('syncstate connection map "Shop" <our location>=gid://L/7');
  expect(advice.orders_unmapped).toContain('e.g. #7: they are not booked → Map them: syncstate import mapping <file>');
  expect(advice.settle_absurd).toContain('its settleMs is 86400000');
  expect(advice.lag_absurd).toContain('its orderLagMs is -5');
  expect(advice.subscriptions_missing).toContain('(no scope)');
  expect(advice.token_dead).toContain('Renew its credentials: syncstate connection renew "Shop"');
  expect(advice.webhooks_refused).toContain('12 webhooks were refused lately for a wrong signature');
});

test('a port that another program has is found, and a free one is not', async () => {
  const other: Server = createServer((socket) => socket.destroy());
  await new Promise<void>((done) => other.listen(0, '127.0.0.1', () => done()));
  const { port } = other.address() as { port: number };
  const told = await doctor({ PORT: String(port) });
  await new Promise((done) => other.close(done));
  expect(codes(told)).toEqual([1, ['port_taken failed']]);
  expect(told.ill[0]?.advice).toContain(`PORT=${port + 1}`);
  expect(codes(await doctor({ PORT: String(port) }))).toEqual([0, []]);
});

test('a database that lacks migrations, that does not exist or cannot be reached, and bad settings are told apart', async () => {
  const { rows } = await db.owner.query(
    'delete from schema_migrations where name = (select max(name) from schema_migrations) returning *',
  );
  const behind = await doctor();
  await db.owner.query(
    'insert into schema_migrations select * from json_populate_record(null::schema_migrations, $1)',
    [JSON.stringify(rows[0])],
  );
  expect([codes(behind), behind.ill[0]?.advice]).toEqual([[1, ['migrations_behind failed']], 'Run: syncstate migrate']);
  const missing = new URL(db.ownerUrl);
  missing.pathname = '/no_such_database';
  expect(codes(await doctor({ DATABASE_URL: missing.href }))).toEqual([1, ['database_missing failed']]);
  expect(codes(await doctor({ DATABASE_URL: 'postgres://x:y@127.0.0.1:1/none' }))).toEqual([
    1,
    ['database_unreachable failed'],
  ]);
  const weak = await doctor({ SYNCSTATE_SECRET_KEYS: `k1:${Buffer.alloc(32).toString('base64')}` });
  expect([codes(weak), weak.ill[0]?.detail]).toEqual([
    [1, ['configuration failed']],
    expect.stringContaining('is weak; make one with: openssl rand'),
  ]);
});

test('a pooler in transaction mode gives sessions away; a database does not', async () => {
  const pooler = new pg.Pool({ connectionString: db.ownerUrl, max: 2 });
  // The database is dropped under whatever still says goodbye.
  pooler.on('connect', (client) => client.on('error', () => undefined));
  const [a, b] = [await db.owner.connect(), await pooler.connect()];
  try {
    expect(await keepsSession(a, b)).toBe(true);
  } finally {
    a.release();
    b.release();
  }
  // As a pooler does: a statement takes whatever session is free, a transaction keeps its own.
  const held = await pooler.connect();
  held.release();
  let inside: pg.PoolClient | null = null;
  const transaction = {
    async query<R extends pg.QueryResultRow>(text: string) {
      inside ??= await pooler.connect();
      const answer = await inside.query<R>(text);
      if (text === 'rollback') inside.release();
      return answer;
    },
  };
  expect(await keepsSession({ query: (text) => pooler.query(text) }, transaction)).toBe(false);
  await pooler.end();
});

test('an old database, one without rights, roles or sessions, and a refused login are each told', () => {
  const fitness = { versionNum: 140_012, version: '14.12', mayCreate: false, appRole: false, keepsSession: false };
  expect(judgeFitness(fitness).map(({ code }) => code)).toEqual([
    'database_old',
    'database_rights',
    'role_missing',
    'pooler_transaction_mode',
  ]);
  expect(judgeFitness(fitness).every(({ advice, state }) => advice.length > 20 && state === 'failed')).toBe(true);
  expect(judgeFitness({ ...fitness, versionNum: 150_000, mayCreate: true, appRole: null, keepsSession: true })).toEqual(
    [],
  );
  expect(judgeStart('28P01', 'password authentication failed').code).toBe('database_login');
});
