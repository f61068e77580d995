/**
 * The crew: our processes. One at a time (it holds the data folder, a dead predecessor's leases are its own at once), or two
 * side by side on one database; the seed says which. A killed one is followed by another after a while, when the world's
 * luck says so; the vendors' deliveries go to whichever lives.
 */
import type { Store } from '#store/tx.ts';
import { Dice, stream } from './chance.ts';
import type { Leaning } from './leaning.ts';
import { createProcess, type SimProcess } from './process.ts';
import type { Owner, Scheduler } from './scheduler.ts';
import type { Tally } from './tally.ts';
import type { Trace } from './trace.ts';
import type { Wire } from './wire.ts';

export interface Crew {
  living(): readonly SimProcess[];
  /** Another one begins now, unless there are enough. */
  begin(): void;
  kill(process: SimProcess): void;
  /** No more mishaps: everybody wakes, and there are as many as there should be. */
  mend(): void;
  end(): void;
  /** Calls back when this process dies. */
  onDeath(process: SimProcess, told: () => void): void;
  /** What flows logged as errors although nothing of theirs failed: our mistakes. */
  readonly errors: readonly string[];
}

export interface CrewOptions {
  seed: number;
  leaning: Leaning;
  scheduler: Scheduler;
  store: Store;
  trace: Trace;
  wire: Wire;
  tally: Tally;
}

const names = ['one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten'];

export function createCrew({ seed, leaning, scheduler, store, trace, wire, tally }: CrewOptions): Crew {
  const dice = new Dice(stream(seed, 'crew'));
  const chosen = dice.chance(0.3) ? 2 : 1;
  const size = leaning.crewSize ?? chosen;
  // With few numbers a look takes all: a backlog, and with it a feed, comes only when it may take fewer.
  const slice = dice.chance(0.8) ? dice.whole(1, 3) : null;
  const world: Owner = { name: 'crew', alive: true };
  const clock = scheduler.clock(world);
  const errors: string[] = [];
  const deaths = new Map<Owner, (() => void)[]>();
  let crew: SimProcess[] = [];
  let made = 0;
  let ended = false;

  function begin(): void {
    if (ended || crew.length >= size) return;
    made += 1;
    const name = names[made - 1] ?? `no-${made}`;
    const process = createProcess({
      name,
      scheduler,
      inner: store,
      trace,
      wire,
      random: stream(seed, `process ${made}`),
      soleProcess: size === 1,
      slice,
      onError: (fields, message) => {
        if (isOurMistake(fields)) errors.push(`${name}: ${message} ${JSON.stringify(fields)}`);
      },
    });
    crew.push(process);
    trace.add(`${name} starts`);
    process.start();
  }

  scheduler.onKill = (owner) => {
    const process = crew.find((one) => one.owner === owner);
    if (!process) return;
    trace.add(`${owner.name} is killed`);
    tally.count('struck: kill');
    crew = crew.filter((one) => one !== process);
    for (const told of deaths.get(owner) ?? []) told();
    deaths.delete(owner);
    const [least, most] = dice.weighted<readonly [number, number]>([
      [6, [10, 2_000]],
      [3, [2_000, 40_000]],
      [1, [40_000, 300_000]],
    ]);
    void clock.sleep(dice.whole(least, most)).then(begin);
  };

  return {
    living: () => crew,
    begin,
    kill: (process) => scheduler.kill(process.owner),
    mend() {
      for (const { owner } of crew) {
        owner.mishap = null;
        owner.frozenUntil = 0;
      }
      while (crew.length < size) begin();
    },
    end() {
      ended = true;
      for (const { owner } of [...crew]) scheduler.kill(owner);
    },
    onDeath(process, told) {
      deaths.set(process.owner, [...(deaths.get(process.owner) ?? []), told]);
    },
    errors,
  };
}

/** An outage of the database or of a vendor is the world's doing. */
function isOurMistake(fields: Record<string, unknown>): boolean {
  const text = JSON.stringify(fields);
  return !/store\.unavailable|the connection broke during COMMIT|connector\.(?:unavailable|rate_limited|outcome_unknown|unauthorized|unreadable)/.test(
    text,
  );
}
