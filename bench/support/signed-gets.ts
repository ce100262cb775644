import { Agent, get } from 'node:http';
import { sign } from '../../tests/support/signed-request.ts';
import { type BenchServer, benchKey } from './server.ts';

/**
 * GETs of the Pinpoint API on `connections` kept connections, each one request after the other, for `ms`. The requests
 * are signed before, and there is no SDK in between: what takes the time is the server. Answers the milliseconds of each.
 */
export async function signedGets(
  server: BenchServer,
  options: { paths: readonly string[]; connections: number; ms: number },
): Promise<number[]> {
  const port = Number(new URL(server.url).port);
  const requests = options.paths.map((path) => ({
    path,
    headers: sign({ method: 'GET', path }, { key: benchKey, port }),
  }));
  const agent = new Agent({ keepAlive: true, maxSockets: options.connections });
  const samples: number[] = [];
  const until = performance.now() + options.ms;
  let next = 0;
  const one = async () => {
    while (performance.now() < until) {
      const { path, headers } = requests[next++ % requests.length]!;
      const startedAt = performance.now();
      await getOnce({ agent, port, path, headers });
      samples.push(performance.now() - startedAt);
    }
  };
  try {
    await Promise.all(Array.from({ length: options.connections }, one));
  } finally {
    agent.destroy();
  }
  return samples;
}

function getOnce(request: {
  agent: Agent;
  port: number;
  path: string;
  headers: Record<string, string>;
}): Promise<void> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', ...request }, (response) => {
      response.once('error', reject);
      response.once('end', () =>
        response.statusCode === 200
          ? resolve()
          : reject(new Error(`GET ${request.path}: ${response.statusCode}`)),
      );
      response.resume();
    }).once('error', reject);
  });
}
