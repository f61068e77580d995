/**
 * Publishable: the number each target of a listing should show.
 *
 *   publishable = max(0, min(cap, shareBp × sellable_here div 10000 − buffer))
 *
 *   plain    sellable_here = Σ over mapped locations of available
 *   bundle   sellable_here = min( Σ over locations of min over components of available div units,
 *                                 min over components of max(0, Σ available − component buffer) div units )
 *
 * One function takes a listing with all its targets on a connection, because what is set above the target is spent
 * once over them: the buffer comes off the default location's target first, then the others by falling priority; the
 * cap is filled in the reverse order; the share is cut from the sum, so that its rounding is lost once. Hence
 * Σ targets ≤ max(0, Σ available − buffer). A setting of the target itself counts for that target alone.
 * A bundle's parts must meet in one place (a setting lifts that); a part's own variant buffer is held back once.
 * The cap is the last word. Integers only: floor(0.29 × 100) is 28.
 *
 * Pure. Used by server/flows (lane, explain). The steps are the calculation itself: each is an amount added to the
 * running total, in order, ending at the number.
 */

/** What a policy row says; null = nothing about this field. */
export interface PolicyFields {
  buffer: number | null;
  shareBp: number | null;
  cap: number | null;
}

export type PolicyScope = 'target' | 'listing' | 'variant' | 'connection' | 'organization';

export interface Setting {
  value: number;
  scope: PolicyScope | 'default';
}

export interface ResolvedPolicy {
  buffer: Setting;
  shareBp: Setting;
  /** null: no cap. */
  cap: Setting | null;
}

/** Most specific first; `target` is resolved separately, per target. */
const scopes: PolicyScope[] = ['listing', 'variant', 'connection', 'organization'];

/** Per field the most specific policy that says something wins; without one: buffer 0, share 100 %, no cap. */
export function resolvePolicy(rows: Partial<Record<PolicyScope, PolicyFields>>): ResolvedPolicy {
  const find = (field: keyof PolicyFields): Setting | null => {
    for (const scope of scopes) {
      const value = rows[scope]?.[field];
      if (value !== null && value !== undefined) return { value, scope };
    }
    return null;
  };
  return {
    buffer: find('buffer') ?? { value: 0, scope: 'default' },
    shareBp: find('shareBp') ?? { value: 10_000, scope: 'default' },
    cap: find('cap'),
  };
}

export interface ComponentStock {
  variantId: string;
  sku: string;
  /** Units of it in one unit of the listing; 1 for a plain listing's own variant. */
  units: number;
  /** Available by location id; a missing location is 0. */
  available: Readonly<Record<string, number>>;
  /** A bundle part's own variant-level buffer; 0 for a plain listing, whose buffer is in the policy. */
  buffer: number;
}

export interface PublishTarget {
  targetId: string;
  channelLocation: string;
  /** Our locations behind this channel location. */
  locationIds: readonly string[];
  /** The default location is behind it. */
  isDefault: boolean;
  /** Serving order of its best location: lower is higher priority. */
  priority: number;
  policy: PolicyFields;
  /** Units the channel holds outside its own number (WooCommerce pending orders): added back here. */
  held: number;
  /** Why this target may offer nothing (stock of a place behind it is outdated). */
  withheld?: string | null;
}

export interface PublishInput {
  /** One entry with one unit for a plain listing; empty when the listing stands for nothing we stock. */
  components: readonly ComponentStock[];
  policy: ResolvedPolicy;
  targets: readonly PublishTarget[];
  /** A bundle's parts may come from several places. */
  partsMayTravel?: boolean;
  /** Why nothing may be offered at all (last units offered elsewhere); null = nothing stands against it. */
  withheld?: string | null;
}

export interface Step {
  op: 'available' | 'buildable' | 'part_buffer' | 'share' | 'buffer' | 'held' | 'cap' | 'withheld';
  label: string;
  /** Added to the running total. */
  amount: number;
  running: number;
  /** Where the figure comes from: a location id, a variant id, a policy scope. */
  source: string;
}

export interface Publishable {
  targetId: string;
  desired: number;
  steps: Step[];
}

interface Work {
  target: PublishTarget;
  running: number;
  steps: Step[];
}

/** @returns one number per target, in the given order, each an integer ≥ 0, with its steps. */
export function publishable(input: PublishInput): { targets: Publishable[] } {
  const work: Work[] = input.targets.map((target) => ({ target, running: 0, steps: [] }));
  // The order the buffer is taken in: default location first, then by falling priority.
  const order = [...work].sort(byServingOrder);
  for (const one of work) offer(one, input);
  keepPartBuffers(order, input);
  share(order, input.policy.shareBp);
  takeBuffer(order, input.policy.buffer);
  for (const one of work)
    if (one.target.held > 0) add(one, 'held', 'held by the channel outside its number', one.target.held, 'channel');
  fillCap([...order].reverse(), input.policy.cap);
  for (const one of work) {
    const why = one.target.withheld ?? input.withheld;
    if (why) add(one, 'withheld', why, -one.running, 'policy');
  }
  return {
    targets: work.map(({ target, running, steps }) => ({ targetId: target.targetId, desired: running, steps })),
  };
}

