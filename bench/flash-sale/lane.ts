/**
 * The lane of one connection in virtual time.
 *
 * The product's own, called as they are: what is decided of each target (`decide`, which asks nextWrite, publishable, urgency and
 * scarcity), which rows travel together and in which order (`readCalls`, `sendCalls`, `sliceOf`), what an answer, a failure or a reading means
 * (`resultsOf`, `resultsOfFailure`, `afterReading`, `postponed`), when a call may leave (`Bucket`).
 *
 * Stated again, because there it waits by promises and speaks SQL: the loop of server/flows/lane.ts (look, turn, again, recompute
 * in the slot, one task per slice), lane-slots.ts, the back-off of lane-health.ts, and the rows (rows.ts). As there, a number that
 * waits in the budget's queue is not computed again. Left out: leases, halts, feeds, gathering in a burst (ten orders a second are
 * none), refused access, probes, stock and order sweeps.
 */
import type { BudgetClass, Manifest, StockReading } from '#connectors/kit/ports.ts';
import type { Random } from '#core/effects.ts';
import { ConnectorError } from '#core/errors.ts';
import { decide, firstTurn, type PlannedSend, type Turn } from '#server/flows/lane-decision.ts';
import { resultsOf, resultsOfFailure, type SentRow } from '#server/flows/lane-outcome.ts';
import {
  afterReading,
  draftOf,
  numbersRead,
  pairReadings,
  postponed,
  readCalls,
  type SendCall,
  sendCalls,
  sliceOf,
} from '#server/flows/lane-plan.ts';
import type { AttemptResult } from '#store/listings/attempts.ts';
import type { ReadResult } from '#store/listings/observations.ts';
import type { Work, WorkTarget } from '#store/listings/work.ts';
import type { Agenda } from './agenda.ts';
import type { Caller } from './caller.ts';
import type { Channel } from './channel.ts';
import type { Rows } from './rows.ts';

type Done = () => void;
/** Something that ends by calling what it is given. */
type Job = (done: Done) => void;

/** lane.ts */
const roundsPerTurn = 8;
const computedForMs = 100;
const soonestAgainMs = 60_000;
/** pulse.ts, for looks that take next to no time. */
const restMs = 2;
/** publisher.ts: what nobody wakes the lane for is found this often. */
const pollMs = 200;
/** lane-health.ts */
const longestBackOffMs = 30_000;
const failuresToSay = 3;

export interface LaneParts {
  agenda: Agenda;
  channel: Channel;
  caller: Caller;
  manifest: Manifest;
  random: Random;
  rows: Rows;
  /** Everything these rows' numbers follow from, as of now. */
  load(rows: readonly WorkTarget[]): Work;
}

export class Lane {
  readonly #parts: LaneParts;
  readonly #busy = new Set<number>();
  readonly #inFlight: Record<BudgetClass, number> = { urgent: 0, bulk: 0, read: 0 };
  readonly #queued: Record<BudgetClass, Done[]> = { urgent: [], bulk: [], read: [] };
  readonly #slowUntil: Record<BudgetClass, number> = { urgent: 0, bulk: 0, read: 0 };
  #failures = 0;
  #lookAt = Number.POSITIVE_INFINITY;

  constructor(parts: LaneParts) {
    this.#parts = parts;
  }

  /** Calls that were given up because their turn did not come in time. */
  givenUp = 0;

  wake(inMs = 0): void {
    const { agenda } = this.#parts;
    const at = agenda.now + inMs;
    if (at >= this.#lookAt) return;
    this.#lookAt = at;
    agenda.at(at, () => {
      if (this.#lookAt !== at) return;
      this.#lookAt = Number.POSITIVE_INFINITY;
      if (this.#look()) this.wake(restMs);
    });
  }

  /** Time makes work of it: found by the next poll after it. */
  pollAt(at: number): void {
    const { agenda } = this.#parts;
    agenda.at(Math.ceil(Math.max(at, agenda.now) / pollMs) * pollMs, () => this.wake());
  }

  /** @returns whether anything was claimed */
  #look(): boolean {
    const { agenda, rows, manifest, load } = this.#parts;
    if (this.#isSlow('urgent')) return false;
    const urgentOnly = this.#queued.bulk.length > 0 || this.#isSlow('bulk');
    const limit = urgentOnly ? manifest.stock.urgentRows * 4 : sliceOf(manifest);
    const picked = rows.claim(agenda.now, limit, urgentOnly, this.#busy);
    if (picked.length === 0) return false;
    for (const { sku } of picked) this.#busy.add(sku);
    this.#handle(load(picked.map(({ target }) => ({ ...target }))), firstTurn, () => {
      for (const { sku } of picked) this.#busy.delete(sku);
      this.wake();
    });
    return true;
  }

  #isSlow(kind: BudgetClass): boolean {
    return this.#parts.agenda.now < this.#slowUntil[kind];
  }

  // ── deciding ──

  #again(ids: readonly string[], turn: Turn, done: Done): void {
    if (ids.length === 0) done();
    else this.#handle(this.#loaded(ids), { ...turn, round: turn.round + 1 }, done);
  }

