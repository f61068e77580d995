/**
 * Transport: the one way out of the process for every connector.
 *
 * Decides, in this order: may we talk to this address (endpoints.ts) → is it our turn (budget.ts) → is the vendor
 * answering at all (breaker.ts) → send (exchange.ts) → what a failure means:
 *
 *   nothing was sent (refused, no such name, TLS, deadline before connecting)  connector.unavailable
 *   sent, then time-out, reset, 5xx, unreadable:  a write → connector.outcome_unknown,  a read → connector.unavailable
 *   429                                           connector.rate_limited, with the vendor's Retry-After when it names one
 *   any other status                              the answer
 *
 * Reads that were not answered are repeated (retry.ts), writes never. Every attempt goes to `log` without its secrets.
 * One per connection, made in server/deps.ts.
 */
import type { Clock, Random } from '#core/effects.ts';
import { ConnectorError } from '#core/errors.ts';
import { type BreakerState, createBreaker } from './breaker.ts';
import type { BudgetState, Budgets } from './budget.ts';
import { checkEndpoint, guardedLookup } from './endpoints.ts';
import { createExchanger, type ExchangeAnswer, ExchangeFault, type Exchanger } from './exchange.ts';
import type { BudgetClass, OutsideAnswer, OutsideCall, Transport } from './ports.ts';
import { redactBody, redactHeaders, redactQueries, redactUrl } from './redaction.ts';
import { retryRead } from './retry.ts';
import { createSharing, type SharedLimits } from './sharing.ts';

const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
/** Below this share of its bucket a connection is close to its limit (alert at 80 % used). */
const NEARLY_SPENT = 0.2;

export interface TransportOptions {
  clock: Clock;
  random: Random;
  kind: 'live' | 'simulated';
  /** Simulated or custom endpoint; null = the vendor's own hosts. */
  baseUrl: string | null;
  /** `manifest.hosts`. */
  allowedHosts: readonly string[];
  /** SYNCSTATE_ALLOW_CUSTOM_ENDPOINTS. */
  allowCustomEndpoints: boolean;
  /** `createBudgets(clock, manifest.budgets)`, one per connection. */
  budgets: Budgets;
  /** Other processes work on the same connection: buckets and breaker are shared with them. Default: alone. */
  shared?: SharedLimits;
  log?: (entry: CallLogEntry) => void;
  /** Called after a call that left less than a fifth of its bucket, or that had to wait. */
  onBudget?: (event: BudgetEvent) => void;
  maxAnswerBytes?: number;
  /** How a request travels; default: HTTP. The simulated world hands in its own wire. */
  exchanger?: Exchanger;
}

/** One attempt of an outside call, without secrets. Bodies are cut (redaction.ts). */
export interface CallLogEntry {
  operation: string;
  method: string;
  url: string;
  requestHeaders: Record<string, string>;
  requestBody: string | null;
  write: boolean;
  budget: BudgetClass;
  bucket: string;
  /** Business time the attempt began, Unix ms. */
  startedAt: number;
  /** From leaving the budget's queue to the answer, ms. */
  durationMs: number;
  /** Time spent waiting for the budget, ms. */
  waitedMs: number;
  attempt: number;
  status: number | null;
  responseHeaders: Record<string, string>;
  responseBody: string | null;
  /** "answered", or the code thrown. */
  outcome: string;
  /** Short technical word when nothing was answered: "ECONNREFUSED", "timeout", … */
  fault: string | null;
}

export interface BudgetEvent {
  bucket: string;
  budget: BudgetClass;
  waitedMs: number;
  /** Share of the bucket left, 0–1. */
  left: number;
}

export interface ConnectionTransport extends Transport {
  breaker(): BreakerState;
  budgets(): BudgetState[];
  /** Calls in flight and those that wait for their turn fail, later ones too; shares of the vendor's limits are given back. */
  close(): Promise<void>;
}

