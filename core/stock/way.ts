/**
 * Way: how changed numbers travel where a vendor takes them one by one or many in one document.
 *
 *   few, or urgent            singly: read, written and in force within seconds
 *   many, and none of it low  one document, when none is open and the vendor's budget has room for it
 *
 * A document is worked off minutes or hours later and then overwrites what the channel sold meanwhile. So it is for numbers
 * that stand that: nothing below `leastUnits` goes in, whether cut or raised, and cuts to (nearly) nothing never wait for one
 * that is still being put together. A number travels in one way at a time, or the slower could undo the quicker; what an
 * urgent cut does to a number in a document is `cutInBulk`.
 *
 * Pure. Used by server/flows/lane-feeds.
 */
import { fewUnits } from './urgency.ts';

export interface BulkRules {
  rowsMin: number;
  rowsMax: number;
  leastUnits: number;
  everyMs: number;
  submitsPerWindow: number;
  windowMs: number;
}

export interface WayInput {
  /** Changes that wait and may travel in a document, counted up to `rowsMin`. */
  waiting: number;
  /** A document that has not ended, a stuck one included: it may still overwrite. */
  open: boolean;
  /** When earlier documents were submitted, newest first. */
  submittedAt: readonly number[];
  /** The vendor refused one: not before this. */
  retryAt: number | null;
  now: number;
}

export type Way =
  | { kind: 'bulk'; rows: number }
  | { kind: 'singly'; why: 'few' | 'open' | 'refused' | 'too_soon' | 'window' };

export function chooseWay({ waiting, open, submittedAt, retryAt, now }: WayInput, rules: BulkRules): Way {
  if (open) return { kind: 'singly', why: 'open' };
  if (retryAt !== null && now < retryAt) return { kind: 'singly', why: 'refused' };
  const [last] = submittedAt;
  if (last !== undefined && now - last < rules.everyMs) return { kind: 'singly', why: 'too_soon' };
  if (submittedAt.filter((at) => now - at < rules.windowMs).length >= rules.submitsPerWindow)
    return { kind: 'singly', why: 'window' };
  return waiting >= rules.rowsMin ? { kind: 'bulk', rows: rules.rowsMax } : { kind: 'singly', why: 'few' };
}

export const fitsBulk = (goal: number, { leastUnits }: Pick<BulkRules, 'leastUnits'>): boolean =>
  goal >= Math.max(leastUnits, fewUnits + 1);

/**
 * A number in a document is to become less. What is not urgent waits for the end of the document. An urgent cut
 * takes a document back that has not started; one that is being worked off can no longer be stopped, and a number written
 * beside it might be overwritten a moment later without anybody seeing it: the cut waits, and says so.
 */
export function cutInBulk(input: { value: number; goal: number; started: boolean }): 'none' | 'cancel' | 'wait' {
  if (input.goal >= input.value || input.goal > fewUnits) return 'none';
  return input.started ? 'wait' : 'cancel';
}
