/** migrate, verify, doctor: is this installation in order? */
import { accessSync, constants, existsSync, readFileSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { listConnections } from '#store/connections/connections.ts';
import type { Verdict } from '#store/ledger/verify.ts';
import { verify } from '#store/ledger/verify.ts';
import { migrate } from '#store/migrate.ts';
import { readAlerts, readDeadLetters } from '#store/views/attention.ts';
import { readConnections } from '#store/views/connections.ts';
import { type Cli, describe, examples } from './cli.ts';
import { CommandError, count, type Exit, type Output, table } from './output.ts';
import { configOf, type GlobalOptions, openDatabase, type Session, withSession } from './session.ts';

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
  cli.on(
    program
      .command('doctor')
      .description('look for what is wrong with this installation, and say what to do')
      .addHelpText('after', examples('doctor', 'doctor --json')),
    ({ options, output }) => runDoctor(options, output),
  );
}

async function runMigrate(options: GlobalOptions, output: Output): Promise<void> {
  const database = await openDatabase(configOf(options), () => undefined);
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

interface Finding {
  check: string;
  state: 'ok' | 'warning' | 'failed';
  detail: string;
  /** What to do; "" when nothing is. */
  advice: string;
}

const good = (check: string, detail: string): Finding => ({ check, state: 'ok', detail, advice: '' });
const bad = (check: string, state: 'warning' | 'failed', detail: string, advice: string): Finding => ({
  check,
  state,
  detail,
  advice,
});

async function runDoctor(options: GlobalOptions, output: Output): Promise<Exit> {
  const findings: Finding[] = [checkNode()];
  try {
    const config = configOf(options);
    findings.push(
      good('configuration', 'every setting can be read'),
      ...checkFolder(config.dataDir, config.databaseUrl !== null),
    );
    await withSession(options, output, async (session) => {
      findings.push(...(await checkInstallation(session)));
      for (const organization of session.installation.organizations)
        findings.push(...(await checkOrganization(session, organization)));
    });
  } catch (error) {
    const { text } = describe(error);
    findings.push(
      bad(
        error instanceof CommandError ? 'database' : 'start',
        'failed',
        text,
        'Mend that, then ask the doctor again.',
      ),
    );
  }
  const ok = findings.every(({ state }) => state !== 'failed');
  output.result({ ok, findings }, (print) => {
    for (const { check, state, detail, advice } of findings) {
      print(`${state === 'ok' ? 'ok     ' : state === 'warning' ? 'warning' : 'FAILED '}  ${check}: ${detail}`);
      if (advice !== '') print(`           → ${advice}`);
    }
  });
  return ok ? 0 : 1;
}

function checkNode(): Finding {
  const [major = 0] = process.versions.node.split('.').map(Number);
  if (major >= 24) return good('Node.js', process.versions.node);
  return bad(
    'Node.js',
    'failed',
    `${process.versions.node} is too old`,
    'Run through "npx syncstate": it brings the right one.',
  );
}

function checkFolder(dataDir: string, ownDatabase: boolean): Finding[] {
  if (!existsSync(dataDir))
    return [bad('data folder', 'warning', `${dataDir} does not exist yet`, 'It is made by the first start.')];
  try {
    accessSync(dataDir, constants.R_OK | constants.W_OK);
  } catch {
    return [
      bad(
        'data folder',
        'failed',
        `${dataDir} cannot be written`,
        'Give this user the right to write there, or name another folder.',
      ),
    ];
  }
  const { bavail, bsize } = statfsSync(dataDir);
  const freeMb = Math.round((bavail * bsize) / 2 ** 20);
  const room = `${freeMb} MB free`;
  if (!ownDatabase && freeMb < 500)
    return [
      bad(
        'data folder',
        freeMb < 100 ? 'failed' : 'warning',
        `${dataDir}: ${room}`,
        'The database lies here: make room.',
      ),
    ];
  return [good('data folder', `${dataDir}, ${room}`)];
}

async function checkInstallation({ installation, reached, clock, dataDir, store }: Session): Promise<Finding[]> {
  const how = {
    url: 'through DATABASE_URL',
    attached: 'embedded, running',
    started: 'embedded, started for this check',
  }[reached];
  const apartMs = Math.abs(installation.now - clock.now());
  // The app role, as the server uses it.
  await store.system((tx) => tx.query('select 1'));
  return [
    good(
      'database',
      `PostgreSQL ${installation.serverVersion}, ${how}; ${count(installation.applied.length, 'migration')} applied`,
    ),
    apartMs < 5_000
      ? good('clocks', 'this machine and the database agree')
      : bad(
          'clocks',
          'warning',
          `the database's clock is ${Math.round(apartMs / 1_000)} s away from ours`,
          'Set both by NTP: sales are ordered by time.',
        ),
    await checkServer(dataDir, reached === 'started'),
    installation.organizations.length > 0
      ? good('organizations', installation.organizations.map(({ slug }) => slug).join(', '))
      : bad('organizations', 'warning', 'none yet', 'syncstate org create "My shop"'),
  ];
}

/** Only the demo tells where its server listens. */
async function checkServer(dataDir: string, nothingRuns: boolean): Promise<Finding> {
  if (nothingRuns)
    return bad(
      'server',
      'warning',
      'none runs on this data folder',
      'Stock is published only while one runs: npm start',
    );
  const file = join(dataDir, 'demo.json');
  if (!existsSync(file)) return good('server', 'not asked: its address is not known here');
  const { url } = JSON.parse(readFileSync(file, 'utf8')) as { url: string };
  try {
    const answer = await fetch(`${url}/ready`, { signal: AbortSignal.timeout(3_000) });
    if (answer.ok) return good('server', `${url} is ready`);
    return bad('server', 'failed', `${url}/ready answers ${answer.status}`, 'Look into its log.');
  } catch {
    return bad('server', 'failed', `${url} does not answer`, 'Start it again: npm start');
  }
}

async function checkOrganization(session: Session, { id, slug }: { id: string; slug: string }): Promise<Finding[]> {
  const { store } = session;
  const { connections, alerts, dead } = await store.tenant(id, async (tx) => ({
    connections: await readConnections(tx, id, null),
    alerts: await readAlerts(tx, id, { unread: true, severity: 'critical', search: null, limit: 1, after: null }),
    dead: await readDeadLetters(tx, id, { search: null, limit: 100, after: null }),
  }));
  const verdict = await store.readOnly(id, (tx) => verify(tx, id));
  const findings: Finding[] = [
    verdict.ok
      ? good(`${slug}: ledger`, `adds up (${count(verdict.checked.movements, 'movement')})`)
      : bad(`${slug}: ledger`, 'failed', count(verdict.faults.length, 'fault'), `syncstate verify --org ${slug}`),
    await checkSecrets(session, id, slug),
  ];
  for (const { name, state, stateReason, paused, waiting, unmapped } of connections) {
    const check = `${slug}: ${name}`;
    if (state !== 'connected')
      findings.push(
        bad(
          check,
          'failed',
          `${state}${stateReason === null ? '' : `: ${stateReason}`}`,
          `Renew its credentials; then: syncstate connection test "${name}"`,
        ),
      );
    else if (paused)
      findings.push(bad(check, 'warning', `paused, ${waiting} waiting`, `syncstate connection resume "${name}"`));
    else if (unmapped > 0)
      findings.push(
        bad(
          check,
          'warning',
          `${count(unmapped, 'listing')} without a SKU of ours`,
          'Import the products, or map them: their sales are not booked.',
        ),
      );
    else findings.push(good(check, `connected, ${waiting} waiting`));
  }
  if (dead.items.length > 0)
    findings.push(
      bad(
        `${slug}: dead letters`,
        'warning',
        `${dead.next === null ? dead.items.length : 'more than 100'} events could not be applied`,
        `syncstate dead-letters list --org ${slug}`,
      ),
    );
  if (alerts.count > 0)
    findings.push(
      bad(
        `${slug}: alerts`,
        'warning',
        count(alerts.count, 'unread critical alert'),
        `syncstate alerts list --severity critical --org ${slug}`,
      ),
    );
  return findings;
}

/** Whether what is sealed in the database can be opened with the keys we have. */
async function checkSecrets(session: Session, orgId: string, slug: string): Promise<Finding> {
  const sealed = (await session.store.tenant(orgId, (tx) => listConnections(tx, orgId))).filter(
    ({ credentials }) => credentials !== null,
  );
  if (sealed.length === 0) return good(`${slug}: credentials`, 'none stored');
  const { vault } = await session.deps();
  const lost: string[] = [];
  let outdated = 0;
  for (const { id, name, credentials } of sealed) {
    if (credentials === null) continue;
    try {
      vault.open(credentials, { orgId, connectionId: id, column: 'credentials' });
      if (vault.isOutdated(credentials)) outdated += 1;
    } catch {
      lost.push(name);
    }
  }
  if (lost.length > 0)
    return bad(
      `${slug}: credentials`,
      'failed',
      `cannot be opened: ${lost.join(', ')}`,
      'Bring back the key in SYNCSTATE_SECRET_KEYS they were sealed with, or connect them again.',
    );
  if (outdated > 0)
    return bad(
      `${slug}: credentials`,
      'warning',
      `${outdated} sealed with an older key`,
      'Keep that key in SYNCSTATE_SECRET_KEYS until they are sealed again.',
    );
  return good(`${slug}: credentials`, `${count(sealed.length, 'connection')} can be opened`);
}