export function createTransport(options: TransportOptions): ConnectionTransport {
  const { clock, random, budgets } = options;
  const breaker = createBreaker(clock, (transition) => sharing?.transition(transition));
  const sharing = options.shared ? createSharing({ clock, budgets, breaker, limits: options.shared }) : null;
  const exchanger = options.exchanger ?? createExchanger(clock, guardedLookup(options));

  const closing = new AbortController();
  /** Why the breaker opened, in words: what the vendor did last when it did not answer well. */
  let lastFailure: string | null = null;

  async function attempt(call: OutsideCall, url: URL, number: number): Promise<OutsideAnswer> {
    await sharing?.ready(call.bucket);
    // Nobody brings a closed one its share any more: who waited for it would wait for ever.
    const signal = AbortSignal.any([call.signal, closing.signal]);
    const cost = call.cost ?? 1;
    const permit = await budgets.acquire(call.bucket, call.budget, cost, signal);
    if (permit.waitedMs > 0 || permit.left < NEARLY_SPENT)
      options.onBudget?.({ bucket: call.bucket, budget: call.budget, waitedMs: permit.waitedMs, left: permit.left });
    const record = openRecord(call, number, permit.waitedMs, clock);
    try {
      await mayGo(call, cost, signal).catch((error: unknown) => {
        permit.giveBack();
        throw error;
      });
      const answer = await send(call, url);
      if (answer.status === 429) {
        budgets.refused(call.bucket, retryAfterMs(answer.headers, clock.now()));
        sharing?.urge();
      }
      const fault = faultOfStatus(call, answer, clock.now());
      record.answered(answer, fault);
      if (fault) throw fault;
      return { ...answer, receivedAt: clock.now() };
    } catch (error) {
      record.failed(error);
      throw error;
    } finally {
      permit.release();
      if (options.log) options.log(record.entry());
    }
  }

  /** It has its token. Rejects with why it does not leave all the same. */
  async function mayGo(call: OutsideCall, cost: number, signal: AbortSignal): Promise<void> {
    if (sharing && (await sharing.told(call.bucket, cost, signal)) === false) throw untold(call);
    if (call.mayLeave && !(await call.mayLeave())) throw withdrawn(call);
    const asked = breaker.ask();
    if (asked.kind === 'stay_away') throw breakerOpen(call, asked.retryAfterMs, lastFailure);
  }

  async function send(call: OutsideCall, url: URL): Promise<ExchangeAnswer> {
    try {
      const { method, headers, body, timeoutMs, signal, binary } = call;
      const answer = await exchanger.exchange({
        method,
        url,
        headers,
        body,
        timeoutMs,
        signal,
        binary,
        maxBytes: options.maxAnswerBytes ?? MAX_ANSWER_BYTES,
      });
      if (answer.status >= 500) {
        lastFailure = `it answered ${answer.status}`;
        breaker.failed();
      } else breaker.succeeded();
      return answer;
    } catch (error) {
      if (!(error instanceof ExchangeFault)) throw error;
      if (error.why === 'abandoned') breaker.withdrawn();
      else {
        lastFailure = error.message;
        breaker.failed();
      }
      throw faultOfExchange(call, error);
    }
  }

  return {
    async request(call) {
      const url = new URL(call.url);
      checkEndpoint(url, options);
      if (call.write) return attempt(call, url, 1);
      return retryRead(clock, random, { spentMs: call.timeoutMs, signal: call.signal }, (number) =>
        attempt(call, url, number),
      );
    },
    report: (bucket, report) => budgets.report(bucket, report),
    breaker: () => breaker.state(),
    budgets: () => budgets.state(),
    async close() {
      closing.abort();
      exchanger.close();
      await sharing?.close();
    },
  };
}

function faultOfStatus(call: OutsideCall, answer: ExchangeAnswer, now: number): ConnectorError | null {
  if (answer.status !== 429 && answer.status < 500) return null;
  const wait = retryAfterMs(answer.headers, now);
  const details = {
    operation: call.operation,
    status: answer.status,
    ...(wait === null ? {} : { retryAfterMs: wait }),
  };
  if (answer.status === 429)
    return new ConnectorError('connector.rate_limited', `${call.operation}: the vendor asks to slow down.`, details);
  const code = call.write ? 'connector.outcome_unknown' : 'connector.unavailable';
  return new ConnectorError(code, `${call.operation}: the vendor answered ${answer.status}.`, details);
}

