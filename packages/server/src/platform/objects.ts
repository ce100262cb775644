import { randomBytes } from 'node:crypto';
import { constants, createWriteStream } from 'node:fs';
import { mkdir, open, opendir, realpath, rename, stat, unlink } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

export interface ObjectInfo {
  key: string;
  /** Bytes. */
  size: number;
  modifiedAt: Date;
}

/** Where imports are read from and exports are written to: buckets of objects, as in S3. */
export interface ObjectStore {
  /** A stream of the object's bytes. */
  open(bucket: string, key: string): Promise<Readable>;
  /** Size and time of the object, or undefined when there is none. */
  stat(bucket: string, key: string): Promise<ObjectInfo | undefined>;
  /** The objects whose key begins with `prefix`, sorted by the bytes of their key, as S3 does. */
  list(bucket: string, prefix: string): Promise<ObjectInfo[]>;
  /** Writes an object; readers see the old one until the new one is whole. */
  put(
    bucket: string,
    key: string,
    content: Readable | Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  ): Promise<ObjectInfo>;
  /** Where objects of this bucket are looked for, for error messages: a folder or an S3 endpoint. */
  describe(bucket: string): string;
}

/** The object or its name cannot be used; the message says where was looked and may be shown to the caller. */
export class ObjectError extends Error {
  readonly reason: 'not_found' | 'bad_name' | 'too_many';

  constructor(reason: ObjectError['reason'], message: string) {
    super(message);
    this.reason = reason;
  }
}

/** More than this many objects below one prefix are not listed. */
const maxListed = 100_000;

/** `s3://bucket/some/key` in its parts; undefined when `url` is something else. The key may be empty. */
export function parseS3Url(url: string): { bucket: string; key: string } | undefined {
  const match = /^s3:\/\/([^/]+)(?:\/(.*))?$/is.exec(url);
  return match ? { bucket: match[1]!, key: match[2] ?? '' } : undefined;
}