function byServingOrder(a: Work, b: Work): number {
  if (a.target.isDefault !== b.target.isDefault) return a.target.isDefault ? -1 : 1;
  if (a.target.priority !== b.target.priority) return a.target.priority - b.target.priority;
  return a.target.channelLocation < b.target.channelLocation ? -1 : 1;
}

function add(work: Work, op: Step['op'], label: string, amount: number, source: string): void {
  work.running += amount;
  work.steps.push({ op, label, amount: amount === 0 ? 0 : amount, running: work.running, source });
}

const at = (component: ComponentStock, locationId: string): number => Math.max(0, component.available[locationId] ?? 0);

function offer(work: Work, input: PublishInput): void {
  const [first, ...others] = input.components;
  const { locationIds } = work.target;
  if (!first) {
    add(work, 'available', 'nothing we stock stands behind this listing', 0, 'listing');
    return;
  }
  if (locationIds.length === 0) {
    add(work, 'available', 'no location of ours is mapped to this one', 0, 'mapping');
    return;
  }
  if (others.length === 0 && first.units === 1) {
    for (const locationId of locationIds) add(work, 'available', 'available', at(first, locationId), locationId);
    return;
  }
  if (input.partsMayTravel) {
    const fits = input.components.map((part) => ({
      part,
      kits: div(
        locationIds.reduce((sum, locationId) => sum + at(part, locationId), 0),
        part.units,
      ),
    }));
    const least = fits.reduce((a, b) => (b.kits < a.kits ? b : a));
    add(work, 'buildable', `limited by ${least.part.sku}`, least.kits, least.part.variantId);
    return;
  }
  for (const locationId of locationIds) {
    const least = input.components
      .map((part) => ({ part, kits: div(at(part, locationId), part.units) }))
      .reduce((a, b) => (b.kits < a.kits ? b : a));
    add(work, 'buildable', `parts that meet here, limited by ${least.part.sku}`, least.kits, locationId);
  }
}

/** The parts' own buffers, once over all targets: what the parts allow in all less what is offered comes off in buffer order. */
function keepPartBuffers(order: Work[], input: PublishInput): void {
  if (!input.components.some((part) => part.buffer > 0)) return;
  const mapped = [...new Set(order.flatMap(({ target }) => target.locationIds))];
  const allowed = input.components.map((part) => ({
    part,
    kits: div(Math.max(0, mapped.reduce((sum, locationId) => sum + at(part, locationId), 0) - part.buffer), part.units),
  }));
  const least = allowed.reduce((a, b) => (b.kits < a.kits ? b : a));
  let excess = order.reduce((sum, one) => sum + one.running, 0) - least.kits;
  for (const one of order) {
    const taken = Math.min(Math.max(0, excess), one.running);
    if (taken === 0) continue;
    add(one, 'part_buffer', `buffer of ${least.part.sku}`, -taken, least.part.variantId);
    excess -= taken;
  }
}

/** Targets without a share of their own split floor(share × their sum): the rounding is lost once, not per target. */
function share(order: Work[], setting: Setting): void {
  let offered = 0;
  let given = 0;
  for (const one of order) {
    const own = one.target.policy.shareBp;
    let part: number;
    if (own !== null) part = div(own * one.running, 10_000);
    else {
      offered += one.running;
      part = div(setting.value * offered, 10_000) - given;
      given += part;
    }
    if (part !== one.running) {
      const [value, scope] = own === null ? [setting.value, setting.scope] : [own, 'target'];
      add(one, 'share', `share ${value / 100} %`, part - one.running, scope);
    }
  }
}

function takeBuffer(order: Work[], setting: Setting): void {
  let left = setting.value;
  for (const one of order) {
    const own = one.target.policy.buffer;
    const wanted = own ?? left;
    const taken = Math.min(wanted, one.running);
    if (own === null) left -= taken;
    if (taken > 0)
      add(one, 'buffer', `buffer ${own ?? setting.value}`, -taken, own === null ? setting.scope : 'target');
  }
}

function fillCap(order: Work[], setting: Setting | null): void {
  let left = setting?.value ?? Number.MAX_SAFE_INTEGER;
  for (const one of order) {
    const own = one.target.policy.cap;
    const allowed = Math.min(one.running, own ?? left);
    if (own === null) left -= allowed;
    if (allowed < one.running) {
      add(
        one,
        'cap',
        `cap ${own ?? setting?.value}`,
        allowed - one.running,
        own === null ? (setting?.scope ?? 'default') : 'target',
      );
    }
  }
}

const div = (amount: number, by: number): number => Math.floor(amount / by);
