/**
 * doctor: looks for the likeliest misconfigurations, and says what to do. Findings and words: diagnosis.ts; the list: docs/doctor.md.
 */
import { accessSync, constants, existsSync, readFileSync, statfsSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { type Config, ConfigError } from '#server/config.ts';
import { listConnections } from '#store/connections/connections.ts';
import { readFitness } from '#store/fitness.ts';
import { verify } from '#store/ledger/verify.ts';
import { readAlerts } from '#store/views/attention.ts';
import { readConnections } from '#store/views/connections.ts';
import { readDeadLetters } from '#store/views/letters.ts';
import { readSuspects } from '#store/views/suspects.ts';
import { type Cli, describe, examples } from './cli.ts';
import { bad, type Finding, good, judgeFitness, judgeStart, judgeSuspect } from './diagnosis.ts';
import { count, type Exit, type Output } from './output.ts';
import { configOf, type GlobalOptions, type Session, withSession } from './session.ts';

export function doctorCommands(cli: Cli): void {
  const { program } = cli;
  cli.on(
    program
      .command('doctor')
      .description('look for what is wrong with this installation, and say what to do')
      .addHelpText('after', examples('doctor', 'doctor --json')),
    ({ options, output }) => runDoctor(options, output),
  );
}

async function runDoctor(options: GlobalOptions, output: Output): Promise<Exit> {
  const findings: Finding[] = [checkNode()];
  try {
    const config = configOf(options);
    findings.push(
      good('configuration', 'configuration', 'every setting can be read'),
      ...checkFolder(config.dataDir, config.databaseUrl !== null),
    );
    if (config.databaseUrl !== null) findings.push(...judgeFitness(await readFitness(config.databaseUrl)));
    if (findings.every(({ state }) => state !== 'failed')) await lookInside(options, output, config, findings);
  } catch (error) {
    const code = error instanceof ConfigError ? 'config' : (error as { code?: string }).code;
    findings.push(judgeStart(code, describe(error).text));
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

async function lookInside(options: GlobalOptions, output: Output, config: Config, findings: Finding[]): Promise<void> {
  await withSession(options, output, async (session) => {
    findings.push(...(await checkInstallation(session)), ...(await checkPort(config, session.dataDir)));
    for (const organization of session.installation.organizations)
      findings.push(...(await checkOrganization(session, organization)));
  });
}

/** Taken by something that is not ours: the next start would be refused. */
async function checkPort({ port, host }: Config, dataDir: string): Promise<Finding[]> {
  if (port === 0 || existsSync(join(resolve(dataDir), 'demo.json'))) return [];
  const free = await new Promise<boolean>((done) => {
    const probe = createServer();
    probe.once('error', (error: NodeJS.ErrnoException) => done(error.code !== 'EADDRINUSE'));
    probe.listen(port, host, () => probe.close(() => done(true)));
  });
  if (free) return [good('port', 'port', `${port} is free`)];
  const ours = await fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(2_000) }).then(
    async (answer) => answer.ok && (await answer.text()).includes('"version"'),
    () => false,
  );
  if (ours) return [good('port', 'port', `${port} is served by SyncState`)];
  return [
    bad(
      'port_taken',
      'port',
      'failed',
      `${port} on ${host} is taken by another program`,
      `Stop that program, or set PORT to a free one, e.g. PORT=${port + 1}.`,
    ),
  ];
}

function checkNode(): Finding {
  const [major = 0] = process.versions.node.split('.').map(Number);
  if (major >= 24) return good('node', 'Node.js', process.versions.node);
  return bad(
    'node',
    'Node.js',
    'failed',
    `${process.versions.node} is too old`,
    'Run through "npx syncstate": it brings the right one.',
  );
}

function checkFolder(dataDir: string, ownDatabase: boolean): Finding[] {
  if (!existsSync(dataDir))
    return [
      bad('data_folder', 'data folder', 'warning', `${dataDir} does not exist yet`, 'It is made by the first start.'),
    ];
  try {
    accessSync(dataDir, constants.R_OK | constants.W_OK);
  } catch {
    return [
      bad(
        'data_folder_unwritable',
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
        'disk_low',
        'data folder',
        freeMb < 100 ? 'failed' : 'warning',
        `${dataDir}: ${room}`,
        'The database lies here: make room.',
      ),
    ];
  return [good('data_folder', 'data folder', `${dataDir}, ${room}`)];
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
      'database',
      `PostgreSQL ${installation.serverVersion}, ${how}; ${count(installation.applied.length, 'migration')} applied`,
    ),
    apartMs < 5_000
      ? good('clock_skew', 'clocks', 'this machine and the database agree')
      : bad(
          'clock_skew',
          'clocks',
          'warning',
          `the database's clock is ${Math.round(apartMs / 1_000)} s away from ours`,
          'Set both by NTP: sales are ordered by time.',
        ),
    await checkServer(dataDir, reached === 'started'),
    installation.organizations.length > 0
      ? good('organizations', 'organizations', installation.organizations.map(({ slug }) => slug).join(', '))
      : bad('organizations', 'organizations', 'warning', 'none yet', 'syncstate org create "My shop"'),
  ];
}

