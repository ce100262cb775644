import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { endWithUs } from './children.ts';
import { freePort } from './ports.ts';

const program = '/usr/sbin/smtp-sink';

/** End of its output that is read: several times the length of one counter. */
const tailBytes = 400;

/** Debian's smtp-sink (package postfix): takes mail from the network and throws it away. */
export interface SmtpSink {
  port: number;
  /** Messages that it has accepted, by its own counter. */
  count(): Promise<number>;
  /** Waits until it has accepted `count` messages. */
  received(count: number, withinMs: number): Promise<void>;
  stop(): Promise<void>;
}

export async function startSmtpSink(directory: string): Promise<SmtpSink> {
  if (!existsSync(program)) throw new Error(`${program} is missing: install the Debian package postfix`);
  const port = await freePort();
  // -c prints its counters after each message; as root it wants to be told whom to become.
  const user = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
  const args = ['-4', '-c', '-m', '1000', ...user, `127.0.0.1:${port}`, '1000'];
  // Into a file and not a pipe: a reader would be woken for each message, and its pauses would hold up the sink.
  const output = await open(join(directory, `smtp-sink-${port}`), 'w+');
  const child = spawn(program, args, { stdio: ['ignore', output.fd, output.fd] });
  endWithUs(child);
  const ended = once(child, 'exit');
  const tail = async () => {
    const { size } = await output.stat();
    const { buffer, bytesRead } = await output.read(
      Buffer.alloc(tailBytes),
      0,
      tailBytes,
      Math.max(0, size - tailBytes),
    );
    return buffer.toString('latin1', 0, bytesRead);
  };
  // "sess=20 quit=0 mesg=1234", carriage return, again and again; the last complete one counts.
  const count = async () => Number([...(await tail()).matchAll(/mesg=(\d+)\s/g)].at(-1)?.[1] ?? 0);
  await listening(port, () => child.exitCode !== null, tail);
  return {
    port,
    count,
    async received(expected, withinMs) {
      const until = performance.now() + withinMs;
      for (let got = await count(); got < expected; got = await count()) {
        if (performance.now() > until) {
          throw new Error(`smtp-sink got ${got} of ${expected} in ${withinMs} ms`);
        }
        await sleep(20);
      }
    },
    async stop() {
      child.kill('SIGTERM');
      await ended;
      await output.close();
    },
  };
}

async function listening(port: number, ended: () => boolean, output: () => Promise<string>): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    if (ended()) throw new Error(`smtp-sink ended: ${await output()}`);
    const socket = connect(port, '127.0.0.1');
    const ok = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('error', () => resolve(false));
    });
    socket.destroy();
    if (ok) return;
    await sleep(25);
  }
  throw new Error('smtp-sink does not listen');
}
