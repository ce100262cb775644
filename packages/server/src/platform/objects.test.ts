import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterAll, describe, expect, test } from 'vitest';
import { createFolderObjects, ObjectError, parseS3Url } from './objects.ts';

const base = await mkdtemp(join(tmpdir(), 'postrider-objects-'));
afterAll(() => rm(base, { recursive: true }));
const folder = join(base, 'objects');
const objects = createFolderObjects(folder);
const bytes = (content: string) => [Buffer.from(content)];

test('what is put is read, listed in the order of S3 and described', async () => {
  await objects.put('audience', 'exports/b.json', bytes('bb'));
  await objects.put('audience', 'exports/a/1.json', bytes('a1'));
  await objects.put('audience', 'exports/a.json', bytes('a'));
  await objects.put('audience', 'other.json', bytes('{}'));
  expect(await text(await objects.open('audience', 'exports/a/1.json'))).toBe('a1');
  const keys = async (prefix: string) => (await objects.list('audience', prefix)).map((object) => object.key);
  expect(await keys('exports/')).toEqual(['exports/a.json', 'exports/a/1.json', 'exports/b.json']);
  expect(await keys('exports/a')).toEqual(['exports/a.json', 'exports/a/1.json']);
  expect(await keys('exports')).toHaveLength(3);
  expect(await keys('')).toHaveLength(4);
  expect(await keys('nothing/here')).toEqual([]);
  expect(await objects.stat('audience', 'exports/b.json')).toMatchObject({ key: 'exports/b.json', size: 2 });
  expect(objects.describe('audience')).toBe(join(folder, 'audience'));
});

test('an object that is not there is reported with the folder that was looked in', async () => {
  await expect(objects.open('audience', 'no/such.csv')).rejects.toThrow(
    `s3://audience/no/such.csv not found: looked in ${join(folder, 'audience')}`,
  );
  expect(await objects.stat('audience', 'no/such.csv')).toBeUndefined();
  expect(await objects.stat('audience', 'exports')).toBeUndefined();
  expect(await objects.list('nobucket', '')).toEqual([]);
});

test('a write that fails leaves the old object and no partial file', async () => {
  await objects.put('audience', 'report.csv', bytes('old'));
  const failing = Readable.from(
    (async function* () {
      yield Buffer.from('half');
      throw new Error('source broke');
    })(),
  );
  await expect(objects.put('audience', 'report.csv', failing)).rejects.toThrow('source broke');
  expect(await text(await objects.open('audience', 'report.csv'))).toBe('old');
  expect(await readdir(join(folder, '.incoming'))).toEqual([]);
});

describe('names that lead elsewhere', () => {
  const outside = join(base, 'outside');

  test.each([
    ['audience', '../outside/secret'],
    ['audience', 'a/../../outside/secret'],
    ['audience', '/etc/passwd'],
    ['audience', 'a//b'],
    ['audience', './a'],
    ['audience', 'a\\..\\b'],
    ['audience', 'nul\0'],
    ['audience', '\ud800'],
    ['audience', ''],
    ['audience', 'x'.repeat(300)],
    ['..', 'outside/secret'],
    ['.incoming', 'x'],
    ['a/b', 'x'],
  ])('%j %j is refused by every method', async (bucket, key) => {
    await expect(objects.open(bucket, key)).rejects.toThrow(ObjectError);
    await expect(objects.stat(bucket, key)).rejects.toThrow(ObjectError);
    await expect(objects.put(bucket, key, bytes('x'))).rejects.toThrow(ObjectError);
  });

  test.each([
    ['audience', '../'],
    ['audience', 'a/../../'],
    ['..', ''],
    ['.incoming', ''],
  ])('the prefix %j %j is refused', async (bucket, prefix) => {
    await expect(objects.list(bucket, prefix)).rejects.toThrow(ObjectError);
  });

  test('links out of the store are neither read, written through nor listed', async () => {
    await mkdir(outside, { recursive: true });
    await writeFile(join(outside, 'secret'), 'secret');
    await mkdir(join(folder, 'links'), { recursive: true });
    await symlink(join(outside, 'secret'), join(folder, 'links', 'file'));
    await symlink(outside, join(folder, 'links', 'folder'));
    await symlink(outside, join(folder, 'linked-bucket'));
    for (const [bucket, key] of [
      ['links', 'file'],
      ['links', 'folder/secret'],
      ['linked-bucket', 'secret'],
    ] as const) {
      await expect(objects.open(bucket, key)).rejects.toThrow('leads out of');
      await expect(objects.stat(bucket, key)).rejects.toThrow('leads out of');
    }
    await expect(objects.put('links', 'folder/new', bytes('x'))).rejects.toThrow('leads out of');
    await expect(objects.put('linked-bucket', 'new', bytes('x'))).rejects.toThrow('leads out of');
    expect(await objects.list('links', '')).toEqual([]);
    expect(await readdir(outside)).toEqual(['secret']);
    // A write to the name of a link replaces the link, not what it points to.
    await objects.put('links', 'file', bytes('mine'));
    expect(await readFile(join(outside, 'secret'), 'utf8')).toBe('secret');
  });

  test('links within a bucket are followed', async () => {
    await objects.put('links', 'real.csv', bytes('real'));
    await symlink('real.csv', join(folder, 'links', 'alias.csv'));
    expect(await text(await objects.open('links', 'alias.csv'))).toBe('real');
  });
});

test('s3 URLs are taken apart', () => {
  expect(parseS3Url('s3://bucket/a/b.csv')).toEqual({ bucket: 'bucket', key: 'a/b.csv' });
  expect(parseS3Url('S3://bucket')).toEqual({ bucket: 'bucket', key: '' });
  expect(parseS3Url('https://bucket/a')).toBeUndefined();
  expect(parseS3Url('s3:///a')).toBeUndefined();
});
