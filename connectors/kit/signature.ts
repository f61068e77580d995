/**
 * HMAC-SHA256 signatures: made and compared in constant time.
 *
 * Used by every vendor's `webhook.ts` over the raw bytes, and by `auth.ts` for signed callbacks.
 * Rule: no secret, no acceptance; a wrong length is a mismatch, not an error.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

export type SignatureEncoding = 'base64' | 'hex';

export function sign(body: Uint8Array | string, secret: string, encoding: SignatureEncoding): string {
  return createHmac('sha256', secret).update(body).digest(encoding);
}

/** True when `signature` is the HMAC of `body` under any of the secrets. Empty secrets never match. */
export function verifySignature(
  body: Uint8Array | string,
  signature: string | undefined,
  secrets: readonly string[],
  encoding: SignatureEncoding,
): boolean {
  if (signature === undefined || signature === '') return false;
  let matched = false;
  for (const secret of secrets) {
    if (secret === '') continue;
    // No early return: the time must not tell which secret matched.
    if (sameText(sign(body, secret, encoding), signature)) matched = true;
  }
  return matched;
}

/** Compares two texts in time that depends on their lengths only. */
export function sameText(left: string, right: string): boolean {
  const a = Buffer.from(left, 'utf8');
  const b = Buffer.from(right, 'utf8');
  return a.length === b.length && timingSafeEqual(a, b);
}
