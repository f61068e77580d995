/**
 * Our writes against what the channel sold: P6, and of P10 that every write was recorded before it was sent and none of a
 * lost lease came after its successor's.
 *
 *   limit   the number the target could show if the book knew what it does not know yet: what the design's arithmetic gives
 *           after taking off units that the channel sold here and that are neither owed nor gone in our book
 *           with compare-and-set: all it sold · without: what it sold before our last settled read of its number
 *   broken  a write that took effect, of more than its limit when it was recorded, while such units were unknown; a number
 *           that is only too late (a process was frozen between computing and recording it) is put right, and gives nothing back
 *
 * A number somebody raised by hand, or by putting a returned unit back, hides as many sales from everyone: those are allowed until
 * we have written again with nothing left unknown. So does a write without compare-and-set that comes into force minutes after the
 * reading it rests on: it overwrites what was sold in between, which the promise leaves open (“only units sold after our last settled
 * read can be”), and no later reading shows those units; a later write is not to blame for them. What buyers want no longer counts
 * against what our book still keeps for them, where it is kept. The limit is the highest by the rows of this look and of those of the moments before, because a write is
 * computed a moment before it is recorded; so look after every commit that records an attempt, and after every act.
 */
import type { Finding } from './audit-finding.ts';
import { type Index, numbersOf } from './audit-numbers.ts';
import { type Book, lineKey, orderKey, unitsKnown } from './audit-orders.ts';
import type { ChannelCall, ChannelChange, ChannelEvidence, Evidence, Rows, TargetRow } from './evidence.ts';

type Attempt = Rows['attempts'][number];

/** What is known of one external number. */
interface Watched {
  /** Units of orders that the book did not know, at the last look. */
  unbooked: number;
  /** Raised by hand or by returns since the number was last certain. */
  hidden: number;
  /** Without compare-and-set: units whose sale a write of ours came into force over, while the book did not know it. */
  overwritten: number;
  /** When a write of ours last came into force. */
  writtenAt: number;
  /** Units of its orders that the channel has taken from it, at the last look. */
  taken: number;
  /** Without compare-and-set: when we last read it while no write of ours was on its way. */
  readAt: number | null;
  onItsWay: number[];
  /** The newest lease whose write took effect. */
  lastLease: { generation: number; step: number } | null;
}

export interface WritesAudit {
  look(evidence: Evidence, index: Index, book: Book): Finding[];
}

/** A number may be that old when its attempt is recorded. */
const computedForMs = 150;

const key = (...parts: string[]): string => parts.join('|');

