/**
 * Hostile input out of good input: a recorded payload, one to three edits at its nodes, and perhaps damage to its bytes.
 *
 *   hostileJson(samples)   JSON: each node may become a hostile value, keys are doubled or named __proto__, members are lost
 *   hostileTable(samples)  CSV and tab-separated text: cells, quotes, line ends, columns
 *   hostileBytes(samples)  anything: cut, doubled, flipped, another encoding
 *   hostileText            what somebody puts where a short text belongs: an id, a cursor, a header, a query
 *
 * Arbitraries of fast-check, so that a failure shrinks to the one edit that matters, and a seed repeats it.
 */
import fc from 'fast-check';

const long = 100_000;
/** Characters of one input: what a call takes at most. */
const most = 10_485_760;
const deep = (open: string, close: string, levels: number) => open.repeat(levels) + close.repeat(levels);

/** Texts that have broken somebody's parser before. */
const texts: readonly string[] = [
  '',
  ' ',
  '\0',
  'a\0b',
  '\ud800',
  'x\udfff',
  '\u202egnp.exe',
  '\ufeff',
  '\u2028',
  'é'.normalize('NFD').repeat(50),
  '👩‍👩‍👧‍👦'.repeat(100),
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  '../../etc/passwd',
  '%00',
  '%',
  "' or 1=1 --",
  '=cmd|/c calc',
  '9223372036854775808',
  '-9223372036854775809',
  '1e400',
  '1e21',
  '-0',
  '0.5',
  '0x10',
  '١٢٣',
  'NaN',
  'Infinity',
  'null',
  '9999-99-99T99:99:99Z',
  '+275760-09-13T00:00:00.001Z',
  '-271821-04-19T23:59:59.999Z',
  '0000-01-01T00:00:00Z',
  '0001-01-01T00:00:00-23:59',
  '294277-01-01',
  '2026-02-30T25:61:61Z',
  'gid://shopify/Order/99999999999999999999',
  'gid://shopify/',
  'eyJ',
  'e30',
  'W10',
  'bnVsbA',
  'Ww'.repeat(3_000),
];

/** The same, too long for a column, an index or a pattern that goes back. */
const longTexts: readonly string[] = [
  'a'.repeat(long),
  'a'.repeat(3_000),
  '1'.repeat(long),
  `${' '.repeat(long)}x`,
  `${'1'.repeat(long)}x`,
  `${'a.'.repeat(long / 2)}!`,
  `${'"'.repeat(long)}`,
  '\\'.repeat(long),
  'token'.repeat(long / 5),
  '"token":['.repeat(long / 10),
  '?token'.repeat(long / 6),
  'http://'.repeat(long / 7),
  'Bearer '.repeat(long / 7),
  '://a:'.repeat(long / 5),
];

const hugeTexts: readonly string[] = ['x'.repeat(10_485_760)];

/** Values as JSON writes them; what `JSON.stringify` cannot say among them. */
const values: readonly string[] = [
  ...['null', 'true', 'false', '[]', '{}', '0', '1', '-1', '-0', '0.5', '1e400', '-1e400', '1e-400', '1e15', '1e21'],
  ...['2147483647', '2147483648', '-2147483649', '9007199254740993', '9223372036854775807', '9223372036854775808'],
  ...['123456789012345678901234567890', '-123456789012345678901234567890', '1.0', '1E2', '2e9', '1000000001'],
  ...['[null]', '[[]]', '[{}]', '{"__proto__":{"polluted":1}}', '{"constructor":{"prototype":{"polluted":1}}}'],
  ...['{"length":4294967295}', '{"then":1}', '{"toJSON":1}', '{"":""}'],
  ...['NaN', 'undefined', "'x'", '01', '+1', '1.', '/**/1', '"\\x"', '"\\ud800"', '"\\u0000"', '"\n"'],
  deep('[', ']', 500),
  deep('[', ']', 20_000),
  deep('{"a":', '}', 20_000).replace('}', '0}'),
  '['.repeat(long),
  `[${'0,'.repeat(20_000)}0]`,
  `[${'{},'.repeat(5_000)}{}]`,
  '1'.repeat(long),
  `0.${'3'.repeat(long)}`,
];

const quoted = (all: readonly string[]) => all.map((text) => JSON.stringify(text));
const plainText = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...texts) },
  { weight: 2, arbitrary: fc.constantFrom(...longTexts) },
  { weight: 2, arbitrary: fc.string({ unit: 'binary', maxLength: 40 }) },
);

/** Without the texts of ten megabytes; those come as bodies of their own. */
export const hostileText: fc.Arbitrary<string> = plainText;

const hostileValue: fc.Arbitrary<string> = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...values) },
  { weight: 4, arbitrary: fc.constantFrom(...quoted(texts)) },
  { weight: 2, arbitrary: fc.constantFrom(...quoted(longTexts)) },
  { weight: 1, arbitrary: fc.json({ maxDepth: 3 }) },
);

