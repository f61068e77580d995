/** Dead letters: one list of four kinds; retry, edit, discard and purge, also by two people at once. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { shopify } from '#connectors/shopify/index.ts';
import { retryReads } from '#store/inbox/settle.ts';
import { type TestDatabase, testDatabase } from '#store/testing/database.ts';
import { noFilter } from '#store/views/letters.ts';
import { serveDue } from './due.ts';
import { clock, ids, type Judge, judge, makeConnection, makeOrg, restOrder, takeIn } from './intake.testing.ts';
import { actOnFiltered, actOnLetters, editLetter, listLetters, showLetter } from './letters.ts';

let db: TestDatabase;
let see: Judge;
beforeAll(async () => {
  db = await testDatabase();
  see = judge(db.owner);
});
afterAll(() => db.drop());

const t = Math.floor(clock.now() / 1000) * 1000;
const good = (id: number, units: number, at = t) => restOrder(id, at, [{ id: id * 10, sku: 'A', quantity: units }]);
const broken = (id: number, at = t) => good(id, 1, at).replace(/"updated_at":"[^"]+"/, '"updated_at":"not a time"');

async function setting() {
  const org = await makeOrg(db.owner, db.store, ['A']);
  const connection = await makeConnection(db.owner, db.store, org);
  const taken = takeIn(db.store);
  await org.stock('A', 20);
  const { orgId } = org;
  const desk = { store: db.store, clock, ids, connectorOf: () => shopify };
  const list = (filter = {}) => listLetters(desk, orgId, { limit: 50, after: null, ...filter });
  const act = (what: 'retry' | 'discard', ...letters: string[]) => actOnLetters(desk, orgId, 'test', what, letters);
  const arrive = async (...bodies: string[]) => {
    for (const body of bodies) await taken.webhook(connection, 'orders/create', body);
    await taken.intake.drain();
  };
  const states = async () =>
    (await see.all<{ state: string }>('select state from inbox where org_id = $1 order by id', [orgId])).map(
      ({ state }) => state,
    );
  const open = async () =>
    (
      await see.all(
        `select subject_id from alerts where org_id = $1 and resolved_at is null and kind = 'dead_letter'`,
        [orgId],
      )
    ).length;
  return { org, orgId, connection, desk, list, act, arrive, states, open, ...taken };
}

test('a long payload is cut after its secrets are masked, wherever the cut falls', async () => {
  const { arrive, list, desk, orgId } = await setting();
  const start = broken(8).replace('{', '{"note":"');
  const long = `${start.slice(0, 9)}${'x'.repeat(9_950)}","checkout_token":"very-secret-and-long",${broken(8).slice(1)}`;
  await arrive(long);
  const [letter] = (await list()).items;
  expect(letter?.payload).toHaveLength(10_000);
  expect(letter?.payload).not.toContain('very');
  const whole = await showLetter(desk, orgId, letter?.id ?? '');
  expect(whole?.payload?.length).toBeGreaterThan(10_000);
  expect(whole?.payload).toContain('"checkout_token":"[secret]"');
});

test('an event that cannot be read is listed with its class, advice, attempts and payload without secrets, and found by order and SKU', async () => {
  const { arrive, list, connection, desk, orgId } = await setting();
  await arrive(broken(7).replace('{', '{"checkout_token":"very-secret",'));
  const [letter, ...others] = (await list()).items;
  expect(others).toEqual([]);
  expect(letter).toMatchObject({
    kind: 'event',
    connectionId: connection.connectionId,
    externalId: 'gid://shopify/Order/7',
    topic: 'orders/create',
    class: 'unreadable',
    means: 'The channel sent something that is not what it documents.',
    errorCode: 'connector.unreadable',
    attempts: 1,
    failures: [{ code: 'connector.unreadable', at: expect.stringMatching(/^20/) }],
    edited: false,
  });
  expect(letter?.payload).toContain('"checkout_token":"[secret]"');
  expect(JSON.stringify(await showLetter(desk, orgId, letter?.id ?? ''))).not.toContain('very-secret');
  const found = async (filter: object) => (await list(filter)).items.length;
  expect(await found({ search: '"sku":"A"' })).toBe(1);
  expect(await found({ search: 'nothing like it' })).toBe(0);
  expect(await found({ class: 'unreadable', kind: 'event', connectionId: connection.connectionId })).toBe(1);
  expect(await found({ class: 'unknown' })).toBe(0);
  expect(await found({ kind: 'run' })).toBe(0);
  expect(await found({ connectionId: randomUUID() })).toBe(0);
  expect(await found({ before: t - 60_000 })).toBe(0);
});

test('two people retry the same letter at once: one does, the other finds nothing, and it is tried once', async () => {
  const { arrive, list, act, intake, states, orgId } = await setting();
  await arrive(broken(8));
  const id = (await list()).items[0]?.id ?? '';
  const answers = await Promise.all([act('retry', id), act('retry', id)]);
  expect(answers.filter((missing) => missing === null)).toHaveLength(1);
  expect(answers.filter((missing) => missing === id)).toHaveLength(1);
  await intake.drain();
  expect(await states()).toEqual(['dead']);
  expect((await list()).items[0]).toMatchObject({ attempts: 1, failures: [{}, {}] });
  const acts = await see.all(`select action, actor from audit where org_id = $1 and subject = $2`, [orgId, id]);
  expect(acts).toEqual([{ action: 'dead_letter.retry', actor: 'test' }]);
});

test('a letter that is retried while a newer event of its order is applied changes nothing; its order stands as the newer says', async () => {
  const { arrive, list, act, intake, states, org, open, webhook, connection, desk, orgId } = await setting();
  await arrive(broken(9));
  const id = (await list()).items[0]?.id ?? '';
  // Mended, it says 5 at an earlier time than the newer one's 2.
  expect(await editLetter(desk, orgId, 'test', id, good(9, 5))).toEqual({ kind: 'edited' });
  await webhook(connection, 'orders/updated', good(9, 2, t + 5_000));
  await Promise.all([act('retry', id), intake.drain(), intake.drain()]);
  await intake.drain();
  expect(await states()).toEqual(['superseded', 'done']);
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 2 });
  expect(await act('retry', id)).toBe(id);
  expect(await open()).toBe(0);
});

test('an edited payload is applied once, however often it comes; the original is kept, another order and nonsense are refused', async () => {
  const { arrive, list, act, intake, states, org, open, desk, orgId } = await setting();
  const original = broken(10);
  await arrive(original);
  const id = (await list()).items[0]?.id ?? '';
  const edit = (payload: string) => editLetter(desk, orgId, 'test', id, payload);
  expect(await edit(good(11, 3))).toEqual({
    kind: 'other_order',
    why: 'It must stay about order gid://shopify/Order/10, not gid://shopify/Order/11.',
  });
  expect(await edit('{"id":10')).toMatchObject({ kind: 'unreadable' });
  expect(await edit(broken(10))).toMatchObject({ kind: 'unreadable' });
  expect((await list()).items).toMatchObject([{ id, edited: false, payload: original }]);
  expect(await edit(good(10, 3))).toEqual({ kind: 'edited' });
  expect(await showLetter(desk, orgId, id)).toMatchObject({
    edited: true,
    payload: good(10, 3),
    originalPayload: original,
  });
  expect(await states()).toEqual(['dead']);
  expect(await act('retry', id)).toBeNull();
  await intake.drain();
  // The channel sends both again.
  await arrive(good(10, 3), original);
  expect(await see.numbers(org, 'A')).toMatchObject({ sellable: 20, committed: 3 });
  expect(await see.all('select revision from orders where org_id = $1', [orgId])).toEqual([{ revision: 1 }]);
  expect((await list()).items).toEqual([]);
  expect(await open()).toBe(0);
  expect(await edit(good(10, 4))).toEqual({ kind: 'unknown' });
});

test('many at once: all the ids or none; a filter is counted; what is discarded or purged is never applied and its alert ends', async () => {
  const { arrive, list, act, states, open, desk, orgId, org } = await setting();
  await arrive(...[21, 22, 23, 24].map((id) => broken(id)));
  const letters = (await list()).items.map(({ id }) => id);
  const stranger = randomUUID();
  expect(await act('discard', ...letters, stranger)).toBe(stranger);
  expect(await act('discard', ...letters, 'nonsense')).toBe('nonsense');
  expect(await states()).toEqual(['dead', 'dead', 'dead', 'dead']);
  expect(await open()).toBe(4);
  expect(await act('discard', letters[0] ?? '', letters[1] ?? '')).toBeNull();
  expect(await open()).toBe(2);
  const old = { ...noFilter, before: clock.now() - 86_400_000 };
  expect(await actOnFiltered(desk, orgId, 'test', 'purge', old)).toBe(0);
  await db.owner.query(
    `update inbox set received_at = received_at - interval '2 days' where org_id = $1 and external_id like '%/22'`,
    [orgId],
  );
  expect(await actOnFiltered(desk, orgId, 'test', 'purge', old)).toBe(1);
  expect(await actOnFiltered(desk, orgId, 'test', 'discard', { ...noFilter, class: 'unreadable' })).toBe(1);
  expect(await open()).toBe(0);
  expect((await states()).sort()).toEqual(['superseded', 'superseded', 'superseded']);
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 0 });
});

test('another organization sees none of them and can do nothing to them', async () => {
  const { arrive, list, states } = await setting();
  await arrive(broken(31));
  const id = (await list()).items[0]?.id ?? '';
  const other = await setting();
  expect((await other.list()).items).toEqual([]);
  expect(await other.act('retry', id)).toBe(id);
  expect(await showLetter(other.desk, other.orgId, id)).toBeNull();
  expect(await editLetter(other.desk, other.orgId, 'test', id, good(31, 1))).toEqual({ kind: 'unknown' });
  expect(await states()).toEqual(['dead']);
});

test('a due row that fails three times the same way is a dead letter; retried it is due again, discarded it is gone; others are served', async () => {
  const { orgId, list, act, open } = await setting();
  const [bad, gone] = [randomUUID(), randomUUID()];
  let now = clock.now() + 1_000;
  const options = {
    store: db.store,
    clock: { ...clock, now: () => now },
    ids,
    random: { next: () => 0.5 },
    log: { ...console, error: () => {}, warn: () => {}, info: () => {} },
  };
  for (const id of [bad, gone])
    await db.owner.query(`insert into due (org_id, kind, subject_id, due_at) values ($1, 'stock_sweep', $2, now())`, [
      orgId,
      id,
    ]);
  // What it reads is not there: for this organization's sake alone.
  await db.owner.query(
    `create function broken_sweep() returns trigger language plpgsql as $$ begin if new.error is null then raise 'broken'; end if; return new; end $$`,
  );
  await db.owner.query(
    `create trigger broken before update or delete on due for each row when (old.org_id = '${orgId}') execute function broken_sweep()`,
  );
  for (let n = 0; n < 3; n += 1) {
    expect((await list()).items).toEqual([]);
    await serveDue(options);
    now += 600_000;
  }
  expect((await list({ kind: 'due' })).items).toHaveLength(2);
  expect((await list()).items.find(({ externalId }) => externalId === bad)).toMatchObject({
    id: `due:stock_sweep:${bad}`,
    kind: 'due',
    topic: 'stock_sweep',
    class: 'unknown',
    reason: 'broken',
    errorCode: 'database.P0001',
    attempts: 3,
    failures: [{ error: 'broken' }, { error: 'broken' }, { error: 'broken' }],
  });
  expect(await open()).toBe(2);
  expect(await serveDue(options)).toBe(0);
  await db.owner.query('drop trigger broken on due');
  expect(await act('discard', `due:stock_sweep:${gone}`)).toBeNull();
  expect(await act('retry', `due:stock_sweep:${bad}`)).toBeNull();
  now = clock.now() + 1_000;
  expect(await serveDue(options)).toBe(1);
  expect(
    await see.all('select kind from due where org_id = $1 and (failing_since is not null or subject_id = $2)', [
      orgId,
      gone,
    ]),
  ).toEqual([]);
  expect(await open()).toBe(0);
});

test('failed runs and refused numbers are listed; a number is tried again, a run goes on where it stopped, dismissed ones are gone until it happens again', async () => {
  const { orgId, list, act, connection, org } = await setting();
  const [run, unsent, target] = [randomUUID(), randomUUID(), randomUUID()];
  for (const [id, started] of [
    [run, true],
    [unsent, false],
  ] as const)
    await db.owner.query(
      `insert into runs (org_id, id, kind, title, params, state, message, actor, mark, created_at, started_at, finished_at)
       values ($1, $2, 'import-stock', 'stock.csv', '{}', 'failed', 'broke off', 'test', '7', now(), case when $3 then now() end, now())`,
      [orgId, id, started],
    );
  await db.owner.query(
    `insert into targets (org_id, id, connection_id, stock_key, channel_location, variant_id, state, state_at, reason)
     values ($1, $2, $3, 'k-1', 'l-1', $4, 'rejected', now(), 'Invalid.')`,
    [orgId, target, connection.connectionId, org.variants.A],
  );
  const listed = async () => (await list()).items.map(({ id }) => id).sort();
  expect(await listed()).toEqual([`number:${target}`, `run:${run}`, `run:${unsent}`].sort());
  expect((await list({ search: 'A', kind: 'number', class: 'rejected' })).items).toMatchObject([
    { externalId: 'A', reason: 'Invalid.' },
  ]);
  expect(await act('retry', `run:${unsent}`)).toBe(`run:${unsent}`);
  expect(await act('discard', `run:${unsent}`)).toBeNull();
  expect(await act('discard', `run:${unsent}`)).toBe(`run:${unsent}`);
  expect(await act('retry', `run:${run}`)).toBeNull();
  expect(await see.one('select state, mark, message from runs where org_id = $1 and id = $2', [orgId, run])).toEqual({
    state: 'waiting',
    mark: 7,
    message: null,
  });
  expect(await act('discard', `number:${target}`)).toBeNull();
  expect(await listed()).toEqual([]);
  await db.owner.query(`update targets set state_at = now() + interval '1 hour' where org_id = $1 and id = $2`, [
    orgId,
    target,
  ]);
  expect(await listed()).toEqual([`number:${target}`]);
  expect(await act('retry', `number:${target}`)).toBeNull();
  expect(
    await see.one('select state, dirty_version > handled_version as dirty from targets where org_id = $1 and id = $2', [
      orgId,
      target,
    ]),
  ).toEqual({
    state: 'pending',
    dirty: true,
  });
});

test('an event given up after a day without the channel goes on by itself when the channel answers; one given up for itself stays', async () => {
  const { arrive, list, intake, orgId, connection, org, webhook } = await setting();
  await arrive(broken(41));
  await webhook(connection, 'orders/create', good(42, 4));
  await db.owner.query(
    `update inbox set state = 'dead', done_at = now(), error = 'not reached', error_code = 'connector.unavailable', failing_since = now() - interval '25 hours'
     where org_id = $1 and external_id like '%/42'`,
    [orgId],
  );
  await intake.drain();
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 0 });
  expect((await list({ class: 'temporary' })).items).toMatchObject([{ externalId: 'gid://shopify/Order/42' }]);
  expect(await db.store.tenant(orgId, (tx) => retryReads(tx, orgId, connection.connectionId, clock.now()))).toBe(1);
  await intake.drain();
  expect(await see.numbers(org, 'A')).toMatchObject({ committed: 4 });
  expect((await list()).items).toMatchObject([{ externalId: 'gid://shopify/Order/41', class: 'unreadable' }]);
});
