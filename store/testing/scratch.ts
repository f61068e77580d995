/** Where tests put folders that are read and written a lot and mean nothing afterwards. */
import { mkdtempSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const roomBytes = 2 * 2 ** 30;

/** Memory where there is enough of it (a test database takes 25 ms there, 400 ms on a slow disk), else the temporary folder. */
export function scratchRoot(): string {
  try {
    const { bavail, bsize } = statfsSync('/dev/shm');
    if (bavail * bsize > roomBytes) return '/dev/shm';
  } catch {
    // No such file system here.
  }
  return tmpdir();
}

/** A new folder of mode 0700; remove it when done. */
export const scratchFolder = (prefix: string): string => mkdtempSync(join(scratchRoot(), prefix));
