/**
 * Collects the evidence after every step of the world: channels as their simulators tell, rows as the database tells, and
 * the acts handed in. Cheap enough for every step: what a channel tells is in memory, the rows are one round trip.
 *
 *   const collector = createCollector({ owner, orgId, channels });   before anything happens
 *   auditor.step(await collector.collect({ step, now, acts }));      after every step
 */
import { type ChannelWitness, type WatchedChannel, watchChannel } from './collect-channel.ts';
import { createRowsCollector, type Owner } from './collect-rows.ts';
import type { Act, Evidence } from './evidence.ts';

export interface Collector {
  /** @param acts those since the last call */
  collect(at: { step: number; now: number; acts: Act[] }): Promise<Evidence>;
}

export function createCollector(options: { owner: Owner; orgId: string; channels: WatchedChannel[] }): Collector {
  const witnesses: ChannelWitness[] = options.channels.map(watchChannel);
  const database = createRowsCollector(options.owner, options.orgId);
  return {
    async collect(at) {
      const channels = witnesses.map((witness) => witness.look());
      return { ...at, channels, ...(await database.collect()) };
    },
  };
}