function faultOfExchange(call: OutsideCall, fault: ExchangeFault): ConnectorError {
  const details = {
    operation: call.operation,
    why: fault.why,
    sent: fault.sent,
    abandoned: fault.why === 'abandoned',
    // A too large answer stays too large.
    repeatable: fault.why !== 'too_large' && fault.why !== 'EPRIVATE',
  };
  const unknown = call.write && fault.sent;
  const consequence = unknown ? 'it may have been applied' : 'safe to repeat';
  return new ConnectorError(
    unknown ? 'connector.outcome_unknown' : 'connector.unavailable',
    `${call.operation}: ${fault.message} (${consequence}).`,
    details,
    fault,
  );
}

function withdrawn(call: OutsideCall): ConnectorError {
  const details = { operation: call.operation, withdrawn: true, abandoned: true, sent: false };
  return new ConnectorError('connector.unavailable', `${call.operation}: withdrawn before it was sent.`, details);
}

function untold(call: OutsideCall): ConnectorError {
  const details = { operation: call.operation, sent: false };
  return new ConnectorError(
    'connector.unavailable',
    `${call.operation}: not sent, the other processes could not be told of it.`,
    details,
  );
}

function breakerOpen(call: OutsideCall, waitMs: number, why: string | null): ConnectorError {
  const details = { operation: call.operation, breakerOpen: true, sent: false, retryAfterMs: waitMs };
  return new ConnectorError(
    'connector.unavailable',
    `${call.operation}: not sent, the vendor has not been answering${why === null ? '' : ` (${why})`}.`,
    details,
  );
}

/** `Retry-After` in seconds or as an HTTP date (RFC 9110 §10.2.3); null when absent or unreadable. */
export function retryAfterMs(headers: Readonly<Record<string, string>>, now: number): number | null {
  const value = headers['retry-after']?.trim();
  if (!value) return null;
  if (/^\d+(?:\.\d+)?$/.test(value)) return Math.ceil(Number(value) * 1000);
  const at = Date.parse(value);
  return Number.isNaN(at) ? null : Math.max(0, at - now);
}

function loggedAnswer(call: OutsideCall, answer: ExchangeAnswer): string | null {
  const body = redactBody(answer.bytes ?? answer.body);
  return call.presigned === true && body !== null ? redactQueries(body) : body;
}

interface OpenRecord {
  answered(answer: ExchangeAnswer, fault: ConnectorError | null): void;
  failed(error: unknown): void;
  entry(): CallLogEntry;
}

function openRecord(call: OutsideCall, attempt: number, waitedMs: number, clock: Clock): OpenRecord {
  const startedAt = clock.now();
  const startedMs = clock.monotonicMs();
  let answer: ExchangeAnswer | null = null;
  let outcome = 'answered';
  let fault: string | null = null;
  return {
    answered(received, error) {
      answer = received;
      if (error) outcome = error.code;
    },
    failed(error) {
      outcome = error instanceof ConnectorError ? error.code : 'error';
      if (!answer)
        fault =
          error instanceof ConnectorError
            ? String(error.details.why ?? (error.details.breakerOpen ? 'breaker_open' : null))
            : String(error);
    },
    entry: () => ({
      operation: call.operation,
      method: call.method,
      url: call.presigned === true ? redactQueries(call.url) : redactUrl(call.url),
      requestHeaders: redactHeaders(call.headers),
      requestBody: redactBody(call.body),
      write: call.write,
      budget: call.budget,
      bucket: call.bucket,
      startedAt,
      durationMs: clock.monotonicMs() - startedMs,
      waitedMs,
      attempt,
      status: answer?.status ?? null,
      responseHeaders: answer ? redactHeaders(answer.headers) : {},
      responseBody: answer ? loggedAnswer(call, answer) : null,
      outcome,
      fault,
    }),
  };
}
