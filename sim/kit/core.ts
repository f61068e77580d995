/**
 * What every simulator stands on: journaled tables, clock, faults, call log and profile, opened from one folder.
 * A vendor builds its model on this and hands both to `simulator.ts`.
 */
import { join } from 'node:path';
import type { Clock, Ids, Random } from '#core/effects.ts';
import { type CallLog, openCallLog } from './calls.ts';
import { createSimClock, type SimClock } from './clock.ts';
import { createFaults, type Faults } from './faults.ts';
import { createProfileSetting, type ProfileName, type ProfileSetting } from './profiles.ts';
import type { PostMessage } from './sender.ts';
import { openTables, type Tables } from './tables.ts';

export interface SimCoreOptions {
  /** The vendor's place on the host and the name of its folder: letters, digits and dashes, e.g. "shop-a". */
  name: string;
  /** Parent folder of the simulator's own folder; null = memory only. */
  dir: string | null;
  clock: Clock;
  random: Random;
  ids: Ids;
  profile: ProfileName;
  snapshotAfterBytes?: number;
  /** How webhooks are delivered; default: HTTP on loopback. */
  post?: PostMessage;
}

export interface SimCore {
  readonly name: string;
  readonly tables: Tables;
  readonly clock: SimClock;
  readonly random: Random;
  readonly ids: Ids;
  readonly faults: Faults;
  readonly calls: CallLog;
  readonly profile: ProfileSetting;
  readonly post: PostMessage | undefined;
  /** Advances the clock and keeps the offset. */
  advanceClock(ms: number): void;
  close(): Promise<void>;
}

export async function openSimCore(options: SimCoreOptions): Promise<SimCore> {
  if (!/^[a-z0-9][a-z0-9-]*$/i.test(options.name)) throw new Error(`Not a simulator name: ${options.name}`);
  const dir = options.dir === null ? null : join(options.dir, options.name);
  const tables = await openTables({
    dir,
    ...(options.snapshotAfterBytes === undefined ? {} : { snapshotAfterBytes: options.snapshotAfterBytes }),
  });
  const offsets = tables.table<number>('kit.clock');
  const clock = createSimClock(options.clock, offsets.get('offsetMs') ?? 0);
  const calls = openCallLog(dir);
  return {
    name: options.name,
    tables,
    clock,
    random: options.random,
    ids: options.ids,
    faults: createFaults(tables, options.ids),
    calls,
    profile: createProfileSetting(tables, options.profile),
    post: options.post,
    advanceClock(ms) {
      clock.advance(ms);
      offsets.put('offsetMs', clock.offsetMs());
    },
    async close() {
      await tables.close();
      calls.close();
    },
  };
}
