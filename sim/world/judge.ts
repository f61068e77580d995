/**
 * The judge's bench of one run: shows the auditor the evidence after every act and after every commit that records an
 * attempt, and remembers the first finding. Looking changes nothing: it neither takes time nor is part of the trace.
 */

import { createAuditor, type Finding } from './auditor.ts';
import { createCollector } from './collect.ts';
import type { Owner } from './collect-rows.ts';
import type { Act } from './evidence.ts';
import type { Stage } from './stage.ts';

export interface Judge {
  /** What somebody did on our side; shown at the next look. */
  tell(act: Act): void;
  look(): Promise<void>;
  /** Looks once more, now that things are quiet. */
  quiet(): Promise<void>;
  findings(): readonly Finding[];
}

export function createJudge(options: { owner: Owner; stage: Stage; now: () => number }): Judge {
  const { owner, stage, now } = options;
  const collector = createCollector({
    owner,
    orgId: stage.orgId,
    channels: stage.channels.map(({ connection, place, platform, simulator }) => ({
      connectionId: connection.connectionId,
      name: place,
      platform,
      simulator,
    })),
  });
  const auditor = createAuditor();
  const found: Finding[] = [];
  let acts: Act[] = [];
  let step = 0;

  async function look() {
    step += 1;
    const evidence = await collector.collect({ step, now: now(), acts });
    acts = [];
    found.push(...auditor.step(evidence));
    return evidence;
  }

  return {
    tell: (act) => acts.push(act),
    async look() {
      await look();
    },
    async quiet() {
      found.push(...auditor.quiet(await look()));
    },
    findings: () => found,
  };
}
