/**
 * Configuration: one table of names, types, defaults and help. Parsed once at start; all problems are reported together;
 * the result is frozen. `syncstate --help` and `.env.example` are printed from it.
 */
import { readFileSync } from 'node:fs';
import { type Scope, scopes } from '#store/tx.ts';

/** A value that must never be printed: shows as [secret] in logs, JSON and templates. */
export type SimProfile = 'open' | 'vendor';

export interface SecretKey {
  id: string;
  key: Uint8Array;
}

export interface Config {
  readonly port: number;
  readonly host: string;
  readonly dataDir: string;
  readonly databaseUrl: string | null;
  readonly demo: boolean;
  readonly demoTraffic: boolean;
  readonly simProfile: SimProfile;
  /** First one is active; empty = make one and keep it in the data folder (development only). */
  readonly secretKeys: readonly SecretKey[];
  readonly logLevel: string;
  readonly allowCustomEndpoints: boolean;
  readonly trustProxy: boolean;
  readonly production: boolean;
  /** Connections of one process to the database. */
  readonly databasePool: number;
  readonly statementTimeoutsMs: Readonly<Record<Scope, number>>;
  readonly slowStatementMs: number;
  /** From where on a person is alarmed (jobs/alarms.ts). */
  readonly alarms: { readonly errorPercent: number; readonly waitSeconds: number; readonly queueDepth: number };
  /** Where channels reach us, e.g. https://stock.example.com; null: not known. */
  readonly publicUrl: string | null;
}

interface Setting {
  name: string;
  fallback: string;
  help: string;
  values?: readonly string[];
  secret?: boolean;
}

export const settings: readonly Setting[] = [
  { name: 'PORT', fallback: '3000', help: 'port to listen on; 0 takes a free one' },
  { name: 'HOST', fallback: '127.0.0.1', help: 'address to listen on; 0.0.0.0 for every interface' },
  { name: 'SYNCSTATE_DATA_DIR', fallback: '.data', help: 'folder for the embedded database, keys and the demo' },
  {
    name: 'DATABASE_URL',
    fallback: '',
    help: 'owner URL of a PostgreSQL >= 15; empty starts the embedded one',
    secret: true,
  },
  {
    name: 'SYNCSTATE_DEMO',
    fallback: '',
    help: 'demo organization with simulated channels (off in production)',
    values: ['on', 'off'],
  },
  {
    name: 'SYNCSTATE_DEMO_TRAFFIC',
    fallback: 'off',
    help: 'simulated buyers buy by themselves',
    values: ['on', 'off'],
  },
  {
    name: 'SYNCSTATE_SIM_PROFILE',
    fallback: 'open',
    help: 'simulators: no limits (open) or the documented ones (vendor)',
    values: ['open', 'vendor'],
  },
  {
    name: 'SYNCSTATE_SECRET_KEYS',
    fallback: '',
    help: 'id:base64 of 32 bytes, comma list, the first is active; required in production',
    secret: true,
  },
  {
    name: 'LOG_LEVEL',
    fallback: 'info',
    help: 'trace, debug, info, warn, error or silent',
    values: ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
  },
  {
    name: 'SYNCSTATE_ALLOW_CUSTOM_ENDPOINTS',
    fallback: 'false',
    help: 'live connections may use other base URLs',
    values: ['true', 'false'],
  },
  {
    name: 'SYNCSTATE_TRUST_PROXY',
    fallback: 'false',
    help: 'believe X-Forwarded-* of a proxy in front',
    values: ['true', 'false'],
  },
  { name: 'SYNCSTATE_DB_POOL', fallback: '24', help: 'connections to the database per process' },
  {
    name: 'SYNCSTATE_DB_TIMEOUTS',
    fallback: 'tenant:60000,batch:60000,system:60000,readOnly:60000',
    help: 'longest time of one statement in ms, by scope; what is left out keeps its default',
  },
  {
    name: 'SYNCSTATE_SLOW_QUERY_MS',
    fallback: '500',
    help: 'statements at least this slow are logged (name, ms, rows; never values)',
  },
  {
    name: 'SYNCSTATE_ALARM_ERROR_PERCENT',
    fallback: '5',
    help: 'alarm when more of the calls to channels fail within five minutes',
  },
  { name: 'SYNCSTATE_ALARM_WAIT_SECONDS', fallback: '60', help: 'alarm when the oldest work waits longer' },
  { name: 'SYNCSTATE_ALARM_QUEUE', fallback: '10000', help: 'alarm when more events and numbers wait' },
  {
    name: 'SYNCSTATE_PUBLIC_URL',
    fallback: '',
    help: 'https address at which channels reach this installation, for webhooks',
  },
  { name: 'NODE_ENV', fallback: 'development', help: 'production refuses weak or missing secrets and has no demo' },
];

export class ConfigError extends Error {
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(
      `The configuration has ${problems.length === 1 ? 'a problem' : `${problems.length} problems`}:\n${problems.map((line) => `  - ${line}`).join('\n')}`,
    );
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

type Environment = Readonly<Record<string, string | undefined>>;

/** NAME, or the content of the file named by NAME_FILE. */
function readSetting(environment: Environment, name: string, problems: string[]): string | undefined {
  const file = environment[`${name}_FILE`];
  if (file === undefined || file === '') return environment[name];
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    problems.push(`${name}_FILE: cannot read ${file}`);
    return undefined;
  }
}

