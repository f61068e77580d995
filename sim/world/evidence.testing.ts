/** Evidence written by hand: a shop with compare-and-set and an Amazon without, one SKU `CUP` of 10, a bundle `SET` of 2 cups. */
import { indexed, numbersOf } from './audit-numbers.ts';
import type { ChannelEvidence, ChannelOrder, Evidence, PositionRow, Rows, TargetRow } from './evidence.ts';

export const emptyRows = (): Rows => ({
  locations: [],
  variants: [],
  components: [],
  connections: [],
  mappings: [],
  listings: [],
  policies: [],
  scarce: [],
  positions: [],
  movements: [],
  commitments: [],
  holds: [],
  shortfalls: [],
  claimEvents: [],
  ledgerEffects: [],
  orders: [],
  lines: [],
  inbox: [],
  targets: [],
  attempts: [],
  lanes: [],
  dirty: [],
  dirtyPolicies: [],
  due: [],
  feeds: [],
  drifts: [],
  alerts: [],
});

export const position = (more: Partial<PositionRow> = {}): PositionRow => ({
  variantId: 'cup',
  locationId: 'main',
  sellable: 10,
  damaged: 0,
  quarantine: 0,
  expired: 0,
  incoming: 0,
  committed: 0,
  reserved: 0,
  ...more,
});

export const movement = (more: Partial<Rows['movements'][number]> = {}): Rows['movements'][number] => ({
  id: 'm1',
  variantId: 'cup',
  units: 10,
  fromLocation: null,
  fromBucket: null,
  toLocation: 'main',
  toBucket: 'sellable',
  kind: 'receipt',
  reason: 'received',
  reference: null,
  effectKey: 'e1',
  ...more,
});

export const target = (more: Partial<TargetRow> = {}): TargetRow => ({
  id: 'shop cup',
  connectionId: 'shop',
  stockKey: 'CUP',
  channelLocation: 'MAIN',
  variantId: 'cup',
  desired: null,
  expected: 10,
  observed: 10,
  unseen: 0,
  state: 'in_sync',
  reason: null,
  readOnly: false,
  pendingValue: null,
  dirtyVersion: 1,
  handledVersion: 1,
  settlesAt: null,
  ...more,
});

export const attempt = (more: Partial<Rows['attempts'][number]> = {}): Rows['attempts'][number] => ({
  id: 'a1',
  targetId: 'shop cup',
  connectionId: 'shop',
  value: 10,
  from: null,
  lane: 'lane',
  generation: 1,
  sentAt: 1_000,
  outcome: 'applied',
  ...more,
});

/** Everything is as it should be: ten cups, shown at both channels. */
export function rightRows(): Rows {
  return {
    ...emptyRows(),
    locations: [
      { id: 'main', code: 'MAIN', isDefault: true, priority: 1, servesOrders: true },
      { id: 'east', code: 'EAST', isDefault: false, priority: 2, servesOrders: true },
    ],
    variants: [{ id: 'cup', sku: 'CUP', isBundle: false }],
    connections: ['shop', 'amazon'].map((id) => ({
      id,
      name: id,
      state: 'connected',
      pausedAt: null,
      shadowAt: null,
      ordersReadTo: null,
      priority: 100,
    })),
    mappings: [
      { connectionId: 'shop', channelLocation: 'MAIN', locationId: 'main' },
      { connectionId: 'amazon', channelLocation: 'DEFAULT', locationId: 'main' },
      { connectionId: 'amazon', channelLocation: 'DEFAULT', locationId: 'east' },
    ],
    listings: ['shop', 'amazon'].map((connectionId) => ({
      id: `${connectionId} listing`,
      connectionId,
      variantId: 'cup',
      stockKey: 'CUP',
      pausedAt: null,
      notWritable: null,
      fulfilledBy: 'us',
    })),
    positions: [position()],
    movements: [movement()],
    targets: [target(), target({ id: 'amazon cup', connectionId: 'amazon', channelLocation: 'DEFAULT' })],
  };
}

export const channel = (id: 'shop' | 'amazon', more: Partial<ChannelEvidence> = {}): ChannelEvidence => ({
  connectionId: id,
  name: id,
  platform: id === 'shop' ? 'shopify' : 'amazon',
  compareAndSet: id === 'shop',
  now: 1_000,
  items: [{ sku: 'CUP', stockKey: 'CUP', location: id === 'shop' ? 'MAIN' : 'DEFAULT', quantity: 10, itsOwn: false }],
  orders: [],
  changes: [],
  calls: [],
  onItsWay: [],
  ...more,
});

/** An order of cups that the channel took from its number. */
export const order = (units: number, more: Partial<ChannelOrder> & { at?: string } = {}): ChannelOrder => {
  const { at = 'CUP@MAIN', ...rest } = more;
  return {
    id: '1',
    pending: false,
    cancelled: false,
    itsOwn: false,
    placedAt: 900,
    lines: [{ id: '11', sku: 'CUP', open: units, shipped: 0, returned: 0, taken: { [at]: units } }],
    ...rest,
  };
};

/** Our rows of that order, booked as it stands. */
export const booked = (units: number, connectionId = 'shop') => ({
  positions: [position({ committed: units })],
  orders: [
    {
      id: 'o1',
      connectionId,
      externalId: '1',
      status: 'new',
      revision: 1,
      pending: false,
      unmapped: false,
      fulfilledBy: 'us',
    },
  ],
  lines: [
    {
      id: 'l1',
      orderId: 'o1',
      externalId: '11',
      variantId: 'cup',
      channelSku: 'CUP',
      wanted: units,
      shipped: 0,
      claimed: units,
      returned: 0,
      explosion: [{ variantId: 'cup', units: 1 }],
    },
  ],
  commitments: [{ lineId: 'l1', variantId: 'cup', locationId: 'main', open: units, shipped: 0, released: 0 }],
  claimEvents: [claimEvent({ delta: units })],
});

export const claimEvent = (more: Partial<Rows['claimEvents'][number]> = {}): Rows['claimEvents'][number] => ({
  seq: 1,
  claim: 'commitment',
  claimId: 'l1',
  variantId: 'cup',
  locationId: 'main',
  delta: 1,
  event: 'commit',
  effectKey: 'order:o1:r1',
  businessAt: 900,
  ...more,
});

/** Targets whose `desired` a test leaves open were computed from the stock and settings of now. */
function computed(rows: Rows): Rows {
  const index = indexed(rows);
  const targets = rows.targets.map((one) => ({
    ...one,
    desired: one.desired ?? numbersOf(index, one.connectionId, one.variantId ?? '').get(one.id) ?? 0,
  }));
  return { ...rows, targets };
}

/** @param rows the whole state; all of it is fresh unless told otherwise */
export const evidence = (rows: Rows, more: Partial<Evidence> = {}): Evidence => ({
  step: 1,
  now: 1_000,
  channels: [channel('shop'), channel('amazon')],
  acts: [],
  rows: computed(rows),
  fresh: rows,
  ...more,
});
