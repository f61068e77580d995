import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openTables } from './tables.ts';

describe('journaled tables', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'sim-journal-'));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));
  const log = () => join(dir, readdirSync(dir).find((name) => name.startsWith('log-')) ?? '');

  it('rows, deletions and counters are there again after a restart', async () => {
    const first = await openTables({ dir });
    expect(first.fresh).toBe(true);
    const rows = first.table<{ n: number }>('rows');
    rows.put('a', { n: 1 });
    rows.put('b', { n: 2 });
    rows.delete('a');
    expect([first.next('x'), first.next('x')]).toEqual([1, 2]);
    await first.close();
    const second = await openTables({ dir });
    expect(second.fresh).toBe(false);
    expect([...second.table('rows').all()]).toEqual([{ n: 2 }]);
    expect(second.next('x')).toBe(3);
    await second.close();
  });

  it('a transaction that throws has not happened, in memory or on disk; a failed part leaves the rest', async () => {
    const tables = await openTables({ dir });
    const rows = tables.table<number>('rows');
    rows.put('a', 1);
    expect(() =>
      tables.transact(() => {
        rows.put('a', 2);
        rows.put('b', 2);
        throw new Error('no');
      }),
    ).toThrow('no');
    expect([rows.get('a'), rows.has('b')]).toEqual([1, false]);
    tables.transact(() => {
      rows.put('c', 3);
      expect(() =>
        tables.transact(() => {
          rows.put('c', 4);
          rows.put('d', 4);
          throw new Error('part');
        }),
      ).toThrow('part');
      expect([rows.get('c'), rows.has('d')]).toEqual([3, false]);
    });
    await tables.close();
    expect(readFileSync(log(), 'utf8').trim().split('\n')).toHaveLength(2);
    const again = await openTables({ dir });
    expect([...again.table('rows').all()]).toEqual([1, 3]);
    await again.close();
  });

  it('a torn last line is cut off and the journal goes on; a damaged line before the end refuses to open', async () => {
    const tables = await openTables({ dir });
    tables.table<number>('rows').put('a', 1);
    tables.table<number>('rows').put('b', 2);
    await tables.close();
    const whole = statSync(log()).size;
    appendFileSync(log(), 'deadbeef 3 [["rows","c",');
    const recovered = await openTables({ dir });
    expect([...recovered.table('rows').all()]).toEqual([1, 2]);
    expect(statSync(log()).size).toBe(whole);
    recovered.table<number>('rows').put('c', 3);
    await recovered.close();
    const text = readFileSync(log(), 'utf8');
    expect(text.split('\n').filter(Boolean)).toHaveLength(3);
    writeFileSync(log(), text.replace('"b",2', '"b",9'));
    await expect(openTables({ dir })).rejects.toThrow('Damaged journal line');
  });

  it('a snapshot replaces the log it covers and loses nothing written meanwhile', async () => {
    const tables = await openTables({ dir, snapshotAfterBytes: 2_000 });
    const rows = tables.table<string>('rows');
    for (let n = 0; n < 300; n += 1) {
      rows.put(String(n % 50), `value ${n}`);
      if (n % 7 === 0) await tables.durable();
    }
    await tables.close();
    expect(readdirSync(dir).sort()).toEqual([expect.stringMatching(/^log-[1-9]\d*\.jsonl$/), 'snapshot.json']);
    const again = await openTables({ dir });
    expect([...again.table<string>('rows').all()]).toEqual(Array.from({ length: 50 }, (_, n) => `value ${250 + n}`));
    await again.close();
  });
});
