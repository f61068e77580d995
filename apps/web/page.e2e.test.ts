/** The page in a real browser against the whole server, started as `npm start` starts it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AxeBuilder } from '@axe-core/playwright';
import { type Browser, chromium, type Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { usedPaths } from '../client/api.ts';

const root = join(import.meta.dirname, '../..');
const dataDir = mkdtempSync(join(tmpdir(), 'syncstate-page-'));
const demoFile = join(dataDir, 'demo.json');
const flags = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

let server: ChildProcess;
let browser: Browser;
let demo: { url: string; apiKey: string; connections: { id: string; name: string }[] };
/** Errors any page wrote to its console, and exceptions it did not catch. */
const complaints: string[] = [];

async function startServer(): Promise<void> {
  let output = '';
  server = spawn(process.execPath, [join(root, 'apps/cli/syncstate.mjs'), 'start'], {
    cwd: root,
    env: {
      ...process.env,
      NODE_ENV: '',
      PORT: '0',
      HOST: '127.0.0.1',
      SYNCSTATE_DATA_DIR: dataDir,
      SYNCSTATE_DEMO: 'on',
      DATABASE_URL: '',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  for (const stream of [server.stdout, server.stderr]) stream?.on('data', (chunk) => (output += chunk));
  for (const until = Date.now() + 50_000; !existsSync(demoFile); ) {
    if (server.exitCode !== null || Date.now() > until) throw new Error(`the server did not start:\n${output}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  demo = JSON.parse(readFileSync(demoFile, 'utf8'));
}

beforeAll(async () => {
  [browser] = await Promise.all([
    chromium.launch({ executablePath: process.env.CHROMIUM_PATH ?? '/usr/bin/chromium', args: flags }),
    startServer(),
  ]);
}, 90_000);

afterAll(async () => {
  await browser?.close();
  if (server && server.exitCode === null) {
    const ended = new Promise((resolve) => server.once('exit', resolve));
    server.kill('SIGTERM');
    await ended;
  }
  rmSync(dataDir, { recursive: true, force: true });
});

async function open({ key = demo.apiKey, search = '' } = {}): Promise<Page> {
  const context = await browser.newContext({
    viewport: { width: 1440, height: 900 },
    colorScheme: 'light',
    reducedMotion: 'reduce',
  });
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  page.on('console', (message) => {
    // The browser itself writes a line for every 401; those are what the key test asks for.
    if (message.type() === 'error' && !message.text().includes('401 (Unauthorized)')) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  await page.goto(`${demo.url}/${search}#key=${key}`);
  return page;
}

const row = (page: Page, sku: string) => page.locator(`[data-sku="${sku}"]`);

/** Rules of WCAG 2.2 AA that the page breaks now, with the first place each. */
async function violations(page: Page): Promise<string[]> {
  const found = await new AxeBuilder({ page })
    .withTags(['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'])
    .analyze();
  return found.violations.map((violation) => `${violation.id}: ${violation.nodes[0]?.html}`);
}

/** What each channel shows of a SKU, as a screen reader hears it. */
const heard = (page: Page, sku: string) =>
  row(page, sku)
    .getByRole('img')
    .evaluateAll((cells) => cells.map((cell) => cell.getAttribute('aria-label')));

test('a buyer buys at one shop, and all three channels are seen to follow without a reload', async () => {
  const page = await open();
  await row(page, 'DEMO-005').waitFor();
  expect(page.url()).toBe(`${demo.url}/`);
  expect(await page.locator('tbody [data-sku]').count()).toBeGreaterThanOrEqual(24);
  await page.getByText('SIMULATED', { exact: true }).waitFor();
  await page.getByText('Live', { exact: true }).waitFor();
  expect(await page.getByRole('heading', { level: 1 }).innerText()).toBe('All 3 channels are in step.');
  const names = demo.connections.map(({ name }) => name);
  expect((await heard(page, 'DEMO-005')).sort()).toEqual(names.map((name) => `DEMO-005 on ${name}: 100`).sort());

  await page.getByRole('button', { name: 'Buy DEMO-005' }).click();
  await page.getByRole('menuitem', { name: 'Shopify Demo A' }).click();

  for (const name of names)
    await row(page, 'DEMO-005')
      .getByRole('img', { name: `DEMO-005 on ${name}: 99`, exact: true })
      .waitFor({ timeout: 5_000 });
  const log = page.getByRole('log');
  await log.getByText('DEMO-005: 99 available').waitFor();
  await log.getByText(/^Order #?\S+ on Shopify Demo A: 1 × DEMO-005$/).waitFor();
  await log.getByText(/^Shopify Demo B now shows 99 of DEMO-005 \(took [\d.]+ m?s\)$/).waitFor();
  await page.getByText('All 3 channels are in step.').waitFor();
  expect(await heard(page, 'DEMO-006')).toEqual(expect.arrayContaining(['DEMO-006 on Shopify Demo A: 100']));
  await page.context().close();
});

test('a buffer is saved in place, and the popover says how many channels show it', async () => {
  const page = await open();
  await page.getByRole('button', { name: 'Buffer of DEMO-007: 0. Change' }).click();
  await page.getByLabel('Kept back of DEMO-007').fill('7');
  await page.keyboard.press('Enter');
  await page.getByText('Saved. Seen on 3 of 3 channels.').waitFor();
  expect((await heard(page, 'DEMO-007')).sort()).toEqual(
    demo.connections.map(({ name }) => `DEMO-007 on ${name}: 93`).sort(),
  );
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Buffer of DEMO-007: 7. Change' }).waitFor();
  await page.context().close();
});

test('search and the opened SKU are in the address, and the drawer shows what each channel knows', async () => {
  const page = await open();
  await page.getByLabel('Search SKU, name, barcode').fill('kit-');
  await page.getByText('2 of 2 SKUs found').waitFor();
  await page.getByRole('button', { name: 'KIT-3', exact: true }).click();
  const drawer = page.getByRole('dialog', { name: 'KIT-3' });
  await drawer.getByText('A bundle: 33 can be built.').waitFor();
  expect(await drawer.getByText('In step').count()).toBe(5);
  expect(new URL(page.url()).searchParams.get('sku')).toBe('KIT-3');
  expect(await violations(page)).toEqual([]);
  await page.reload();
  await page.getByRole('dialog', { name: 'KIT-3' }).waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  expect(new URL(page.url()).searchParams.get('q')).toBe('kit-');
  await page.getByLabel('Search SKU, name, barcode').fill('nothing has this');
  await page.getByText('No SKU, name or barcode contains “nothing has this”').waitFor();
  await page.getByRole('button', { name: 'Clear the search', exact: true }).last().click();
  await row(page, 'DEMO-001').waitFor();
  await page.context().close();
});

test('both colour schemes, wide and at 360 px: no rule of WCAG AA broken, no sideways scroll; Buy opens by keyboard', async () => {
  const page = await open({ search: '?q=DEMO-00' });
  for (const [scheme, width] of [
    ['light', 1440],
    ['dark', 1440],
    ['dark', 360],
    ['light', 360],
  ] as const) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.setViewportSize({ width, height: 740 });
    await page.locator(`[data-mantine-color-scheme="${scheme}"]`).first().waitFor();
    await page.locator(width === 360 ? 'li[data-sku="DEMO-001"]' : 'tr[data-sku="DEMO-001"]').waitFor();
    expect({ scheme, width, broken: await violations(page) }).toEqual({ scheme, width, broken: [] });
    expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
    expect(await page.getByRole('heading', { level: 1 }).count()).toBe(1);
  }
  await page.getByRole('button', { name: 'Buy DEMO-001' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('menuitem', { name: 'Amazon Demo' }).waitFor();
  expect(await violations(page)).toEqual([]);
  await page.keyboard.press('Escape');
  await page.getByRole('menu').waitFor({ state: 'detached' });
  expect(await page.evaluate(() => document.activeElement?.getAttribute('aria-label'))).toBe('Buy DEMO-001');
  expect((await heard(page, 'DEMO-001')).sort()).toEqual(
    demo.connections.map(({ name }) => `DEMO-001 on ${name}: 100`).sort(),
  );
  await page.context().close();
}, 60_000);

test('a wrong key shows how to get one; the right one opens the page', async () => {
  const page = await open({ key: 'sk_wrong' });
  await page.getByRole('heading', { level: 1, name: 'Open SyncState with your key' }).waitFor();
  await page.getByText('The server does not know this key').waitFor();
  expect(await page.evaluate(() => sessionStorage.getItem('syncstate.key'))).toBeNull();
  expect(await violations(page)).toEqual([]);
  await page.getByLabel('API key').fill(demo.apiKey);
  await page.getByRole('button', { name: 'Open', exact: true }).click();
  await row(page, 'DEMO-001').waitFor();
  await page.context().close();
});

test('the client calls only what the API document describes', async () => {
  const document = (await (await fetch(`${demo.url}/api/openapi.json`)).json()) as {
    paths: Record<string, Record<string, unknown>>;
  };
  const missing = usedPaths.filter(([method, path]) => document.paths[path]?.[method] === undefined);
  expect(missing).toEqual([]);
});

test('no page complained in its console', () => {
  expect(complaints).toEqual([]);
});
