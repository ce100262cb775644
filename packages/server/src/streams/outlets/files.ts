import { Readable } from 'node:stream';
import { createGzip } from 'node:zlib';
import { ObjectError, type ObjectStore } from '../../platform/objects.ts';
import { parseFilesPrefix } from '../destination.ts';
import { type OutgoingRecord, type Outlet, OutletError } from './outlet.ts';

const pieceLength = 64 * 1024;

/**
 * Newline JSON in the object store: `<prefix>/2026/11/22/07/<stream>-<first record>.jsonl[.gz]`, by the hour (UTC) of
 * arrival. A file is named by its first record: whoever writes what follows the stream's cursor again, after a crash,
 * writes the same file again.
 */
export function createFilesOutlet(options: {
  destination: string;
  stream: string;
  gzip: boolean;
  objects: ObjectStore;
}): Outlet {
  const where = parseFilesPrefix(options.destination);
  if (!where) throw new OutletError('unavailable', `${options.destination} is no prefix of the object store`);
  return {
    limits: {
      records: 100_000,
      bytes: 1_000_000_000,
      recordBytes: 100_000_000,
      overheadBytes: 1,
      concurrency: 1,
      order: 'request',
    },
    async put(records) {
      // Files of the window in the order of their first records; the order within a file is the log's.
      const byHour = Map.groupBy(records, ({ arrivedAt }) => hourPath(arrivedAt));
      for (const [hour, ofHour] of byHour) {
        const name = `${options.stream}-${ofHour[0]!.id}.jsonl${options.gzip ? '.gz' : ''}`;
        await write(`${where.prefix}${hour}/${name}`, ofHour);
      }
      return records.map(() => 'accepted' as const);
    },
    close: async () => undefined,
  };

  async function write(key: string, records: readonly OutgoingRecord[]): Promise<void> {
    const lines = Readable.from(linesOf(records));
    try {
      const content = options.gzip ? lines.pipe(createGzip()) : lines;
      await options.objects.put(where!.bucket, key, content);
    } catch (error) {
      if (error instanceof ObjectError) throw new OutletError('unavailable', error.message);
      throw new OutletError('unavailable', `s3://${where!.bucket}/${key}: ${(error as Error).message}`);
    }
  }
}

/** Lines in pieces of some size: each piece is a write. */
function* linesOf(records: readonly OutgoingRecord[]): Generator<Buffer> {
  let piece = '';
  for (const { json } of records) {
    piece += `${json}\n`;
    if (piece.length < pieceLength) continue;
    yield Buffer.from(piece);
    piece = '';
  }
  if (piece) yield Buffer.from(piece);
}

/** `2026/11/22/07`. */
function hourPath(at: number): string {
  return new Date(at).toISOString().slice(0, 13).replace(/[-T]/g, '/');
}
