import { ObjectError, type ObjectStore, parseS3Url } from '../../platform/objects.ts';
import { unpacked } from './content.ts';
import type { ImportFile } from './import.sql.ts';

/** The file cannot be imported at all. */
export class UnreadableFileError extends Error {}

/** Endings that say that a file is of the other format; any other name is taken for what the job says. */
const foreign = {
  CSV: /\.(json|jsonl|ndjson)(\.gz)?$/i,
  JSON: /\.csv(\.gz)?$/i,
} as const;

/**
 * The files that an import reads: the object with exactly this key, or what lies in the folder of this name, or what
 * begins like it. Files of the other format are left out with a warning.
 * @throws ObjectError that says where was looked, when there is nothing.
 */
export async function findFiles(
  objects: ObjectStore,
  url: string,
  format: 'CSV' | 'JSON',
): Promise<{ files: ImportFile[]; warnings: string[] }> {
  const { bucket, key } = parseS3Url(url)!;
  const exact = key === '' || key.endsWith('/') ? undefined : await objects.stat(bucket, key);
  if (exact) return { files: [toFile(exact)], warnings: [] };
  let listed = await objects.list(bucket, key === '' || key.endsWith('/') ? key : `${key}/`);
  if (listed.length === 0 && key !== '' && !key.endsWith('/')) listed = await objects.list(bucket, key);
  const present = listed.filter(({ key: name }) => !name.endsWith('/'));
  const files = present.filter(({ key: name }) => !foreign[format].test(name));
  if (files.length === 0) {
    const found = present.length === 0 ? 'found no file' : `found no ${format} file among ${present.length}`;
    throw new ObjectError('not_found', `${url}: ${found} in ${objects.describe(bucket)}`);
  }
  const skipped = present.length - files.length;
  return {
    files: files.map(toFile),
    warnings: skipped === 0 ? [] : [`${skipped} files of another format than ${format} were left out`],
  };
}

function toFile(info: { key: string; size: number; modifiedAt: Date }): ImportFile {
  return { key: info.key, size: info.size, modifiedAt: info.modifiedAt.getTime() };
}

/**
 * The content of a file, unpacked, as it was when the import began.
 * @throws ObjectError when it is not there, UnreadableFileError when it has changed since
 */
export async function openFile(
  objects: ObjectStore,
  bucket: string,
  file: ImportFile,
): Promise<AsyncGenerator<Buffer>> {
  const now = await objects.stat(bucket, file.key);
  if (!now) throw new ObjectError('not_found', `not found: looked in ${objects.describe(bucket)}`);
  if (now.size !== file.size || now.modifiedAt.getTime() !== file.modifiedAt) {
    throw new UnreadableFileError('the file has changed since the import began');
  }
  return unpacked(await objects.open(bucket, file.key));
}
