/**
 * The one sentence at the top: are all channels in step, and if not, which one, since when, and what it means.
 * An unmapped listing belongs to no SKU here, so there is no number it should show: the channel's line counts it instead.
 * Pure; made from /api/connections alone, so that it is right also for SKUs that are not on the screen.
 */
import type { Connection } from '../client/types.ts';
import { isOnItsWay, isQuiet, targetStatus } from './status.ts';
import type { Role } from './theme.ts';

export interface Verdict {
  role: Role;
  /** "2 of 3 channels are in step." */
  sentence: string;
  /** One clause for each channel that is not, worst first. */
  clauses: readonly { connectionId: string; role: Role; text: string }[];
}

/** "1 s", "4 min", "3 h", "2 days". */
export function ageText(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
}

export const count = (units: number, one: string, many: string): string => `${units} ${units === 1 ? one : many}`;

/** Targets of the connection by a test on their state. */
function targetsWhere(connection: Connection, test: (state: string) => boolean): number {
  return Object.entries(connection.targets).reduce((total, [state, n]) => total + (test(state) ? n : 0), 0);
}

function clauseOf(connection: Connection, now: number): { role: Role; text: string } | null {
  const { name } = connection;
  const frozen = `its ${count(connection.listings, 'listing keeps its old number', 'listings keep their old numbers')}`;
  const since =
    connection.oldestWaiting === null ? '' : `, oldest ${ageText(now - Date.parse(connection.oldestWaiting))}`;
  if (connection.state === 'unauthorized') return { role: 'bad', text: `${name} needs sign-in: ${frozen}.` };
  if (connection.state === 'unreachable') return { role: 'bad', text: `${name} does not answer: ${frozen}.` };
  if (connection.paused) {
    const waits = connection.waiting;
    const waiting = waits === 0 ? '' : `; ${count(waits, 'change waits', 'changes wait')}${since}`;
    return { role: 'neutral', text: `${name} is paused${waiting}.` };
  }
  const stuck = Object.entries(connection.targets).filter(
    ([state, n]) => n > 0 && !isQuiet(state) && !isOnItsWay(state) && state !== 'unmapped',
  );
  if (stuck.length > 0) {
    const parts = stuck.map(([state, n]) => `${n} ${targetStatus(state).word.toLowerCase()}`);
    const bad = stuck.some(([state]) => targetStatus(state).role === 'bad');
    return { role: bad ? 'bad' : 'warn', text: `${name}: ${parts.join(', ')}.` };
  }
  const moving = Math.max(connection.waiting, targetsWhere(connection, isOnItsWay));
  if (moving > 0)
    return {
      role: 'info',
      text: `${name}: ${count(moving, 'number', 'numbers')} on ${moving === 1 ? 'its' : 'their'} way${since}.`,
    };
  return null;
}

/** What stands behind "all in step". */
export function evidenceOf(connections: readonly Connection[]): string {
  const listings = connections.reduce((total, { listings: n, unmapped }) => total + n - unmapped, 0);
  return `${count(listings, 'listing shows', 'listings show')} the number ${listings === 1 ? 'it' : 'they'} should; nothing is on its way.`;
}

const heaviness: Record<Role, number> = { bad: 3, warn: 2, neutral: 1, info: 0, ok: 0, simulated: 0 };

export function verdictOf(connections: readonly Connection[], now: number): Verdict {
  const total = connections.length;
  if (total === 0) return { role: 'neutral', sentence: 'No channel is connected yet.', clauses: [] };
  const clauses = connections
    .flatMap((connection) => {
      const clause = clauseOf(connection, now);
      return clause ? [{ connectionId: connection.id, ...clause }] : [];
    })
    .sort((a, b) => heaviness[b.role] - heaviness[a.role]);
  const worst = clauses[0];
  if (!worst)
    return {
      role: 'ok',
      sentence: total === 1 ? 'The channel is in step.' : `All ${total} channels are in step.`,
      clauses: [],
    };
  return {
    role: worst.role,
    sentence: `${total - clauses.length} of ${total} channels ${total - clauses.length === 1 ? 'is' : 'are'} in step.`,
    clauses,
  };
}
