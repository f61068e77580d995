/**
 * The auditor: judges the promises P1–P6 (and of P10 what writes show) from evidence alone, by a naive model of its own.
 * It imports nothing of ours but the shape of the evidence (tidy.test.ts): what it believes comes from the design's text.
 *
 *   step    after every act and after every commit that records an attempt: what is new; every 20th time everything anew
 *   quiet   when nobody acts, nothing breaks and all that was due has been: the promises that need an end
 *
 * Never throws: what it cannot explain is a finding. Called by the world's run; tested with evidence written by hand.
 */
import { auditAttempts } from './audit-attempts.ts';
import type { Finding } from './audit-finding.ts';
import { auditLedger } from './audit-ledger.ts';
import { auditMarks } from './audit-marks.ts';
import { indexed } from './audit-numbers.ts';
import { auditOrders, bookOf } from './audit-orders.ts';
import { auditBacklog, auditQuiet } from './audit-quiet.ts';
import { auditWrites } from './audit-writes.ts';
import type { Evidence } from './evidence.ts';

export { type Finding, inWords } from './audit-finding.ts';

export interface Auditor {
  step(evidence: Evidence): Finding[];
  /** After a last `step` of the same moment. */
  quiet(evidence: Evidence): Finding[];
}

/** Everything is judged anew every so many looks. */
const fullEvery = 20;

export function createAuditor(): Auditor {
  const [ledger, orders, writes, attempts] = [auditLedger(), auditOrders(), auditWrites(), auditAttempts()];
  let looks = 0;
  return {
    step(evidence) {
      const [index, book] = [indexed(evidence.rows), bookOf(evidence.rows)];
      looks += 1;
      return [
        ...ledger.look(evidence, index, looks % fullEvery === 0),
        ...orders.look(evidence, index, book),
        ...writes.look(evidence, index, book),
        ...attempts.look(evidence, index),
        ...auditBacklog(evidence),
        ...auditMarks(evidence, index),
      ];
    },
    quiet(evidence) {
      const [index, book] = [indexed(evidence.rows), bookOf(evidence.rows)];
      return [
        ...ledger.look(
          { ...evidence, acts: [], fresh: { ...evidence.fresh, movements: [], claimEvents: [] } },
          index,
          true,
        ),
        ...ledger.atQuiet(evidence, index),
        ...orders.atQuiet(evidence, index, book),
        ...auditQuiet(evidence, index),
      ];
    },
  };
}
