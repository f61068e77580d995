/** The auditor at work on evidence written by hand (evidence.testing.ts): look after look, and at quiet. */
import type { Finding } from './audit-finding.ts';
import { createAuditor, inWords } from './auditor.ts';
import { emptyRows, evidence, rightRows } from './evidence.testing.ts';
import type { Evidence, Rows } from './evidence.ts';

export const rows = (more: Partial<Rows> = {}): Rows => ({ ...rightRows(), ...more });
/** Looks at one after the other. @returns what the last one shows */
export function looks(...all: Evidence[]): string[] {
  const auditor = createAuditor();
  return (
    all
      .map((one, n) => auditor.step({ ...one, step: n + 1 }))
      .at(-1)
      ?.map(inWords) ?? []
  );
}
export function atQuiet(...all: Evidence[]): string[] {
  const auditor = createAuditor();
  let found: Finding[] = [];
  for (const [n, one] of all.entries()) found = auditor.step({ ...one, step: n + 1 });
  const last = all.at(-1) as Evidence;
  return [...found, ...auditor.quiet({ ...last, step: all.length })].map(inWords);
}
export const first = evidence(rows());
/** Nothing new but what is said. */
export const later = (more: Partial<Rows>, fresh: Partial<Rows> = {}, rest: Partial<Evidence> = {}): Evidence =>
  evidence(rows(more), { fresh: { ...emptyRows(), ...fresh }, ...rest });
