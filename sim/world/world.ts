/**
 * One run of one seed: set up, acts, quiet, judgement. The same seed and steps give the same hash, always.
 *
 *   link   the process starts and the channels learn our addresses, as they do in production: by the watch of subscriptions
 *   acts   `steps` of them, each at its time, while everything goes on (plan.ts)
 *   quiet  nobody acts and nothing breaks any more; time passes until nothing is waiting
 *   judge  the auditor, after every act, every recorded attempt and at quiet (judge.ts)
 */
import pg from 'pg';
import { inWords } from './auditor.ts';
import { stream } from './chance.ts';
import { createCrew } from './crew.ts';
import type { WorldDatabases } from './database.ts';
import { mendAll } from './faults.ts';
import { createJudge, type Judge } from './judge.ts';
import { leaningOf } from './leaning.ts';
import { delivery } from './mail.ts';
import { createPeople } from './people.ts';
import { planOf } from './plan.ts';
import { finalRows, waitingFor, whatCameOfIt } from './rest.ts';
import { Scheduler } from './scheduler.ts';
import { buildStage, type Stage } from './stage.ts';
import { plainStore } from './store.ts';
import { countFaults } from './struck.ts';
import { Tally } from './tally.ts';
import { Trace } from './trace.ts';
import { warm } from './warm.ts';
import { Wire } from './wire.ts';

export interface WorldOptions {
  seed: number;
  steps: number;
  databases: WorldDatabases;
  /** Default: the seed's own. */
  lean?: string | undefined;
  /** Acts left out, by number: to find the shortest way to a failure. */
  skip?: ReadonlySet<number>;
  /** Given every line as it happens. */
  told?: (line: string) => void;
  keepTrace?: boolean;
}

export interface Broken {
  /** P1 … P10, or `error`: the world itself broke. */
  promise: string;
  words: string;
  /** The act after which it was seen; steps + 1: at quiet. */
  step: number;
}

export interface WorldResult {
  seed: number;
  steps: number;
  hash: string;
  broken: Broken | null;
  trace: readonly string[];
  figures: { picks: number; virtualMs: number; happened: Record<string, number> };
}

const startAt = Date.UTC(2026, 0, 5, 8);
/** The watch of subscriptions tells the channels our addresses before anybody buys. */
const linkMs = 3_000;
const answersMs = 30_000;
const quietRoundMs = 600_000;
const mostQuietRounds = 100;

export async function runWorld(options: WorldOptions): Promise<WorldResult> {
  const { seed, steps } = options;
  const trace = new Trace({ startAt, keep: options.keepTrace ?? false, told: options.told });
  const scheduler = new Scheduler({ random: stream(seed, 'scheduler'), trace, startAt });
  await warm();
  const database = await options.databases.make();
  const owner = new pg.Pool({ connectionString: database.ownerUrl, max: 1 });
  owner.on('error', () => undefined);
  owner.on('connect', (client) => client.on('error', () => undefined));
  const store = plainStore(database.appUrl, scheduler);
  const tally = new Tally();
  let broken: Broken | null = null;
  try {
    broken = await live({ ...options, trace, scheduler, owner, store, tally });
  } finally {
    await store.end();
    await owner.end();
    await database.drop();
  }
  const figures = { picks: scheduler.done, virtualMs: scheduler.now - startAt, happened: tally.counts };
  return { seed, steps, hash: trace.hash(), broken, trace: trace.lines, figures };
}

interface Life extends WorldOptions {
  trace: Trace;
  scheduler: Scheduler;
  owner: pg.Pool;
  store: ReturnType<typeof plainStore>;
  tally: Tally;
}

async function live(life: Life): Promise<Broken | null> {
  const { seed, steps, trace, scheduler, owner, store, tally } = life;
  const leaning = leaningOf(seed, life.lean);
  const wire = new Wire(scheduler, trace);
  const crew = createCrew({ seed, leaning, scheduler, store, trace, wire, tally });
  const post = delivery({ scheduler, crew, channels: () => stage?.channels ?? [], tally });
  let stage: Stage | null = null;
  stage = await buildStage({ seed, leaning, store, scheduler, wire, post });
  for (const { simulator } of stage.channels) countFaults(simulator, tally);
  const judge = createJudge({ owner, stage, now: () => scheduler.now });
  await judge.look();
  scheduler.onShow = judge.look;
  const people = createPeople({ seed, stage, scheduler, trace, crew, tally, over: judge.tell });
  crew.mend();
  await pass(scheduler, linkMs);
  for (const planned of planOf(seed, steps, leaning)) {
    await pass(scheduler, planned.gapMs);
    if (!life.skip?.has(planned.n)) await people.act(planned);
    scheduler.show();
    await scheduler.run(() => true);
    const broken = firstBroken(judge, planned.n);
    if (broken) return broken;
    if (crew.errors[0]) return { promise: 'error', words: crew.errors[0], step: planned.n };
  }
  await mendAll(stage);
  crew.mend();
  // What was asked for is answered before what undoes it is asked for.
  await pass(scheduler, answersMs);
  await people.end();
  const waiting = await becomeQuiet(scheduler, async () => {
    const left = await waitingFor(owner, stage, scheduler.now);
    trace.add(`waits: ${left.join(', ') || 'nothing'}`);
    return left;
  });
  await judge.quiet();
  const broken = firstBroken(judge, steps + 1);
  tally.addAll(await whatCameOfIt(owner, stage));
  trace.mix(await finalRows(owner, stage));
  crew.end();
  if (crew.errors[0]) return { promise: 'error', words: crew.errors[0], step: steps + 1 };
  if (broken) return broken;
  if (waiting[0]) return { promise: 'P4', words: `never at rest: ${waiting.join('; ')}`, step: steps + 1 };
  return null;
}

function firstBroken(judge: Judge, step: number): Broken | null {
  const [first, ...more] = judge.findings();
  if (first === undefined) return null;
  return { promise: first.promise, words: [first, ...more].slice(0, 8).map(inWords).join('\n'), step };
}

/** Everything goes on for so long. */
async function pass(scheduler: Scheduler, ms: number): Promise<void> {
  const until = scheduler.now + ms;
  scheduler.horizon = until;
  await scheduler.run(() => scheduler.now >= until);
}

/** @returns what still waits when patience is over */
async function becomeQuiet(scheduler: Scheduler, waiting: () => Promise<string[]>): Promise<string[]> {
  let left: string[] = [];
  for (let round = 0, still = 0; round < mostQuietRounds && still < 2; round += 1) {
    await pass(scheduler, quietRoundMs);
    await scheduler.still();
    left = await waiting();
    still = left.length === 0 ? still + 1 : 0;
  }
  return left;
}
