/**
 * The inverse of an import: what each row changed is taken back, last row first, as a run of its own.
 *
 *   stock      the units that came go, the units that went come back; refused where they are sold or moved meanwhile
 *   products   title, barcode and parts as they were; refused where somebody changed them since; a product that was new goes
 *              when nothing refers to it
 *   mapping    the listing stands for what it stood for; refused where it was mapped anew since
 */
import { OrgId } from '#core/ids.ts';
import type { Command } from '#core/stock/movement.ts';
import { currentMapping } from '#store/catalog/mapping-rows.ts';
import { takeBackProduct } from '#store/catalog/undo-products.ts';
import { post } from '#store/ledger/post.ts';
import { countDone, type RunItem, readUndo } from '#store/runs/runs.ts';
import type { Tx } from '#store/tx.ts';
import { type MappingUndo, map } from '../import-mappings.ts';
import type { ProductUndo } from '../import-products.ts';
import type { RunContext, RunKind } from '../runs.ts';

const itemsPerStep = 200;

interface Item {
  item: number;
  subject: string;
  undo: unknown;
}
/** Null: taken back; else why not. */
type Refusal = string | null;

interface StockUndo {
  variantId: string;
  locationId: string;
  units: number;
}

export function undoImport(options: { compareAndSetOf(platform: string): boolean }): RunKind {
  return {
    async execute(context) {
      const { run, store } = context;
      const of = run.inverseOf ?? '';
      const kind = String(run.params.kind ?? '');
      const total = await store.tenant(run.orgId, (tx) => countDone(tx, run.orgId, of));
      for (let before = typeof run.mark === 'number' ? run.mark : null; ; ) {
        const next = await store.tenant(
          run.orgId,
          async (tx) => {
            const items = await readUndo(tx, run.orgId, of, before, itemsPerStep);
            const refusals = await takeBack(tx, context, kind, items, options);
            const refused = items.flatMap((item, place) => failed(item, refusals[place] ?? null));
            const mark = items.at(-1)?.item ?? before;
            const counts = { succeeded: items.length - refused.length, failed: refused.length, unchanged: 0 };
            await context.advance(tx, { ...counts, items: refused, mark, total });
            return items.length < itemsPerStep ? null : mark;
          },
          { idempotent: true },
        );
        context.wake();
        if (next === null) break;
        before = next;
      }
      return { message: null, errorFile: null };
    },
  };
}

function failed({ item, subject }: Item, reason: Refusal): RunItem[] {
  return reason === null ? [] : [{ item, outcome: 'failed', subject, field: null, value: null, reason, undo: null }];
}

async function takeBack(
  tx: Tx,
  context: RunContext,
  kind: string,
  items: readonly Item[],
  options: { compareAndSetOf(platform: string): boolean },
): Promise<Refusal[]> {
  const { run, clock, ids } = context;
  if (kind === 'import-stock') return stockBack(tx, context, items);
  const refusals: Refusal[] = [];
  for (const { undo } of items) {
    if (kind === 'import-products') {
      const { variantId, before, after } = undo as ProductUndo;
      refusals.push(await takeBackProduct(tx, run.orgId, variantId, before, after, new Date(clock.now())));
    } else {
      const { before, after, ...mapping } = undo as MappingUndo;
      const now = await currentMapping(tx, run.orgId, mapping.listingId);
      if (now === undefined) refusals.push('the listing is gone');
      else if (now !== after) refusals.push('was mapped anew since');
      else {
        const step = { orgId: run.orgId, actor: run.actor, key: '', clock, ids, ...options };
        refusals.push(await map(tx, step, { ...mapping, before: after, after: before }));
      }
    }
  }
  return refusals;
}

async function stockBack(tx: Tx, { run, clock, ids }: RunContext, items: readonly Item[]): Promise<Refusal[]> {
  const commands = items.map(({ item, undo }): Command | null => {
    const { variantId, locationId, units } = undo as StockUndo;
    if (units === 0) return null;
    const common = { key: `run:${run.id}:${item}`, businessAt: clock.now(), reason: 'import_undone' };
    return {
      ...common,
      kind: 'adjust',
      variantId: variantId as Command extends { variantId: infer V } ? V : never,
      locationId: locationId as Command extends { locationId: infer L } ? L : never,
      change: -units,
      fact: false,
    } as Command;
  });
  const real = commands.filter((command) => command !== null);
  const posted =
    real.length === 0 ? [] : await post(tx, OrgId(run.orgId), real, { actor: run.actor, now: clock.now(), ids });
  let next = 0;
  return commands.map((command) => {
    const answer = command === null ? null : posted[next++];
    if (answer?.kind !== 'insufficient') return null;
    const missing = answer.missing.reduce((sum, entry) => sum + entry.missing, 0);
    return `${missing} of its units are sold, held or moved by now`;
  });
}
