/**
 * The two database logins: the owner (DATABASE_URL: owns tables, migrates) and `syncstate_app` (everything else, under row
 * security). The app role's password follows from the owner's by a keyed hash, so that any number of processes with the same
 * DATABASE_URL agree without telling each other, and nothing needs to be stored.
 *
 * Roles belong to the whole cluster while migrations lock one database: every step here tolerates another process doing the
 * same at the same moment. Called by store/migrate.ts.
 */
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import pg from 'pg';
import { CodedError } from '#core/errors.ts';

export const appRole = 'syncstate_app';

/** What must be true of the database before SyncState can run; `message` says what to do, SQL included. */
export class MigrationError extends CodedError {}

function parseUrl(url: string): URL {
  try {
    return new URL(url);
  } catch {
    // The URL holds a password: it must not reach a message.
    throw new MigrationError(
      'migrate.url',
      'DATABASE_URL is not a URL of the form postgres://user:password@host:5432/database.',
    );
  }
}

/** The password of the app role; null when the owner logs in without one (trust, peer, certificate): then so does the app role. */
export function appPassword(ownerUrl: string): string | null {
  const key = decodeURIComponent(parseUrl(ownerUrl).password);
  return key === '' ? null : createHmac('sha256', key).update('syncstate app role, version 1').digest('base64url');
}

/** The owner's URL with the app role's login in place of the owner's. */
export function appUrl(ownerUrl: string): string {
  const url = parseUrl(ownerUrl);
  url.username = appRole;
  url.password = appPassword(ownerUrl) ?? '';
  url.searchParams.delete('user');
  url.searchParams.delete('password');
  return url.toString();
}

/** PostgreSQL's stored form of a password (RFC 5803), so that the password itself appears in no statement and no server log. */
export function scramVerifier(password: string, salt: Uint8Array, iterations = 4_096): string {
  const salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256');
  const clientKey = createHmac('sha256', salted).update('Client Key').digest();
  const storedKey = createHash('sha256').update(clientKey).digest('base64');
  const serverKey = createHmac('sha256', salted).update('Server Key').digest('base64');
  return `SCRAM-SHA-256$${iterations}:${Buffer.from(salt).toString('base64')}$${storedKey}:${serverKey}`;
}

/** `password '…'` for the app role. The salt follows from the password: several processes write the very same verifier. */
function passwordClause(ownerUrl: string): string {
  const password = appPassword(ownerUrl);
  if (password === null) return '';
  const salt = createHash('sha256').update(`salt:${password}`).digest().subarray(0, 16);
  return ` password '${scramVerifier(password, salt)}'`;
}

const attributes = 'login nosuperuser nocreatedb nocreaterole nobypassrls noreplication';

/** What an administrator runs when the owner may not make roles. */
export function administratorSql(ownerUrl: string, exists: boolean): string {
  return `${exists ? 'alter' : 'create'} role ${appRole} ${attributes}${passwordClause(ownerUrl)};`;
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}

/** Another process changed the same role at the same moment: 42710 exists, 23505 exists (raced), XX000 "tuple concurrently updated". */
const raced = (error: unknown): boolean =>
  ['42710', '23505'].includes(codeOf(error) ?? '') || (codeOf(error) === 'XX000' && /concurrently/.test(String(error)));

async function changeRole(owner: pg.Client, statement: string, ownerUrl: string, exists: boolean): Promise<void> {
  try {
    await owner.query(statement);
  } catch (error) {
    if (raced(error)) return;
    if (codeOf(error) !== '42501') throw error;
    throw new MigrationError(
      'migrate.role',
      `The owner may not ${exists ? 'change' : 'make'} the role ${appRole}. An administrator must run:\n\n${administratorSql(ownerUrl, exists)}\n`,
      {},
      error,
    );
  }
}

type Login = 'works' | 'refused';

async function tryLogin(url: string): Promise<Login> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return 'works';
  } catch (error) {
    // invalid_password, invalid_authorization_specification; anything else says nothing about the password.
    if (['28P01', '28000'].includes(codeOf(error) ?? '')) return 'refused';
    throw error;
  } finally {
    await client.end().catch(() => undefined);
  }
}

interface RoleRow {
  rolcanlogin: boolean;
  rolsuper: boolean;
  rolbypassrls: boolean;
}

async function readRole(owner: pg.Client): Promise<RoleRow | undefined> {
  const { rows } = await owner.query<RoleRow>(
    'select rolcanlogin, rolsuper, rolbypassrls from pg_roles where rolname = $1',
    [appRole],
  );
  return rows[0];
}

/**
 * Makes sure that the app role exists, is bound by row security, and lets us in with `appUrl(ownerUrl)`.
 * Touches the password only when it does not work. Throws MigrationError with the SQL to run when the owner may not.
 */
export async function ensureAppRole(owner: pg.Client, ownerUrl: string): Promise<void> {
  if (!(await readRole(owner)))
    await changeRole(owner, `create role ${appRole} ${attributes}${passwordClause(ownerUrl)}`, ownerUrl, false);
  const role = await readRole(owner);
  if (role?.rolsuper || role?.rolbypassrls)
    throw new MigrationError(
      'migrate.role',
      `The role ${appRole} is not bound by row security. An administrator must run:\n\n${administratorSql(ownerUrl, true)}\n`,
    );
  for (let attempt = 0; attempt < 5; attempt += 1) {
    if ((await tryLogin(appUrl(ownerUrl))) === 'works') return;
    await changeRole(owner, `alter role ${appRole} ${attributes}${passwordClause(ownerUrl)}`, ownerUrl, true);
  }
  throw new MigrationError(
    'migrate.login',
    `The role ${appRole} cannot log in: its password is set, so look at pg_hba.conf.`,
  );
}
