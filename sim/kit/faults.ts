/**
 * Faults: what a test or a person makes go wrong at a simulated vendor (`POST /_sim/faults`).
 *
 *   on what the simulator sends (webhooks, queue messages):  drop, duplicate, delay, reorder
 *   on calls it receives:  status, timeout_before, timeout_after, revoke, half_batch, feed_stuck
 *
 * A fault without `match` meets every call or message; with `times` it is used up, without it stands until deleted.
 * The first matching fault, in the order they were set, is taken. Kept in the journal: a kill does not heal a vendor.
 * `server.ts` takes the call faults that any vendor shares; a vendor takes half_batch and feed_stuck itself;
 * `sender.ts` and queue simulators ask `planMessage`.
 */
import type { Ids } from '#core/effects.ts';
import type { Tables } from './tables.ts';

export const MESSAGE_FAULTS = ['drop', 'duplicate', 'delay', 'reorder'] as const;
export const CALL_FAULTS = ['status', 'timeout_before', 'timeout_after', 'revoke', 'half_batch', 'feed_stuck'] as const;
export const FAULT_KINDS = [...MESSAGE_FAULTS, ...CALL_FAULTS] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];
export type CallFaultKind = (typeof CALL_FAULTS)[number];

export interface FaultInput {
  kind: FaultKind;
  match?: { operation?: string | undefined; topic?: string | undefined } | undefined;
  times?: number | null | undefined;
  ms?: number | undefined;
  status?: number | undefined;
  retryAfter?: number | undefined;
}

export interface Fault {
  id: string;
  kind: FaultKind;
  operation: string | null;
  topic: string | null;
  /** Uses left; null = until deleted. */
  remaining: number | null;
  ms: number | null;
  status: number | null;
  /** Seconds. */
  retryAfter: number | null;
}

/** What becomes of one message: 0, 1 or 2 copies, sent `delayMs` late, and whether the next message overtakes it. */
export interface MessagePlan {
  copies: 0 | 1 | 2;
  delayMs: number;
  reorder: boolean;
  /** How long a reordered message waits for one to overtake it. */
  reorderMs: number;
}

const DEFAULT_DELAY_MS = 5_000;
const DEFAULT_REORDER_MS = 2_000;

export interface Faults {
  add(input: FaultInput): Fault;
  /** @returns how many were removed. */
  remove(id?: string): number;
  list(): Fault[];
  /** Takes (and uses up) the first fault of these kinds that fits any of the call's operation names. */
  takeForCall(kinds: readonly CallFaultKind[], operations: readonly string[]): Fault | null;
  planMessage(topic: string): MessagePlan;
}

export function createFaults(tables: Tables, ids: Ids): Faults {
  const faults = tables.table<Fault>('kit.faults');

  function use(fault: Fault): Fault {
    if (fault.remaining === null) return fault;
    if (fault.remaining <= 1) faults.delete(fault.id);
    else faults.put(fault.id, { ...fault, remaining: fault.remaining - 1 });
    return fault;
  }

  function take(kinds: readonly FaultKind[], fits: (fault: Fault) => boolean): Fault | null {
    if (faults.size === 0) return null;
    for (const fault of faults.all()) if (kinds.includes(fault.kind) && fits(fault)) return use(fault);
    return null;
  }

  return {
    add(input) {
      const fault: Fault = {
        id: ids.uuid(),
        kind: input.kind,
        operation: input.match?.operation ?? null,
        topic: input.match?.topic ?? null,
        remaining: input.times ?? null,
        ms: input.ms ?? null,
        status: input.status ?? null,
        retryAfter: input.retryAfter ?? null,
      };
      faults.put(fault.id, fault);
      return fault;
    },
    remove(id) {
      const before = faults.size;
      if (id === undefined) faults.clear();
      else faults.delete(id);
      return before - faults.size;
    },
    list: () => [...faults.all()],
    takeForCall: (kinds, operations) =>
      take(kinds, (fault) => fault.operation === null || operations.includes(fault.operation)),
    planMessage(topic) {
      const takeOne = (kind: FaultKind) => take([kind], (fault) => fault.topic === null || fault.topic === topic);
      if (takeOne('drop') !== null) return { copies: 0, delayMs: 0, reorder: false, reorderMs: 0 };
      const duplicate = takeOne('duplicate');
      const delay = takeOne('delay');
      const reorder = takeOne('reorder');
      return {
        copies: duplicate === null ? 1 : 2,
        delayMs: delay === null ? 0 : (delay.ms ?? DEFAULT_DELAY_MS),
        reorder: reorder !== null,
        reorderMs: reorder?.ms ?? DEFAULT_REORDER_MS,
      };
    },
  };
}
