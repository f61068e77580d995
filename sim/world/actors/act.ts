/**
 * An act: what somebody does, or what breaks, at one moment of the world. The list of a seed is fixed before it begins and
 * each act has dice of its own, so that leaving one out changes nothing about the others.
 */
import type { Dice } from '../chance.ts';
import type { Stage } from '../stage.ts';

export interface ActContext {
  stage: Stage;
  dice: Dice;
  /** For the trace: what was done, or why nothing was. */
  tell(text: string): void;
}

export interface Act {
  name: string;
  /** How often it is chosen, beside the others. */
  weight: number;
  perform(context: ActContext): Promise<void>;
}