/** Objects as files: `<folder>/<bucket>/<key>`. Nothing outside of `folder` is read or written. */
export function createFolderObjects(folder: string): ObjectStore {
  const describe = (bucket: string) => join(folder, isBucketName(bucket) ? bucket : '');

  /** Real path of an object's file, when it is a file within the bucket's folder. */
  async function locate(
    bucket: string,
    key: string,
  ): Promise<{ path: string; info: ObjectInfo } | undefined> {
    const path = join(describe(bucket), ...keySegments(bucket, key));
    try {
      const real = await realpath(path);
      const root = await realpath(folder);
      if (!real.startsWith(`${join(root, bucket)}${sep}`))
        throw new ObjectError('bad_name', `s3://${bucket}/${key} leads out of ${describe(bucket)}`);
      const found = await stat(real);
      if (!found.isFile()) return undefined;
      return { path: real, info: { key, size: found.size, modifiedAt: found.mtime } };
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  return {
    describe,
    async stat(bucket, key) {
      return (await locate(bucket, key))?.info;
    },
    async open(bucket, key) {
      const found = await locate(bucket, key);
      if (!found)
        throw new ObjectError('not_found', `s3://${bucket}/${key} not found: looked in ${describe(bucket)}`);
      // The path is resolved; if its last part became a link since, it is not followed.
      const handle = await open(found.path, constants.O_RDONLY | constants.O_NOFOLLOW);
      return handle.createReadStream({ highWaterMark: 256 * 1024 });
    },
    async list(bucket, prefix) {
      // Checked as if it were a key, without its last segment, which may be cut anywhere (or empty).
      const folders = prefix.split('/').slice(0, -1);
      const within = folders.length > 0 ? keySegments(bucket, folders.join('/')) : [];
      checkBucket(bucket);
      const listed: ObjectInfo[] = [];
      for await (const key of walk(describe(bucket), within)) {
        if (!key.startsWith(prefix)) continue;
        const info = await locate(bucket, key).catch(whenLeadingOut);
        if (info) listed.push(info.info);
        if (listed.length > maxListed)
          throw new ObjectError('too_many', `More than ${maxListed} objects below s3://${bucket}/${prefix}`);
      }
      return listed.sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
    },
    async put(bucket, key, content) {
      const path = join(describe(bucket), ...keySegments(bucket, key));
      await makeFolder(folder, bucket, key);
      const incoming = join(folder, '.incoming');
      await mkdir(incoming, { recursive: true });
      const partial = join(incoming, randomBytes(12).toString('hex'));
      try {
        await pipeline(content, createWriteStream(partial, { flags: 'wx', flush: true }));
        await rename(partial, path);
      } catch (error) {
        await unlink(partial).catch((failure) => {
          if (!isAbsent(failure)) throw failure;
        });
        throw error;
      }
      await syncFolder(dirname(path));
      const written = await stat(path);
      return { key, size: written.size, modifiedAt: written.mtime };
    },
  };
}

/** Makes the folders of a key one by one, so that a link among them is noticed before anything is made behind it. */
async function makeFolder(folder: string, bucket: string, key: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  let path = await realpath(folder);
  for (const segment of [bucket, ...keySegments(bucket, key).slice(0, -1)]) {
    path = join(path, segment);
    await mkdir(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOTDIR')
        throw new ObjectError('bad_name', `s3://${bucket}/${key}: a part of the key is itself an object`);
      if (error.code !== 'EEXIST') throw error;
    });
    if ((await realpath(path)) !== path)
      throw new ObjectError('bad_name', `s3://${bucket}/${key} leads out of ${join(folder, bucket)}`);
  }
}

/** Keys of all files below `<root>/<within>`, in no particular order. */
async function* walk(root: string, within: string[]): AsyncGenerator<string> {
  const pending = [within];
  for (let folders = pending.pop(); folders; folders = pending.pop()) {
    const entries = await opendir(join(root, ...folders)).catch((error) => {
      if (isAbsent(error)) return undefined;
      throw error;
    });
    if (!entries) continue;
    for await (const entry of entries) {
      const segments = [...folders, entry.name];
      if (entry.isDirectory()) pending.push(segments);
      else if (entry.isFile() || entry.isSymbolicLink()) yield segments.join('/');
    }
  }
}

/** A link that leads out of the store is not an object, so a listing leaves it out. */
function whenLeadingOut(error: unknown): undefined {
  if (error instanceof ObjectError && error.reason === 'bad_name') return undefined;
  throw error;
}

function isBucketName(bucket: string): boolean {
  return /^[A-Za-z0-9][A-Za-z0-9._-]{1,62}$/.test(bucket);
}

function checkBucket(bucket: string): void {
  if (!isBucketName(bucket))
    throw new ObjectError(
      'bad_name',
      `"${bucket.slice(0, 100)}" is not a bucket name: 2 to 63 letters, digits, dots, hyphens and underscores`,
    );
}

/** The parts of a key as file names. Keys that S3 allows but a folder cannot hold are refused. */
function keySegments(bucket: string, key: string): string[] {
  checkBucket(bucket);
  const refuse = (why: string) => new ObjectError('bad_name', `s3://${bucket}/${key.slice(0, 200)}: ${why}`);
  if (key === '') throw refuse('the key is empty');
  if (Buffer.byteLength(key) > 1024) throw refuse('the key is longer than 1,024 bytes');
  if (/[\0\\]/.test(key) || !key.isWellFormed())
    throw refuse('the key has a character that file names cannot have');
  const segments = key.split('/');
  for (const segment of segments) {
    if (segment === '') throw refuse('the key begins or ends with a slash or has two in a row');
    if (segment === '.' || segment === '..') throw refuse(`"${segment}" is not allowed in a key`);
    if (Buffer.byteLength(segment) > 255) throw refuse('a part of the key is longer than 255 bytes');
  }
  return segments;
}

function isAbsent(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '');
}

/** A rename survives a power cut once its folder is on the disk. */
async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
