import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import {
  constantTimeEqual,
  createSecrets,
  hashToken,
  loadMasterKey,
  newToken,
  parseMasterKey,
} from './secrets.ts';

const folder = await mkdtemp(join(tmpdir(), 'postrider-secrets-'));
afterAll(() => rm(folder, { recursive: true }));

describe('encryption', () => {
  const secrets = createSecrets(randomBytes(32));

  test('a secret is read back, and the same text is never written twice alike', () => {
    const sealed = secrets.encrypt('grüße ✉', 'keys/a');
    expect(secrets.decrypt(sealed, 'keys/a').toString()).toBe('grüße ✉');
    expect(secrets.encrypt('grüße ✉', 'keys/a')).not.toEqual(sealed);
    expect(secrets.decrypt(secrets.encrypt('', 'x'), 'x')).toHaveLength(0);
  });

  test('a value of another row, a changed byte, a short value and another key are refused', () => {
    const sealed = secrets.encrypt('secret', 'keys/a');
    expect(() => secrets.decrypt(sealed, 'keys/b')).toThrow(
      'keys/b was changed or belongs to something else',
    );
    for (const index of [0, 1, 5, 17, sealed.length - 1]) {
      const changed = Buffer.from(sealed);
      changed[index]! ^= 1;
      expect(() => secrets.decrypt(changed, 'keys/a'), `byte ${index}`).toThrow('keys/a');
    }
    expect(() => secrets.decrypt(sealed.subarray(0, 20), 'keys/a')).toThrow('format');
    expect(() => createSecrets(randomBytes(32)).decrypt(sealed, 'keys/a')).toThrow('another master key');
  });
});

describe('the master key', () => {
  test('is read as hexadecimal and as base64', () => {
    const key = randomBytes(32);
    for (const encoding of ['hex', 'base64', 'base64url'] as const)
      expect(parseMasterKey(key.toString(encoding))).toEqual(key);
    expect(() => parseMasterKey('short')).toThrow('32 bytes');
    expect(() => parseMasterKey(randomBytes(31).toString('base64'))).toThrow('32 bytes');
  });

  test('is made once in the data directory, for its owner only, also by ten processes at once', async () => {
    const config = { dataDir: join(folder, 'data'), databaseUrl: undefined, masterKey: undefined };
    const keys = await Promise.all(Array.from({ length: 10 }, () => loadMasterKey(config)));
    for (const key of keys) expect(key).toEqual(keys[0]);
    expect(await loadMasterKey(config)).toEqual(keys[0]);
    expect((await stat(join(config.dataDir, 'master.key'))).mode & 0o777).toBe(0o600);
    expect(await readdir(config.dataDir)).toEqual(['master.key']);
  });

  test('is required with an external database, and a broken one is named', async () => {
    const external = { dataDir: folder, databaseUrl: 'postgres://h/d', masterKey: undefined };
    await expect(loadMasterKey(external)).rejects.toThrow('POSTRIDER_MASTER_KEY is required');
    await expect(loadMasterKey({ ...external, masterKey: 'xyz' })).rejects.toThrow('POSTRIDER_MASTER_KEY:');
    await writeFile(join(folder, 'master.key'), 'garbage');
    await expect(loadMasterKey({ ...external, databaseUrl: undefined })).rejects.toThrow(
      join(folder, 'master.key'),
    );
  });
});

test('tokens are long, prefixed and found by their hash', () => {
  const { token, hash } = newToken('prt_');
  expect(token).toMatch(/^prt_[A-Za-z0-9_-]{43}$/);
  expect(hashToken(token)).toEqual(hash);
  expect(newToken('prt_').token).not.toBe(token);
});

test('secrets are compared by value', () => {
  expect(constantTimeEqual('abc', 'abc')).toBe(true);
  expect(constantTimeEqual('abc', 'abd')).toBe(false);
  expect(constantTimeEqual('abc', 'abcd')).toBe(false);
});
