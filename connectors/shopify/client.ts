/**
 * The only HTTP of this connector: one GraphQL call, its cost accounted, its failures named.
 *
 * Order of judgement: transport (429, 5xx, time-out) → status → token renewed and call repeated once after a 401 (a
 * refused call was not executed) → cost reported to the budget → top-level errors → shape. A 200 can be a refusal for
 * rate (THROTTLED; 200 or 429, both reported, fact sheet §9). Answers carry the vendor's time from the Date header.
 */
import type { z } from 'zod';
import { ConnectorError } from '#core/errors.ts';
import { parseLossless } from '../kit/lossless.ts';
import type { CallOptions, ConnectionContext, OutsideAnswer } from '../kit/ports.ts';
import type { ShopAuth } from './auth.ts';
import type { GraphqlDocument } from './documents.ts';
import { errorOfGraphql, errorOfStatus } from './errors.ts';
import { API_VERSION, GRAPHQL_BUCKET, manifest } from './manifest.ts';
import type { ShopSettings } from './settings.ts';
import { type Cost, envelopeSchema } from './wire.ts';

/** The wait Shopify's documents advise at least after a refusal for rate (fact sheet §9). */
const LEAST_WAIT_MS = 1_000;
/**
 * The most a document is thought to cost before its first answer: published weights are upper bounds, and waiting for points
 * that are not needed is worse than one refusal, which is not executed and tells the cost.
 */
const FIRST_COST = 100;

export interface GraphqlAnswer<T> {
  data: T;
  /** The vendor's clock when it answered: whole seconds, rounded down. */
  vendorAt: number;
}

export interface ShopClient {
  /**
   * Sends one document and checks its answer.
   * @param rows how many rows it asks for or writes, where its cost depends on that
   * Throws ConnectorError as kit/transport.ts says, and: unauthorized (401–404, 423, missing scope), rejected (Shopify
   * refused the document or its variables), rate_limited (THROTTLED), unreadable (shape).
   */
  run<S extends z.ZodType>(
    document: GraphqlDocument,
    variables: Record<string, unknown>,
    schema: S,
    options: CallOptions,
    rows?: number,
  ): Promise<GraphqlAnswer<z.infer<S>>>;
}

/** What clients of one shop share: the sign-in, and how far each document's real cost was from what we thought last time. */
export interface ShopMemory {
  auth: ShopAuth;
  corrections: Map<string, number>;
}

export function createClient(
  settings: ShopSettings,
  context: ConnectionContext,
  { auth, corrections }: ShopMemory,
): ShopClient {
  function post(
    document: GraphqlDocument,
    cost: number,
    body: string,
    token: string,
    options: CallOptions,
  ): Promise<OutsideAnswer> {
    return context.transport.request({
      operation: document.operation,
      method: 'POST',
      url: `${settings.origin}/admin/api/${API_VERSION}/graphql.json`,
      headers: { 'content-type': 'application/json', accept: 'application/json', 'x-shopify-access-token': token },
      body,
      write: isWrite(document),
      bucket: GRAPHQL_BUCKET,
      cost,
      budget: options.budget,
      signal: options.signal,
      mayLeave: isWrite(document) ? options.mayLeave : undefined,
      timeoutMs: manifest.requestTimeoutMs,
    });
  }

  async function postAuthorised(
    document: GraphqlDocument,
    cost: number,
    body: string,
    options: CallOptions,
  ): Promise<OutsideAnswer> {
    const token = await auth.token(options);
    const answer = await post(document, cost, body, token, options);
    if (answer.status !== 401) return answer;
    return post(document, cost, body, await auth.renew(token, options), options);
  }

  return {
    async run(document, variables, schema, options, rows = 0) {
      const body = JSON.stringify({ query: document.text, variables, operationName: document.operation });
      const thought = document.points + document.pointsPerRow * rows;
      const answer = await postAuthorised(
        document,
        Math.ceil(thought * (corrections.get(document.operation) ?? Math.min(1, FIRST_COST / thought))),
        body,
        options,
      );
      const refused = errorOfStatus(document.operation, answer.status, answer.body);
      if (refused) throw refused;
      const envelope = readShape(document, envelopeSchema, parseAnswer(document, answer.body));
      const cost = envelope.extensions?.cost;
      const throttled = envelope.errors?.some((error) => error.extensions?.code === 'THROTTLED') ?? false;
      if (cost) {
        if (cost.requestedQueryCost) corrections.set(document.operation, cost.requestedQueryCost / thought);
        const { maximumAvailable, currentlyAvailable, restoreRate } = cost.throttleStatus;
        context.transport.report(GRAPHQL_BUCKET, {
          ratePerSecond: restoreRate,
          capacity: maximumAvailable,
          available: currentlyAvailable,
          throttled,
        });
      } else if (throttled) context.transport.report(GRAPHQL_BUCKET, { throttled });
      if (envelope.errors && envelope.errors.length > 0)
        throw errorOfGraphql(document.operation, envelope.errors, isWrite(document), throttleWaitMs(cost));
      return { data: readShape(document, schema, envelope.data), vendorAt: vendorTime(answer) };
    },
  };
}

function isWrite(document: GraphqlDocument): boolean {
  return document.text.startsWith('mutation');
}

/** (requested − available) ÷ restore rate, at least a second (fact sheet §9). */
function throttleWaitMs(cost: Cost | null | undefined): number {
  if (!cost?.requestedQueryCost) return LEAST_WAIT_MS;
  const { currentlyAvailable, restoreRate } = cost.throttleStatus;
  return Math.max(
    LEAST_WAIT_MS,
    Math.ceil(((cost.requestedQueryCost - currentlyAvailable) / Math.max(1, restoreRate)) * 1000),
  );
}

/** A written answer that cannot be read may still have been carried out. */
function unreadable(document: GraphqlDocument, details: Record<string, unknown>, cause?: unknown): ConnectorError {
  const code = isWrite(document) ? 'connector.outcome_unknown' : 'connector.unreadable';
  return new ConnectorError(
    code,
    `${document.operation}: the answer does not have the documented shape.`,
    { operation: document.operation, ...details },
    cause,
  );
}

function parseAnswer(document: GraphqlDocument, body: string): unknown {
  try {
    return parseLossless(body);
  } catch (cause) {
    throw unreadable(document, { begins: body.slice(0, 200) }, cause);
  }
}

function readShape<S extends z.ZodType>(document: GraphqlDocument, schema: S, value: unknown): z.infer<S> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw unreadable(document, {
    issues: parsed.error.issues.slice(0, 5).map((issue) => `${issue.path.join('.')}: ${issue.message}`),
  });
}

/** The Date header (RFC 9110), else our own clock rounded down: an answer without it is not documented to exist. */
function vendorTime(answer: OutsideAnswer): number {
  const at = Date.parse(answer.headers.date ?? '');
  return Number.isNaN(at) ? Math.floor(answer.receivedAt / 1000) * 1000 : at;
}
