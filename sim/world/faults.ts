/**
 * The faults: what breaks, at the vendors, between us, and among our own processes. Each is an act of the plan; what stands
 * for a while ends by itself, and everything ends with the acts (`mendAll`).
 */
import { noFilter } from '#store/views/letters.ts';
import type { Act, ActContext } from './actors/act.ts';
import { dealWithLetters } from './actors/operator.ts';
import type { Stage } from './stage.ts';

/** At one simulated vendor (`POST /_sim/faults`). */
const atVendor = (
  name: string,
  weight: number,
  make: (context: ActContext, platform: string) => Record<string, unknown> & { kind: string; forMs?: number },
  at: (platform: string) => boolean = () => true,
): Act => ({
  name,
  weight,
  async perform(context) {
    const channel = context.dice.of(context.stage.channels.filter(({ platform }) => at(platform)));
    if (!channel) return;
    const { forMs, ...fault } = make(context, channel.platform);
    const { body } = await channel.act('/faults', fault);
    context.tell(`${channel.place} ${JSON.stringify(fault)}${forMs === undefined ? '' : ` for ${forMs} ms`}`);
    if (forMs !== undefined) context.later(forMs, () => channel.act(`/faults/${String(body.id)}`, {}, 'DELETE'));
  },
});

const times = ({ dice }: ActContext) => dice.whole(1, 3);

/** Among our processes. */
const atProcess = (
  name: string,
  weight: number,
  strike: (context: ActContext, process: ReturnType<ActContext['crew']['living']>[number]) => string,
): Act => ({
  name,
  weight,
  async perform(context) {
    const process = context.dice.of(context.crew.living());
    context.tell(process ? `${process.owner.name} ${strike(context, process)}` : 'nobody lives');
  },
});

export const faults: readonly Act[] = [
  atVendor('loses messages', 3, (context) => ({ kind: 'drop', times: times(context) })),
  atVendor('doubles messages', 2, (context) => ({ kind: 'duplicate', times: times(context) })),
  atVendor('delays messages', 3, (context) => ({
    kind: 'delay',
    times: times(context),
    ms: context.dice.chance(0.7) ? context.dice.whole(500, 60_000) : context.dice.whole(600_000, 4 * 3_600_000),
  })),
  atVendor('reorders messages', 2, (context) => ({ kind: 'reorder', times: times(context) })),
  atVendor('is too busy', 2, (context) => ({
    kind: 'status',
    status: 429,
    times: times(context),
    ...(context.dice.chance(0.5) && { retryAfter: context.dice.whole(1, 20) }),
  })),
  atVendor('breaks', 2, (context) => ({
    kind: 'status',
    status: context.dice.oneOf([500, 502, 503]),
    times: context.dice.whole(1, 6),
  })),
  atVendor('hears nothing', 2, (context) => ({ kind: 'timeout_before', times: times(context) })),
  atVendor('acts and says nothing', 3, (context) => ({ kind: 'timeout_after', times: times(context) })),
  atVendor('does half', 2, (context, platform) => ({
    kind: 'half_batch',
    times: platform === 'amazon' ? 1 : times(context),
  })),
  {
    name: 'sends what nobody can read',
    weight: 2,
    async perform(context) {
      const { dice, stage, tell, later } = context;
      const channel = dice.of(stage.channels.filter(({ platform }) => platform === 'shopify'));
      if (!channel) return;
      channel.garbled += dice.whole(1, 2);
      tell(`${channel.place}: the next ${channel.garbled}`);
      // Somebody gives them up, and looks again for those that came late; what they were about is read by the order sweep.
      const look = (more: number) =>
        later(dice.whole(1_000, 120_000), async () => {
          dealWithLetters(context, 'discard', { ...noFilter, class: 'unreadable' });
          if (channel.garbled > 0) look(more);
          else if (more > 0) look(more - 1);
        });
      look(2);
    },
  },
  atVendor(
    'is stuck over a document',
    3,
    ({ dice }) => ({ kind: 'feed_stuck', times: 1, ms: dice.whole(60_000, 1_200_000) }),
    (platform) => platform === 'amazon',
  ),
  atVendor(
    'refuses half of a document',
    2,
    () => ({ kind: 'half_batch', times: 1 }),
    (platform) => platform === 'amazon',
  ),
  atVendor('refuses our token', 1, ({ dice }) => ({ kind: 'revoke', forMs: dice.whole(1_000, 300_000) })),
  {
    name: 'has its clock ahead',
    weight: 1,
    async perform({ stage, dice, tell }) {
      const channel = dice.of(stage.channels);
      if (!channel) return;
      const advanceMs = dice.chance(0.7) ? dice.whole(200, 5_000) : dice.whole(5_000, 120_000);
      await channel.act('/clock', { advanceMs });
      tell(`${channel.place} by ${advanceMs} ms more`);
    },
  },
  atProcess('is killed', 3, ({ dice }, { owner }) => {
    const after = dice.whole(0, 40);
    owner.mishap = { kind: 'killed', after };
    return `before its step ${after + 1} from now`;
  }),
  atProcess('is killed right after a commit', 3, ({ dice }, { owner }) => {
    const after = dice.whole(0, 8);
    owner.mishap = { kind: 'killed_after', after };
    return `its ${after + 1}. from now`;
  }),
  atProcess('loses the database at commit', 3, ({ dice }, { owner }) => {
    const after = dice.whole(0, 8);
    const kind = dice.oneOf<'commit_lost' | 'commit_undone'>(['commit_lost', 'commit_undone']);
    owner.mishap = { kind, after };
    return `its ${after + 1}. from now: ${kind === 'commit_lost' ? 'done' : 'not done'}`;
  }),
  atProcess('freezes right after a commit', 2, ({ dice }, { owner }) => {
    const [after, forMs] = [dice.whole(0, 8), dice.whole(1_000, 90_000)];
    owner.mishap = { kind: 'frozen_after', after, forMs };
    return `its ${after + 1}. from now, for ${forMs} ms`;
  }),
  atProcess('freezes', 2, ({ dice, scheduler }, { owner }) => {
    const ms = dice.whole(1_000, 90_000);
    owner.frozenUntil = scheduler.now + ms;
    return `for ${ms} ms`;
  }),
];

export async function mendAll({ channels }: Stage): Promise<void> {
  for (const channel of channels) {
    channel.garbled = 0;
    await channel.act('/faults', {}, 'DELETE');
  }
}