/** What is done at the `at`-th node (counted round). */
type Edit =
  | { kind: 'replace'; at: number; value: string }
  | { kind: 'lose'; at: number }
  | { kind: 'double'; at: number; value: string }
  | { kind: 'rename'; at: number; to: string }
  | { kind: 'repeat'; at: number; times: number };

const edit: fc.Arbitrary<Edit> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant('replace' as const), at: fc.nat(10_000), value: hostileValue }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('lose' as const), at: fc.nat(10_000) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('double' as const), at: fc.nat(10_000), value: hostileValue }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('rename' as const), at: fc.nat(10_000), to: fc.constantFrom(...texts) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('repeat' as const), at: fc.nat(10_000), times: fc.nat(2_000) }),
  },
);

/** A node of a document, its members in order: keys may come twice. */
type Node = { raw: string } | { list: Node[] } | { members: [key: string, node: Node][] };

function nodeOf(value: unknown): Node {
  if (Array.isArray(value)) return { list: value.map(nodeOf) };
  if (typeof value === 'object' && value !== null)
    return { members: Object.entries(value).map(([key, inner]) => [key, nodeOf(inner)]) };
  return { raw: JSON.stringify(value) };
}

function written(node: Node): string {
  if ('raw' in node) return node.raw;
  if ('list' in node) return `[${node.list.map(written).join(',')}]`;
  return `{${node.members.map(([key, inner]) => `${JSON.stringify(key)}:${written(inner)}`).join(',')}}`;
}

/** Where a node hangs; the first is the document itself. */
interface Place {
  holder: Node[];
  index: number;
  member: [string, Node][] | null;
}

function placesOf(top: Node[]): Place[] {
  const found: Place[] = [{ holder: top, index: 0, member: null }];
  const walk = (node: Node) => {
    if ('list' in node)
      for (const [index, inner] of node.list.entries()) {
        found.push({ holder: node.list, index, member: null });
        walk(inner);
      }
    else if ('members' in node)
      for (const [index, [, inner]] of node.members.entries()) {
        found.push({ holder: [], index, member: node.members });
        walk(inner);
      }
  };
  for (const node of top) walk(node);
  return found;
}

function change(top: Node[], edited: Edit): void {
  const places = placesOf(top);
  const place = places[edited.at % places.length];
  if (!place) return;
  const { holder, index, member } = place;
  const [name = '', node = { raw: 'null' }] = member?.[index] ?? ['', holder[index]];
  const put = (...nodes: Node[]) =>
    member
      ? member.splice(index, 1, ...nodes.map((one): [string, Node] => [name, one]))
      : holder.splice(index, 1, ...nodes);
  if (edited.kind === 'replace') put({ raw: edited.value });
  else if (edited.kind === 'lose') put(...(holder === top ? [{ raw: '' }] : []));
  else if (edited.kind === 'double') put(node, { raw: edited.value });
  else if (edited.kind === 'rename') {
    if (member?.[index]) member[index] = [edited.to, node];
  } else if ('list' in node)
    put({
      list: Array.from(
        { length: Math.max(1, node.list.length) * edited.times },
        (_, n) => node.list[n % node.list.length] ?? { raw: '{}' },
      ).slice(0, 5_000),
    });
}

function edited(sample: string, edits: readonly Edit[]): string {
  const top = [nodeOf(JSON.parse(sample))];
  for (const one of edits) change(top, one);
  return top.map(written).join(',').slice(0, most);
}

const bom = Buffer.from([0xef, 0xbb, 0xbf]);

/** Damage to bytes, wherever they come from. */
type Damage =
  | { kind: 'none' }
  | { kind: 'cut'; at: number }
  | { kind: 'flip'; at: number; to: number }
  | { kind: 'insert'; at: number; bytes: readonly number[] }
  | { kind: 'bom' }
  | { kind: 'utf16' }
  | { kind: 'twice' };

