/** A simulator process of its own, for tests that kill it: `node process.testing.ts <folder>` prints its base URL. */
import { startAccount } from './account.testing.ts';

const account = await startAccount({ dir: process.argv[2] ?? null, profile: 'vendor' });
process.stdout.write(`${account.base}\n`);
