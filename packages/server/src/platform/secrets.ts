import { createCipheriv, createDecipheriv, createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { link, mkdir, open, readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from './config.ts';

/** Encrypts what has to be readable again (secrets of access keys and provider accounts). */
export interface Secrets {
  /**
   * `context` says what the secret belongs to (`access_keys/AKIA…`); the same is needed to decrypt, so that a value
   * copied to another row cannot be read there.
   */
  encrypt(plain: string | Uint8Array, context: string): Buffer;
  /** @throws Error when the value was made with another key, for another context, or was changed. */
  decrypt(sealed: Uint8Array, context: string): Buffer;
}

// version (1) | key id (4) | nonce (12) | ciphertext | tag (16)
const formatVersion = 1;
const headerBytes = 1 + 4;
const nonceBytes = 12;
const tagBytes = 16;

/** AES-256-GCM with one master key of 32 bytes. */
export function createSecrets(masterKey: Uint8Array): Secrets {
  if (masterKey.length !== 32) throw new Error(`A master key has 32 bytes, not ${masterKey.length}`);
  // Names the key without giving anything of it away, so that a wrong key is reported as such.
  const keyId = createHash('sha256').update('postrider key id').update(masterKey).digest().subarray(0, 4);
  const header = Buffer.concat([Buffer.of(formatVersion), keyId]);
  const associatedData = (context: string) => Buffer.concat([header, Buffer.from(context, 'utf8')]);
  return {
    encrypt(plain, context) {
      const nonce = randomBytes(nonceBytes);
      const cipher = createCipheriv('aes-256-gcm', masterKey, nonce);
      cipher.setAAD(associatedData(context));
      const bytes = typeof plain === 'string' ? Buffer.from(plain, 'utf8') : plain;
      return Buffer.concat([header, nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
    },
    decrypt(value, context) {
      const sealed = Buffer.from(value);
      if (sealed.length < headerBytes + nonceBytes + tagBytes || sealed[0] !== formatVersion)
        throw new Error(`The secret of ${context} is not in a format that this Postrider knows`);
      if (!sealed.subarray(1, headerBytes).equals(keyId))
        throw new Error(
          `The secret of ${context} was encrypted with another master key (POSTRIDER_MASTER_KEY, or master.key in the data directory)`,
        );
      const nonce = sealed.subarray(headerBytes, headerBytes + nonceBytes);
      const decipher = createDecipheriv('aes-256-gcm', masterKey, nonce, { authTagLength: tagBytes });
      decipher.setAAD(associatedData(context));
      decipher.setAuthTag(sealed.subarray(-tagBytes));
      const ciphertext = sealed.subarray(headerBytes + nonceBytes, -tagBytes);
      try {
        return Buffer.concat([decipher.update(ciphertext), decipher.final()]);
      } catch (error) {
        throw new Error(`The secret of ${context} was changed or belongs to something else`, {
          cause: error,
        });
      }
    },
  };
}

/** Master key from text: 64 hexadecimal digits, or base64 (also URL-safe) of 32 bytes. */
export function parseMasterKey(text: string): Buffer {
  const trimmed = text.trim();
  if (/^[0-9a-f]{64}$/i.test(trimmed)) return Buffer.from(trimmed, 'hex');
  if (/^[A-Za-z0-9+/_-]{43}=?$/.test(trimmed)) {
    const key = Buffer.from(trimmed, 'base64');
    if (key.length === 32) return key;
  }
  throw new Error('A master key is 32 bytes as 64 hexadecimal digits or as base64');
}

/**
 * The master key of this installation: POSTRIDER_MASTER_KEY, else the file `master.key` of the data directory, made
 * when absent.
 * @throws Error with an external database and no POSTRIDER_MASTER_KEY: a key that exists only on one machine would
 *   leave the secrets of a shared database unreadable everywhere else.
 */
export async function loadMasterKey(
  config: Pick<Config, 'masterKey' | 'databaseUrl' | 'dataDir'>,
): Promise<Buffer> {
  if (config.masterKey) {
    try {
      return parseMasterKey(config.masterKey);
    } catch (error) {
      throw new Error(`POSTRIDER_MASTER_KEY: ${(error as Error).message}`);
    }
  }
  if (config.databaseUrl)
    throw new Error(
      'POSTRIDER_MASTER_KEY is required with POSTRIDER_DATABASE_URL: every process on this database has to decrypt its secrets. Make one with: openssl rand -hex 32',
    );
  await mkdir(config.dataDir, { recursive: true });
  const file = join(config.dataDir, 'master.key');
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return createKeyFile(file);
    throw error;
  });
  try {
    return parseMasterKey(text);
  } catch (error) {
    throw new Error(`${file}: ${(error as Error).message}`);
  }
}

/** Writes the file whole or not at all; of two processes that make it at once, both get the first one's key. */
async function createKeyFile(file: string): Promise<string> {
  const partial = `${file}.${randomBytes(6).toString('hex')}`;
  const handle = await open(partial, 'wx', 0o600);
  try {
    await handle.writeFile(`${randomBytes(32).toString('hex')}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await link(partial, file).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
  await unlink(partial);
  return readFile(file, 'utf8');
}

/** Are two texts equal? The time taken says nothing about where they differ. */
export function constantTimeEqual(a: string | Uint8Array, b: string | Uint8Array): boolean {
  const digest = (value: string | Uint8Array) => createHash('sha256').update(value).digest();
  return timingSafeEqual(digest(a), digest(b));
}

/** A new bearer token with 256 random bits and what is stored of it. */
export function newToken(prefix: string): { token: string; hash: Buffer } {
  const token = `${prefix}${randomBytes(32).toString('base64url')}`;
  return { token, hash: hashToken(token) };
}

/** What is stored of a token. Tokens are random, so a plain SHA-256 cannot be guessed backwards. */
export function hashToken(token: string): Buffer {
  return createHash('sha256').update(token, 'utf8').digest();
}
