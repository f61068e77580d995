/**
 * The inverse of an import: what each row changed is taken back, last row first, as a run of its own.
 *
 *   stock      the units that came go, the units that went come back; refused where they are sold or moved meanwhile
 *   products   title, barcode and parts as they were; refused where somebody changed them since; a product that was new goes
 *              when nothing refers to it
 *   mapping    the listing stands for what it stood for; refused where it was mapped anew since
 *
 * An undoing that was cancelled may be asked for again: what it took back stays so, once (the effect keys are of the import's).
 */
import { CodedError } from '#core/errors.ts';
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
  /** Each change of it. */
  undo: unknown[];
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
      const { items: total, pruned } = await store.tenant(run.orgId, (tx) => countDone(tx, run.orgId, of));
      if (pruned)
        throw new CodedError(
          'run.not_kept',
          'What it did to each item is kept for 90 days; it cannot be taken back any more.',
        );
      for (let before = typeof run.mark === 'number' ? run.mark : null; ; ) {
        const next = await store.tenant(
          run.orgId,
          async (tx) => {
            const items = await readUndo(tx, run.orgId, of, before, itemsPerStep);
            if (items.length === 0 && before !== null) return null;
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
  const { run, clock } = context;
  if (kind === 'import-stock') return stockBack(tx, context, items);
  const refusals: Refusal[] = [];
  for (const { undo } of items) {
    const reasons: Refusal[] = [];
    for (const change of undo.toReversed())
      reasons.push(
        kind === 'import-products'
          ? await takeBackProduct(tx, run.orgId, change as ProductUndo, new Date(clock.now()))
          : await mappingBack(tx, context, change as MappingUndo, options),
      );
    refusals.push(reasons.find((reason) => reason !== null) ?? null);
  }
  return refusals;
}

async function mappingBack(
  tx: Tx,
  { run, clock, ids }: RunContext,
  { before, after, ...mapping }: MappingUndo,
  options: { compareAndSetOf(platform: string): boolean },
): Promise<Refusal> {
  const now = await currentMapping(tx, run.orgId, mapping.listingId);
  if (now === undefined) return 'the listing is gone';
  if (now === before) return null;
  if (now !== after) return 'was mapped anew since';
  const step = { orgId: run.orgId, actor: run.actor, key: '', dryRun: false, clock, ids, ...options };
  return map(tx, step, { ...mapping, before: after, after: before });
}

async function stockBack(tx: Tx, { run, clock, ids }: RunContext, items: readonly Item[]): Promise<Refusal[]> {
  const commands = items.flatMap(({ item, undo }, place) =>
    (undo as StockUndo[]).toReversed().flatMap(({ variantId, locationId, units }, turn) => {
      if (units === 0) return [];
      const command = {
        kind: 'adjust',
        key: `undo:${run.inverseOf}:${item}${turn === 0 ? '' : `.${turn}`}`,
        businessAt: clock.now(),
        reason: 'import_undone',
        variantId,
        locationId,
        change: -units,
        fact: false,
      } as Command;
      return [{ place, command }];
    }),
  );
  const refusals = items.map((): Refusal => null);
  if (commands.length === 0) return refusals;
  const all = commands.map(({ command }) => command);
  const posted = await post(tx, OrgId(run.orgId), all, { actor: run.actor, now: clock.now(), ids });
  for (const [at, answer] of posted.entries()) {
    if (answer.kind !== 'insufficient') continue;
    const missing = answer.missing.reduce((sum, entry) => sum + entry.missing, 0);
    refusals[commands[at]?.place ?? 0] = `${missing} of its units are sold, held or moved by now`;
  }
  return refusals;
}
