/**
 * Stock writes by apps: set, adjust, activate, with Shopify's refusals in its own codes and paths (sheet §5.2–5.7).
 *
 * All rows are checked before any is written; one refused row refuses the whole call. `changeFromQuantity` is the
 * compare: a row whose number is another by now is CHANGE_FROM_QUANTITY_STALE; an explicit null skips the compare.
 * Called by `mutations.ts`, inside a transaction.
 */
import {
  gid,
  idOf,
  type LevelRow,
  levelKey,
  type QuantityName,
  quantityOf,
  STORED_NAMES,
  type StoredName,
} from './rows.ts';
import type { Shop } from './shop.ts';

export interface UserErrorRow {
  code: string | null;
  field: string[] | null;
  message: string;
}

export interface ChangeRow {
  name: QuantityName;
  delta: number;
  quantityAfterChange: number;
  itemId: string;
  locationId: string;
  ledgerDocumentUri: string | null;
}

/** What a write leaves behind; also what an idempotent retry is answered from. */
export interface GroupRow {
  id: string;
  createdAt: number;
  reason: string;
  referenceDocumentUri: string | null;
  changes: ChangeRow[];
}

export type WriteResult = { kind: 'refused'; userErrors: UserErrorRow[] } | { kind: 'written'; group: GroupRow | null };

/** Documented, sheet §5.3. */
const REASONS = new Set([
  'correction',
  'cycle_count_available',
  'damaged',
  'movement_created',
  'movement_updated',
  'movement_received',
  'movement_canceled',
  'other',
  'promotion',
  'quality_control',
  'received',
  'reservation_created',
  'reservation_updated',
  'reservation_deleted',
  'restock',
  'safety_stock',
  'shrinkage',
]);
const MOST_UNITS = 1_000_000_000;
const LARGEST_CHANGE = 2_000_000_000;
/** Written by orders only. */
const NOT_ADJUSTABLE = new Set<string>(['committed']);

export interface SetInput {
  name: string;
  reason: string;
  referenceDocumentUri?: string | null;
  quantities: { inventoryItemId: string; locationId: string; quantity: number; changeFromQuantity?: number | null }[];
}

export interface AdjustInput {
  name: string;
  reason: string;
  referenceDocumentUri?: string | null;
  changes: {
    inventoryItemId: string;
    locationId: string;
    delta: number;
    changeFromQuantity?: number | null;
    ledgerDocumentUri?: string | null;
  }[];
}

interface Step {
  itemId: string;
  locationId: string;
  name: StoredName;
  delta: number;
  ledgerDocumentUri: string | null;
}

export interface Inventory {
  /** @param onlyFirst carries out only that many rows (the half-batch fault). */
  set(input: SetInput, onlyFirst?: number): WriteResult;
  adjust(input: AdjustInput, onlyFirst?: number): WriteResult;
  activate(input: {
    inventoryItemId: string;
    locationId: string;
    available?: number | null;
    onHand?: number | null;
  }): { kind: 'refused'; userErrors: UserErrorRow[] } | { kind: 'activated'; level: LevelRow };
}

