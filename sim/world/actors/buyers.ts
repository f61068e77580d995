/**
 * Whoever has to do with a channel's orders: buyers, payers, cancellers, editors, the clerk who ships and takes back.
 * Whatever they ask for, the simulated vendor may refuse; then nothing happened.
 */
import type { Dice } from '../chance.ts';
import type { ChannelOfWorld, Code, Stage } from '../stage.ts';
import type { Act, ActContext } from './act.ts';

interface Line {
  id: string;
  sku: string;
  quantity: number;
}

/** Some order of some channel, mostly a late one. */
async function someOrder({ stage, dice }: ActContext): Promise<{
  channel: ChannelOfWorld;
  order: { id: string; status: string; lines: Line[] };
} | null> {
  const channel = dice.of(stage.channels);
  const { orders } = channel ? await channel.state() : { orders: [] };
  const order = dice.of(dice.chance(0.7) ? orders.slice(-4) : orders);
  return channel && order ? { channel, order } : null;
}

/** The act on some order, told with the vendor's answer. */
const onOrder =
  (path: string, body: (order: { id: string; lines: Line[] }, dice: Dice) => object) =>
  async (context: ActContext): Promise<void> => {
    const found = await someOrder(context);
    if (!found) return context.tell('no order');
    const { channel, order } = found;
    const asked = body(order, context.dice);
    const { status } = await channel.act(path, { order: order.id, ...asked });
    context.tell(`${channel.place} ${order.id} ${JSON.stringify(asked)}: ${status}`);
  };

/** Some units of some lines, by line id. */
function someLines(lines: readonly Line[], dice: Dice): Line[] {
  const some = lines.filter(() => dice.chance(0.6));
  return some
    .filter(({ quantity }) => quantity > 0)
    .map(({ id, sku, quantity }) => ({ id, sku, quantity: dice.whole(1, quantity) }));
}

function basket(stage: Stage, dice: Dice): { sku: string; quantity: number }[] {
  const kits = stage.bundles.map(({ sku }) => sku);
  const lines = Array.from({ length: dice.chance(0.25) ? dice.whole(2, 3) : 1 }, () => ({
    sku: (dice.chance(0.3) ? dice.of(kits) : dice.of(stage.plain)) ?? '',
    quantity: dice.weighted([
      [6, 1],
      [3, 2],
      [1, 4],
    ]),
  }));
  return lines.filter(({ sku }, n) => lines.findIndex((line) => line.sku === sku) === n);
}

const refundable = ['SELLABLE', 'SELLABLE', 'CUSTOMER_DAMAGED', 'DEFECTIVE'] as const;

export const buyers: readonly Act[] = [
  {
    name: 'buys',
    weight: 45,
    async perform({ stage, dice, tell }) {
      const channel = dice.of(stage.channels);
      if (!channel) return;
      const lines = basket(stage, dice);
      const code = dice.oneOf<Code>(['MAIN', 'MAIN', 'EAST']);
      const body = {
        lines,
        status: dice.chance(0.75) ? 'paid' : 'pending',
        oversell: dice.chance(0.05),
        ...(channel.platform === 'shopify' && { location: channel.locations[code] }),
      };
      const { status } = await channel.act('/orders', body);
      const what = lines.map(({ sku, quantity }) => `${quantity} ${sku}`).join(', ');
      tell(`${channel.place} ${code} ${body.status}${body.oversell ? ' beyond its number' : ''} ${what}: ${status}`);
    },
  },
  { name: 'pays', weight: 6, perform: onOrder('/payments', () => ({})) },
  {
    name: 'cancels',
    weight: 6,
    perform: onOrder('/cancellations', ({ lines }, dice) => ({
      restock: dice.chance(0.7),
      ...(dice.chance(0.3) && { lines: someLines(lines, dice) }),
    })),
  },
  {
    name: 'edits an order',
    weight: 5,
    perform: onOrder('/edits', ({ lines }, dice) => ({
      lines: lines
        .filter(() => dice.chance(0.7))
        .map(({ id, sku, quantity }) => ({ id, sku, quantity: Math.max(0, quantity + dice.whole(-2, 2)) })),
    })),
  },
  {
    name: 'ships at the channel',
    weight: 6,
    perform: onOrder('/fulfillments', ({ lines }, dice) => (dice.chance(0.6) ? {} : { lines: someLines(lines, dice) })),
  },
  {
    name: 'brings back',
    weight: 5,
    perform: onOrder('/returns', ({ lines }, dice) => ({
      restock: dice.chance(0.5),
      lines: someLines(lines, dice).map((line) => ({ ...line, disposition: dice.oneOf<string>([...refundable]) })),
    })),
  },
  {
    name: 'edits the number in the vendor’s admin',
    weight: 3,
    async perform({ stage, dice, tell }) {
      const channel = dice.of(stage.channels);
      if (!channel) return;
      const { items } = await channel.state();
      const item = dice.of(items);
      if (!item) return;
      const quantity = Math.max(0, item.quantity + dice.whole(-3, 3));
      const { status } = await channel.act('/stock', { sku: item.sku, location: item.location, quantity });
      tell(`${channel.place} ${item.sku} at ${item.location}: ${item.quantity} → ${quantity}: ${status}`);
    },
  },
];
