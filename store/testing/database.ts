/** A fresh migrated database for one test file, cloned from the run's template in about 50 ms. */
import pg from 'pg';
import { appUrl } from '../migrate.ts';

export interface TestDatabase {
  /** Owner of the schema: sees everything. For planting and judging, never for the code under test. */
  owner: pg.Pool;
  /** As the server connects: role syncstate_app, row security on. */
  app: pg.Pool;
  ownerUrl: string;
  appUrl: string;
  drop(): Promise<void>;
}

let made = 0;

export async function testDatabase(): Promise<TestDatabase> {
  const adminUrl = process.env.SYNCSTATE_TEST_ADMIN_URL;
  const template = process.env.SYNCSTATE_TEST_TEMPLATE;
  if (!adminUrl || !template) throw new Error('Run through vitest: store/testing/global-setup.ts starts PostgreSQL.');
  made += 1;
  const name = `${template.replace('template', 'test')}_${process.pid}_${made}`;
  const admin = new pg.Client({ connectionString: adminUrl });
  await admin.connect();
  for (let tries = 0; ; tries += 1) {
    try {
      await admin.query(`create database ${name} template ${template}`);
      break;
    } catch (error) {
      // 55006: another file is cloning the template this moment.
      if ((error as { code?: string }).code !== '55006' || tries > 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  const url = new URL(adminUrl);
  url.pathname = `/${name}`;
  const ownerUrl = url.toString();
  const owner = new pg.Pool({ connectionString: ownerUrl, max: 5 });
  const app = new pg.Pool({ connectionString: appUrl(ownerUrl), max: 20 });
  owner.on('error', () => {});
  app.on('error', () => {});
  return {
    owner,
    app,
    ownerUrl,
    appUrl: appUrl(ownerUrl),
    async drop() {
      await Promise.all([owner.end(), app.end()]);
      await admin.query(`drop database if exists ${name} with (force)`);
      await admin.end();
    },
  };
}
