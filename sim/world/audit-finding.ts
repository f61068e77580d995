/** A finding: a promise that the evidence shows broken, in words a person can check. */
export type PromiseName = 'P1' | 'P2' | 'P3' | 'P4' | 'P5' | 'P6' | 'P10';

export interface Finding {
  promise: PromiseName;
  sku: string | null;
  /** The channel's name, where it is about one. */
  channel: string | null;
  expected: string;
  found: string;
  /** What is wrong and what it rests on. */
  words: string;
  /** The steps it rests on, oldest first; the last one is where it was seen. */
  steps: number[];
}

export const inWords = ({ promise, sku, channel, expected, found, words, steps }: Finding): string =>
  [
    promise,
    [sku, channel && `at ${channel}`].filter(Boolean).join(' '),
    `${words}: expected ${expected}, found ${found} (step ${steps.join(', ')})`,
  ]
    .filter((part) => part !== '')
    .join(' · ');
