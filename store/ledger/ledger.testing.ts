/** A small organization to post against: locations MAIN (default), EAST, and FBA (serves no orders); variants by SKU. For tests and benches. */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { LocationId, OrgId, VariantId } from '#core/ids.ts';
import type { Command, PostContext, Posted } from '#core/stock/movement.ts';
import { createStore, type Store, type Tx } from '../tx.ts';
import { post } from './post.ts';

export interface World {
  orgId: OrgId;
  main: LocationId;
  east: LocationId;
  fba: LocationId;
  variants: VariantId[];
}

export const noon = Date.UTC(2026, 10, 21, 12);
let lastTick = 0;

/** Rising ids like UUIDv7, cheap. */
export const testIds = {
  uuid(): string {
    lastTick += 1;
    const hex = (noon + lastTick).toString(16).padStart(12, '0');
    const random = randomUUID();
    return `${hex.slice(0, 8)}-${hex.slice(8)}-7${random.slice(15)}`;
  },
};

export const context: PostContext = { actor: 'test', now: noon, ids: testIds };

/** A store with real time and chance. */
export const testStore = (appUrl: string, max = 20): Store =>
  createStore(appUrl, {
    max,
    random: { next: Math.random },
    clock: {
      now: Date.now,
      monotonicMs: () => performance.now(),
      sleep: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
    },
  });

/** @param owner a connection that sees everything */
export async function makeWorld(owner: pg.Pool, skus = 3): Promise<World> {
  const orgId = OrgId(testIds.uuid());
  const [main, east, fba] = [LocationId(testIds.uuid()), LocationId(testIds.uuid()), LocationId(testIds.uuid())];
  const variants = Array.from({ length: skus }, () => VariantId(testIds.uuid()));
  await owner.query(`insert into organizations (org_id, name, slug) values ($1, 'Test', $2)`, [orgId, orgId]);
  await owner.query(
    `insert into locations (org_id, id, code, name, is_default, priority, serves_orders) values
      ($1, $2, 'MAIN', 'Main', true, 100, true), ($1, $3, 'EAST', 'East', false, 50, true), ($1, $4, 'FBA', 'FBA', false, 10, false)`,
    [orgId, main, east, fba],
  );
  await owner.query(
    `insert into variants (org_id, id, sku) select $1, v, 'SKU-' || i from unnest($2::uuid[]) with ordinality as u (v, i)`,
    [orgId, variants],
  );
  return { orgId, main, east, fba, variants };
}

let keys = 0;
/** Fills in what every command carries. */
export function command<T extends Record<string, unknown>>(
  fields: T,
): T & { key: string; businessAt: number; reason: string } {
  keys += 1;
  return { key: `test:${process.pid}:${keys}`, businessAt: noon + keys, reason: 'test', ...fields };
}

export const run = (
  store: Store,
  world: { orgId: OrgId },
  commands: readonly Command[],
  now = noon,
): Promise<Posted[]> => store.tenant(world.orgId, (tx) => post(tx, world.orgId, commands, { ...context, now }));

/** [sellable, committed, reserved] per location code, only where something is. */
export async function numbers(
  tx: Pick<Tx, 'query'> | pg.Pool,
  world: World,
  variantId: VariantId,
): Promise<Record<string, number[]>> {
  const { rows } = await (tx as pg.Pool).query<{ code: string; sellable: number; committed: number; reserved: number }>(
    `select l.code, p.sellable, p.committed, p.reserved from positions p join locations l on l.org_id = p.org_id and l.id = p.location_id
     where p.org_id = $1 and p.variant_id = $2 and (p.sellable, p.committed, p.reserved) <> (0, 0, 0) order by l.code`,
    [world.orgId, variantId],
  );
  return Object.fromEntries(rows.map((row) => [row.code, [row.sellable, row.committed, row.reserved]]));
}
