import type { Verdict } from '#store/ledger/verify.ts';
import { verify } from '#store/ledger/verify.ts';
import { migrate } from '#store/migrate.ts';
import { type Cli, examples } from './cli.ts';
import { count, type Exit, type Output, table } from './output.ts';
import { configOf, type GlobalOptions, openDatabase, type Session } from './session.ts';

export function maintenanceCommands(cli: Cli): void {
  const { program } = cli;
  cli.on(
    program
      .command('migrate')
      .description('bring the database to this release (forward only; any number may run it at once)')
      .addHelpText('after', examples('migrate', 'migrate --json')),
    ({ options, output }) => runMigrate(options, output),
  );
  cli.withSession(
    program
      .command('verify')
      .description('prove that the ledger adds up; exit 1 when it does not')
      .addHelpText(
        'after',
        `${examples('verify', 'verify --org demo --json')}\n\nReads one snapshot per organization and changes nothing; all organizations unless --org is given.`,
      ),
    (session, { options, output }) => runVerify(session, options, output),
  );
}

async function runMigrate(options: GlobalOptions, output: Output): Promise<void> {
  const database = await openDatabase(configOf(options), output.note);
  try {
    const { applied } = await migrate(database.ownerUrl);
    output.result({ applied }, (print) => {
      if (applied.length === 0) print('The database is at this release already.');
      else for (const name of applied) print(`applied ${name}`);
    });
  } finally {
    await database.close();
  }
}

/** The verdicts of several organizations as one; at most 1,000 faults. Pure. */
export function joinVerdicts(verdicts: readonly Verdict[]): Verdict {
  const sum = (pick: (checked: Verdict['checked']) => number): number =>
    verdicts.reduce((total, { checked }) => total + pick(checked), 0);
  return {
    ok: verdicts.every(({ ok }) => ok),
    checked: {
      positions: sum(({ positions }) => positions),
      movements: sum(({ movements }) => movements),
      claims: sum(({ claims }) => claims),
    },
    faults: verdicts.flatMap(({ faults }) => faults).slice(0, 1_000),
  };
}

async function runVerify(session: Session, options: GlobalOptions, output: Output): Promise<Exit> {
  const organizations = options.org === undefined ? session.installation.organizations : [session.organization()];
  const verdicts: Verdict[] = [];
  for (const { id } of organizations)
    verdicts.push(await session.store.readOnly(id, (tx) => verify(tx, id), { statementTimeoutMs: 15 * 60_000 }));
  const { ok, checked, faults } = joinVerdicts(verdicts);
  const told = faults.map(({ kind, sku, location, expected, found }) => ({ kind, sku, location, expected, found }));
  output.result({ ok, checked, faults: told }, (print) => {
    const what = `${count(checked.positions, 'position')}, ${count(checked.movements, 'movement')}, ${count(checked.claims, 'claim')}`;
    print(
      ok ? `The ledger adds up: ${what}.` : `The ledger does NOT add up: ${count(faults.length, 'fault')} in ${what}.`,
    );
    if (faults.length > 0)
      for (const line of table(
        ['fault', 'SKU', 'location', 'what', 'expected', 'found'],
        faults.map((fault) => [fault.kind, fault.sku, fault.location, fault.what, fault.expected, fault.found]),
      ))
        print(line);
  });
  return ok ? 0 : 1;
}
