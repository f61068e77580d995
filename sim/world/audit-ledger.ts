/**
 * The ledger as judged from outside: P1 (it adds up) and P2 (never negative, facts always post, a claim without goods is a
 * case that people are told of), and that what our own people did to goods is booked, once (P3).
 *
 * Sums are kept from the movements and claim events as they come, and made anew from all rows when looked at fully.
 */
import type { Finding } from './audit-finding.ts';
import { auditImports } from './audit-imports.ts';
import type { Index } from './audit-numbers.ts';
import type { Act, Evidence, MovementRow, PositionRow } from './evidence.ts';

const buckets = ['sellable', 'damaged', 'quarantine', 'expired', 'incoming'] as const;
const key = (...parts: (string | null)[]): string => parts.join('|');

type Sums = Map<string, number>;
const add = (sums: Sums, at: string, units: number) => sums.set(at, (sums.get(at) ?? 0) + units);

export interface LedgerAudit {
  look(evidence: Evidence, index: Index, fully: boolean): Finding[];
  /** Nothing is under way any more: no fact has more than its one effect either. */
  atQuiet(evidence: Evidence, index: Index): Finding[];
}

export function auditLedger(): LedgerAudit {
  let goods: Sums = new Map();
  let claimed: Sums = new Map();
  const seen = new Map<string, string>();
  /** Units booked by kind of fact and variant; what stood before the first look is no act of the world. */
  const booked: Sums = new Map();
  const told: Sums = new Map();
  const perhaps: Sums = new Map();
  const returned = new Set<string>();
  /** Returns of which one telling got no answer: which of their tellings was booked is not known. */
  const vague = new Set<string>();
  const toldAt = new Map<string, number[]>();
  const imports = auditImports();
  let first = true;

  function takeMovements(movements: readonly MovementRow[], into: Sums): void {
    for (const { variantId, units, fromLocation, fromBucket, toLocation, toBucket } of movements) {
      if (toLocation !== null) add(into, key(variantId, toLocation, toBucket), units);
      if (fromLocation !== null) add(into, key(variantId, fromLocation, fromBucket), -units);
    }
  }

  function takeEvents(events: Evidence['rows']['claimEvents'], into: Sums): void {
    for (const { claim, claimId, variantId, locationId, delta } of events)
      add(into, key(claim, claimId, variantId, locationId), delta);
  }

  function look(evidence: Evidence, index: Index, fully: boolean): Finding[] {
    const { rows, fresh, step } = evidence;
    const findings: Finding[] = [];
    const find = (finding: Omit<Finding, 'channel' | 'steps'> & { steps?: number[] }) =>
      findings.push({ channel: null, steps: [step], ...finding });

    for (const movement of fresh.movements) {
      const text = JSON.stringify(movement);
      if (seen.has(movement.id) && seen.get(movement.id) !== text)
        find({
          promise: 'P1',
          sku: index.sku(movement.variantId),
          expected: seen.get(movement.id) ?? '',
          found: text,
          words: 'a movement was changed',
        });
      seen.set(movement.id, text);
    }
    if (fully) {
      goods = new Map();
      claimed = new Map();
      takeMovements(rows.movements, goods);
      takeEvents(rows.claimEvents, claimed);
    } else {
      takeMovements(fresh.movements, goods);
      takeEvents(fresh.claimEvents, claimed);
    }

    const positions = new Map(rows.positions.map((row) => [key(row.variantId, row.locationId), row]));
    judgeBuckets(positions);
    judgeClaims(positions);
    judgeShortfalls();
    judgeActs();
    findings.push(...imports.look(evidence));
    first = false;
    return findings;

    function judgeBuckets(known: ReadonlyMap<string, PositionRow>): void {
      const places = new Set([...known.keys(), ...[...goods.keys()].map((at) => at.slice(0, at.lastIndexOf('|')))]);
      for (const place of places) {
        const row = known.get(place);
        const [variantId = '', locationId = ''] = place.split('|');
        const sku = index.sku(variantId);
        for (const bucket of buckets) {
          const moved = goods.get(key(place, bucket)) ?? 0;
          const units = row?.[bucket] ?? 0;
          const where = `${bucket} in ${index.code(locationId)}`;
          if (units !== moved)
            find({
              promise: 'P1',
              sku,
              expected: `${moved}`,
              found: `${units}`,
              words: `${where} is not the sum of its movements`,
            });
          if (units < 0) find({ promise: 'P2', sku, expected: '0 or more', found: `${units}`, words: where });
        }
        if (row && row.committed + row.reserved > row.sellable)
          find({
            promise: 'P2',
            sku,
            expected: `at most ${row.sellable}`,
            found: `${row.committed} committed and ${row.reserved} reserved`,
            words: `more is claimed in ${index.code(locationId)} than lies there`,
          });
      }
    }

    function judgeClaims(known: ReadonlyMap<string, PositionRow>): void {
      const sums = { committed: new Map() as Sums, reserved: new Map() as Sums };
      const open: Sums = new Map();
      for (const row of rows.commitments) {
        add(sums.committed, key(row.variantId, row.locationId), row.open);
        add(open, key('commitment', row.lineId, row.variantId, row.locationId), row.open);
      }
      for (const row of rows.holds) {
        add(sums.reserved, key(row.variantId, row.locationId), row.open);
        add(open, key('hold', row.holdId, row.variantId, row.locationId), row.open);
      }
      for (const row of rows.shortfalls) add(open, key('shortfall', row.lineId, row.variantId, null), row.waiting);
      for (const name of ['committed', 'reserved'] as const)
        for (const place of new Set([...known.keys(), ...sums[name].keys()])) {
          const [variantId = '', locationId = ''] = place.split('|');
          const [expected, found] = [sums[name].get(place) ?? 0, known.get(place)?.[name] ?? 0];
          if (expected === found) continue;
          const words = `${name} in ${index.code(locationId)} is not the sum of open ${name === 'committed' ? 'commitments' : 'holds'}`;
          find({ promise: 'P1', sku: index.sku(variantId), expected: `${expected}`, found: `${found}`, words });
        }
      for (const at of new Set([...open.keys(), ...claimed.keys()])) {
        const [claim = '', claimId = '', variantId = ''] = at.split('|');
        const [expected, found] = [claimed.get(at) ?? 0, open.get(at) ?? 0];
        if (expected === found) continue;
        const words = `units of ${claim} ${claimId} are not the sum of its log`;
        find({ promise: 'P1', sku: index.sku(variantId), expected: `${expected}`, found: `${found}`, words });
      }
    }

    /** Whoever waits has no goods to wait for, and people know. */
    function judgeShortfalls(): void {
      const serving = rows.locations.filter(({ servesOrders }) => servesOrders).map(({ id }) => id);
      for (const { lineId, variantId, waiting } of rows.shortfalls) {
        if (waiting === 0) continue;
        const sku = index.sku(variantId);
        const free = serving.reduce((sum, id) => {
          const row = index.position(variantId, id);
          return sum + (row === undefined ? 0 : Math.max(0, row.sellable - row.committed - row.reserved));
        }, 0);
        if (free > 0)
          find({ promise: 'P2', sku, expected: '0 free', found: `${free} free`, words: `${waiting} wait for goods` });
        const isTold = rows.alerts.some(
          ({ kind, severity, subjectId }) => kind === 'oversell' && severity === 'critical' && subjectId === lineId,
        );
        if (!isTold)
          find({
            promise: 'P2',
            sku,
            expected: 'a critical alert',
            found: 'none',
            words: `${waiting} sold without goods, and nobody is told`,
          });
      }
    }

    function judgeActs(): void {
      for (const movement of first ? [] : fresh.movements) {
        const kind = factOf(movement);
        if (kind === null) continue;
        const signed = kind === 'count' && movement.toLocation === null ? -movement.units : movement.units;
        add(booked, key(kind, movement.variantId), signed);
      }
      for (const act of evidence.acts) judgeAct(act);
      for (const [at, units] of told) {
        if (unsure(at)) continue;
        const done = booked.get(at) ?? 0;
        if (at.startsWith('count|') ? done === units : done >= units) continue;
        const [kind = '', variantId = ''] = at.split('|');
        find({
          promise: 'P2',
          sku: index.sku(variantId),
          expected: `${units}`,
          found: `${done}`,
          words: `units of ${kind} that happened are not booked`,
          steps: [...new Set([...(toldAt.get(at) ?? []), step])],
        });
      }
    }

    function judgeAct(act: Act): void {
      if (!('sku' in act) || act.kind === 'transfer' || act.kind === 'hold') return;
      const variantId = rows.variants.find(({ sku }) => sku === act.sku)?.id ?? act.sku;
      if (act.kind === 'return' && (act.bucket === null || returned.has(act.id))) return;
      if (act.outcome === 'refused') {
        find({
          promise: 'P2',
          sku: act.sku,
          expected: 'booked',
          found: 'refused',
          words: `a ${act.kind} of ${act.units} is a fact`,
        });
        return;
      }
      if (act.kind === 'return' && act.outcome === 'done') returned.add(act.id);
      if (act.kind === 'return' && act.outcome === 'unknown') vague.add(act.id);
      const at = key(act.kind, variantId);
      if (act.outcome === 'unknown' || (act.kind === 'return' && vague.has(act.id))) {
        add(perhaps, at, act.kind === 'count' ? Number.POSITIVE_INFINITY : act.units);
        return;
      }
      if (act.kind === 'count' && act.after !== act.units)
        find({
          promise: 'P2',
          sku: act.sku,
          expected: `${act.units}`,
          found: `${act.after}`,
          words: `counted in ${act.location}`,
        });
      const units = act.kind === 'count' ? (act.after ?? 0) - (act.before ?? 0) : act.units;
      add(told, at, units);
      toldAt.set(at, [...(toldAt.get(at) ?? []), act.step].slice(-3));
    }
  }

  /** An answer is missing that would tell how a count changed the book. */
  const unsure = (at: string): boolean => (perhaps.get(at) ?? 0) === Number.POSITIVE_INFINITY;

  function atQuiet({ step }: Evidence, index: Index): Finding[] {
    const booking = [...booked].flatMap(([at, units]): Finding[] => {
      const [kind = '', variantId = ''] = at.split('|');
      const most = (told.get(at) ?? 0) + (perhaps.get(at) ?? 0);
      if (units <= most || unsure(at)) return [];
      return [
        {
          promise: 'P3',
          sku: index.sku(variantId),
          channel: null,
          expected: `at most ${most}`,
          found: `${units}`,
          words: `units of ${kind} were booked more often than they happened`,
          steps: [...new Set([...(toldAt.get(at) ?? []), step])],
        },
      ];
    });
    return [...booking, ...imports.atQuiet(step)];
  }

  return { look, atQuiet };
}

/** Which fact of ours a movement books; null: a shipment, a transfer, or what the book lacked. */
function factOf(movement: MovementRow): 'receipt' | 'count' | 'breakage' | 'loss' | 'return' | null {
  if (movement.kind === 'receipt' || movement.kind === 'count' || movement.kind === 'return') return movement.kind;
  if (movement.reason === 'damaged' && movement.toBucket === 'damaged' && movement.fromBucket === 'sellable')
    return 'breakage';
  if (movement.reason === 'lost' && movement.toLocation === null) return 'loss';
  return null;
}
