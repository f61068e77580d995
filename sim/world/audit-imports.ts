/**
 * Imports of files as judged from outside: what a file says is booked row by row, each once (P3), all of it when nobody cancelled
 * it and the row takes nothing away (P10: what was accepted is done); and what an undoing takes back is at most what was booked.
 *
 * A run's movements name it: `run:<id>:<row>`, those of its undoing `undo:<id>:<row>`.
 */
import type { Finding } from './audit-finding.ts';
import type { Act, Evidence, MovementRow } from './evidence.ts';

type Import = Extract<Act, { kind: 'import' }>;

export interface ImportsAudit {
  look(evidence: Evidence): Finding[];
  atQuiet(step: number): Finding[];
}

export function auditImports(): ImportsAudit {
  const told: Import[] = [];
  const booked = new Map<string, number>();
  const counted = new Set<string>();

  function find(
    promise: Finding['promise'],
    { sku }: { sku: string },
    step: number,
    rest: Pick<Finding, 'words' | 'expected' | 'found'>,
  ): Finding {
    return { promise, sku, channel: null, steps: [step], ...rest };
  }

  function take({ id, effectKey, units, toBucket, fromBucket }: MovementRow): void {
    if (!/^(?:run|undo):/.test(effectKey) || counted.has(id)) return;
    counted.add(id);
    const change = toBucket === 'sellable' ? units : fromBucket === 'sellable' ? -units : 0;
    booked.set(effectKey, (booked.get(effectKey) ?? 0) + change);
  }

  function judgeRows(step: number, atEnd: boolean): Finding[] {
    return told.flatMap(({ id, rows, outcome, maybeCancelled }) =>
      rows.flatMap((row, n): Finding[] => {
        const [came, back] = [booked.get(`run:${id}:${n + 1}`) ?? 0, booked.get(`undo:${id}:${n + 1}`) ?? 0];
        const words = (what: string) => `row ${n + 1} of import ${id} in ${row.location} ${what}`;
        if (came !== 0 && came !== row.units)
          return [find('P3', row, step, { words: words('is booked'), expected: `${row.units}`, found: `${came}` })];
        if (back !== 0 && back !== -came)
          return [find('P3', row, step, { words: words('is taken back'), expected: `${-came}`, found: `${back}` })];
        const mustBe = atEnd && outcome === 'done' && !maybeCancelled && row.units > 0;
        return mustBe && came === 0
          ? [find('P10', row, step, { words: words('was accepted'), expected: `${row.units} booked`, found: '0' })]
          : [];
      }),
    );
  }

  return {
    look({ acts, fresh, step }) {
      for (const act of acts) if (act.kind === 'import') told.push(act);
      for (const movement of fresh.movements) take(movement);
      return judgeRows(step, false);
    },
    atQuiet: (step) => judgeRows(step, true),
  };
}
