/** Helpers of a bench that are processes of their own (load, simulators): one question, one answer, over node's IPC. */
import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';

export interface Helper {
  pid: number;
  /** @throws with the helper's own message when it failed */
  ask<T>(question: object): Promise<T>;
  stop(): Promise<void>;
}

interface Reply {
  id: number;
  answer?: unknown;
  error?: string;
}

/** @param file in bench/kit */
export function startHelper(file: string): Helper {
  const child: ChildProcess = fork(join(import.meta.dirname, file), {
    execArgv: ['--disable-warning=ExperimentalWarning'],
    serialization: 'advanced',
  });
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  let last = 0;
  child.on('message', ({ id, answer, error }: Reply) => {
    const asker = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) asker?.resolve(answer);
    else asker?.reject(new Error(`${file}: ${error}`));
  });
  child.on('exit', () => {
    for (const { reject } of waiting.values()) reject(new Error(`${file} ended`));
    waiting.clear();
  });
  return {
    pid: child.pid ?? 0,
    ask<T>(question: object) {
      last += 1;
      const id = last;
      child.send({ id, question });
      return new Promise<T>((resolve, reject) => {
        waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      });
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await gone;
    },
  };
}

/** In the helper's own file: answers questions for ever. */
export function answerQuestions<Q extends object>(answer: (question: Q) => Promise<unknown>): void {
  process.on('disconnect', () => process.exit(0));
  process.on('message', ({ id, question }: { id: number; question: Q }) => {
    answer(question).then(
      (value) => process.send?.({ id, answer: value }),
      (error: unknown) => process.send?.({ id, error: error instanceof Error ? (error.stack ?? '') : String(error) }),
    );
  });
}
