/** What the doctor says: findings with a code that stays the same, what was seen, and what to do. Pure; apps/cli/doctor.ts looks. */
import type { Fitness } from '#store/fitness.ts';
import type { Suspect } from '#store/views/suspects.ts';

export interface Finding {
  /** Stable, for scripts. */
  code: string;
  check: string;
  state: 'ok' | 'warning' | 'failed';
  detail: string;
  /** What to do; "" when nothing is. */
  advice: string;
}

export const good = (code: string, check: string, detail: string): Finding => ({
  code,
  check,
  state: 'ok',
  detail,
  advice: '',
});
export const bad = (
  code: string,
  check: string,
  state: 'warning' | 'failed',
  detail: string,
  advice: string,
): Finding => ({ code, check, state, detail, advice });

export function judgeFitness(fitness: Fitness): Finding[] {
  const findings: Finding[] = [];
  if (fitness.versionNum < 150_000)
    findings.push(
      bad(
        'database_old',
        'database',
        'failed',
        `PostgreSQL ${fitness.version} is too old`,
        'Use PostgreSQL 15 or newer, or unset DATABASE_URL: a fitting one is brought along.',
      ),
    );
  if (!fitness.mayCreate)
    findings.push(
      bad(
        'database_rights',
        'database',
        'failed',
        'the login of DATABASE_URL may not create tables',
        'Name the owner of the database: alter database <name> owner to <user>; or grant create on schema public to <user>.',
      ),
    );
  if (fitness.appRole === false)
    findings.push(
      bad(
        'role_missing',
        'database',
        'failed',
        'the role syncstate_app does not exist',
        'It was dropped, or the database was restored into another cluster: syncstate migrate makes it again.',
      ),
    );
  if (!fitness.keepsSession)
    findings.push(
      bad(
        'pooler_transaction_mode',
        'database',
        'failed',
        'connections do not keep their session: a pooler in transaction mode stands in between',
        'Point DATABASE_URL at the database itself (often port 5432), or set the pooler to session mode.',
      ),
    );
  return findings;
}

/** A start that failed before anything could be looked at. */
export function judgeStart(code: string | undefined, text: string): Finding {
  if (code === 'cli.not_migrated')
    return bad('migrations_behind', 'migrations', 'failed', text, 'Run: syncstate migrate');
  if (code === 'migrate.role' || code === '28P01' || code === '28000')
    return bad(
      'database_login',
      'database',
      'failed',
      text,
      'The user or password of DATABASE_URL is not right, or the database’s pg_hba.conf refuses it.',
    );
  if (code === '3D000')
    return bad('database_missing', 'database', 'failed', text, 'Create it: createdb <name>, or correct DATABASE_URL.');
  if (code === 'config')
    return bad(
      'configuration',
      'configuration',
      'failed',
      text,
      'Correct the settings named above; .env.example explains each.',
    );
  return bad('database_unreachable', 'database', 'failed', text, 'Mend that, then ask the doctor again.');
}

export function judgeSuspect(slug: string, { code, connection, n, what }: Suspect, publicUrl: string | null): Finding {
  const check = `${slug}: ${connection}`;
  switch (code) {
    case 'webhooks_refused':
      return bad(
        code,
        check,
        'failed',
        `${n} webhooks were refused lately for a wrong signature, and none came after that was right`,
        'The secret here is not the one the channel signs with (Shopify: the app’s client secret). Connect it again with the right one.',
      );
    case 'location_unmapped':
      return bad(
        code,
        check,
        'failed',
        `its location ${what} stands for none of ours: ${n} numbers there are never right`,
        `syncstate connection map "${connection}" <our location>=${what}`,
      );
    case 'orders_unmapped':
      return bad(
        code,
        check,
        'failed',
        `${n} orders of the last 30 days hold goods that are mapped to nothing, e.g. ${what}: they are not booked`,
        `Map them: syncstate import mapping <file>; then these orders are booked by themselves.`,
      );
    case 'subscriptions_missing':
      return bad(
        code,
        check,
        'failed',
        `the channel does not send us all its events (${what})`,
        `syncstate connection test "${connection}"; orders are still found by the order sweep, later.`,
      );
    case 'webhook_address_missing':
      return publicUrl === null
        ? bad(
            'public_url_missing',
            check,
            'warning',
            'the channel was never told where to send its events, and SYNCSTATE_PUBLIC_URL is not set',
            'Set SYNCSTATE_PUBLIC_URL to the https address at which this server is reached, then connect it again. Until then orders come by the sweep only.',
          )
        : bad(
            code,
            check,
            'warning',
            'the channel was never told where to send its events',
            `syncstate connection add … --public-url ${publicUrl}. Until then orders come by the sweep only.`,
          );
    case 'settle_absurd':
      return bad(
        code,
        check,
        'failed',
        `its settleMs is ${n}: no channel takes that long`,
        `Between 0 and 600000 ms; to have the channel’s own again: syncstate connection settings "${connection}" settleMs=`,
      );
    case 'lag_absurd':
      return bad(
        code,
        check,
        'failed',
        `its orderLagMs is ${n}`,
        `Between 0 and 3600000 ms; to have the channel’s own again: syncstate connection settings "${connection}" orderLagMs=`,
      );
  }
}