  #loaded(ids: readonly string[]): Work {
    const { rows, load } = this.#parts;
    return load(ids.map((id) => ({ ...rows.row(Number(id)).target })));
  }

  #decide(work: Work, turn: Turn) {
    const { agenda, manifest } = this.#parts;
    return decide(work, {
      now: agenda.now,
      monotonicMs: agenda.now,
      manifest,
      quietUntil: null,
      limited: false,
      turn,
    });
  }

  #handle(work: Work, turn: Turn, done: Done): void {
    const { agenda, manifest, rows } = this.#parts;
    if (turn.round >= roundsPerTurn) {
      for (const finding of postponed(work, agenda.now + 1_000)) rows.find(finding);
      done();
      return;
    }
    const { findings, reads, sends } = this.#decide(work, turn);
    for (const finding of findings) rows.find(finding);
    all(
      [
        ...readCalls(reads, manifest, agenda.now).map(
          (targets): Job =>
            (end) =>
              this.#slot('read', (_, free) => this.#read(targets, turn, free), end),
        ),
        ...sendCalls(sends, manifest, turn.maxRows).map(
          (call): Job =>
            (end) =>
              this.#slot(call.budget, (waitedMs, free) => this.#send(call, turn, waitedMs, free), end),
        ),
      ],
      done,
    );
  }

  // ── slots, as lane-slots.ts ──

  #slot(kind: BudgetClass, work: (waitedMs: number, free: (next?: Job) => void) => void, done: Done): void {
    const since = this.#parts.agenda.now;
    this.#queued[kind].push(() =>
      work(this.#parts.agenda.now - since, (next) => {
        this.#inFlight[kind] -= 1;
        this.#pump(kind);
        if (next) next(done);
        else done();
      }),
    );
    this.#pump(kind);
  }

  #pump(kind: BudgetClass): void {
    const { callsInFlight } = this.#parts.manifest.stock;
    const slots = kind === 'bulk' ? Math.max(1, callsInFlight - 1) : callsInFlight;
    while (this.#inFlight[kind] < slots) {
      const job = this.#queued[kind].shift();
      if (!job) return;
      this.#inFlight[kind] += 1;
      job();
    }
  }

  // ── calls ──

  #read(targets: WorkTarget[], turn: Turn, free: (next?: Job) => void): void {
    const { agenda, channel, caller, manifest, rows } = this.#parts;
    const ids = targets.map(({ id }) => id);
    const failed: Job = (done) =>
      this.#again(ids, { ...turn, readFailed: new Set([...turn.readFailed, ...ids]) }, done);
    if (this.#isSlow('read')) {
      free(failed);
      return;
    }
    const go = () =>
      channel.read(ids.map(Number), (numbers, vendorAt) => {
        caller.settle();
        this.#failures = 0;
        const readings = targets.map(
          ({ stockKey, channelLocation }, index): StockReading => ({
            kind: 'quantity',
            ref: { stockKey, channelLocation },
            value: numbers[index] ?? 0,
            vendorAt,
          }),
        );
        const found = pairReadings(targets, readings);
        const results = new Map<string, ReadResult>();
        for (const { targetId, value, askedAt } of numbersRead(found)) {
          const seen = rows.observe(Number(targetId), value, vendorAt, askedAt, agenda.now);
          results.set(targetId, { ...seen, rejected: false });
        }
        const at = agenda.now;
        free((done) => {
          const outcome = afterReading(found, results, at + soonestAgainMs);
          for (const finding of outcome.findings) rows.find(finding);
          const reads = new Map(turn.reads);
          for (const { targetId, value, verdict } of outcome.numbers) reads.set(targetId, { value, at, verdict });
          const next = outcome.numbers.map(({ targetId }) => targetId);
          this.#again(next, { ...turn, reads }, done);
        });
      });
    caller.ask('read', go, {
      withinMs: manifest.requestTimeoutMs,
      abandoned: () => {
        this.#notReached();
        free(failed);
      },
    });
  }

  #send(call: SendCall, turn: Turn, waitedMs: number, free: (next?: Job) => void): void {
    const { agenda, channel, caller, manifest, rows } = this.#parts;
    const { sends, rest } = waitedMs > computedForMs ? this.#recompute(call, turn) : { sends: call.sends, rest: none };
    const wanted: SentRow[] = sends.map((send, index) => ({ attemptId: String(index), send }));
    const sent = wanted.filter((row) => rows.begin(draftOf(row), agenda.now));
    const moved = wanted.filter((row) => !sent.includes(row)).map(({ send }) => send.target.id);
    const besides: Job[] = [rest, (done) => this.#again(moved, turn, done)];
    if (sent.length === 0) {
      free((done) => all(besides, done));
      return;
    }
    const book = (results: readonly AttemptResult[]) => {
      for (const result of results) rows.finish(result, agenda.now);
    };
    const go = () => {
      const writes = sent.map(({ send }) => ({ sku: Number(send.target.id), value: send.value, from: send.from }));
      channel.write(writes, (outcomes, vendorAt) => {
        caller.settle();
        const told = sent.map(({ send: { target } }, index) => {
          const ref = { stockKey: target.stockKey, channelLocation: target.channelLocation };
          const kind = outcomes[index] ?? 'not_applied';
          return kind === 'applied' ? { kind, ref, vendorAt } : { kind, ref };
        });
        const results = resultsOf(sent, told, manifest, agenda.now);
        book(results);
        this.#failures = 0;
        free((done) => all([...besides, (end) => this.#follow(results, turn, end)], done));
      });
    };
    caller.ask(call.budget, go, {
      withinMs: manifest.requestTimeoutMs,
      abandoned: () => {
        const unreachable = this.#failures >= failuresToSay - 1;
        book(resultsOfFailure(sent, notInTime, manifest, agenda.now, unreachable).results);
        this.#notReached();
        free((done) => all(besides, done));
      },
    });
  }

  /** The same targets as of now; those that need something else go on by themselves. */
  #recompute(call: SendCall, turn: Turn): { sends: readonly PlannedSend[]; rest: Job } {
    const ids = call.sends.map(({ target }) => target.id);
    const { sends } = this.#decide(this.#loaded(ids), turn);
    const others = ids.filter((id) => !sends.some(({ target }) => target.id === id));
    return { sends, rest: (done) => this.#again(others, { ...turn, round: turn.round - 1 }, done) };
  }

  #follow(results: readonly AttemptResult[], turn: Turn, done: Done): void {
    const idsOf = (outcome: AttemptResult['outcome']) =>
      results.filter((result) => result.outcome === outcome).map(({ targetId }) => targetId);
    const blameless = idsOf('not_applied');
    const nobodyNamed = results.length > 1 && blameless.length === results.length;
    const maxRows = nobodyNamed ? Math.ceil(results.length / 2) : turn.maxRows;
    const round = nobodyNamed ? turn.round - 1 : turn.round;
    all(
      [
        (end) => this.#again(blameless, { ...turn, maxRows, round }, end),
        (end) => this.#again(idsOf('stale'), { ...firstTurn, round: turn.round }, end),
      ],
      done,
    );
  }

  /** A call whose turn did not come in time counts as one that did not get there. */
  #notReached(): void {
    const { agenda, random } = this.#parts;
    this.givenUp += 1;
    this.#failures += 1;
    const forMs = Math.min(longestBackOffMs, 100 * 2 ** this.#failures) * (1 + random.next() / 4);
    const until = agenda.now + forMs;
    for (const kind of ['urgent', 'bulk', 'read'] as const)
      this.#slowUntil[kind] = Math.max(this.#slowUntil[kind], until);
    agenda.at(until, () => this.wake());
  }
}

const notInTime = new ConnectorError('connector.unavailable', 'The deadline passed while waiting for the budget.', {
  abandoned: true,
});

const none: Job = (done) => done();

/** `done` when all have ended. */
function all(jobs: readonly Job[], done: Done): void {
  let open = jobs.length;
  if (open === 0) done();
  for (const job of jobs)
    job(() => {
      open -= 1;
      if (open === 0) done();
    });
}
