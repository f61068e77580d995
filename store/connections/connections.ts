/**
 * Connections: a tenant's accounts at channels, and which of our locations stand behind the places they count stock at.
 *
 * Credentials and webhook secrets arrive and leave sealed (server/secrets.ts); nothing here can read them.
 */
import { markOffersGone } from '../listings/scarce-marks.ts';
import type { Tx } from '../tx.ts';

export interface NewConnection {
  id: string;
  platform: string;
  kind: 'live' | 'simulated';
  name: string;
  baseUrl: string | null;
  /** Non-secret, per vendor. `shopDomain` lets deliveries without a token find it. */
  settings: Record<string, unknown>;
  credentials: Buffer | null;
  webhookSecrets: Buffer | null;
  /** One per webhook secret: what is shared with other connections shows. */
  webhookFingerprints: readonly Buffer[];
  /** ≥ 128 bits of chance, URL-safe. */
  webhookToken: string;
  /** Unix ms. Orders placed before it had their shipped units outside our book. */
  createdAt: number;
}

export interface Connection {
  id: string;
  platform: string;
  kind: 'live' | 'simulated';
  name: string;
  state: 'connected' | 'unauthorized' | 'unreachable';
  stateReason: string | null;
  pausedAt: Date | null;
  baseUrl: string | null;
  settings: Record<string, unknown>;
  credentials: Buffer | null;
  webhookSecrets: Buffer | null;
  webhookToken: string;
  ordersReadTo: Date | null;
  ordersSweptAt: Date | null;
  createdAt: Date;
}

const columns = `id, platform, kind, name, state, state_reason as "stateReason", paused_at as "pausedAt", base_url as "baseUrl", settings,
  credentials, webhook_secrets as "webhookSecrets", webhook_token as "webhookToken", orders_read_to as "ordersReadTo",
  orders_swept_at as "ordersSweptAt", created_at as "createdAt"`;

export async function createConnection(tx: Tx, orgId: string, connection: NewConnection): Promise<void> {
  await tx.query(
    `insert into connections (org_id, id, platform, kind, name, base_url, settings, credentials, webhook_secrets, webhook_fingerprints, webhook_token, created_at, shadow_at, shadow_by)
     select $1::uuid, $2::uuid, $3, $4, $5, $6, $7::jsonb, $8::bytea, $9::bytea, $10::bytea[], $11, to_timestamp($12::float8 / 1000.0),
       case when d.shadow then to_timestamp($12::float8 / 1000.0) end, case when d.shadow then 'default' end
     from (select $4 = 'live' and shadow_new as shadow from organizations where org_id = $1) d`,
    [
      orgId,
      connection.id,
      connection.platform,
      connection.kind,
      connection.name,
      connection.baseUrl,
      JSON.stringify(connection.settings),
      connection.credentials,
      connection.webhookSecrets,
      connection.webhookFingerprints,
      connection.webhookToken,
      connection.createdAt,
    ],
  );
}

/** null: no such connection of this organization, or deleted. */
export async function getConnection(tx: Tx, orgId: string, id: string): Promise<Connection | null> {
  const { rows } = await tx.query<Connection>(
    {
      name: 'connection_get',
      text: `select ${columns} from connections where org_id = $1 and id = $2 and deleted_at is null`,
    },
    [orgId, id],
  );
  return rows[0] ?? null;
}

export async function listConnections(tx: Tx, orgId: string): Promise<Connection[]> {
  const { rows } = await tx.query<Connection>(
    `select ${columns} from connections where org_id = $1 and deleted_at is null order by created_at, id`,
    [orgId],
  );
  return rows;
}

/** Where it is, and what opens it: what a start on another port or new credentials change. Absent fields stay. */
export async function updateConnection(
  tx: Tx,
  orgId: string,
  id: string,
  change: Partial<
    Pick<NewConnection, 'name' | 'baseUrl' | 'settings' | 'credentials' | 'webhookSecrets' | 'webhookFingerprints'>
  >,
): Promise<boolean> {
  const given = (value: unknown): boolean => value !== undefined;
  const { rowCount } = await tx.query(
    `update connections set
       name = case when $3 then $4 else name end, base_url = case when $5 then $6 else base_url end,
       settings = case when $7 then $8::jsonb else settings end, credentials = case when $9 then $10::bytea else credentials end,
       webhook_secrets = case when $11 then $12::bytea else webhook_secrets end,
       webhook_fingerprints = case when $13 then $14::bytea[] else webhook_fingerprints end
     where org_id = $1 and id = $2 and deleted_at is null`,
    [
      orgId,
      id,
      given(change.name),
      change.name ?? null,
      given(change.baseUrl),
      change.baseUrl ?? null,
      given(change.settings),
      change.settings === undefined ? null : JSON.stringify(change.settings),
      given(change.credentials),
      change.credentials ?? null,
      given(change.webhookSecrets),
      change.webhookSecrets ?? null,
      given(change.webhookFingerprints),
      change.webhookFingerprints ?? [],
    ],
  );
  return rowCount === 1;
}

/** Changes single settings and leaves the others, whoever changes those at the same moment. @returns null: no such connection */
export async function changeSettings(
  tx: Tx,
  orgId: string,
  id: string,
  change: { set: Record<string, unknown>; unset: readonly string[] },
): Promise<{ before: Record<string, unknown>; after: Record<string, unknown> } | null> {
  const { rows } = await tx.query<{ before: Record<string, unknown>; after: Record<string, unknown> }>(
    `with b as (select settings from connections where org_id = $1 and id = $2 and deleted_at is null for update)
     update connections c set settings = (b.settings - $3::text[]) || $4::jsonb from b where c.org_id = $1 and c.id = $2
     returning b.settings as before, c.settings as after`,
    [orgId, id, change.unset, JSON.stringify(change.set)],
  );
  return rows[0] ?? null;
}

/** Its webhooks find nothing from now on, its queue and orders are no longer read. Orders and history stay. */
export async function deleteConnection(tx: Tx, orgId: string, id: string, now: number): Promise<boolean> {
  const { rowCount } = await tx.query(
    'update connections set deleted_at = to_timestamp($3::float8 / 1000.0), credentials = null, webhook_secrets = null where org_id = $1 and id = $2 and deleted_at is null',
    [orgId, id, now],
  );
  if (rowCount === 1) await markOffersGone(tx, orgId, id);
  return rowCount === 1;
}

/** Our location stands behind this place of the channel from now on (and behind no other of this connection);
 * numbers it has already are made anew. */
export async function mapLocation(
  tx: Tx,
  orgId: string,
  connectionId: string,
  channelLocation: string,
  locationId: string,
): Promise<void> {
  await tx.query('delete from connection_locations where org_id = $1 and connection_id = $2 and location_id = $3', [
    orgId,
    connectionId,
    locationId,
  ]);
  await tx.query(
    'insert into connection_locations (org_id, connection_id, channel_location, location_id) values ($1, $2, $3, $4)',
    [orgId, connectionId, channelLocation, locationId],
  );
  await tx.query(
    `insert into dirty_policies as d (org_id, scope, scope_id) select $1, 'connection', $2
     where exists (select from targets where org_id = $1 and connection_id = $2)
     on conflict (org_id, scope, scope_id) do update set version = d.version + 1`,
    [orgId, connectionId],
  );
}
