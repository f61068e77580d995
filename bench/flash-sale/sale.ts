/**
 * One sale under one policy: buyers come, channels sell what they show, the policy hears of it later and writes numbers. What counts is
 * judged by the truth, which no policy sees:
 *
 *   oversold  Σ over SKUs of units sold beyond the stock
 *   refused   buyers who met a 0 although unsold goods lay in the warehouse
 *   unsold    units left at the end, and how many of them a refused buyer had wanted
 *   calls     reads and writes of both channels, from the first buyer until nothing is left to do
 *   backlog   the most numbers that waited to be written at one time, both channels together
 *   right     seconds after the last buyer until every channel shows, for every SKU, what it should; null = never
 */
import { Agenda } from './agenda.ts';
import { Caller } from './caller.ts';
import { Channel, type ChannelSpec, type LevelChange } from './channel.ts';
import type { Buyer } from './demand.ts';

export interface SaleSpec {
  channels: readonly ChannelSpec[];
  unitsEach: number;
  skus: number;
  /** Last buyer at the latest. */
  seconds: number;
  /** Kept back on every channel. */
  buffer: number;
  /** From a sale at a channel until we hear of it. */
  learnMs: number;
  /** Chance of the policies themselves. */
  seed: number;
}

/** What a policy is given. */
export interface Market {
  agenda: Agenda;
  spec: SaleSpec;
  channels: readonly Channel[];
  callers: readonly Caller[];
  /** When the sale ends. */
  endsAt: number;
  /** What `shouldShow` says of this SKU has changed. */
  recheck(sku: number): void;
  /** So many numbers wait to be written now. */
  waiting(numbers: number): void;
}

export interface Policy {
  /** A sale was heard of. `at`: the channel's own time of it. */
  hear(sale: { channel: number; sku: number; at: number }): void;
  /** A channel told that its number changed (a stock webhook); without it nothing is listened to. */
  level?(channel: number, change: LevelChange): void;
  /** What the channel should show when so many units are left in truth. */
  shouldShow(channel: number, sku: number, available: number): number;
}

export interface Outcome {
  sold: number;
  oversold: number;
  refused: number;
  unsold: number;
  missed: number;
  reads: number;
  writes: number;
  stale: number;
  backlog: number;
  rightAfterS: number | null;
}

/** Any time: only differences count. A whole second, as vendors tell time. */
const opensAt = 1_800_000_000_000;

export function playSale(spec: SaleSpec, buyers: readonly Buyer[], policyFor: (market: Market) => Policy): Outcome {
  const agenda = new Agenda(opensAt);
  const shown = Math.max(0, spec.unitsEach - spec.buffer);
  const channels = spec.channels.map(
    (one) =>
      new Channel(
        agenda,
        one,
        Array.from({ length: spec.skus }, () => shown),
      ),
  );
  const sold = new Int32Array(spec.skus);
  const refusedOf = new Int32Array(spec.skus);
  const outcome = { refused: 0, backlog: 0 };
  const judge = new Judge(agenda, spec, channels, sold);
  const endsAt = opensAt + spec.seconds * 1_000;
  const market: Market = {
    agenda,
    spec,
    channels,
    callers: spec.channels.map((one) => new Caller(agenda, one)),
    endsAt,
    recheck: (sku) => judge.look(sku),
    waiting: (numbers) => {
      outcome.backlog = Math.max(outcome.backlog, numbers);
    },
  };
  const policy = policyFor(market);
  judge.policy = policy;
  for (const [index, channel] of channels.entries())
    channel.onLevel = (change) => {
      judge.look(change.sku);
      if (policy.level) agenda.after(spec.learnMs, () => policy.level?.(index, change));
    };
  for (const { at, sku, channel } of buyers)
    agenda.at(opensAt + at, () => {
      const shop = channels[channel];
      const soldAt = agenda.now;
      if (shop && shop.number(sku) > 0) {
        // The order is booked before what the channel tells of its number (migration 0048).
        agenda.after(spec.learnMs, () => policy.hear({ channel, sku, at: soldAt }));
        shop.buy(sku);
        sold[sku] = (sold[sku] ?? 0) + 1;
        judge.look(sku);
      } else if ((sold[sku] ?? 0) < spec.unitsEach) {
        refusedOf[sku] = (refusedOf[sku] ?? 0) + 1;
        outcome.refused += 1;
      }
    });
  // Wrong from the first buyer on or not: judged from the last one on.
  agenda.at(endsAt, () => judge.begin());
  agenda.run();
  const left = Array.from(sold, (units) => Math.max(0, spec.unitsEach - units));
  const sum = (numbers: Iterable<number>) => [...numbers].reduce((total, one) => total + one, 0);
  return {
    sold: sum(sold),
    oversold: sum(Array.from(sold, (units) => Math.max(0, units - spec.unitsEach))),
    refused: outcome.refused,
    unsold: sum(left),
    missed: sum(left.map((units, sku) => Math.min(units, refusedOf[sku] ?? 0))),
    reads: sum(channels.map(({ calls }) => calls.read)),
    writes: sum(channels.map(({ calls }) => calls.write)),
    stale: sum(channels.map(({ calls }) => calls.stale)),
    backlog: outcome.backlog,
    rightAfterS: judge.rightAt === null ? null : Math.ceil((judge.rightAt - endsAt) / 1_000),
  };
}

/** Which numbers are wrong, kept as they change. */
class Judge {
  policy: Policy | null = null;
  rightAt: number | null = null;
  #wrong = 0;
  readonly #isWrong: Uint8Array;
  readonly #agenda: Agenda;
  readonly #spec: SaleSpec;
  readonly #channels: readonly Channel[];
  readonly #sold: Int32Array;

  constructor(agenda: Agenda, spec: SaleSpec, channels: readonly Channel[], sold: Int32Array) {
    this.#agenda = agenda;
    this.#spec = spec;
    this.#channels = channels;
    this.#sold = sold;
    this.#isWrong = new Uint8Array(spec.skus * channels.length);
  }

  begin(): void {
    this.rightAt = this.#wrong === 0 ? this.#agenda.now : null;
  }

  look(sku: number): void {
    const available = Math.max(0, this.#spec.unitsEach - (this.#sold[sku] ?? 0));
    for (const [index, channel] of this.#channels.entries()) {
      const place = index * this.#spec.skus + sku;
      const is = Number(channel.number(sku) !== this.policy?.shouldShow(index, sku, available));
      this.#wrong += is - (this.#isWrong[place] ?? 0);
      this.#isWrong[place] = is;
    }
    if (this.#wrong > 0) this.rightAt = null;
    else this.rightAt ??= this.#agenda.now;
  }
}
