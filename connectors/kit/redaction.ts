/**
 * Redaction: what of an outside call may be kept in the log.
 *
 * Rule: credentials never reach a log, an error or a screen; everything else stays readable, cut at `LOGGED_BODY` characters.
 * Headers that carry credentials and body or query fields named like token, secret, password, assertion or signature are
 * replaced by `[secret]`. Paging marks (nextToken and the like) are no secrets and stay. Used by the transport.
 */
const SECRET_HEADERS = new Set([
  'authorization',
  'cookie',
  'set-cookie',
  'proxy-authorization',
  'x-shopify-access-token',
  'x-amz-access-token',
  'x-amz-security-token',
  'x-shopify-hmac-sha256',
  'api-key',
  'x-api-key',
]);
const SECRET_FIELD = String.raw`(?!(?:next|prev|previous|page|pagination|previousPage|nextPage|continuation)_?token\b)[\w.-]*(?:token|secret|password|assertion|signature|api_?key)[\w.-]*`;
const JSON_FIELD = new RegExp(String.raw`("${SECRET_FIELD}"\s*:\s*)("(?:[^"\\]|\\.)*"|[-\d.]+)`, 'gi');
const FORM_FIELD = new RegExp(String.raw`((?:^|[?&])${SECRET_FIELD}=)[^&#\s]*`, 'gi');
const MASK = '[secret]';

/** Longest body kept, in characters. */
export const LOGGED_BODY = 65_536;

export function redactHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers))
    kept[name.toLowerCase()] = SECRET_HEADERS.has(name.toLowerCase()) ? MASK : value;
  return kept;
}

export function redactUrl(url: string): string {
  return url.replace(FORM_FIELD, `$1${MASK}`);
}

/** Queries of addresses, wherever they stand in a text: for calls whose addresses carry their own permission. */
export function redactQueries(text: string): string {
  return text.replace(/(\bhttps?:\/\/[^\s"'?<>]+\?)[^\s"'<>]*/gi, `$1${MASK}`);
}

/** The same text without its secrets, however long. */
export const maskSecrets = (text: string): string =>
  /^\s*[[{]/.test(text) ? text.replace(JSON_FIELD, `$1"${MASK}"`) : text.replace(FORM_FIELD, `$1${MASK}`);

/** A JSON or form body as text, without its secrets. Binary bodies are named by their size. */
export function redactBody(body: string | Uint8Array | undefined): string | null {
  if (body === undefined) return null;
  if (typeof body !== 'string') return `[${body.length} bytes]`;
  const text = body.length > LOGGED_BODY * 4 ? body.slice(0, LOGGED_BODY * 4) : body;
  const clean = maskSecrets(text);
  return clean.length > LOGGED_BODY ? `${clean.slice(0, LOGGED_BODY)}… [cut, ${body.length} characters]` : clean;
}