function parseSecretKeys(text: string, problems: string[]): SecretKey[] {
  if (text === '') return [];
  const keys = text.split(',').map((part) => {
    const [id = '', encoded = ''] = part.trim().split(/:(.*)/s);
    return { id, key: new Uint8Array(Buffer.from(encoded, 'base64')) };
  });
  for (const { id, key } of keys) {
    if (id === '' || key.length !== 32)
      problems.push(`SYNCSTATE_SECRET_KEYS: key "${id}" must be id:base64 of exactly 32 bytes`);
    else if (new Set(key).size < 8)
      problems.push(`SYNCSTATE_SECRET_KEYS: key "${id}" is weak; make one with: openssl rand -base64 32`);
  }
  if (new Set(keys.map(({ id }) => id)).size !== keys.length)
    problems.push('SYNCSTATE_SECRET_KEYS: two keys share an id');
  return keys;
}

/** "tenant:60000,readOnly:120000"; 1 s to 1 h each. */
function parseTimeouts(text: string, problems: string[]): Record<Scope, number> {
  const found = { tenant: 60_000, batch: 60_000, system: 60_000, readOnly: 60_000 };
  for (const part of text.split(',').filter((one) => one.trim() !== '')) {
    const [name = '', ms = ''] = part.trim().split(':');
    const scope = scopes.find((one) => one === name);
    if (scope === undefined || !(Number(ms) >= 1_000 && Number(ms) <= 3_600_000))
      problems.push(
        `SYNCSTATE_DB_TIMEOUTS: "${part}" must be scope:ms with a scope of ${scopes.join(', ')} and 1000 to 3600000 ms`,
      );
    else found[scope] = Number(ms);
  }
  return Object.freeze(found);
}

/** Reads and checks every setting. Throws ConfigError with all problems at once. */
export function readConfig(environment: Environment = process.env): Config {
  const problems: string[] = [];
  const values = new Map<string, string>();
  for (const { name, fallback, values: allowed } of settings) {
    const raw = readSetting(environment, name, problems);
    const value = raw === undefined || raw === '' ? fallback : raw;
    if (allowed && value !== '' && !allowed.includes(value))
      problems.push(`${name}: "${value}" is not one of ${allowed.join(', ')}`);
    values.set(name, value);
  }
  const get = (name: string) => values.get(name) ?? '';
  const port = Number(get('PORT'));
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    problems.push(`PORT: "${get('PORT')}" is not a port (0 to 65535)`);
  const production = get('NODE_ENV') === 'production';
  const databaseUrl = get('DATABASE_URL') === '' ? null : get('DATABASE_URL');
  if (databaseUrl !== null && !/^postgres(ql)?:\/\//.test(databaseUrl))
    problems.push('DATABASE_URL: must begin with postgres:// or postgresql://');
  const secretKeys = parseSecretKeys(get('SYNCSTATE_SECRET_KEYS'), problems);
  if (production && secretKeys.length === 0)
    problems.push('SYNCSTATE_SECRET_KEYS: missing; in production it must be given, e.g. k1:$(openssl rand -base64 32)');
  const whole = (name: string, least: number, most: number): number => {
    const value = Number(get(name));
    if (!Number.isInteger(value) || value < least || value > most)
      problems.push(`${name}: "${get(name)}" is not a whole number from ${least} to ${most}`);
    return value;
  };
  const databasePool = whole('SYNCSTATE_DB_POOL', 2, 500);
  const slowStatementMs = whole('SYNCSTATE_SLOW_QUERY_MS', 1, 3_600_000);
  const alarms = {
    errorPercent: whole('SYNCSTATE_ALARM_ERROR_PERCENT', 1, 100),
    waitSeconds: whole('SYNCSTATE_ALARM_WAIT_SECONDS', 1, 86_400),
    queueDepth: whole('SYNCSTATE_ALARM_QUEUE', 1, 1_000_000_000),
  };
  const statementTimeoutsMs = parseTimeouts(get('SYNCSTATE_DB_TIMEOUTS'), problems);
  const publicUrl = get('SYNCSTATE_PUBLIC_URL') === '' ? null : get('SYNCSTATE_PUBLIC_URL').replace(/\/+$/, '');
  if (publicUrl !== null && !/^https?:\/\/[^\s/]+/.test(publicUrl))
    problems.push(`SYNCSTATE_PUBLIC_URL: "${publicUrl}" is not an address such as https://stock.example.com`);
  if (problems.length > 0) throw new ConfigError(problems);
  return Object.freeze({
    port,
    host: get('HOST'),
    dataDir: get('SYNCSTATE_DATA_DIR'),
    databaseUrl,
    demo: get('SYNCSTATE_DEMO') === '' ? !production : get('SYNCSTATE_DEMO') === 'on',
    demoTraffic: get('SYNCSTATE_DEMO_TRAFFIC') === 'on',
    simProfile: get('SYNCSTATE_SIM_PROFILE') as SimProfile,
    secretKeys: Object.freeze(secretKeys),
    logLevel: get('LOG_LEVEL'),
    allowCustomEndpoints: get('SYNCSTATE_ALLOW_CUSTOM_ENDPOINTS') === 'true',
    trustProxy: get('SYNCSTATE_TRUST_PROXY') === 'true',
    production,
    databasePool,
    statementTimeoutsMs,
    slowStatementMs,
    alarms,
    publicUrl,
  });
}

/** The text of `.env.example` and of `syncstate --help`'s last part. */
export function describeSettings(): string {
  return settings.map(({ name, fallback, help }) => `# ${help}\n${name}=${fallback}\n`).join('\n');
}
