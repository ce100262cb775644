import { fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { endWithUs } from './children.ts';

/** A mail server that takes everything and notes when the first byte about each recipient came. */
export interface TimingSink {
  port: number;
  /** When the sink first heard of each recipient, in milliseconds since the epoch. */
  arrivals(): Promise<Map<string, number>>;
  stop(): void;
}

/** Runs the sink as a process of its own, so that a busy bench does not delay its clock. */
export async function startTimingSink(): Promise<TimingSink> {
  const child = fork(fileURLToPath(import.meta.url), ['serve'], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  endWithUs(child);
  const [port] = (await once(child, 'message')) as [number];
  return {
    port,
    async arrivals() {
      child.send('arrivals');
      const [entries] = (await once(child, 'message')) as [[string, number][]];
      return new Map(entries);
    },
    stop: () => void child.kill('SIGKILL'),
  };
}

/** SMTP as far as our own client speaks it, pipelining included. */
function serve(): void {
  const arrivals: [string, number][] = [];
  const server = createServer((socket) => talk(socket, arrivals));
  server.listen(0, '127.0.0.1', () => process.send!((server.address() as { port: number }).port));
  process.on('message', () => process.send!(arrivals));
  process.on('disconnect', () => process.exit());
}

function talk(socket: Socket, arrivals: [string, number][]): void {
  let rest = '';
  let inData = false;
  // The moment of the first byte of the message that is being received.
  let begunAt = 0;
  socket.setNoDelay(true);
  socket.on('error', () => socket.destroy());
  socket.write('220 sink\r\n');
  socket.on('data', (chunk) => {
    const now = Date.now();
    rest += chunk.toString('latin1');
    let reply = '';
    for (;;) {
      if (inData) {
        const end = rest.indexOf('\r\n.\r\n');
        if (end < 0) {
          rest = rest.slice(-4);
          break;
        }
        rest = rest.slice(end + 5);
        inData = false;
        reply += '250 ok\r\n';
        continue;
      }
      const end = rest.indexOf('\r\n');
      if (end < 0) break;
      const line = rest.slice(0, end);
      rest = rest.slice(end + 2);
      const verb = line.slice(0, 4).toUpperCase();
      if (verb === 'EHLO') reply += '250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n';
      else if (verb === 'DATA') {
        inData = true;
        reply += '354 go on\r\n';
      } else if (verb === 'QUIT') {
        socket.end('221 bye\r\n');
        return;
      } else {
        if (verb === 'MAIL') begunAt = now;
        if (verb === 'RCPT') arrivals.push([/<([^>]*)>/.exec(line)?.[1] ?? '', begunAt]);
        reply += '250 ok\r\n';
      }
    }
    if (reply) socket.write(reply);
  });
}

if (process.argv[2] === 'serve' && process.send) serve();