const damage: fc.Arbitrary<Damage> = fc.oneof(
  { weight: 6, arbitrary: fc.constant({ kind: 'none' as const }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('cut' as const), at: fc.nat(1_000_000) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('flip' as const), at: fc.nat(1_000_000), to: fc.nat(255) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('insert' as const),
      at: fc.nat(1_000_000),
      bytes: fc.constantFrom([0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0], [0xe2, 0x80, 0xae], [0x22], [0x0d]),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom({ kind: 'bom' as const }, { kind: 'utf16' as const }, { kind: 'twice' as const }),
  },
);

function damaged(bytes: Buffer, how: Damage): Buffer {
  const at = 'at' in how ? how.at % (bytes.length + 1) : 0;
  if (how.kind === 'cut') return bytes.subarray(0, at);
  if (how.kind === 'flip') return Buffer.concat([bytes.subarray(0, at), Buffer.from([how.to]), bytes.subarray(at + 1)]);
  if (how.kind === 'insert') return Buffer.concat([bytes.subarray(0, at), Buffer.from(how.bytes), bytes.subarray(at)]);
  if (how.kind === 'bom') return Buffer.concat([bom, bytes]);
  if (how.kind === 'utf16') return Buffer.from(`\ufeff${bytes.toString('utf8')}`, 'utf16le');
  return how.kind === 'twice' ? Buffer.concat([bytes, bytes]) : bytes;
}

export const hostileBytes = (samples: readonly Uint8Array[]): fc.Arbitrary<Buffer> =>
  fc
    .record({ sample: fc.nat(samples.length - 1), how: fc.array(damage, { minLength: 1, maxLength: 3 }) })
    .map(({ sample, how }) => how.reduce(damaged, Buffer.from(samples[sample] ?? [])));

export const hostileJson = (samples: readonly string[]): fc.Arbitrary<Buffer> =>
  fc
    .record({
      sample: fc.nat(samples.length - 1),
      edits: fc.array(edit, { minLength: 1, maxLength: 3 }),
      how: damage,
    })
    .map(({ sample, edits, how }) => damaged(Buffer.from(edited(samples[sample] ?? 'null', edits)), how));

/** A cell, a line or a separator goes wrong. */
type TableEdit =
  | { kind: 'cell'; at: number; value: string }
  | { kind: 'line'; at: number; value: string }
  | { kind: 'ends'; end: string }
  | { kind: 'columns'; times: number }
  | { kind: 'lines'; times: number };

const tableEdit: fc.Arbitrary<TableEdit> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('cell' as const),
      at: fc.nat(1_000),
      value: fc.oneof(
        plainText,
        plainText.map((text) => `"${text.replaceAll('"', '""')}"`),
        plainText.map((text) => `"${text}`),
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('line' as const), at: fc.nat(1_000), value: plainText }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('ends' as const),
      end: fc.constantFrom('\r', '\r\n', '\n\r', '\n\n', '\u2028', '\0'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('columns' as const), times: fc.nat(5_000) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('lines' as const), times: fc.nat(3_000) }) },
);

function tableEdited(sample: string, edits: readonly TableEdit[]): string {
  let separator = sample.split('\n', 1)[0]?.includes('\t') ? '\t' : ',';
  if (sample.split('\n', 1)[0]?.includes(';')) separator = ';';
  let lines = sample.split('\n').map((line) => line.split(separator));
  let end = '\n';
  for (const one of edits) {
    const line = 'at' in one ? lines[one.at % lines.length] : undefined;
    if (one.kind === 'cell' && line) line[Math.floor(one.at / lines.length) % line.length] = one.value;
    else if (one.kind === 'line') lines.splice(one.at % lines.length, 0, [one.value]);
    else if (one.kind === 'ends') end = one.end;
    else if (one.kind === 'columns')
      lines = lines.map((cells) => [...cells, ...Array(one.times).fill('')]).slice(0, 20);
    else if (one.kind === 'lines')
      lines = [...lines, ...Array.from({ length: one.times }, (_, n) => lines[n % lines.length] ?? [])];
  }
  return lines
    .map((cells) => cells.join(separator))
    .join(end)
    .slice(0, most);
}

export const hostileTable = (samples: readonly string[]): fc.Arbitrary<Buffer> =>
  fc
    .record({
      sample: fc.nat(samples.length - 1),
      edits: fc.array(tableEdit, { minLength: 1, maxLength: 3 }),
      how: damage,
    })
    .map(({ sample, edits, how }) => damaged(Buffer.from(tableEdited(samples[sample] ?? '', edits)), how));

/** Bodies of ten megabytes: one text, one list, one nest, one line of quotes; too slow to come up by chance. */
export const enormous: readonly { name: string; body: Buffer }[] = [
  { name: 'one cell of 10 MB', body: Buffer.from(`sku,quantity\n${hugeTexts[0]},1\n`) },
  { name: 'a quote that never closes over 10 MB', body: Buffer.from(`sku,quantity\n"${hugeTexts[0]}`) },
  { name: 'a JSON text of 10 MB', body: Buffer.from(`[{"sku":"${hugeTexts[0]}","quantity":1}]`) },
  { name: 'ten million brackets', body: Buffer.from('['.repeat(10_000_000)) },
  { name: 'ten million brackets, closed', body: Buffer.from(deep('[', ']', 5_000_000)) },
  { name: 'five million numbers', body: Buffer.from(`[${'0,'.repeat(5_000_000)}0]`) },
  { name: 'ten million line ends', body: Buffer.from('\n'.repeat(10_000_000)) },
  { name: 'ten million separators', body: Buffer.from(`sku,quantity${','.repeat(10_000_000)}\n`) },
  { name: 'one number of 10 MB', body: Buffer.from(`[{"sku":"a","quantity":${'1'.repeat(10_000_000)}}]`) },
];
