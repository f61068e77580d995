/**
 * The control routes `/_sim/…` of every simulator (names and bodies: the project's contract).
 * Checks bodies, calls the vendor's model, answers JSON; refusals are 4xx with `{ error }` and change nothing.
 */
import { z } from 'zod';
import type { SimCore } from './core.ts';
import { FAULT_KINDS } from './faults.ts';
import { ControlRefusal, type VendorControl } from './model.ts';
import { PROFILES } from './profiles.ts';

export interface ControlReply {
  status: number;
  body: unknown;
}

const id = z.union([z.string().min(1), z.number().int().transform(String)]);
const units = z.number().int().positive();
const lineRef = z
  .object({ id: id.optional(), sku: z.string().optional(), quantity: z.number().int().nonnegative() })
  .refine((line) => line.id !== undefined || line.sku !== undefined, 'a line needs an id or a sku');

const bodies = {
  orders: z.object({
    lines: z.array(z.object({ sku: z.string(), quantity: units })).min(1),
    status: z.enum(['paid', 'pending']).default('paid'),
    location: z.string().optional(),
    id: id.optional(),
    oversell: z.boolean().default(false),
  }),
  payments: z.object({ order: id }),
  edits: z.object({ order: id, lines: z.array(lineRef).min(1) }),
  cancellations: z.object({ order: id, restock: z.boolean().default(true), lines: z.array(lineRef).optional() }),
  returns: z.object({
    order: id,
    lines: z
      .array(
        z.object({ id: id.optional(), sku: z.string(), quantity: units, disposition: z.string().default('SELLABLE') }),
      )
      .min(1),
    restock: z.boolean().default(true),
  }),
  fulfillments: z.object({ order: id, lines: z.array(lineRef).optional() }),
  stock: z.object({ sku: z.string(), location: z.string().optional(), quantity: z.number().int() }),
  products: z.object({
    sku: z.string(),
    title: z.string().optional(),
    barcode: z.string().optional(),
    removed: z.boolean().optional(),
  }),
  faults: z.object({
    kind: z.enum(FAULT_KINDS),
    match: z
      .object({ operation: z.string().optional(), topic: z.string().optional() })
      .nullish()
      .transform((match) => match ?? undefined),
    times: units.nullable().optional(),
    ms: z.number().nonnegative().optional(),
    status: z.number().int().min(300).max(599).optional(),
    retryAfter: z.number().nonnegative().optional(),
  }),
  profile: z.object({ profile: z.enum(PROFILES) }),
  clock: z.object({ advanceMs: z.number().nonnegative() }),
};

/**
 * @param path below `/_sim`, e.g. "/orders" or "/faults/<id>"
 * @param text the request's body
 */
export function control(
  core: SimCore,
  model: VendorControl,
  request: { method: string; path: string; query: URLSearchParams; text: string },
): ControlReply {
  try {
    return route(core, model, request);
  } catch (error) {
    if (error instanceof ControlRefusal) return { status: error.status, body: { error: error.message } };
    throw error;
  }
}

function route(
  core: SimCore,
  model: VendorControl,
  { method, path, query, text }: { method: string; path: string; query: URLSearchParams; text: string },
): ControlReply {
  const act = <T>(work: () => T): T => core.tables.transact(work);
  switch (`${method} ${path}`) {
    case 'GET /state':
      return ok(state(core, model));
    case 'GET /calls':
      return ok(core.calls.since(Number(query.get('since') ?? 0) || 0));
    case 'GET /faults':
      return ok({ faults: core.faults.list() });
    case 'POST /orders': {
      const input = parse(bodies.orders, text);
      return { status: 201, body: act(() => model.placeOrder(input)) };
    }
    case 'POST /payments':
      return ok(act(() => model.payOrder(parse(bodies.payments, text))));
    case 'POST /edits':
      return ok(act(() => model.editOrder(parse(bodies.edits, text))));
    case 'POST /cancellations':
      return ok(act(() => model.cancelOrder(parse(bodies.cancellations, text))));
    case 'POST /returns':
      return ok(act(() => model.returnGoods(parse(bodies.returns, text))));
    case 'POST /fulfillments':
      return ok(act(() => model.fulfillOrder(parse(bodies.fulfillments, text))));
    case 'POST /stock':
      return ok(act(() => model.setStock(parse(bodies.stock, text))));
    case 'POST /products': {
      if (!model.editProduct) throw new ControlRefusal(404, 'No such control here: POST /products');
      const input = parse(bodies.products, text);
      return ok(act(() => model.editProduct?.(input)));
    }
    case 'POST /faults': {
      const input = parse(bodies.faults, text);
      const fault = act(() => {
        const added = core.faults.add(input);
        model.faultSet?.(added);
        return added;
      });
      return ok({ id: fault.id });
    }
    case 'DELETE /faults':
      return ok({ removed: core.faults.remove() });
    case 'POST /profile': {
      const { profile } = parse(bodies.profile, text);
      core.profile.set(profile);
      return ok({ profile });
    }
    case 'POST /clock':
      core.advanceClock(parse(bodies.clock, text).advanceMs);
      return ok({ now: new Date(core.clock.now()).toISOString() });
    case 'POST /reset':
      act(() => {
        model.reset();
        core.faults.remove();
        core.profile.restore();
      });
      return ok({ ok: true });
    default:
      return deleteFault(core, method, path);
  }
}

function deleteFault(core: SimCore, method: string, path: string): ControlReply {
  const fault = /^\/faults\/([^/]+)$/.exec(path)?.[1];
  if (method !== 'DELETE' || fault === undefined) throw new ControlRefusal(404, `No such control: ${method} ${path}`);
  const removed = core.faults.remove(decodeURIComponent(fault));
  if (removed === 0) throw new ControlRefusal(404, `No such fault: ${fault}`);
  return ok({ removed });
}

function state(core: SimCore, model: VendorControl) {
  return {
    now: new Date(core.clock.now()).toISOString(),
    profile: core.profile.current(),
    items: model.items(),
    orders: model.orders(),
  };
}

const ok = (body: unknown): ControlReply => ({ status: 200, body });

function parse<Schema extends z.ZodType>(schema: Schema, text: string): z.output<Schema> {
  let json: unknown;
  try {
    json = text === '' ? {} : JSON.parse(text);
  } catch {
    throw new ControlRefusal(400, 'The body is not JSON');
  }
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => `${issue.path.join('.') || 'body'}: ${issue.message}`);
  throw new ControlRefusal(400, problems.join('; '));
}
