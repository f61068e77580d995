/**
 * The tree and its arrows (docs: ARCHITECTURE.md), held by a test: what each room may import and call.
 * A new room, arrow or exception is a conscious edit of the tables below.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, test } from 'vitest';

const root = import.meta.dirname;
const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((path) => path !== '' && existsSync(join(root, path)));
const code = files.filter((path) => /\.(ts|tsx|mjs)$/.test(path));
const text = new Map(code.map((path) => [path, readFileSync(join(root, path), 'utf8')]));
const isTest = (path: string) =>
  /\.(test|testing)\.tsx?$/.test(path) || path.startsWith('store/testing/') || path.startsWith('server/testing/');

/** Module paths a file imports, as repository paths; packages are left out. */
function importsOf(path: string): string[] {
  const source = text.get(path) ?? '';
  const found = [...source.matchAll(/(?:from\s+|import\s*\(\s*|import\s+)['"]([^'"]+)['"]/g)].map(
    (match) => match[1] ?? '',
  );
  return found
    .filter((name) => name.startsWith('.') || name.startsWith('#'))
    .map((name) => (name.startsWith('#') ? name.slice(1) : normalize(join(dirname(path), name))));
}

const vendors = ['shopify', 'amazon', 'woocommerce', 'shopee', 'tiktok', 'flowtrac', 'fedex', 'dhl', 'shipstation'];
const vendorOf = (path: string) =>
  vendors.find((vendor) => path.startsWith(`connectors/${vendor}/`) || path.startsWith(`sim/${vendor}/`));

/** A room, and the rooms it may import besides itself. First match wins. */
const arrows: [room: string, mayImport: string[]][] = [
  ['core/', []],
  ['store/', ['core/']],
  ['connectors/kit/', ['core/']],
  ['connectors/', ['core/', 'connectors/kit/']],
  ['sim/kit/', ['core/']],
  ['sim/world/', ['core/', 'store/', 'connectors/', 'sim/', 'server/']],
  ['sim/', ['core/', 'sim/kit/']],
  ['server/flows/', ['core/', 'store/', 'connectors/kit/', 'server/secrets.ts']],
  ['server/api/', ['core/', 'store/', 'connectors/kit/', 'server/']],
  ['server/jobs/', ['core/', 'store/', 'connectors/kit/', 'server/']],
  ['server/deps.ts', ['core/', 'store/', 'connectors/', 'server/']],
  ['server/demo.ts', ['core/', 'store/', 'connectors/', 'sim/', 'server/']],
  ['server/', ['core/', 'store/', 'connectors/kit/', 'server/']],
  ['apps/web/', ['apps/client/', 'core/']],
  ['apps/client/', []],
  ['apps/cli/', ['core/', 'store/', 'server/', 'bench/', 'apps/client/']],
  ['bench/', ['core/', 'store/', 'connectors/', 'sim/', 'server/']],
];

const rooms = ['core/', 'store/', 'connectors/', 'sim/', 'server/', 'apps/', 'bench/'];

describe('the tree', () => {
  test('every source file lives in a known room', () => {
    const loose = code.filter((path) => !rooms.some((room) => path.startsWith(room)));
    expect(loose.sort()).toEqual(['tidy.test.ts', 'vitest.config.ts']);
  });

  test('file names are kebab-case', () => {
    expect(code.filter((path) => !/^[a-z0-9./-]+$/.test(path))).toEqual([]);
  });

  test('rooms import only what their arrows allow', () => {
    const wrong: string[] = [];
    for (const path of code) {
      if (isTest(path) || path.endsWith('.mjs')) continue;
      const rule = arrows.find(([room]) => path.startsWith(room));
      if (!rule) continue;
      const [room, allowed] = rule;
      for (const imported of importsOf(path)) {
        if (!rooms.some((name) => imported.startsWith(name))) continue;
        if (imported.startsWith(room) || allowed.some((name) => imported.startsWith(name))) continue;
        wrong.push(`${path} → ${imported}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test('one vendor never imports another', () => {
    const wrong = code.flatMap((path) =>
      importsOf(path)
        .filter((imported) => vendorOf(path) && vendorOf(imported) && vendorOf(imported) !== vendorOf(path))
        .map((imported) => `${path} → ${imported}`),
    );
    expect(wrong).toEqual([]);
  });

  test('a simulator and its connector share nothing; only a conformance test sees both', () => {
    const wrong = code.flatMap((path) =>
      importsOf(path)
        .filter(
          (imported) =>
            (path.startsWith('sim/') && !path.startsWith('sim/world/') && imported.startsWith('connectors/')) ||
            (path.startsWith('connectors/') && imported.startsWith('sim/')),
        )
        .filter(() => !/conformance\.(test|testing)\.ts$/.test(path))
        .map((imported) => `${path} → ${imported}`),
    );
    expect(wrong).toEqual([]);
  });

  test('the auditor of the world imports nothing of ours but the types of its evidence', () => {
    const judges = code.filter((path) => /^sim\/world\/(?:audit|evidence)[^/]*\.ts$/.test(path) && !isTest(path));
    const wrong = judges.flatMap((path) =>
      importsOf(path)
        .filter((imported) => !judges.includes(imported))
        .map((imported) => `${path} → ${imported}`),
    );
    expect(wrong).toEqual([]);
  });

  test('only deps and demo name a vendor; only demo (and the world, benches and tests) loads simulators', () => {
    const wrong = code
      .filter(
        (path) =>
          !isTest(path) && !path.startsWith('sim/') && !path.startsWith('connectors/') && !path.startsWith('bench/'),
      )
      .flatMap((path) =>
        importsOf(path)
          .filter((imported) => vendorOf(imported) || imported.startsWith('sim/'))
          .filter(
            (imported) =>
              !(path === 'server/deps.ts' && imported.startsWith('connectors/')) && path !== 'server/demo.ts',
          )
          .map((imported) => `${path} → ${imported}`),
      );
    expect(wrong).toEqual([]);
  });

  test('the demo organization loads simulators lazily: a live installation never does', () => {
    const demo = text.get('server/demo.ts') ?? '';
    expect(demo.match(/^import (?!type)[^;]*['"]#sim\//gm) ?? []).toEqual([]);
  });
});

describe('calls that only some rooms may make', () => {
  const impure =
    /\b(?:Date\.now\(|new Date\(\)|Math\.random\(|randomUUID\(|setTimeout\(|setInterval\(|setImmediate\()|(?<![.\w])fetch\(/;
  const mayBeImpure = [
    'server/deps.ts',
    'connectors/kit/transport.ts',
    'sim/kit/',
    'store/embedded/',
    'store/testing/',
    'apps/',
    'bench/',
  ];

  test('clock, chance and network come in as parameters', () => {
    const wrong = code
      .filter((path) => !isTest(path) && !mayBeImpure.some((room) => path.startsWith(room)) && path !== 'tidy.test.ts')
      .flatMap((path) =>
        (text.get(path) ?? '')
          .split('\n')
          .map((line, index) => ({ line, at: `${path}:${index + 1}` }))
          .filter(({ line }) => impure.test(line.replace(/\/\/.*$|^\s*\*.*$/, '')))
          .map(({ at, line }) => `${at} ${line.trim()}`),
      );
    expect(wrong).toEqual([]);
  });

  test('core is pure: no I/O, no environment, no async', () => {
    const wrong = code
      .filter((path) => path.startsWith('core/') && !isTest(path))
      .filter((path) =>
        /from ['"]node:|process\.|\basync\b|\bawait\b/.test(
          (text.get(path) ?? '').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, ''),
        ),
      );
    expect(wrong).toEqual([]);
  });

  test('only store speaks SQL', () => {
    const sql = /[`'"]\s*(?:select\s.+\sfrom\s|insert\s+into\s|update\s+\w+\s+set\s|delete\s+from\s)/i;
    // The world arranges its database and its judge reads it, both as the owner.
    const maySpeak = ['store/', 'bench/', 'sim/world/'];
    const wrong = code.filter(
      (path) => !maySpeak.some((room) => path.startsWith(room)) && !isTest(path) && sql.test(text.get(path) ?? ''),
    );
    expect(wrong).toEqual([]);
  });

  test('only config reads the environment of the server', () => {
    const wrong = code
      .filter(
        (path) =>
          !isTest(path) &&
          !path.startsWith('apps/') &&
          !path.startsWith('bench/') &&
          !path.startsWith('store/embedded/'),
      )
      .filter((path) => /process\.env/.test(text.get(path) ?? ''));
    expect(wrong).toEqual(['server/config.ts', 'vitest.config.ts'].filter((path) => wrong.includes(path)));
  });

  test('nothing is switched off: no any, no ignored error, no skipped or focused test', () => {
    const off =
      /:\s*any\b|\bas any\b|<any>|@ts-ignore|@ts-expect-error|biome-ignore|\b(?:test|it|describe)\.(?:only|todo|skip)\(|expect\(true\)/;
    const wrong = code
      .filter((path) => path !== 'tidy.test.ts')
      .flatMap((path) =>
        (text.get(path) ?? '')
          .split('\n')
          .map((line, index) => ({ line, at: `${path}:${index + 1}` }))
          .filter(({ line }) => off.test(line))
          .map(({ at, line }) => `${at} ${line.trim()}`),
      );
    expect(wrong).toEqual([]);
  });

  test('test names are unique, so that a failure names one place', () => {
    const names = code
      .filter((path) => /\.test\.tsx?$/.test(path))
      .flatMap((path) => {
        const source = text.get(path) ?? '';
        const groups = [...source.matchAll(/^(\s*)describe\(\s*(['"`])(.+?)\2/gm)].length > 0;
        return [...source.matchAll(/\b(?:test|it)\(\s*(['"`])((?:(?!\1).)+)\1/g)].map(
          (match) => `${groups ? '' : ''}${path.replace(/[^/]+$/, '')}${path.split('/').pop()}: ${match[2]}`,
        );
      });
    const seen = new Map<string, number>();
    for (const name of names) seen.set(name, (seen.get(name) ?? 0) + 1);
    expect([...seen].filter(([, count]) => count > 1).map(([name]) => name)).toEqual([]);
  });

  test('no file grows past 600 lines', () => {
    const long = code
      .filter((path) => !isTest(path) && !path.endsWith('.mjs'))
      .map((path) => `${path} ${(text.get(path) ?? '').split('\n').length}`)
      .filter((entry) => Number(entry.split(' ').pop()) > 620);
    expect(long).toEqual([]);
  });
});

test('the lock file names versions, not download addresses', () => {
  const lock = readFileSync(join(root, 'package-lock.json'), 'utf8');
  expect(lock.includes('"resolved"')).toBe(false);
});

test('dependencies are pinned to exact versions', () => {
  const { dependencies, devDependencies, optionalDependencies } = JSON.parse(
    readFileSync(join(root, 'package.json'), 'utf8'),
  );
  const loose = Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies }).filter(
    ([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(String(version)),
  );
  expect(loose).toEqual([]);
});
