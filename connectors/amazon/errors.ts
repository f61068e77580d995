/**
 * Amazon's refusals in our words. Pure; called by client.ts and auth.ts for answers that arrived with a status the
 * transport lets through (everything but 429, 5xx and failures to arrive).
 *
 *   403/401 naming a dead access token   → refresh once, then as below
 *   401, other 403                       → connector.unauthorized   (role, grant, seller or path: never repeated, §10)
 *   400, 404, 409, 413, 415, other 4xx   → connector.rejected
 */
import { ConnectorError } from '#core/errors.ts';
import { errorList, type ListingIssue, tokenRefusal, type VendorError } from './wire.ts';

/** The errors of an error body; none when it is not one (a proxy's page). */
export function vendorErrors(body: string): VendorError[] {
  const parsed = errorList.safeParse(jsonOrNull(body));
  return parsed.success ? parsed.data.errors : [];
}

/**
 * Is it only our access token? Expired: regex from a published client [§10, pkg]; revoked, malformed, invalid: [§10, 3p].
 * A 401 is not declared by the operations we call (§10); if one comes, a new token is worth one try.
 */
export function isTokenDead(status: number, errors: readonly VendorError[]): boolean {
  if (status === 401) return true;
  if (status !== 403) return false;
  return errors.some((error) =>
    /access token.*(expired|revoked|malformed|invalid)/i.test(`${error.message} ${error.details ?? ''}`),
  );
}

/** The fault a refused call amounts to. `details` hold the vendor's code and request id, nothing of the request. */
export function refusal(
  operation: string,
  status: number,
  body: string,
  requestId: string | undefined,
): ConnectorError {
  const [first] = vendorErrors(body);
  const words = first === undefined ? `HTTP ${status}` : wordsOf(first);
  const details = { operation, status, vendorCode: first?.code ?? null, requestId: requestId ?? null };
  if (status === 401 || status === 403) {
    return new ConnectorError('connector.unauthorized', `Amazon refuses ${operation}: ${words}`, details);
  }
  return new ConnectorError('connector.rejected', `Amazon refuses ${operation}: ${words}`, details);
}

/** One error in the vendor's own words, message and details. */
export function wordsOf(error: VendorError): string {
  const text = [error.message, error.details ?? ''].filter((part) => part !== '').join(' ');
  return text === '' ? error.code : text;
}

/** Errors first, then what else was said: the reason of an INVALID submission. */
export function issueWords(issues: readonly ListingIssue[]): { code: string; reason: string } {
  const errors = issues.filter((issue) => issue.severity === 'ERROR');
  const blamed = errors.length > 0 ? errors : issues;
  const first = blamed[0];
  if (first === undefined) return { code: 'INVALID', reason: 'Amazon gave no reason.' };
  return { code: first.code, reason: blamed.map((issue) => issue.message).join(' ') };
}

/** Product types can be withdrawn: observed (M#5241) [§3.2]. */
export const PRODUCT_TYPE_GONE = '4000003';

export function blamesProductType(issues: readonly ListingIssue[]): boolean {
  return issues.some((issue) => issue.code === PRODUCT_TYPE_GONE);
}

/**
 * A refused token request: documented [§2.2]. invalid_grant (revoked) and invalid_client (secret wrong or past its 180
 * days) end the connection until someone acts; invalid_request and unsupported_grant_type are our mistake.
 */
export function tokenFault(status: number, body: string): ConnectorError {
  const parsed = tokenRefusal.safeParse(jsonOrNull(body));
  const error = parsed.success ? parsed.data.error : `http_${status}`;
  const words = parsed.success ? (parsed.data.error_description ?? error) : `HTTP ${status}`;
  const ours = error === 'invalid_request' || error === 'unsupported_grant_type' || error === 'invalid_scope';
  const code = ours ? 'connector.rejected' : 'connector.unauthorized';
  return new ConnectorError(code, `Login with Amazon refuses a token: ${words}`, {
    operation: 'lwa',
    status,
    vendorCode: error,
  });
}

export function jsonOrNull(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}
