/**
 * The wire between our processes and the simulated vendors, in both directions, in memory.
 *
 *   out: a call leaves → arrives and is carried out → its answer comes back     three steps, anything may happen between
 *   in:  a vendor's delivery → some living process's webhook route → accepted or not
 *
 * A call that has left arrives even when its caller has given up, or died, meanwhile.
 */
import { type ExchangeAnswer, ExchangeFault, type Exchanger } from '#connectors/kit/exchange.ts';
import type { Clock } from '#core/effects.ts';
import type { Simulator } from '#sim/kit/simulator.ts';
import type { Owner, Scheduler } from './scheduler.ts';
import type { Trace } from './trace.ts';

/** Where everything simulated lives; nothing listens there. */
export const origin = 'http://127.0.0.1:1';

/** A queue's long poll is always under way and hurries nobody; it may take as long as time strides. */
const patientMs = 900_000;

export class Wire {
  readonly #scheduler: Scheduler;
  readonly #trace: Trace;
  readonly #simulators = new Map<string, Simulator>();
  readonly #owner: Owner = { name: 'wire', alive: true };
  readonly #clock: Clock;

  constructor(scheduler: Scheduler, trace: Trace) {
    this.#scheduler = scheduler;
    this.#trace = trace;
    this.#clock = scheduler.clock(this.#owner);
  }

  mount(simulator: Simulator): void {
    this.#simulators.set(simulator.name, simulator);
    simulator.start();
  }

  /** The way out of one process. */
  exchanger(owner: Owner): Exchanger {
    return {
      exchange: (request) =>
        new Promise((resolve, reject) => {
          if (request.signal.aborted) return reject(new ExchangeFault('abandoned', false));
          const name = `${owner.name} ${request.method} ${request.url.pathname}`;
          let sent = false;
          let over = false;
          const timer = new AbortController();
          const finish = (settle: () => void) => {
            if (over) return;
            over = true;
            timer.abort();
            request.signal.removeEventListener('abort', abandon);
            settle();
          };
          /** Heard in a step of its own: a frozen process hears later, a dead one never. */
          const hear = (what: string, settle: () => void) =>
            finish(() => void this.#scheduler.step(owner, 'call', `hears: ${what} of ${name}`, settle));
          const fail = (why: string) => hear(why, () => reject(new ExchangeFault(why, sent)));
          const abandon = () => finish(() => reject(new ExchangeFault('abandoned', sent)));
          const isPoll = /\/sqs(?:\/|$)/.test(request.url.pathname);
          const timeoutMs = isPoll ? patientMs : request.timeoutMs;
          void this.#clock.sleep(timeoutMs, timer.signal).then(() => fail('timeout'));
          request.signal.addEventListener('abort', abandon, { once: true });
          const travel = async () => {
            await this.#scheduler.step(this.#owner, 'call', `leaves: ${name}`, () => undefined);
            if (over || !owner.alive) return;
            sent = true;
            const answer = await this.#carryOut(request, name, timer.signal);
            if (answer === null) return fail('ECONNRESET');
            hear(String(answer.status), () => resolve(answer));
          };
          const travelling = travel().catch((error: unknown) => finish(() => reject(error)));
          if (!isPoll) void this.#scheduler.exact(travelling);
        }),
      close: () => undefined,
    };
  }

  /** @returns null: the connection was held and then broken */
  async #carryOut(
    request: Parameters<Exchanger['exchange']>[0],
    name: string,
    gone: AbortSignal,
  ): Promise<ExchangeAnswer | null> {
    const [, place = '', path = '/'] = /^\/([^/]*)(.*)$/.exec(request.url.pathname) ?? [];
    const simulator = this.#simulators.get(place);
    if (!simulator) throw new ExchangeFault('ECONNREFUSED', false);
    const text = request.body === undefined ? '' : Buffer.from(request.body).toString('utf8');
    const call = {
      method: request.method,
      path,
      query: request.url.searchParams,
      headers: Object.fromEntries(Object.entries(request.headers).map(([key, value]) => [key.toLowerCase(), value])),
      body: Buffer.from(request.body ?? ''),
      baseUrl: `${origin}/${place}`,
      gone: () => gone,
    };
    const outcome = await (
      await this.#scheduler.step(this.#owner, 'call', `arrives: ${name}`, () => {
        this.#trace.note(brief(path, text));
        // Begun in this step; what takes the vendor time is the vendor's.
        return { handled: simulator.handle(call) };
      })
    ).handled;
    if (outcome.kind === 'hang') {
      await this.#clock.sleep(outcome.holdMs, gone);
      return null;
    }
    const body = outcome.body.toString();
    this.#trace.mix(body);
    return {
      status: outcome.status,
      headers: { date: new Date(simulator.core.clock.now()).toUTCString(), ...lower(outcome.headers) },
      ...(request.binary === true ? { body: '', bytes: Buffer.from(outcome.body) } : { body }),
    };
  }
}

const lower = (headers: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([key, value]) => [key.toLowerCase(), value]));

/** What a call is about, for the trace: never its credentials. */
function brief(path: string, text: string): string {
  if (/token|oauth/.test(path)) return '';
  return text.replace(/\s+/g, ' ').slice(-300);
}
