/** The demo for commands that run in the test's own process: they find its database by the environment, as a person's would. */
import { type Demo, startDemo } from '#server/testing/demo.ts';

/** `stop` puts the environment back. */
export async function startDemoForCommands(): Promise<Demo> {
  const before = { DATABASE_URL: process.env.DATABASE_URL, SYNCSTATE_DATA_DIR: process.env.SYNCSTATE_DATA_DIR };
  const demo = await startDemo();
  process.env.DATABASE_URL = demo.db.ownerUrl;
  process.env.SYNCSTATE_DATA_DIR = demo.dataDir;
  return {
    ...demo,
    async stop() {
      for (const [name, value] of Object.entries(before)) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
      await demo.stop();
    },
  };
}
