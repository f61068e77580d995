/**
 * Which operating-system account runs the embedded PostgreSQL, and where that account can reach.
 *
 * PostgreSQL refuses to run as root. Started as root, we hand it to another account: the owner of an existing cluster, else
 * the first of a few well-known service accounts, else any other with an entry in /etc/passwd (initdb looks its own name up
 * there and fails without one). Started as anybody else, it runs as that user.
 */
import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

export interface Account {
  uid: number;
  gid: number;
  /** Null when /etc/passwd does not know the uid. */
  name: string | null;
  /** True when it is not the account we run as: files must be handed over, children started as it. */
  foreign: boolean;
}

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
}

const preferred = ['syncstate', 'postgres', '_postgres', 'nobody'];

/** Entries of a passwd file; malformed lines and uids that do not fit 31 bits (macOS writes -2) are left out. */
export function parsePasswd(text: string): PasswdEntry[] {
  return text
    .split('\n')
    .map((line) => line.split(':'))
    .map(([name = '', , uid = '', gid = '']) => ({ name, uid: Number(uid || 'x'), gid: Number(gid || 'x') }))
    .filter(({ name, uid, gid }) => name !== '' && !name.startsWith('#') && uid >= 0 && gid >= 0 && uid < 2 ** 31);
}

function passwd(): PasswdEntry[] {
  try {
    return parsePasswd(readFileSync('/etc/passwd', 'utf8'));
  } catch {
    return [];
  }
}

/** The account of the entries that root hands PostgreSQL to; null when there is none but root. */
export function serviceAccount(entries: readonly PasswdEntry[]): PasswdEntry | null {
  const others = entries.filter(({ uid }) => uid !== 0);
  for (const name of preferred) {
    const found = others.find((entry) => entry.name === name);
    if (found) return found;
  }
  return others[0] ?? null;
}

function ownerOf(path: string): { uid: number; gid: number } | null {
  try {
    const { uid, gid } = statSync(path);
    return { uid, gid };
  } catch {
    return null;
  }
}

/**
 * @param cluster the folder of an existing cluster, or a path that does not exist yet
 * @throws Error when the cluster belongs to somebody else, or root has nobody to hand it to
 */
export function chooseAccount(cluster: string): Account {
  const ownUid = process.getuid?.() ?? 0;
  const ownGid = process.getgid?.() ?? 0;
  const entries = passwd();
  const named = (uid: number) => entries.find((entry) => entry.uid === uid)?.name ?? null;
  const owner = ownerOf(cluster);
  if (ownUid !== 0) {
    if (owner && owner.uid !== ownUid)
      throw new Error(
        `The database in ${cluster} belongs to user ${named(owner.uid) ?? owner.uid}: start as that user or as root.`,
      );
    return { uid: ownUid, gid: ownGid, name: named(ownUid), foreign: false };
  }
  if (owner && owner.uid !== 0) return { ...owner, name: named(owner.uid), foreign: true };
  const chosen = serviceAccount(entries);
  if (!chosen)
    throw new Error(
      'PostgreSQL does not run as root and /etc/passwd names no other user: add one, or set DATABASE_URL.',
    );
  return { uid: chosen.uid, gid: chosen.gid, name: chosen.name, foreign: true };
}

const READ = 4;
const ENTER = 1;

/** Whether the mode bits let the account (without its supplementary groups) do `right` to the path itself. */
function allows(path: string, account: Account, right: number): boolean {
  const { mode, uid, gid } = statSync(path);
  const shift = uid === account.uid ? 6 : gid === account.gid ? 3 : 0;
  return ((mode >> shift) & right) === right;
}

/** Whether the account can walk to the folder and into it. Decided by mode bits. */
export function canEnter(folder: string, account: Account): boolean {
  for (let path = resolve(folder); ; path = dirname(path)) {
    if (!allows(path, account, ENTER)) return false;
    if (path === dirname(path)) return true;
  }
}

/** Whether the account can read the file where it lies. */
export function canRead(file: string, account: Account): boolean {
  return allows(file, account, READ) && canEnter(dirname(file), account);
}
