/** Buyers: they buy plain goods and bundles on every channel and location, mostly what is left of the scarce ones. */
import type { Code } from '../stage.ts';
import type { Act } from './act.ts';

export const buyers: readonly Act[] = [
  {
    name: 'buys',
    weight: 10,
    async perform({ stage, dice, tell }) {
      const channel = dice.of(stage.channels);
      if (!channel) return;
      const skus = [...stage.plain, ...stage.bundles.map(({ sku }) => sku)];
      const lines = Array.from({ length: dice.chance(0.2) ? 2 : 1 }, () => ({
        sku: dice.of(skus) ?? '',
        quantity: dice.whole(1, 3),
      })).filter(({ sku }, n, all) => all.findIndex((line) => line.sku === sku) === n);
      const location =
        channel.platform === 'shopify' ? channel.locations[dice.oneOf<Code>(['MAIN', 'MAIN', 'EAST'])] : undefined;
      const said = await channel.act('/orders', { lines, status: 'paid', ...(location && { location }) });
      tell(`${channel.place} ${lines.map(({ sku, quantity }) => `${quantity} ${sku}`).join(', ')}: ${said.status}`);
    },
  },
];
