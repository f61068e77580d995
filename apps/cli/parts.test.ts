/** The pure parts of single commands. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { slugOf } from './access.ts';
import { syncstate } from './cli.testing.ts';
import { matchLocations, secretOf } from './connection-add.ts';
import { type Column, csvHeader, csvRecord } from './csv.ts';
import { joinVerdicts } from './maintenance.ts';
import { table } from './output.ts';
import { chooseOrganization } from './session.ts';

describe('what is used wrongly', () => {
  test('an unknown command names the near one and exits 2', async () => {
    const ran = await syncstate('verfy');
    expect(ran).toMatchObject({ exit: 2, stdout: '' });
    expect(ran.stderr).toContain("unknown command 'verfy'");
    expect(ran.stderr).toContain('Did you mean verify?');
  });

  test('an unknown option names the near one and exits 2', async () => {
    const ran = await syncstate('import', 'stock', 'x.csv', '--dryrun');
    expect(ran).toMatchObject({ exit: 2, stdout: '' });
    expect(ran.stderr).toContain('Did you mean --dry-run?');
  });

  test('with --json the refusal is on stdout too, as JSON alone', async () => {
    const ran = await syncstate('stock', '--json');
    expect(ran.exit).toBe(2);
    expect(ran.json()).toEqual({ error: { code: 'cli.usage', message: "missing required argument 'sku'" } });
  });

  test('no command at all shows the help and exits 2', async () => {
    const ran = await syncstate();
    expect(ran.exit).toBe(2);
    expect(ran.stderr).toContain('Usage: syncstate');
  });

  test('every command has a help text, and every one with an argument an example or a description', async () => {
    const help = await syncstate('--help');
    expect(help).toMatchObject({ exit: 0, stderr: '' });
    const commands = [...help.stdout.matchAll(/^ {2}([a-z][a-z-]*)(?: \[|\s{2}| <)/gm)]
      .map(([, name]) => name ?? '')
      .filter((name) => name !== 'help');
    for (const name of [
      'start',
      'server',
      'worker',
      'migrate',
      'verify',
      'doctor',
      'org',
      'key',
      'connection',
      'import',
      'export',
      'sync',
      'simulate',
      'dead-letters',
      'alerts',
      'bench',
      'stock',
    ])
      expect(commands).toContain(name);
    for (const name of commands) {
      const ran = await syncstate(name, '--help');
      expect(ran.exit, name).toBe(0);
      expect(ran.stdout, name).toContain(`Usage: syncstate ${name}`);
    }
  });
});

describe('which organization', () => {
  const made = (slug: string) => ({ id: `0000-${slug}`, slug, name: slug, createdAt: '' });

  test('the only one needs no name; of several one must be named', () => {
    expect(chooseOrganization([made('a')], undefined).slug).toBe('a');
    expect(chooseOrganization([made('a'), made('b')], 'b').slug).toBe('b');
    expect(chooseOrganization([made('a'), made('b')], '0000-a').slug).toBe('a');
    expect(() => chooseOrganization([made('a'), made('b')], undefined)).toThrow('name one with --org. There are: a, b');
    expect(() => chooseOrganization([made('a')], 'b')).toThrow('There is no organization "b". There are: a');
    expect(() => chooseOrganization([], undefined)).toThrow('syncstate org create');
  });

  test('a slug is made of what is left of a name', () => {
    expect(slugOf("Ada's Tées & Co.")).toBe('adas-tees-co');
    expect(slugOf('茶')).toBe('');
  });
});

describe('CSV', () => {
  const columns: Column<{ sku: string; title: string | null; units: number }>[] = [
    { title: 'sku', of: (row) => row.sku, isKey: true },
    { title: 'title', of: (row) => row.title },
    { title: 'units', of: (row) => row.units },
  ];

  test('quotes what needs it and ends records as RFC 4180 says', () => {
    expect(csvHeader(columns)).toBe('sku,title,units\r\n');
    expect(csvRecord(columns, { sku: 'A,1', title: 'say "hi"\nthere', units: -3 })).toBe(
      '"A,1","say ""hi""\nthere",-3\r\n',
    );
    expect(csvRecord(columns, { sku: 'A', title: null, units: 0 })).toBe('A,,0\r\n');
  });

  test('text that a spreadsheet would run is defused; a SKU stays exactly what it is', () => {
    expect(csvRecord(columns, { sku: '=A1', title: '=HYPERLINK("x")', units: 1 })).toBe(
      '=A1,"\'=HYPERLINK(""x"")",1\r\n',
    );
  });
});

describe('a channel’s places', () => {
  const ours = [
    { id: '1', code: 'MAIN', name: 'Main warehouse', isDefault: true, priority: 1, servesOrders: true },
    { id: '2', code: 'EAST', name: 'East', isDefault: false, priority: 2, servesOrders: true },
    { id: '3', code: 'FBA', name: 'Amazon', isDefault: false, priority: 9, servesOrders: false },
  ];
  const place = (channelLocation: string, name: string, active = true) => ({ channelLocation, name, active });

  test('are matched by code or name, and only active ones', () => {
    expect(
      matchLocations(ours, [place('g1', 'main WAREHOUSE'), place('g2', 'EAST', false), place('g3', 'Elsewhere')]),
    ).toEqual([{ code: 'MAIN', externalId: 'g1' }]);
  });

  test('a channel with one number for all gets everything that serves orders', () => {
    const both = [
      { code: 'MAIN', externalId: 'DEFAULT' },
      { code: 'EAST', externalId: 'DEFAULT' },
    ];
    expect(
      matchLocations(ours, [place('DEFAULT', 'Fulfilled by merchant'), place('AMAZON_NA', 'Fulfilled by Amazon')]),
    ).toEqual(both);
    expect(matchLocations(ours, [place('g1', 'Shop')])).toEqual(both.map(({ code }) => ({ code, externalId: 'g1' })));
  });

  test('several unknown places are left to a person', () => {
    expect(matchLocations(ours, [place('g1', 'Paris'), place('g2', 'Rome')])).toEqual([]);
  });
});

describe('secrets', () => {
  test('come as a value or a file, never as both', () => {
    const folder = mkdtempSync(join(tmpdir(), 'syncstate-cli-'));
    const file = join(folder, 'token');
    writeFileSync(file, 'shpat_1\n');
    expect(secretOf({ accessToken: 'a' }, 'access-token')).toBe('a');
    expect(secretOf({ accessTokenFile: file }, 'access-token')).toBe('shpat_1');
    expect(secretOf({}, 'access-token')).toBeUndefined();
    expect(() => secretOf({ accessToken: 'a', accessTokenFile: file }, 'access-token')).toThrow('not both');
    expect(() => secretOf({ accessTokenFile: join(folder, 'none') }, 'access-token')).toThrow('cannot be read');
    writeFileSync(file, '\n');
    expect(() => secretOf({ accessTokenFile: file }, 'access-token')).toThrow('is empty');
    rmSync(folder, { recursive: true });
  });
});

test('verdicts of several organizations are one: ok only if all are, checked summed', () => {
  const fault = { kind: 'bucket', sku: 'A', location: 'MAIN', expected: 1, found: 2, what: 'sellable' } as const;
  expect(
    joinVerdicts([
      { ok: true, checked: { positions: 1, movements: 2, claims: 3 }, faults: [] },
      { ok: false, checked: { positions: 10, movements: 20, claims: 30 }, faults: [fault] },
    ]),
  ).toEqual({ ok: false, checked: { positions: 11, movements: 22, claims: 33 }, faults: [fault] });
  expect(joinVerdicts([])).toEqual({ ok: true, checked: { positions: 0, movements: 0, claims: 0 }, faults: [] });
});

test('a table puts numbers to the right and cuts what is too long', () => {
  expect(
    table(
      ['name', 'units'],
      [
        ['a', 5],
        ['b'.repeat(9), 1_000],
      ],
      6,
    ),
  ).toEqual(['name    units', 'a           5', 'bbbbb…   1000']);
});
