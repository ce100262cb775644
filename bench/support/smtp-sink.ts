import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const program = '/usr/sbin/smtp-sink';

/** Debian's smtp-sink (package postfix): takes mail from the network and throws it away. */
export interface SmtpSink {
  port: number;
  /** Messages that it has accepted, by its own counter. */
  count(): number;
  /** Waits until it has accepted `count` messages. */
  received(count: number, withinMs: number): Promise<void>;
  stop(): Promise<void>;
}

export async function startSmtpSink(): Promise<SmtpSink> {
  if (!existsSync(program)) throw new Error(`${program} is missing: install the Debian package postfix`);
  const port = await freePort();
  // -c prints its counters after each message; as root it wants to be told whom to become.
  const user = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
  const child = spawn(program, ['-4', '-c', '-m', '1000', ...user, `127.0.0.1:${port}`, '1000'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let accepted = 0;
  let tail = '';
  const read = (chunk: Buffer) => {
    // "sess=20 quit=0 mesg=1234", carriage return, again and again; the last complete one counts.
    tail = (tail + chunk.toString('latin1')).slice(-400);
    for (const match of tail.matchAll(/mesg=(\d+)\s/g)) accepted = Math.max(accepted, Number(match[1]));
  };
  child.stdout.on('data', read);
  child.stderr.on('data', read);
  const ended = once(child, 'exit');
  await listening(
    port,
    () => child.exitCode !== null,
    () => tail,
  );
  return {
    port,
    count: () => accepted,
    async received(count, withinMs) {
      const until = performance.now() + withinMs;
      while (accepted < count) {
        if (performance.now() > until)
          throw new Error(`smtp-sink got ${accepted} of ${count} in ${withinMs} ms`);
        await sleep(5);
      }
    },
    async stop() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

async function listening(port: number, ended: () => boolean, output: () => string): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    if (ended()) throw new Error(`smtp-sink ended: ${output()}`);
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

/** A port that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
