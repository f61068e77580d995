/**
 * The database's rows as evidence: one round trip, one statement, as the owner.
 *
 * Tables that only grow or change (movements, positions, claims, orders, …) are asked for rows written since the last
 * look, by the transaction that wrote them (xmin at or above the oldest one running then), and compared with what is
 * known, so that a row read twice is not fresh twice. Small tables and those whose rows are deleted are read whole.
 *
 * Called by collect.ts. Knows columns, and no rule.
 */
import type { Rows } from './evidence.ts';

/** What a pg client or pool of the owner can do. */
export interface Owner {
  query(statement: {
    name: string;
    text: string;
    values: unknown[];
  }): Promise<{ rows: { rows: unknown; next: string }[] }>;
}

interface TableSpec {
  /** Columns as named in evidence. */
  columns: string;
  from: string;
  /** Only what was written since the last look; null for tables read whole. */
  since: string | null;
  /** What makes a row this row. */
  key: readonly string[];
}

const ms = (column: string) => `(extract(epoch from least(${column}, '9999-01-01'::timestamptz)) * 1000)::float8`;
const grows = (alias: string) => `${alias}.xmin::text::bigint >= $2::bigint`;

const tables: { [Name in keyof Rows]: TableSpec } = {
  locations: {
    columns: `id, code, is_default as "isDefault", priority, serves_orders as "servesOrders"`,
    from: 'locations t where org_id = $1',
    since: null,
    key: ['id'],
  },
  variants: {
    columns: `id, sku, is_bundle as "isBundle"`,
    from: 'variants t where org_id = $1',
    since: null,
    key: ['id'],
  },
  components: {
    columns: `variant_id as "variantId", component_id as "componentId", units`,
    from: 'bundle_components t where org_id = $1 and valid_to is null',
    since: null,
    key: ['variantId', 'componentId'],
  },
  connections: {
    columns: `id, name, state, ${ms('paused_at')} as "pausedAt", ${ms('shadow_at')} as "shadowAt",
      ${ms('orders_read_to')} as "ordersReadTo", priority`,
    from: 'connections t where org_id = $1 and deleted_at is null',
    since: null,
    key: ['id'],
  },
  mappings: {
    columns: `connection_id as "connectionId", channel_location as "channelLocation", location_id as "locationId"`,
    from: 'connection_locations t where org_id = $1',
    since: null,
    key: ['connectionId', 'channelLocation', 'locationId'],
  },
  listings: {
    columns: `id, connection_id as "connectionId", variant_id as "variantId", stock_key as "stockKey",
      ${ms('paused_at')} as "pausedAt", not_writable as "notWritable", fulfilled_by as "fulfilledBy"`,
    from: 'listings t where org_id = $1',
    since: null,
    key: ['id'],
  },
  policies: {
    columns: `scope, scope_id as "scopeId", buffer, share_bp as "shareBp", cap, last_units as "lastUnits"`,
    from: 'policies t where org_id = $1 and valid_to is null',
    since: null,
    key: ['scope', 'scopeId'],
  },
  scarce: {
    columns: `variant_id as "variantId", connection_id as "connectionId"`,
    from: 'scarcity_episodes t where org_id = $1 and valid_to is null',
    since: null,
    key: ['variantId'],
  },
  positions: {
    columns: `variant_id as "variantId", location_id as "locationId", sellable, damaged, quarantine, expired, incoming, committed, reserved`,
    from: 'positions t where org_id = $1',
    since: grows('t'),
    key: ['variantId', 'locationId'],
  },
  movements: {
    columns: `id, variant_id as "variantId", units, from_location as "fromLocation", from_bucket as "fromBucket",
      to_location as "toLocation", to_bucket as "toBucket", kind, reason, reference, effect_key as "effectKey"`,
    from: 'movements t where org_id = $1',
    since: grows('t'),
    key: ['id'],
  },
  commitments: {
    columns: `line_id as "lineId", variant_id as "variantId", location_id as "locationId", open, shipped, released`,
    from: 'commitments t where org_id = $1',
    since: grows('t'),
    key: ['lineId', 'variantId', 'locationId'],
  },
  holds: {
    columns: `hold_id as "holdId", variant_id as "variantId", location_id as "locationId", open, confirmed, released, origin,
      ${ms('expires_at')} as "expiresAt"`,
    from: 'holds t where org_id = $1',
    since: grows('t'),
    key: ['holdId', 'variantId', 'locationId'],
  },
  shortfalls: {
    columns: `line_id as "lineId", variant_id as "variantId", claim_kind as "claimKind", waiting, filled, cancelled`,
    from: 'shortfalls t where org_id = $1',
    since: grows('t'),
    key: ['lineId', 'variantId', 'claimKind'],
  },
  claimEvents: {
    columns: `seq::float8 as seq, claim, claim_id as "claimId", variant_id as "variantId", location_id as "locationId", delta, event,
      effect_key as "effectKey", ${ms('business_at')} as "businessAt"`,
    // A commitment's first entry stands in its own row.
    from: `(
      select xmin as written, org_id, seq, claim, claim_id, variant_id, location_id, delta, event, effect_key, business_at from claim_changes
      union all
      select xmin, org_id, first_seq, 'commitment', line_id, variant_id, location_id, first_delta, first_event, effect_key, business_at
      from commitments where first_delta is not null) t where org_id = $1`,
    since: 't.written::text::bigint >= $2::bigint',
    key: ['seq'],
  },
  ledgerEffects: {
    columns: `effect_key as key`,
    from: 'ledger_effects t where org_id = $1',
    since: grows('t'),
    key: ['key'],
  },
  orders: {
    columns: `id, connection_id as "connectionId", external_id as "externalId", status, revision, pending, unmapped, fulfilled_by as "fulfilledBy"`,
    from: 'orders t where org_id = $1',
    since: grows('t'),
    key: ['id'],
  },
  lines: {
    columns: `id, order_id as "orderId", external_id as "externalId", variant_id as "variantId", channel_sku as "channelSku",
      wanted, shipped, claimed, returned, explosion`,
    from: 'order_lines t where org_id = $1',
    since: grows('t'),
    key: ['id'],
  },
  inbox: {
    columns: `id, connection_id as "connectionId", kind, external_id as "externalId", state`,
    from: 'inbox t where org_id = $1',
    since: grows('t'),
    key: ['id'],
  },
  targets: {
    columns: `id, connection_id as "connectionId", stock_key as "stockKey", channel_location as "channelLocation", variant_id as "variantId",
      desired, expected, observed, unseen, state, reason, read_only as "readOnly", pending_value as "pendingValue",
      dirty_version::float8 as "dirtyVersion", handled_version::float8 as "handledVersion", ${ms('settles_at')} as "settlesAt"`,
    from: 'targets t where org_id = $1',
    since: grows('t'),
    key: ['id'],
  },
  attempts: {
    columns: `id, target_id as "targetId", connection_id as "connectionId", value, from_value as "from", lane,
      lease_generation::float8 as generation, ${ms('sent_at')} as "sentAt", outcome`,
    from: 'attempts t where org_id = $1',
    since: grows('t'),
    key: ['id'],
  },
  lanes: {
    columns: `connection_id as "connectionId", holder, generation::float8 as generation`,
    from: 'lanes t where org_id = $1',
    since: null,
    key: ['connectionId'],
  },
  dirty: {
    columns: `variant_id as "variantId", version::float8 as version`,
    from: 'dirty_variants t where org_id = $1',
    since: null,
    key: ['variantId'],
  },
  dirtyPolicies: {
    columns: `scope, scope_id as "scopeId", version::float8 as version`,
    from: 'dirty_policies t where org_id = $1',
    since: null,
    key: ['scope', 'scopeId'],
  },
  due: {
    columns: `kind, subject_id as "subjectId", ${ms('due_at')} as "dueAt"`,
    from: 'due t where org_id = $1',
    since: null,
    key: ['kind', 'subjectId'],
  },
  feeds: {
    columns: 'id, connection_id as "connectionId", state',
    from: 'feeds t where org_id = $1',
    since: null,
    key: ['id'],
  },
  drifts: {
    columns: `target_id as "targetId", state, cause, units`,
    from: 'drifts t where org_id = $1 and ended_at is null',
    since: null,
    key: ['targetId'],
  },
  alerts: {
    columns: `id, kind, severity, subject_kind as "subjectKind", subject_id as "subjectId", message`,
    from: 'alerts t where org_id = $1 and resolved_at is null',
    since: null,
    key: ['id'],
  },
};

