/**
 * An act: what somebody does, or what breaks, at one moment of the world. The list of a seed is fixed before it begins and
 * each act has dice of its own, so that leaving one out changes nothing about the others.
 */
import type { Dice } from '../chance.ts';
import type { Crew } from '../crew.ts';
import type { Act as ActEvidence, Outcome } from '../evidence.ts';
import type { SimProcess } from '../process.ts';
import type { Scheduler } from '../scheduler.ts';
import type { Stage } from '../stage.ts';

/** What an act of our own people was, without what the world adds: step, time, outcome. */
export type Deed = ActEvidence extends infer Kind ? (Kind extends ActEvidence ? Omit<Kind, keyof Told> : never) : never;
interface Told {
  step: number;
  at: number;
  outcome: Outcome;
}

export interface ActContext {
  stage: Stage;
  dice: Dice;
  crew: Crew;
  scheduler: Scheduler;
  /** For the trace: what was done, or why nothing was. */
  tell(text: string): void;
  /** For the summary: that it really happened. */
  count(what: string, times?: number): void;
  /** Something that ends by itself, `ms` later. */
  later(ms: number, work: () => Promise<unknown>): void;
  /**
   * Somebody of ours asks a living process for something; the world goes on meanwhile. Refusals are `refused`; a lost
   * answer, or the process's death, is `unknown`.
   * @param work null: refused
   * @param untilDone asks again and again until an answer comes
   */
  ask(deed: Deed, work: (process: SimProcess) => Promise<Partial<Deed> | null>, untilDone?: 'until done'): void;
}

export interface Act {
  name: string;
  /** How often it is chosen, beside the others. */
  weight: number;
  perform(context: ActContext): Promise<void>;
}