export function createInventory(shop: Shop): Inventory {
  const problem = (code: string, field: string[], message: string): UserErrorRow => ({ code, field, message });

  function headErrors(input: { reason: string; referenceDocumentUri?: string | null }): UserErrorRow[] {
    const errors: UserErrorRow[] = [];
    if (!REASONS.has(input.reason)) {
      errors.push(problem('INVALID_REASON', ['input', 'reason'], 'The specified reason is invalid.'));
    }
    if (input.referenceDocumentUri != null && !URL.canParse(input.referenceDocumentUri)) {
      const message = 'The specified reference document is invalid.';
      errors.push(problem('INVALID_REFERENCE_DOCUMENT', ['input', 'referenceDocumentUri'], message));
    }
    return errors;
  }

  /** Item and location of a row, or why they cannot be written. */
  function placeErrors(row: { inventoryItemId: string; locationId: string }, path: string[]): UserErrorRow[] {
    const errors: UserErrorRow[] = [];
    const itemId = idOf('InventoryItem', row.inventoryItemId);
    const variant = itemId === null ? undefined : shop.variantOfItem(itemId);
    if (variant === undefined) {
      const message = 'The specified inventory item could not be found.';
      errors.push(problem('INVALID_INVENTORY_ITEM', [...path, 'inventoryItemId'], message));
    } else if (variant.requiresComponents) {
      const message = 'The specified inventory item is not allowed to be adjusted via API.';
      errors.push(problem('NON_MUTABLE_INVENTORY_ITEM', [...path, 'inventoryItemId'], message));
    }
    const locationId = idOf('Location', row.locationId);
    if (locationId === null || !shop.locations.has(locationId)) {
      errors.push(problem('INVALID_LOCATION', [...path, 'locationId'], 'The specified location could not be found.'));
    }
    return errors;
  }

  function place(row: { inventoryItemId: string; locationId: string }) {
    const itemId = idOf('InventoryItem', row.inventoryItemId) ?? '';
    const locationId = idOf('Location', row.locationId) ?? '';
    return { itemId, locationId, level: shop.level(itemId, locationId) };
  }

  function now(level: LevelRow | undefined, name: QuantityName): number {
    return level === undefined ? 0 : quantityOf(level, name);
  }

  function staleError(row: { changeFromQuantity?: number | null }, current: number, path: string[]): UserErrorRow[] {
    if (row.changeFromQuantity == null || row.changeFromQuantity === current) return [];
    const message = 'The changeFromQuantity value does not match persisted value.';
    return [problem('CHANGE_FROM_QUANTITY_STALE', [...path, 'changeFromQuantity'], message)];
  }

  function write(steps: Step[], input: { reason: string; referenceDocumentUri?: string | null }): GroupRow | null {
    const eventId = shop.core.ids.uuid();
    const changes = steps.flatMap(({ itemId, locationId, name, delta, ledgerDocumentUri }): ChangeRow[] => {
      if (delta === 0) return [];
      const level = shop.changeLevel(itemId, locationId, { [name]: delta }, eventId);
      const of = (changed: QuantityName): ChangeRow => ({
        name: changed,
        delta,
        quantityAfterChange: quantityOf(level, changed),
        itemId,
        locationId,
        ledgerDocumentUri,
      });
      return name === 'incoming' ? [of(name)] : [of(name), of('on_hand')];
    });
    if (changes.length === 0) return null;
    return {
      id: shop.newId('other'),
      createdAt: shop.now(),
      reason: input.reason,
      referenceDocumentUri: input.referenceDocumentUri ?? null,
      changes,
    };
  }

  function set(input: SetInput, onlyFirst = Number.POSITIVE_INFINITY): WriteResult {
    const errors = headErrors(input);
    if (input.name !== 'available' && input.name !== 'on_hand') {
      const message = "The quantity name must be either 'available' or 'on_hand'.";
      errors.push(problem('INVALID_NAME', ['input', 'name'], message));
      return { kind: 'refused', userErrors: errors };
    }
    const name = input.name;
    const seen = new Set<string>();
    for (const [index, row] of input.quantities.entries()) {
      const path = ['input', 'quantities', String(index)];
      const unknown = placeErrors(row, path);
      errors.push(...(unknown.length > 0 ? unknown : setErrors(row, name, path, seen)));
    }
    if (errors.length > 0) return { kind: 'refused', userErrors: errors };
    const steps = input.quantities.slice(0, onlyFirst).map((row): Step => {
      const { itemId, locationId, level } = place(row);
      return { itemId, locationId, name: 'available', delta: row.quantity - now(level, name), ledgerDocumentUri: null };
    });
    return { kind: 'written', group: write(steps, input) };
  }

  function setErrors(
    row: SetInput['quantities'][number],
    name: QuantityName,
    path: string[],
    seen: Set<string>,
  ): UserErrorRow[] {
    const errors: UserErrorRow[] = [];
    const { itemId, locationId, level } = place(row);
    if (seen.has(levelKey(itemId, locationId))) {
      const message = 'The combination of inventoryItemId and locationId must be unique.';
      errors.push(problem('NO_DUPLICATE_INVENTORY_ITEM_ID_GROUP_ID_PAIR', [...path, 'locationId'], message));
    }
    seen.add(levelKey(itemId, locationId));
    if (row.quantity < 0) {
      errors.push(problem('INVALID_QUANTITY_NEGATIVE', [...path, 'quantity'], "The quantity can't be negative."));
    }
    if (row.quantity > MOST_UNITS) {
      const message = "The total quantity can't be higher than 1,000,000,000.";
      errors.push(problem('INVALID_QUANTITY_TOO_HIGH', [...path, 'quantity'], message));
    }
    return [...errors, ...staleError(row, now(level, name), path)];
  }

  function adjust(input: AdjustInput, onlyFirst = Number.POSITIVE_INFINITY): WriteResult {
    const errors = headErrors(input);
    if (!STORED_NAMES.includes(input.name as StoredName) || NOT_ADJUSTABLE.has(input.name)) {
      const message = 'The specified quantity name is invalid.';
      errors.push(problem('INVALID_QUANTITY_NAME', ['input', 'name'], message));
      return { kind: 'refused', userErrors: errors };
    }
    const name = input.name as StoredName;
    const documents = new Set(input.changes.map((row) => row.ledgerDocumentUri ?? null));
    if (documents.size > 1) {
      const message = 'All changes must have the same ledger document URI.';
      errors.push(problem('MAX_ONE_LEDGER_DOCUMENT', ['input', 'changes'], message));
    }
    for (const [index, row] of input.changes.entries()) {
      const path = ['input', 'changes', String(index)];
      const unknown = placeErrors(row, path);
      const stale = staleError(row, now(place(row).level, name), path);
      errors.push(...(unknown.length > 0 ? unknown : [...adjustErrors(row, name, path), ...stale]));
    }
    if (errors.length > 0) return { kind: 'refused', userErrors: errors };
    const steps = input.changes.slice(0, onlyFirst).map((row): Step => {
      const { itemId, locationId } = place(row);
      return { itemId, locationId, name, delta: row.delta, ledgerDocumentUri: row.ledgerDocumentUri ?? null };
    });
    return { kind: 'written', group: write(steps, input) };
  }

  function adjustErrors(row: AdjustInput['changes'][number], name: StoredName, path: string[]): UserErrorRow[] {
    const errors: UserErrorRow[] = [];
    const document = row.ledgerDocumentUri ?? null;
    const at = [...path, 'ledgerDocumentUri'];
    if (name === 'available' && document !== null) {
      const message = 'A ledger document URI is not allowed when adjusting available.';
      errors.push(problem('INVALID_AVAILABLE_DOCUMENT', at, message));
    }
    if (name !== 'available' && document === null) {
      const message = 'A ledger document URI is required except when adjusting available.';
      errors.push(problem('INVALID_QUANTITY_DOCUMENT', at, message));
    }
    if (document?.startsWith('gid://shopify/') === true) {
      const message = 'Internal (gid://shopify/) ledger documents are not allowed to be adjusted via API.';
      errors.push(problem('INTERNAL_LEDGER_DOCUMENT', at, message));
    }
    if (row.delta > LARGEST_CHANGE) {
      const message = "The quantity can't be higher than 2,000,000,000.";
      errors.push(problem('INVALID_QUANTITY_TOO_HIGH', [...path, 'delta'], message));
    }
    if (row.delta < -LARGEST_CHANGE) {
      const message = "The quantity can't be lower than -2,000,000,000.";
      errors.push(problem('INVALID_QUANTITY_TOO_LOW', [...path, 'delta'], message));
    }
    return errors;
  }

  return {
    set,
    adjust,
    activate(input) {
      const errors = placeErrors(input, []).map((error) => ({ ...error, code: null }));
      const asked = input.available ?? input.onHand ?? null;
      if (input.available != null && input.onHand != null) {
        const message = 'Not allowed to set available and on_hand quantities at the same time.';
        errors.push({ code: null, field: ['available'], message });
      }
      const { itemId, locationId, level } = place(input);
      if (level?.isActive === true && asked !== null) {
        const message = `Not allowed to set available quantity when the item is already active at the location ${gid('Location', locationId)}.`;
        errors.push({ code: null, field: ['available'], message });
      }
      if (errors.length > 0) return { kind: 'refused', userErrors: errors };
      const activated = shop.activate(itemId, locationId, true);
      if (asked === null) return { kind: 'activated', level: activated };
      const current = now(activated, input.available != null ? 'available' : 'on_hand');
      const changed = shop.changeLevel(itemId, locationId, { available: asked - current }, shop.core.ids.uuid());
      return { kind: 'activated', level: changed };
    },
  };
}
