/**
 * Redaction: what of an outside call may be kept in the log.
 *
 * Rule: credentials never reach a log, an error or a screen; everything else stays readable, cut at `LOGGED_BODY` characters.
 * Headers that carry credentials and body or query fields named like token, secret, password, assertion or signature are
 * replaced by `[secret]`. Paging marks (nextToken and the like) are no secrets and stay. Used by the transport.
 *
 * Texts are whatever a vendor, or a buyer through him, wrote. So every pattern takes time in proportion to its text: what may
 * repeat is bounded or begins in one place only, and what is never closed is masked to the end.
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
const SECRET_FIELD = String.raw`(?!(?:next|prev|previous|page|pagination|previousPage|nextPage|continuation)_?token\b)[\w.-]{0,200}(?:token|secret|password|assertion|signature|api_?key)[\w.-]{0,200}`;
const SECRET_NAME = new RegExp(`^${SECRET_FIELD}$`, 'i');
/** A member's name; where its value ends is walked to, not matched: it may be of any length. */
const JSON_FIELD = new RegExp(String.raw`"${SECRET_FIELD}"\s*:\s*(?=["[\d.-])`, 'gi');
const FORM_FIELD = new RegExp(String.raw`((?:^|[?&])${SECRET_FIELD}=)[^&#\s]*`, 'gi');
/** JSON written into a JSON text. */
const NESTED_FIELD = new RegExp(String.raw`((?<!\\)\\+"${SECRET_FIELD}\\+"\s*:\s*\\+")[^"\\]*`, 'gi');
/** Addresses inside other texts that carry their own permission, as they are or escaped. */
const QUERY_FIELD = new RegExp(
  String.raw`((?:[?&;]|\\u0026)(?:${SECRET_FIELD}|sig|x-amz-credential)=)[^&#\s"'<>\\;]*`,
  'gi',
);
/** What shows by itself that it is a credential: bearer values, Shopify's and Amazon's tokens, basic authorization in an address. */
const TELLING =
  /\b(Bearer|Basic)\s+[\w.~+/=|-]{8,}|\bshp(?:at|ss|ca|pa|ua)_[0-9a-z]{8,}|\bAtz[ar]\|[\w.~+/=|-]{8,}|(?<=:\/\/)[^\s/@:"']+:[^\s/@"']+(?=@)/gi;
const MASK = '[secret]';

/** Longest body kept, in characters. */
export const LOGGED_BODY = 65_536;

export function redactHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers))
    kept[name.toLowerCase()] =
      SECRET_HEADERS.has(name.toLowerCase()) || SECRET_NAME.test(name) ? MASK : maskTexts(value);
  return kept;
}

export function redactUrl(url: string): string {
  return maskTexts(url.replace(FORM_FIELD, `$1${MASK}`));
}

/** Queries of addresses, wherever they stand in a text: for calls whose addresses carry their own permission. */
export function redactQueries(text: string): string {
  return text.replace(/\bhttps?:\/\/[^\s"'<>]+/gi, (address) => address.replace(/\?.*/s, `?${MASK}`));
}

/** The same text without its secrets, however long. */
export const maskSecrets = (text: string): string =>
  maskTexts(
    /^\s*[[{]/.test(text)
      ? maskMembers(text).replace(NESTED_FIELD, `$1${MASK}`)
      : text.replace(FORM_FIELD, `$1${MASK}`),
  );

function maskMembers(text: string): string {
  const kept: string[] = [];
  let from = 0;
  for (const { 0: name, index } of text.matchAll(JSON_FIELD)) {
    const at = index + name.length;
    if (index < from) continue;
    kept.push(text.slice(from, at), text[at] === '[' ? `["${MASK}"]` : `"${MASK}"`);
    from = endOfValue(text, at);
  }
  kept.push(text.slice(from));
  return kept.join('');
}

/** Index after a text, a number or a list (to its first `]`); what is never closed ends with the text. */
function endOfValue(text: string, at: number): number {
  if (text[at] === '"') {
    let end = at + 1;
    while (end < text.length && text[end] !== '"') end += text[end] === '\\' ? 2 : 1;
    return end + 1;
  }
  if (text[at] === '[') {
    const end = text.indexOf(']', at);
    return end < 0 ? text.length : end + 1;
  }
  let end = at;
  while (end < text.length && '0123456789.-'.includes(text[end] ?? ' ')) end += 1;
  return end;
}

const maskTexts = (text: string): string => text.replace(QUERY_FIELD, `$1${MASK}`).replace(TELLING, MASK);

/** A JSON or form body as text, without its secrets. Binary bodies are named by their size. */
export function redactBody(body: string | Uint8Array | undefined): string | null {
  if (body === undefined) return null;
  if (typeof body !== 'string') return `[${body.length} bytes]`;
  const text = body.length > LOGGED_BODY * 4 ? body.slice(0, LOGGED_BODY * 4) : body;
  const clean = maskSecrets(text);
  return clean.length > LOGGED_BODY ? `${clean.slice(0, LOGGED_BODY)}… [cut, ${body.length} characters]` : clean;
}