/** Only the demo tells where its server listens. */
async function checkServer(dataDir: string, nothingRuns: boolean): Promise<Finding> {
  if (nothingRuns)
    return bad(
      'server_missing',
      'server',
      'warning',
      'none runs on this data folder',
      'Stock is published only while one runs: npm start',
    );
  const file = join(dataDir, 'demo.json');
  if (!existsSync(file)) return good('server', 'server', 'not asked: its address is not known here');
  const { url } = JSON.parse(readFileSync(file, 'utf8')) as { url: string };
  try {
    const answer = await fetch(`${url}/ready`, { signal: AbortSignal.timeout(3_000) });
    if (answer.ok) return good('server', 'server', `${url} is ready`);
    return bad('server_down', 'server', 'failed', `${url}/ready answers ${answer.status}`, 'Look into its log.');
  } catch {
    return bad('server_down', 'server', 'failed', `${url} does not answer`, 'Start it again: npm start');
  }
}

async function checkOrganization(session: Session, { id, slug }: { id: string; slug: string }): Promise<Finding[]> {
  const { store } = session;
  const { connections, alerts, dead } = await store.tenant(id, async (tx) => ({
    connections: await readConnections(tx, id, null),
    alerts: await readAlerts(tx, id, {
      unread: true,
      standing: true,
      severity: 'critical',
      search: null,
      limit: 1,
      after: null,
    }),
    dead: await readDeadLetters(tx, id, { limit: 100, after: null }),
  }));
  const verdict = await store.readOnly(id, (tx) => verify(tx, id));
  const suspects = await store.tenant(id, (tx) => readSuspects(tx, id, ['shopify']));
  const findings: Finding[] = [
    ...suspects.map((suspect) => judgeSuspect(slug, suspect, session.config.publicUrl)),
    verdict.ok
      ? good('ledger', `${slug}: ledger`, `adds up (${count(verdict.checked.movements, 'movement')})`)
      : bad(
          'ledger',
          `${slug}: ledger`,
          'failed',
          count(verdict.faults.length, 'fault'),
          `syncstate verify --org ${slug}`,
        ),
    await checkSecrets(session, id, slug),
    ...keysOfLive(session, slug, connections),
  ];
  for (const { name, state, stateReason, paused, waiting, unmapped } of connections) {
    const check = `${slug}: ${name}`;
    if (state !== 'connected')
      findings.push(
        bad(
          state === 'unauthorized' ? 'token_dead' : 'channel_unreachable',
          check,
          'failed',
          `${state}${stateReason === null ? '' : `: ${stateReason}`}`,
          state === 'unauthorized'
            ? `Renew its credentials: syncstate connection renew "${name}" (--help says how)`
            : `Nothing, if the channel has an outage; else check network and address: syncstate connection test "${name}"`,
        ),
      );
    else if (paused)
      findings.push(
        bad('paused', check, 'warning', `paused, ${waiting} waiting`, `syncstate connection resume "${name}"`),
      );
    else if (unmapped > 0)
      findings.push(
        bad(
          'listings_unmapped',
          check,
          'warning',
          `${count(unmapped, 'listing')} without a SKU of ours`,
          'Import the products, or map them: their sales are not booked.',
        ),
      );
    else findings.push(good('connection', check, `connected, ${waiting} waiting`));
  }
  if (dead.items.length > 0)
    findings.push(
      bad(
        'dead_letters',
        `${slug}: dead letters`,
        'warning',
        `${dead.next === null ? dead.items.length : 'more than 100'} events could not be applied`,
        `syncstate dead-letters list --org ${slug}`,
      ),
    );
  if (alerts.count > 0)
    findings.push(
      bad(
        'alerts',
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
  if (sealed.length === 0) return good('credentials', `${slug}: credentials`, 'none stored');
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
      'sealing_key_lost',
      `${slug}: credentials`,
      'failed',
      `cannot be opened: ${lost.join(', ')}`,
      'Bring back the key in SYNCSTATE_SECRET_KEYS they were sealed with, or connect them again.',
    );
  if (outdated > 0)
    return bad(
      'sealing_key_old',
      `${slug}: credentials`,
      'warning',
      `${outdated} sealed with an older key`,
      'Keep that key in SYNCSTATE_SECRET_KEYS until they are sealed again.',
    );
  return good('credentials', `${slug}: credentials`, `${count(sealed.length, 'connection')} can be opened`);
}

/** A live shop's credentials sealed with a key that lies beside them: whoever copies the folder has both. */
function keysOfLive({ config }: Session, slug: string, connections: readonly { kind: string }[]): Finding[] {
  if (config.secretKeys.length > 0 || connections.every(({ kind }) => kind !== 'live')) return [];
  return [
    bad(
      'secret_key_missing',
      `${slug}: credentials`,
      'warning',
      'SYNCSTATE_SECRET_KEYS is not set: live credentials are sealed with a key that lies in the data folder',
      'SYNCSTATE_SECRET_KEYS=k1:$(openssl rand -base64 32), and local:$(cat <data folder>/secret-key) after it until all are sealed again.',
    ),
  ];
}
