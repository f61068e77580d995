/**
 * UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then chance; sorts by creation time.
 * Pure: the caller brings both. Used by every implementation of `Ids`.
 */
export function uuidv7(unixMs: number, chance: Uint8Array): string {
  const time = unixMs.toString(16).padStart(12, '0');
  const version = hexOf(((chance[0] ?? 0) & 0x0f) | 0x70);
  const variant = hexOf(((chance[2] ?? 0) & 0x3f) | 0x80);
  let node = '';
  for (let index = 4; index < 10; index += 1) node += hexOf(chance[index] ?? 0);
  return `${time.slice(0, 8)}-${time.slice(8)}-${version}${hexOf(chance[1] ?? 0)}-${variant}${hexOf(chance[3] ?? 0)}-${node}`;
}

const hexes = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
const hexOf = (byte: number): string => hexes[byte] ?? '';
