/**
 * Profiles: `open` has no limits and no delays (the demo); `vendor` has the documented limits, latency, settle and
 * retry times. What each means in numbers is written in each vendor's folder.
 *
 * A profile set by `POST /_sim/profile` survives a restart, until the simulator is started with another one than before.
 */
import type { Tables } from './tables.ts';

export const PROFILES = ['open', 'vendor'] as const;
export type ProfileName = (typeof PROFILES)[number];

export interface ProfileSetting {
  current(): ProfileName;
  set(profile: ProfileName): void;
  /** Back to the profile the simulator was started with. */
  restore(): void;
}

export function createProfileSetting(tables: Tables, startedWith: ProfileName): ProfileSetting {
  const settings = tables.table<{ startedWith: ProfileName; current: ProfileName }>('kit.profile');
  const restore = () => settings.put('profile', { startedWith, current: startedWith });
  if (settings.get('profile')?.startedWith !== startedWith) restore();
  return {
    current: () => settings.get('profile')?.current ?? startedWith,
    set: (current) => settings.put('profile', { startedWith, current }),
    restore,
  };
}