const names = Object.keys(tables) as (keyof Rows)[];

const parts = names.map((name) => {
  const { columns, from, since } = tables[name];
  const rows = `select ${columns} from ${from}${since === null ? '' : ` and ${since}`}`;
  return `'${name}', (select coalesce(json_agg(r), '[]') from (${rows}) r)`;
});

const statement = `select json_build_object(${parts.join(',\n')}) as rows,
  (pg_snapshot_xmin(pg_current_snapshot())::text::bigint & 4294967295)::text as next`;

export interface RowsCollector {
  /** @returns the whole state, and what is new or changed since the last call (at first: everything). */
  collect(): Promise<{ rows: Rows; fresh: Rows }>;
}

export function createRowsCollector(owner: Owner, orgId: string): RowsCollector {
  const known = new Map(names.map((name) => [name, new Map<string, { text: string; row: unknown }>()]));
  let since = '0';

  /** @returns those of the read rows that are new or differ. */
  function take(name: keyof Rows, read: readonly Record<string, unknown>[]): unknown[] {
    const { key, since: partly } = tables[name];
    const rows = known.get(name) ?? new Map();
    const seen = new Set<string>();
    const fresh: unknown[] = [];
    for (const row of read) {
      const id = key.map((column) => row[column]).join('|');
      const text = JSON.stringify(row);
      seen.add(id);
      if (rows.get(id)?.text === text) continue;
      rows.set(id, { text, row });
      fresh.push(row);
    }
    if (partly === null) for (const id of [...rows.keys()]) if (!seen.has(id)) rows.delete(id);
    return fresh;
  }

  return {
    async collect() {
      const answer = await owner.query({ name: 'world-evidence', text: statement, values: [orgId, since] });
      const [found] = answer.rows;
      if (found === undefined) throw new Error('The database answered nothing');
      const read = found.rows as Record<keyof Rows, Record<string, unknown>[]>;
      const fresh = Object.fromEntries(names.map((name) => [name, take(name, read[name])])) as unknown as Rows;
      since = found.next;
      const rows = Object.fromEntries(
        names.map((name) => [name, [...(known.get(name) ?? [])].map(([, { row }]) => row)]),
      ) as unknown as Rows;
      return { rows, fresh };
    },
  };
}
