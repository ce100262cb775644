import { setImmediate as turn } from 'node:timers/promises';
import { createGunzip } from 'node:zlib';

/** Input bytes that are unpacked at once: at most a thousand times as much comes out. */
const sliceBytes = 16 * 1024;

/** The compressed content ends early or is damaged; what came before it was handed out. */
export class BrokenContentError extends Error {}

/**
 * The content of a file as it is, or unpacked when it begins like gzip, whatever its name. Everything before a break
 * is handed out before the error is thrown.
 */
export async function* unpacked(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const iterator = source[Symbol.asyncIterator]();
  let first = await iterator.next();
  // The two magic bytes may be split between the first two blocks.
  while (!first.done && first.value.length < 2) {
    const more = await iterator.next();
    if (more.done) break;
    first = { done: false, value: Buffer.concat([first.value, more.value]) };
  }
  if (first.done) return;
  const whole = chain(first.value, iterator);
  if (first.value[0] === 0x1f && first.value[1] === 0x8b) yield* gunzipped(whole);
  else yield* whole;
}

async function* chain(first: Buffer, rest: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield first;
    for (;;) {
      const next = await rest.next();
      if (next.done) return;
      yield next.value;
    }
  } finally {
    await rest.return?.();
  }
}

async function* gunzipped(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const gunzip = createGunzip();
  let ready: Buffer[] = [];
  let failure: Error | undefined;
  gunzip.on('data', (block: Buffer) => ready.push(block));
  gunzip.on('error', (error) => {
    failure = error;
  });
  const taken = () => {
    const blocks = ready;
    ready = [];
    return blocks;
  };
  try {
    for await (const block of source) {
      for (let start = 0; start < block.length && !failure; start += sliceBytes) {
        await new Promise<void>((resolve) => {
          gunzip.write(block.subarray(start, start + sliceBytes), () => resolve());
        });
        // Blocks that the stream holds back for its listener arrive with the next turn.
        await turn();
        yield* taken();
      }
      if (failure) break;
    }
    if (!failure) {
      await new Promise<void>((resolve) => {
        gunzip.once('end', resolve);
        gunzip.once('error', () => resolve());
        gunzip.end();
      });
    }
    yield* taken();
    if (failure) throw new BrokenContentError(`the gzip data is cut off or damaged (${failure.message})`);
  } finally {
    gunzip.destroy();
  }
}
