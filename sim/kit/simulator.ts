/**
 * One simulated vendor as the host sees it: a vendor's model and the kit's core joined into a request handler.
 *
 *   a vendor call:  identify → fault before? (status, revoke, timeout_before) → latency → answer → durable → log
 *                   → fault after? (timeout_after: carried out, never answered) → reply
 *
 * A timeout holds the connection (`ms`, by default half a minute) and then breaks it.
 */
import { type ControlReply, control } from './control.ts';
import type { SimCore } from './core.ts';
import type { Fault } from './faults.ts';
import type { CallIdentity, VendorCall, VendorModel, VendorReply } from './model.ts';

const DEFAULT_HOLD_MS = 30_000;

/** What the host does with the connection: answers, or holds it for `holdMs` and destroys it. */
export type Outcome =
  | { kind: 'reply'; status: number; headers: Record<string, string>; body: string | Buffer }
  | { kind: 'hang'; holdMs: number };

export interface Simulator {
  readonly name: string;
  readonly core: SimCore;
  handle(call: VendorCall): Promise<Outcome>;
  handleControl(request: { method: string; path: string; query: URLSearchParams; text: string }): Promise<ControlReply>;
  /**
   * After a restart on another port: subscriptions and pending deliveries to `from` go to `to`.
   * @param from an origin such as "http://127.0.0.1:3000", or null for every loopback origin
   * Call it before mounting, so that nothing is sent to the old port.
   */
  retarget(from: string | null, to: string): Promise<void>;
  start(): void;
  close(): Promise<void>;
}

export function createSimulator<Identity extends CallIdentity>(core: SimCore, model: VendorModel<Identity>): Simulator {
  async function handle(call: VendorCall): Promise<Outcome> {
    const identity = model.identify(call);
    const operations = identity.operations ?? [identity.operation];
    const record = (reply: Pick<VendorReply, 'body' | 'applied'>, status: number | null) =>
      core.calls.add({
        at: new Date(core.clock.now()).toISOString(),
        method: call.method,
        path: call.path,
        operation: identity.operation,
        status,
        body: identity.confidential === true ? '' : call.body.toString('utf8'),
        response: identity.confidential === true ? '' : reply.body.toString(),
        applied: reply.applied,
      });

    const before = core.faults.takeForCall(['status', 'revoke', 'timeout_before'], operations);
    if (before?.kind === 'timeout_before') {
      record({ body: '', applied: false }, null);
      return hang(before);
    }
    const [least, most] = model.latencyMs();
    if (most > 0) await core.clock.sleep(least + core.random.next() * (most - least), call.gone());
    const reply = before === null ? await model.answer(call, identity) : model.refuse(before, call, identity);
    const after = before === null ? core.faults.takeForCall(['timeout_after'], operations) : null;
    await core.tables.durable();
    if (after !== null) {
      record({ body: '', applied: reply.applied }, null);
      return hang(after);
    }
    record(reply, reply.status);
    return { kind: 'reply', status: reply.status, headers: reply.headers ?? {}, body: reply.body };
  }

  return {
    name: core.name,
    core,
    handle,
    async handleControl(request) {
      const reply = control(core, model, request);
      await core.tables.durable();
      return reply;
    },
    async retarget(from, to) {
      core.tables.transact(() => model.retarget(from, to));
      await core.tables.durable();
    },
    start: () => model.start(),
    async close() {
      await model.close();
      await core.close();
    },
  };
}

const hang = (fault: Fault): Outcome => ({ kind: 'hang', holdMs: fault.ms ?? DEFAULT_HOLD_MS });
