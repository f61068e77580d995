/**
 * A fresh, migrated PostgreSQL database for a test file or a test (about 50 ms), with both logins. Drop it in `afterAll`;
 * what a killed test leaves goes with the run (global-setup.ts).
 *
 *   const db = await testDatabase();
 *   await db.owner.query(…)                    as the owner: no row security; for arranging and for judging
 *   await db.store.tenant(orgId, (tx) => …)    as the server does it: role syncstate_app, row security on
 *   await db.drop();
 */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { inject } from 'vitest';
import type { Clock, Random } from '#core/effects.ts';
import { appUrl } from '../roles.ts';
import type { Store } from '../tx.ts';
import { createStore } from '../tx.ts';
import './global-setup.ts';

export interface TestDatabase {
  owner: pg.Pool;
  /** Logged in as syncstate_app; no organization set. */
  app: pg.Pool;
  /** The three scopes over the app role, with the real clock and chance. */
  store: Store;
  ownerUrl: string;
  appUrl: string;
  /** Ends all pools and drops the database; open connections of others are cut. */
  drop(): Promise<void>;
}

/** The machine's clock, for tests that need a real one. */
export const realClock: Clock = {
  now: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((done) => {
      if (signal?.aborted) return done();
      const timer = setTimeout(done, ms);
      signal?.addEventListener('abort', () => {
        clearTimeout(timer);
        done();
      });
    }),
};

export const realRandom: Random = { next: () => Math.random() };

async function ask(path: string, method: string): Promise<string> {
  const response = await fetch(`${inject('testDatabases')}/${encodeURIComponent(path)}`, { method });
  const text = await response.text();
  if (!response.ok) throw new Error(`no test database: ${text}`);
  return text;
}

function pool(url: string): pg.Pool {
  const made = new pg.Pool({ connectionString: url, max: 20, idleTimeoutMillis: 1_000 });
  made.on('error', () => undefined);
  // The pool listens only while a connection is idle: one that is cut while it ends (another test's drop is quick) would end the run.
  made.on('connect', (client) => client.on('error', () => undefined));
  return made;
}

/** The owner URL of a new database without any of our tables, for tests of the migrations themselves. */
export async function emptyDatabase(): Promise<{ ownerUrl: string; drop(): Promise<void> }> {
  const ownerUrl = await ask('empty', 'POST');
  return { ownerUrl, drop: () => ask(new URL(ownerUrl).pathname.slice(1), 'DELETE').then(() => undefined) };
}

export async function testDatabase(): Promise<TestDatabase> {
  const ownerUrl = await ask('migrated', 'POST');
  const owner = pool(ownerUrl);
  const app = pool(appUrl(ownerUrl));
  const store = createStore(appUrl(ownerUrl), { clock: realClock, random: realRandom, max: 20 });
  return {
    owner,
    app,
    store,
    ownerUrl,
    appUrl: appUrl(ownerUrl),
    async drop() {
      await Promise.all([owner.end(), app.end(), store.end()]);
      await ask(new URL(ownerUrl).pathname.slice(1), 'DELETE');
    },
  };
}

/** A new organization (as the owner), for tests that need one and care for nothing else about it. */
export async function testOrganization(db: Pick<TestDatabase, 'owner'>, name = 'Test'): Promise<string> {
  const orgId = randomUUID();
  await db.owner.query('insert into organizations (org_id, name, slug) values ($1, $2, $3)', [
    orgId,
    name,
    `org-${orgId.slice(0, 8)}`,
  ]);
  return orgId;
}
