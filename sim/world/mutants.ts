/**
 * Mutants: the product with one rule switched off, to show that the auditor sees it. Each is a few edits of source text,
 * made while modules are loaded (mutant-hook.ts) or, for SQL, in the world's database after it is migrated; production
 * code knows nothing of them.
 *
 * An edit names a text that stands exactly once in its file: code that moves on makes mutants.test.ts fail, and whoever
 * moved it says here what the same mistake looks like now.
 */
export interface Edit {
  /** A source file, or a function of the database when `function` is given. */
  file: string;
  from: string;
  to: string;
  /** Name of the function that `from` is part of, as migrated last by `file`. */
  function?: string;
}

export interface Mutant {
  name: string;
  /** The mistake, in words. */
  mistake: string;
  edits: readonly Edit[];
  /** Promises of which at least one must be found broken. */
  breaks: readonly string[];
  /** Within so many seeds of 80 acts. */
  within: number;
}

export const mutants: readonly Mutant[] = [
  {
    name: 'unseen-ignored',
    mistake: 'a blind cut over unseen sales: the number sent is the ledger’s, whatever the channel has sold meanwhile',
    edits: [
      {
        file: 'core/stock/next-write.ts',
        from: 'Math.max(0, desired - unseen);',
        to: 'Math.max(0, desired - 0 * unseen);',
      },
    ],
    breaks: ['P6'],
    within: 12,
  },
  {
    name: 'stale-retried',
    mistake: 'after a stale compare the ledger’s number is sent again from the number just read: the gap is forgotten',
    edits: [
      { file: 'core/stock/observe.ts', from: 'const gap = Math.max(0, range.low - value);', to: 'const gap = 0;' },
    ],
    breaks: ['P6'],
    within: 12,
  },
  {
    name: 'unseen-forgotten',
    mistake: 'unseen sales are forgotten after our own write',
    edits: [
      {
        file: 'core/stock/observe.ts',
        from: '    base: write.value,\n    baseAt: at,\n',
        to: '    base: write.value,\n    baseAt: at,\n    unseen: 0,\n    unseenAt: null,\n',
      },
    ],
    breaks: ['P6'],
    within: 12,
  },
  {
    name: 'lost-lease-sends',
    mistake: 'a lane that was frozen past its lease goes on sending',
    edits: [
      {
        file: 'server/flows/lane-lease.ts',
        from: 'return this.#held !== null && this.#held.untilMono - clock.monotonicMs() > requestTimeoutMs;',
        to: 'return clock !== null && requestTimeoutMs > 0;',
      },
      {
        file: 'server/flows/lane-writing.ts',
        from: 'return this.#tx((tx) => mayLeave(tx, hold, ids));',
        to: 'return hold !== null && ids.length > 0 && mayLeave !== null;',
      },
    ],
    breaks: ['P10', 'P6', 'P4'],
    within: 12,
  },
  {
    name: 'no-attempt-row',
    mistake: 'a write is sent without a record of it',
    edits: [
      {
        file: 'store/listings/attempts.ts',
        from: 'from r join begun b on b.id = r."targetId" returning target_id)',
        to: 'from r join begun b on b.id = r."targetId" where false returning target_id)',
      },
      {
        file: 'store/listings/attempts.ts',
        from: `coalesce((select array_agg(target_id) from kept), '{}') as ids`,
        to: `coalesce((select array_agg(id) from begun), '{}') as ids`,
      },
    ],
    breaks: ['P10'],
    within: 12,
  },
  {
    name: 'open-attempt-ignored',
    mistake: 'while the outcome of a write is unknown the next one is sent',
    edits: [
      { file: 'core/stock/next-write.ts', from: 'if (input.openAttempt) {', to: 'if (input.openAttempt === null) {' },
    ],
    breaks: ['P10', 'P6'],
    within: 12,
  },
  {
    name: 'effect-key-dropped',
    mistake: 'the same effect key books again',
    edits: [
      { file: 'core/stock/posting.ts', from: '    if (first) {\n', to: "    if (first && command.key === '') {\n" },
      {
        file: 'store/migrations/0103_ledger_lean.sql',
        function: 'ledger_book',
        from: 'order by 1, k.effect_key collate "C";',
        to: 'order by 1, k.effect_key collate "C" on conflict do nothing;',
      },
    ],
    breaks: ['P3'],
    within: 12,
  },
  {
    name: 'mark-cleared-too-soon',
    mistake: 'a dirty mark is cleared at a changed version: what was marked while a write was under way is lost',
    edits: [
      {
        file: 'store/listings/attempts.ts',
        from: 'greatest(t.handled_version, r.decided_at) else',
        to: 'greatest(t.handled_version, t.dirty_version) else',
      },
      {
        file: 'store/listings/attempts.ts',
        from: "state = case when r.state = 'in_sync' and t.dirty_version > r.decided_at then 'pending' else r.state end",
        to: 'state = r.state',
      },
    ],
    breaks: ['P4'],
    within: 12,
  },
  {
    name: 'mark-lost',
    mistake: 'the row that says “publish this again” is lost when goods come in',
    edits: [
      {
        file: 'store/ledger/write.ts',
        from: 'for (const [variantId, { least, changes }] of hints) {',
        to: 'for (const [variantId, { least, changes }] of hints) { if (positions.some(({ now, stored }) => now.sellable > stored.sellable)) continue;',
      },
    ],
    breaks: ['P4'],
    within: 12,
  },
  {
    name: 'double-release',
    mistake: 'a line that shrinks is released twice over',
    edits: [
      {
        file: 'core/order/booking.ts',
        from: ': line.components.map((part) => ({ variantId: part.variantId, units: times(units, part) })),',
        to: ': line.components.map((part) => ({ variantId: part.variantId, units: 2 * times(units, part) })),',
      },
    ],
    breaks: ['P3'],
    within: 12,
  },
  {
    name: 'restock-counted-twice',
    mistake: 'what a cancelled order gives back is booked as goods that came in, too',
    edits: [
      {
        file: 'core/order/booking.ts',
        from: 'if (change < 0) commands.push(releaseOf(line, -change, keyed(',
        to: 'if (change < 0) comeBack(line, -change, commands, context);\n    if (change < 0) commands.push(releaseOf(line, -change, keyed(',
      },
      {
        file: 'core/order/booking.ts',
        from: 'function releaseOf(\n',
        to: `function comeBack(line: LineBooking, units: number, commands: Command[], context: BookingContext): void {
  const locationId = context.prefer(line.channelLocation);
  if (locationId === null) return;
  const { key, businessAt } = context;
  for (const { variantId, units: each } of line.components)
    commands.push({ kind: 'return', key: [key, 'back', line.id, variantId].join(':'), businessAt, reason: 'restock', variantId,
      locationId, units: units * each, bucket: 'sellable' } as Command);
}
function releaseOf(\n`,
      },
    ],
    breaks: ['P3', 'P2'],
    within: 12,
  },
  {
    name: 'pending-expires',
    mistake: 'the units of a pending order are released by the clock after ten minutes',
    edits: [
      { file: 'core/stock/claims.ts', from: "  if (first.origin === 'channel') return 'channel_hold';\n", to: '' },
      { file: 'core/order/booking.ts', from: '    expiresAt: null,\n', to: '    expiresAt: businessAt + 600_000,\n' },
    ],
    breaks: ['P2'],
    within: 12,
  },
  {
    name: 'bundle-rounded-up',
    mistake: 'a bundle that lacks a part is offered all the same',
    edits: [
      {
        file: 'core/stock/publishable.ts',
        from: 'const div = (amount: number, by: number): number => Math.floor(amount / by);',
        to: 'const div = (amount: number, by: number): number => Math.ceil(amount / by);',
      },
    ],
    breaks: ['P4', 'P6'],
    within: 12,
  },
  {
    name: 'buffer-per-location',
    mistake: 'the buffer is held back at every location of a channel instead of once',
    edits: [{ file: 'core/stock/publishable.ts', from: '    if (own === null) left -= taken;\n', to: '' }],
    breaks: ['P4'],
    within: 12,
  },
  {
    name: 'settle-time-ignored',
    mistake: 'a number read before the settle time has passed is taken for proof',
    edits: [
      {
        file: 'core/stock/next-write.ts',
        from: 'if (input.settling && input.now < input.settling.until)',
        to: 'if (input.settling && input.now < 0)',
      },
      {
        file: 'core/stock/observe.ts',
        from: 'if (context.settling || (shown.pending',
        to: 'if (false || (shown.pending',
      },
    ],
    breaks: ['P4', 'P6', 'P10'],
    within: 12,
  },
  {
    name: 'rows-instead-of-keys',
    mistake: 'rows are claimed instead of keys: the newest is applied first, and what it passed over after it',
    edits: [
      {
        file: 'store/inbox/claim.ts',
        from: 'order by w.received_at, w.id limit',
        to: 'order by w.received_at desc, w.id desc limit 1 + 0 *',
      },
      {
        file: 'core/order/import.ts',
        from: "if (stored && incoming.updatedAt < stored.version) return { kind: 'nothing', reason: 'older' };",
        to: '',
      },
    ],
    breaks: ['P3'],
    within: 12,
  },
  {
    name: 'fact-refused',
    mistake: 'a count below what is owed is refused',
    edits: [
      {
        file: 'core/stock/goods.ts',
        from: "    makeRoom(desk, position, bucket, -change, 'fact', 'adjusted_beyond_book');\n",
        to: "    const refused = makeRoom(desk, position, bucket, -change, 'wish', 'adjusted_beyond_book');\n    if (refused) return refused;\n",
      },
    ],
    breaks: ['P2'],
    within: 12,
  },
  {
    name: 'shortfall-silent',
    mistake: 'units sold without goods behind them are told to nobody',
    edits: [
      {
        file: 'store/ledger/write.ts',
        from: '    if (now <= before) continue;\n',
        to: '    if (now <= before || now > 0) continue;\n',
      },
    ],
    breaks: ['P2'],
    within: 12,
  },
  {
    name: 'shortfall-not-filled',
    mistake: 'goods that come in are sold again before those who wait get theirs',
    edits: [{ file: 'core/stock/posting.ts', from: 'if (settle(desk.book, touched)) {', to: 'if (settle === null) {' }],
    breaks: ['P2'],
    within: 12,
  },
  {
    name: 'movement-lost',
    mistake: 'the database’s function leaves out the movement of a breakage',
    edits: [
      {
        file: 'store/migrations/0103_ledger_lean.sql',
        function: 'ledger_book',
        from: 'as m (org, effect_key, actor, reference, at, id, variant, units, from_location, from_bucket, to_location, to_bucket, kind, reason);',
        to: "as m (org, effect_key, actor, reference, at, id, variant, units, from_location, from_bucket, to_location, to_bucket, kind, reason) where m.to_bucket is distinct from 'damaged';",
      },
    ],
    breaks: ['P1'],
    within: 12,
  },
];

export const mutantNamed = (name: string): Mutant => {
  const found = mutants.find((mutant) => mutant.name === name);
  if (!found) throw new Error(`No mutant is named ${name}`);
  return found;
};

/** @throws when an edit's text does not stand there exactly once */
export function mutated(source: string, edits: readonly Edit[]): string {
  return edits.reduce((text, { file, from, to }) => {
    const found = text.split(from).length - 1;
    if (found !== 1) throw new Error(`The text of a mutant stands ${found} times in ${file}: ${from}`);
    return text.replace(from, () => to);
  }, source);
}
