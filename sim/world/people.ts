/**
 * The people of a world: perform the planned acts, keep what ends later, and remember what our own people asked for and
 * were answered (the auditor's evidence).
 */
import { StoreError } from '#core/errors.ts';
import type { ActContext, Deed } from './actors/act.ts';
import type { Crew } from './crew.ts';
import type { Act as ActEvidence, Outcome } from './evidence.ts';
import { diceOf, type PlannedAct } from './plan.ts';
import type { Owner, Scheduler } from './scheduler.ts';
import type { Stage } from './stage.ts';
import type { Tally } from './tally.ts';
import type { Trace } from './trace.ts';

export interface People {
  act(planned: PlannedAct): Promise<void>;
  /** What was to end later ends now. */
  end(): Promise<void>;
}

interface PeopleOptions {
  seed: number;
  stage: Stage;
  scheduler: Scheduler;
  trace: Trace;
  crew: Crew;
  tally: Tally;
  /** Told of each act of our own people when its outcome is known. */
  over(act: ActEvidence): void;
}

/** Somebody who got no answer asks again. */
const againMs = 2_000;

export function createPeople({ seed, stage, scheduler, trace, crew, tally, over }: PeopleOptions): People {
  const world: Owner = { name: 'people', alive: true };
  const clock = scheduler.clock(world);
  const endings = new Set<() => Promise<void>>();
  let step = 0;

  const settle = (deed: Deed, outcome: Outcome) => {
    over({ ...deed, step, at: Math.floor(scheduler.now), outcome } as ActEvidence);
    trace.add(`answered ${outcome}: ${JSON.stringify(deed)}`);
  };

  const ask: ActContext['ask'] = (deed, work, untilDone) => {
    const again = () => untilDone && void clock.sleep(againMs).then(() => ask(deed, work, untilDone));
    const process = scheduler.oneOf(crew.living());
    // Nobody is there to be asked: nothing happened.
    if (!process) {
      trace.add(`nobody hears: ${JSON.stringify(deed)}`);
      again();
      return;
    }
    let known = false;
    const learn = (outcome: Outcome, more: Partial<Deed> = {}) => {
      if (known) return;
      known = true;
      settle({ ...deed, ...more } as Deed, outcome);
      if (outcome !== 'done') again();
    };
    crew.onDeath(process, () => learn('unknown'));
    work(process).then(
      (answer) => learn(answer === null ? 'refused' : 'done', answer ?? {}),
      (error: unknown) => {
        const isLost = error instanceof StoreError && error.code === 'store.unavailable';
        trace.add(`asking failed: ${String(error)}`);
        learn(isLost ? 'unknown' : 'refused');
      },
    );
  };

  const later: ActContext['later'] = (ms, work) => {
    const ending = async () => {
      if (!endings.delete(ending)) return;
      await work();
      scheduler.stir();
    };
    endings.add(ending);
    void clock.sleep(ms).then(ending);
  };

  return {
    async act({ n, act }) {
      step = n;
      tally.count(`act ${act.name}`);
      trace.begin(scheduler.now, `act ${n}`, 'act', act.name);
      const tell = (text: string) => trace.note(text);
      const count = (what: string, times = 1) => tally.count(what, times);
      await act.perform({ stage, dice: diceOf(seed, n), crew, scheduler, tell, count, later, ask });
      trace.end();
      scheduler.stir();
    },
    async end() {
      for (const ending of [...endings]) await ending();
    },
  };
}
