/**
 * The words for states: one exhaustive map from a target's or connection's state to word, icon and role.
 * Nothing else makes a tag. Rows of the target map stand in order of weight: where several apply, the later wins.
 */
import {
  type Icon,
  IconArrowsDiff,
  IconBan,
  IconCircleCheck,
  IconCloudOff,
  IconEyeQuestion,
  IconGauge,
  IconGhost,
  IconHandStop,
  IconHelpCircle,
  IconHourglassLow,
  IconKeyOff,
  IconLinkOff,
  IconLock,
  IconPlayerPause,
  IconPlugConnected,
  IconSend,
} from '@tabler/icons-react';
import type { Role } from './theme.ts';

export interface Status {
  word: string;
  icon: Icon;
  role: Role;
  /** What it means for the number, as the end of "The number …". */
  means: string;
}

const targets = {
  in_sync: { word: 'In step', icon: IconCircleCheck, role: 'ok', means: 'is the one it should be' },
  pending: { word: 'Sending', icon: IconSend, role: 'info', means: 'is about to be sent' },
  sent: {
    word: 'Sent, not seen',
    icon: IconEyeQuestion,
    role: 'info',
    means: 'was accepted; no reading has shown it yet',
  },
  unknown: { word: 'Checking', icon: IconHelpCircle, role: 'warn', means: 'is being read before anything is sent' },
  drifted: { word: 'Drifted', icon: IconArrowsDiff, role: 'warn', means: 'is not the one we last knew there' },
  suspended: {
    word: 'Suspended',
    icon: IconHandStop,
    role: 'warn',
    means: 'is held back: stock is outdated or a component is missing',
  },
  settling: {
    word: 'Settling',
    icon: IconHourglassLow,
    role: 'info',
    means: 'was accepted; this channel applies it later',
  },
  read_only: { word: 'Read only', icon: IconLock, role: 'neutral', means: 'is kept by the channel itself' },
  unmapped: { word: 'Unmapped', icon: IconLinkOff, role: 'warn', means: 'belongs to no SKU here' },
  rejected: { word: 'Rejected', icon: IconBan, role: 'bad', means: 'was refused by the channel and stays as it was' },
  unauthorized: {
    word: 'Unauthorized',
    icon: IconKeyOff,
    role: 'bad',
    means: 'is frozen: the channel no longer accepts our key',
  },
  unreachable: {
    word: 'Unreachable',
    icon: IconCloudOff,
    role: 'bad',
    means: 'is frozen: the channel does not answer',
  },
  paused: { word: 'Paused', icon: IconPlayerPause, role: 'neutral', means: 'is not written: a person paused it' },
  shadow: { word: 'Shadow', icon: IconGhost, role: 'neutral', means: 'is computed and not written' },
} satisfies Record<string, Status>;

export type TargetState = keyof typeof targets;
const order = Object.keys(targets);

const isTargetState = (state: string): state is TargetState => Object.hasOwn(targets, state);

/** A state this page does not know yet is shown by its own name: never hidden, never guessed. */
const unrecognized = (state: string): Status => ({
  word: state.replaceAll('_', ' '),
  icon: IconHelpCircle,
  role: 'warn',
  means: 'is in a state this page does not know',
});

export const targetStatus = (state: string): Status => (isTargetState(state) ? targets[state] : unrecognized(state));

/** States in which nothing has to happen. */
export const isQuiet = (state: string): boolean => state === 'in_sync' || state === 'read_only';

/** States that end by themselves. */
export const isOnItsWay = (state: string): boolean =>
  state === 'pending' || state === 'sent' || state === 'settling' || state === 'unknown';

const weight = (state: string): number => (isTargetState(state) ? order.indexOf(state) : order.length);

/** The state that wins among several. */
export function heaviest(states: readonly string[]): string {
  return states.reduce((worst, state) => (weight(state) > weight(worst) ? state : worst), 'in_sync');
}

const connections: Record<string, Status> = {
  connected: { word: 'Connected', icon: IconPlugConnected, role: 'ok', means: 'takes our numbers' },
  throttled: { word: 'Throttled', icon: IconGauge, role: 'warn', means: 'waits for the channel’s call limit' },
  unauthorized: {
    word: 'Needs sign-in',
    icon: IconKeyOff,
    role: 'bad',
    means: 'keeps its old numbers until someone signs in again',
  },
  unreachable: {
    word: 'Unreachable',
    icon: IconCloudOff,
    role: 'bad',
    means: 'keeps its old numbers until it answers',
  },
  shadow: { word: 'Shadow', icon: IconGhost, role: 'neutral', means: 'is computed and not written' },
  paused: { word: 'Paused', icon: IconPlayerPause, role: 'neutral', means: 'is not written; orders still come in' },
};

export function connectionStatus(connection: { state: string; paused: boolean }): Status {
  if (connection.paused) return connections.paused as Status;
  return connections[connection.state] ?? unrecognized(connection.state);
}