export function auditWrites(): WritesAudit {
  const watched = new Map<string, Watched>();
  /** The most an attempt might write, and how many units its channel had sold that the book did not know, by id. */
  const limits = new Map<string, { units: number; unbooked: number }>();
  /** What the rows were at the looks of the last moments, and at the one before those. */
  let before: { index: Index; book: Book; now: number }[] = [];
  /** How many units each line wanted, since when by the channel's clock. */
  const wanted = new Map<string, { at: number; units: number }[]>();

  const watch = (targetId: string): Watched => {
    const found = watched.get(targetId) ?? {
      unbooked: 0,
      hidden: 0,
      overwritten: 0,
      writtenAt: Number.NEGATIVE_INFINITY,
      taken: 0,
      readAt: null,
      onItsWay: [],
      lastLease: null,
    };
    watched.set(targetId, found);
    return found;
  };

  function look(evidence: Evidence, index: Index, book: Book): Finding[] {
    const findings: Finding[] = [];
    for (const channel of evidence.channels) {
      remember(channel);
      const targets = new Map(
        evidence.rows.targets
          .filter(({ connectionId }) => connectionId === channel.connectionId)
          .map((target) => [key(target.stockKey, target.channelLocation), target]),
      );
      for (const call of channel.calls) if (call.kind === 'read' && call.applied) noteRead(channel, call, targets);
      setLimits(evidence, channel, index, book, [...targets.values()]);
      for (const target of targets.values()) noteReturns(channel, target);
      for (const event of inOrder(channel)) {
        const target = targets.get(key(event.stockKey, event.location ?? ''));
        if (target === undefined) continue;
        if ('cause' in event) judgeChange(evidence, channel, index, book, target, event, findings);
        else if (event.kind === 'write' && event.applied) judgeWrite(evidence, channel, index, target, event, findings);
      }
    }
    before.push({ index, book, now: evidence.now });
    const fresh = before.findIndex(({ now }) => now >= evidence.now - computedForMs);
    before = before.slice(Math.max(0, fresh - 1));
    return findings;
  }

  function remember(channel: ChannelEvidence): void {
    for (const order of channel.orders)
      for (const line of order.lines) {
        const at = lineKey(orderKey(channel.connectionId, order.id), line.id);
        const past = wanted.get(at) ?? [];
        const units = line.open + line.shipped;
        if (past.at(-1)?.units !== units) past.push({ at: channel.now, units });
        wanted.set(at, past);
      }
  }

  function noteRead(channel: ChannelEvidence, call: ChannelCall, targets: ReadonlyMap<string, TargetRow>): void {
    for (const target of targets.values()) {
      if (target.stockKey !== call.stockKey) continue;
      const one = watch(target.id);
      if (channel.compareAndSet || one.onItsWay.length === 0) one.readAt = call.at;
    }
  }

  /** What orders raised, beyond what they gave back of what they had taken: units that came back after they had been shipped. */
  function noteReturns(channel: ChannelEvidence, { id, stockKey, channelLocation }: TargetRow): void {
    const one = watch(id);
    const at = `${stockKey}@${channelLocation}`;
    const lines = channel.orders.flatMap((order) => order.lines);
    const taken = lines.reduce((sum, line) => sum + (line.taken[at] ?? 0), 0);
    const raised = channel.changes
      .filter((one) => one.cause === 'order' && `${one.stockKey}@${one.location}` === at)
      .reduce((sum, { before, after }) => sum + Math.max(0, after - before), 0);
    one.hidden += Math.max(0, raised - Math.max(0, one.taken - taken));
    one.taken = taken;
  }

  function setLimits(
    { rows }: Evidence,
    channel: ChannelEvidence,
    index: Index,
    book: Book,
    targets: readonly TargetRow[],
  ): void {
    const now = limitsBy(channel, index, book, targets);
    for (const { id } of targets) watch(id).unbooked = now.unbooked.get(id) ?? 0;
    if (rows.attempts.every(({ id, connectionId }) => limits.has(id) || connectionId !== channel.connectionId)) return;
    const earlier = before.map((look) => limitsBy(channel, look.index, look.book, targets));
    for (const attempt of rows.attempts) {
      if (limits.has(attempt.id) || attempt.connectionId !== channel.connectionId) continue;
      const units = Math.max(...[now, ...earlier].map(({ numbers }) => numbers.get(attempt.targetId) ?? 0));
      limits.set(attempt.id, { units, unbooked: watch(attempt.targetId).unbooked });
    }
  }

  /** By these rows: units the channel sold that are not in them, and what each target could show without those. */
  function limitsBy(channel: ChannelEvidence, index: Index, book: Book, targets: readonly TargetRow[]) {
    const unbooked = new Map<string, number>();
    for (const target of targets) {
      const { readAt } = watch(target.id);
      const asOf = channel.compareAndSet ? Number.POSITIVE_INFINITY : (readAt ?? Number.NEGATIVE_INFINITY);
      unbooked.set(target.id, unbookedUnits(index.rows, channel, target, book, asOf));
    }
    const numbers = new Map<string, number>();
    for (const variantId of new Set(targets.flatMap((target) => target.variantId ?? [])))
      for (const [id, limit] of numbersOf(index, channel.connectionId, variantId, { unbooked, scarcity: false }))
        numbers.set(id, limit);
    return { unbooked, numbers };
  }

  /**
   * Units sold here before `asOf` that our book does not know, less those it still keeps here for buyers who want them no longer
   * (its claims may lie elsewhere than where the channel sold; those give nothing free here).
   */
  function unbookedUnits(rows: Rows, channel: ChannelEvidence, target: TargetRow, book: Book, asOf: number): number {
    let units = 0;
    for (const order of channel.orders) {
      const [ours] = book.orders.get(orderKey(channel.connectionId, order.id)) ?? [];
      for (const line of order.lines) {
        const taken = line.taken[`${target.stockKey}@${target.channelLocation}`] ?? 0;
        const own = ours && book.lines.get(lineKey(ours.id, line.id));
        const known = unitsKnown(book, own);
        const past = wanted.get(lineKey(orderKey(channel.connectionId, order.id), line.id)) ?? [];
        const then = past.findLast(({ at }) => at < asOf)?.units ?? 0;
        units += Math.min(taken, Math.max(0, then - known));
        const unwanted = known - (line.open + line.shipped);
        if (own?.variantId === target.variantId && unwanted > 0)
          units -= Math.min(unwanted, unitsKept(rows, target, own));
      }
    }
    return units;
  }

  function judgeChange(
    evidence: Evidence,
    channel: ChannelEvidence,
    index: Index,
    book: Book,
    target: TargetRow,
    change: ChannelChange,
    findings: Finding[],
  ): void {
    const one = watch(target.id);
    if (change.cause === 'staff') one.hidden += Math.max(0, change.after - change.before);
    if (change.cause !== 'ours') return;
    one.onItsWay = [];
    if (channel.compareAndSet) judge(evidence, channel, index, target, change.after, change.before, findings);
    else noteOverwritten(evidence.rows, channel, book, target, change.at);
    if (one.unbooked <= 0) one.hidden = 0;
  }

  /** Sold since the reading the write rests on, or since the one before it came into force, and not in the book. */
  function noteOverwritten(rows: Rows, channel: ChannelEvidence, book: Book, target: TargetRow, at: number): void {
    const one = watch(target.id);
    const unknown = (asOf: number) => unbookedUnits(rows, channel, target, book, asOf);
    if (unknown(Number.POSITIVE_INFINITY) <= 0) one.overwritten = 0;
    const since = Math.max(one.writtenAt, one.readAt ?? Number.NEGATIVE_INFINITY);
    one.overwritten += Math.max(0, unknown(at) - unknown(since));
    one.writtenAt = at;
  }

  function judgeWrite(
    evidence: Evidence,
    channel: ChannelEvidence,
    index: Index,
    target: TargetRow,
    call: ChannelCall,
    findings: Finding[],
  ): void {
    if (channel.compareAndSet || call.value === null) return;
    const one = watch(target.id);
    const number = channel.items.find((item) => item.stockKey === call.stockKey)?.quantity;
    if (number !== call.value) one.onItsWay.push(call.value);
    judge(evidence, channel, index, target, call.value, null, findings);
  }

  function judge(
    { rows, step }: Evidence,
    channel: ChannelEvidence,
    index: Index,
    target: TargetRow,
    value: number,
    from: number | null,
    findings: Finding[],
  ): void {
    const one = watch(target.id);
    const find = (finding: Pick<Finding, 'promise' | 'expected' | 'found' | 'words'>, earlier: number[] = []) =>
      findings.push({ ...finding, sku: index.sku(target.variantId), channel: channel.name, steps: [...earlier, step] });
    const attempt = rows.attempts
      .filter((row) => row.targetId === target.id && row.value === value)
      .reduce<Attempt | null>((a, b) => (a === null || b.sentAt >= a.sentAt ? b : a), null);
    if (attempt === null) {
      find({
        promise: 'P10',
        expected: 'an attempt',
        found: 'none',
        words: `${value} was written without a record of it`,
      });
      return;
    }
    if (one.lastLease !== null && attempt.generation < one.lastLease.generation)
      find(
        {
          promise: 'P10',
          expected: `lease ${one.lastLease.generation}`,
          found: `lease ${attempt.generation}`,
          words: `${value} was sent under a lost lease, after its successor had written`,
        },
        [one.lastLease.step],
      );
    else one.lastLease = { generation: attempt.generation, step };
    const limit = limits.get(attempt.id) ?? { units: 0, unbooked: 0 };
    const allowed = limit.units + one.hidden + Math.min(one.overwritten, Math.max(0, limit.unbooked));
    if (limit.unbooked > 0 && value > allowed)
      find({
        promise: 'P6',
        expected: `at most ${allowed}`,
        found: `${value}${from === null ? '' : ` (was ${from})`}`,
        words: `a write gives back units that were sold there (${limit.unbooked} of them not yet in the book)`,
      });
  }

  return { look };
}

/** Units of the line that are claimed in the locations behind the target: in units of what was sold, also for bundles. */
function unitsKept(rows: Rows, { connectionId, channelLocation }: TargetRow, line: Rows['lines'][number]): number {
  const [part] = line.explosion ?? [];
  if (part === undefined) return 0;
  const behind = rows.mappings.filter(
    (one) => one.connectionId === connectionId && one.channelLocation === channelLocation,
  );
  const isHere = (one: { variantId: string; locationId: string }) =>
    one.variantId === part.variantId && behind.some(({ locationId }) => locationId === one.locationId);
  const claims = [
    ...rows.commitments.filter(({ lineId }) => lineId === line.id),
    ...rows.holds.filter(({ holdId }) => holdId === line.id),
  ];
  return Math.floor(claims.filter(isHere).reduce((sum, { open }) => sum + open, 0) / part.units);
}

/** Calls and changes as they happened; a write stands before the change it makes. */
function inOrder({ calls, changes }: ChannelEvidence): (ChannelCall | ChannelChange)[] {
  return [...calls, ...changes].sort((a, b) => a.at - b.at || Number('cause' in a) - Number('cause' in b));
}
