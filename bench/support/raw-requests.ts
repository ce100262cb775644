import { connect, type Socket } from 'node:net';

/** A request that is ready to be written to a socket, headers and all. */
export type ReadyRequest = Buffer;

/** Puts together the bytes of a request. */
export function readyRequest(
  method: string,
  path: string,
  headers: Record<string, string>,
  body: Buffer,
): ReadyRequest {
  const lines = Object.entries({ ...headers, 'content-length': String(body.length) });
  const head = `${method} ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
  return Buffer.concat([Buffer.from(head), body]);
}

export interface RequestsResult {
  /** Milliseconds of all. */
  ms: number;
  /** Milliseconds of each. */
  samples: number[];
  /** The first reply's body, for a look at what was answered. */
  firstReply: string;
}

/**
 * Sends every request once, on `connections` kept connections, each one after the other. Nothing is signed, encoded or
 * parsed meanwhile but the reply's status and length: what takes the time is the server.
 */
export async function sendRequests(
  port: number,
  requests: readonly ReadyRequest[],
  options: { connections: number; expect: number },
): Promise<RequestsResult> {
  const samples: number[] = [];
  let next = 0;
  let firstReply = '';
  const startedAt = performance.now();
  const one = async () => {
    const connection = await open(port);
    try {
      while (next < requests.length) {
        const request = requests[next++]!;
        const sentAt = performance.now();
        const reply = await connection.exchange(request);
        samples.push(performance.now() - sentAt);
        if (reply.status !== options.expect) throw new Error(`answered ${reply.status}: ${reply.body}`);
        firstReply ||= reply.body;
      }
    } finally {
      connection.close();
    }
  };
  await Promise.all(Array.from({ length: options.connections }, one));
  return { ms: performance.now() - startedAt, samples, firstReply };
}

interface Connection {
  exchange(request: Buffer): Promise<{ status: number; body: string }>;
  close(): void;
}

function open(port: number): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true });
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve(connectionOf(socket));
    });
  });
}

function connectionOf(socket: Socket): Connection {
  let received = '';
  let settle: { resolve: (reply: { status: number; body: string }) => void; reject: (error: Error) => void };
  socket.setEncoding('latin1');
  socket.on('data', (text: string) => {
    received += text;
    const headEnd = received.indexOf('\r\n\r\n');
    if (headEnd < 0) return;
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(received.slice(0, headEnd))?.[1]);
    if (received.length < headEnd + 4 + length) return;
    const reply = { status: Number(received.slice(9, 12)), body: received.slice(headEnd + 4) };
    received = '';
    settle.resolve(reply);
  });
  const fail = (error?: Error) => settle?.reject(error ?? new Error('the server closed the connection'));
  socket.on('error', fail);
  socket.on('close', () => fail());
  return {
    exchange: (request) =>
      new Promise((resolve, reject) => {
        settle = { resolve, reject };
        socket.write(request);
      }),
    close: () => socket.destroy(),
  };
}
