import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createMetrics } from './metrics.ts';

test('every syncstate_ series is documented with its help text, and nothing else is', async () => {
  const documented = readFileSync(join(import.meta.dirname, '..', 'docs', 'metrics.md'), 'utf8')
    .split('\n')
    .flatMap((line) => {
      const [, name, type, , help] = /^\| `(syncstate_\w+)` \| (\w+)[^|]* \| ([^|]*) \| (.*) \|$/.exec(line) ?? [];
      return name === undefined ? [] : [{ name, type, help }];
    });
  const scraped = (await createMetrics().registry.getMetricsAsJSON())
    .filter(({ name }) => name.startsWith('syncstate_'))
    .map(({ name, type, help }) => ({ name, type: String(type), help }));
  expect(documented).toEqual(scraped);
  expect(scraped.length).toBeGreaterThan(25);
});

test('beyond two hundred connections the rest is one label', () => {
  const { connection } = createMetrics();
  const names = Array.from({ length: 300 }, (_, n) => connection(`c${n}`));
  expect(new Set(names).size).toBe(201);
  expect(connection('c0')).toBe('c0');
  expect(connection('c299')).toBe('other');
});
