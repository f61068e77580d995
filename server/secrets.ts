/**
 * Secrets: values that never print, and the sealing of what tenants entrust to us.
 *
 *   sealed = 1 byte format | 1 byte length of key id | key id | 12 bytes nonce | 16 bytes tag | AES-256-GCM text
 *
 * The additional data is `organization|connection|column`, so that a sealed value copied to another row or column does not
 * open. The first key of the ring seals; all open, by key id: to rotate, put a new key first and seal again at leisure.
 * Used by store/connections through functions that are passed in, and by the flows that open connections.
 */
import { createCipheriv, createDecipheriv, randomBytes, scryptSync } from 'node:crypto';
import { existsSync, linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { CodedError } from '#core/errors.ts';

/** Prints as [secret] in logs, JSON, templates and inspection. */
export class Secret<T> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  reveal(): T {
    return this.#value;
  }

  toString(): string {
    return '[secret]';
  }

  toJSON(): string {
    return '[secret]';
  }

  [inspect.custom](): string {
    return '[secret]';
  }
}

export interface RingKey {
  id: string;
  key: Uint8Array;
}

/** What a sealed value belongs to. */
export interface SealedFor {
  orgId: string;
  connectionId: string;
  column: 'credentials' | 'webhook_secrets';
}

export interface Vault {
  seal(plain: string, owner: SealedFor): Buffer;
  /** @throws `secrets.unreadable`: unknown key id, another owner, or damaged */
  open(sealed: Uint8Array, owner: SealedFor): Secret<string>;
  /** Sealed with a key that is no longer the first. */
  isOutdated(sealed: Uint8Array): boolean;
}

const FORMAT = 1;
const NONCE = 12;
const TAG = 16;

/** @param ring at least one key of 32 bytes; the first is active */
export function createVault(ring: readonly RingKey[]): Vault {
  const [active] = ring;
  if (!active) throw new CodedError('secrets.no_key', 'No key to seal secrets with.');
  for (const { id, key } of ring) {
    if (key.length !== 32 || id === '' || Buffer.byteLength(id) > 255)
      throw new CodedError('secrets.bad_key', 'A sealing key needs an id and exactly 32 bytes.', { id });
  }
  const byId = new Map(ring.map(({ id, key }) => [id, key]));
  return {
    seal(plain, owner) {
      const nonce = randomBytes(NONCE);
      const cipher = createCipheriv('aes-256-gcm', active.key, nonce);
      cipher.setAAD(ownerBytes(owner));
      const text = Buffer.concat([cipher.update(plain, 'utf8'), cipher.final()]);
      const id = Buffer.from(active.id);
      return Buffer.concat([Buffer.from([FORMAT, id.length]), id, nonce, cipher.getAuthTag(), text]);
    },
    open(sealed, owner) {
      const { keyId, nonce, tag, text } = split(sealed);
      const key = byId.get(keyId);
      if (!key) throw unreadable(owner, { keyId });
      try {
        const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG });
        decipher.setAAD(ownerBytes(owner));
        decipher.setAuthTag(tag);
        return new Secret(Buffer.concat([decipher.update(text), decipher.final()]).toString('utf8'));
      } catch {
        throw unreadable(owner, { keyId });
      }
    },
    isOutdated: (sealed) => split(sealed).keyId !== active.id,
  };
}

function split(sealed: Uint8Array): { keyId: string; nonce: Buffer; tag: Buffer; text: Buffer } {
  const bytes = Buffer.from(sealed);
  const start = 2 + (bytes[1] ?? 0);
  if (bytes[0] !== FORMAT || bytes.length < start + NONCE + TAG)
    throw new CodedError('secrets.unreadable', 'This is no sealed value.');
  return {
    keyId: bytes.subarray(2, start).toString('utf8'),
    nonce: bytes.subarray(start, start + NONCE),
    tag: bytes.subarray(start + NONCE, start + NONCE + TAG),
    text: bytes.subarray(start + NONCE + TAG),
  };
}

const ownerBytes = ({ orgId, connectionId, column }: SealedFor): Buffer =>
  Buffer.from(`${orgId}|${connectionId}|${column}`);

const unreadable = ({ orgId, connectionId, column }: SealedFor, details: Record<string, unknown>): CodedError =>
  new CodedError('secrets.unreadable', 'A sealed value cannot be opened: another key, another owner, or damaged.', {
    orgId,
    connectionId,
    column,
    ...details,
  });

/**
 * What two connections with the same webhook secret have in common. Slow on purpose (some platforms let merchants choose
 * the secret), the same in every installation and under every key; computed once, when the secret is stored.
 */
export function fingerprint(secret: string): Buffer {
  return scryptSync(secret, 'syncstate webhook secret', 16, { N: 16_384, r: 8, p: 1 });
}

/**
 * What a folder keeps from its first use on, for its owner's eyes only. Of two processes that begin at once the second takes what
 * the first made: a name is given to a whole file, and only once; nobody ever reads half of one, whoever was killed.
 */
export function keptOnce(file: string, make: () => string): string {
  if (!existsSync(file)) {
    const made = `${file}.${randomBytes(8).toString('hex')}`;
    writeFileSync(made, `${make()}\n`, { mode: 0o600, flush: true });
    try {
      linkSync(made, file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    } finally {
      rmSync(made);
    }
  }
  return readFileSync(file, 'utf8').trim();
}
