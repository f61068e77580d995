/**
 * Files: somebody imports how many units came or went, as the API takes a file (server/api/routes/imports.ts): the run is made, its
 * file kept, the run released, each in a transaction of its own. Some are cancelled in their midst, some taken back later.
 */
import { undoKindOf } from '#server/flows/runs.ts';
import { cancelRun, createRun, createUndo, keepRunFile, releaseRun } from '#store/runs/runs.ts';
import { readRun } from '#store/views/runs.ts';
import type { Dice } from '../chance.ts';
import type { SimProcess } from '../process.ts';
import { type Code, codes } from '../stage.ts';
import type { Act, ActContext } from './act.ts';

interface Row {
  sku: string;
  location: Code;
  units: number;
}

function rowsOf({ stage, dice }: ActContext): Row[] {
  const places = stage.plain.flatMap((sku) => codes.map((location) => ({ sku, location })));
  const rows = places
    .filter(() => dice.chance(0.5))
    .map((place) => ({ ...place, units: dice.chance(0.7) ? dice.whole(1, 6) : -dice.whole(1, 3) }));
  return rows.length > 0 ? rows : [{ sku: stage.plain[0] ?? '', location: 'MAIN', units: 2 }];
}

function uuidOf(dice: Dice): string {
  const hex = Array.from({ length: 32 }, () => dice.whole(0, 15).toString(16)).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20)].join('-');
}

async function upload({ store, clock, runs }: SimProcess, orgId: string, id: string, rows: readonly Row[]) {
  const run = {
    id,
    kind: 'import-stock',
    connectionId: null,
    title: 'stock file',
    params: { format: 'auto', mode: 'add' },
    dryRun: false,
    actor: 'operator',
    key: `world:${id}`,
    inverseOf: null,
    state: 'receiving' as const,
  };
  const file = rows.map(({ sku, location, units }, n) => ({
    row: n + 1,
    values: { sku, location, quantity: `${units}` },
  }));
  await store.tenant(orgId, (tx) => createRun(tx, orgId, run, clock.now()));
  await store.tenant(orgId, (tx) => keepRunFile(tx, orgId, id, 0, Buffer.from(JSON.stringify(file)), clock.now()));
  await store.tenant(orgId, (tx) => releaseRun(tx, orgId, id));
  runs.wake();
}

export const files: readonly Act[] = [
  {
    name: 'imports a file of stock',
    weight: 2,
    async perform(context) {
      const { dice, stage, tell, ask, later } = context;
      const { orgId } = stage;
      const [id, rows] = [uuidOf(dice), rowsOf(context)];
      const [cancels, undoes] = [dice.chance(0.2), dice.chance(0.5)];
      tell(`${id}: ${rows.map(({ sku, location, units }) => `${units} ${sku} ${location}`).join(', ')}`);
      ask({ kind: 'import', id, rows, maybeCancelled: cancels }, async (process) => {
        await upload(process, orgId, id, rows);
        return {};
      });
      if (cancels)
        later(dice.whole(1, 2_000), async () =>
          ask({ kind: 'setting', what: `cancel import ${id}` }, async ({ store, clock }) => {
            await store.tenant(orgId, (tx) => cancelRun(tx, orgId, id, clock.now()));
            return {};
          }),
        );
      if (undoes)
        later(dice.whole(100, 120_000), async () =>
          ask({ kind: 'setting', what: `undo import ${id}` }, async ({ store, clock, ids, runs }) => {
            const run = await store.tenant(orgId, (tx) => readRun(tx, orgId, id, clock.now()));
            const kind = run && undoKindOf(run);
            if (!run || kind?.kind !== 'undo') return null;
            const undo = { id: ids.uuid(), kind: kind.undo, actor: 'operator', now: clock.now() };
            await store.tenant(orgId, (tx) => createUndo(tx, orgId, undo, run));
            runs.wake();
            return {};
          }),
        );
    },
  },
];
