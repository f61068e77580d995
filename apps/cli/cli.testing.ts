/** Runs commands in the test's own process, with streams of its own: the real program, without the seconds of a child. */
import { createSyncState } from './program.ts';

export interface Ran {
  exit: number;
  stdout: string;
  stderr: string;
  /** stdout as the one JSON document it must be with --json. */
  json<T = Record<string, unknown>>(): T;
}

export async function syncstate(...argv: string[]): Promise<Ran> {
  const ran = { stdout: '', stderr: '' };
  const stream = (name: 'stdout' | 'stderr') => ({ write: (text: string) => (ran[name] += text) });
  const exit = await createSyncState('0.0.0', { stdout: stream('stdout'), stderr: stream('stderr') }).run(argv);
  return { exit, ...ran, json: () => JSON.parse(ran.stdout) };
}
