import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type pg from 'pg';
import { from as copyFrom, to as copyTo } from 'pg-copy-streams';

/** COPY of text that is ready, piece by piece; `target` is `table` or `table (columns)`. */
export async function copyIn(
  client: pg.ClientBase,
  target: string,
  pieces: Iterable<string | Buffer>,
): Promise<void> {
  await pipeline(Readable.from(pieces), client.query(copyFrom(`copy ${target} from stdin`)));
}

/** The rows of a query as COPY text, in memory. */
export async function copyOut(client: pg.ClientBase, query: string): Promise<Buffer[]> {
  const chunks: Buffer[] = [];
  const collect = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk);
      done();
    },
  });
  await pipeline(client.query(copyTo(`copy (${query}) to stdout`)), collect);
  return chunks;
}
