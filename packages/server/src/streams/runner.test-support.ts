import { appendFacts, type Fact } from '../events/index.ts';
import { createAwsClient } from '../platform/aws-request.ts';
import type { Clock } from '../platform/clock.ts';
import type { Database } from '../platform/database.ts';
import { silentLog } from '../platform/log.ts';
import { createFolderObjects } from '../platform/objects.ts';
import { createSecrets } from '../platform/secrets.ts';
import { createStreamRunner, type StreamRunner } from './runner.ts';
import { createStreams } from './stream.ts';

export const testSecrets = createSecrets(Buffer.alloc(32, 3));
export const testKey = { accessKeyId: 'AKIASTREAMTEST', secretAccessKey: 'a-secret-of-the-stream-tests' };

/** A runner that is quick to poll and to come back. */
export function testRunner(options: {
  database: Database;
  clock: Clock;
  workerId: string;
  awsUrl?: string;
  folder?: string;
}): StreamRunner {
  const { database, clock, workerId, awsUrl } = options;
  return createStreamRunner({
    database,
    clock,
    workerId,
    log: silentLog,
    secrets: testSecrets,
    accountId: '123456789012',
    activityIds: async () => new Map(),
    aws: createAwsClient({
      credentials: testKey,
      endpointUrl: awsUrl ?? 'http://127.0.0.1:9',
      clock,
      outbound: { allowPrivateHosts: true },
    }),
    outbound: { allowPrivateHosts: true },
    objects: createFolderObjects(options.folder ?? '/tmp/postrider-streams-none'),
    pollMs: { busy: 5, idle: 20 },
    claimEveryMs: 50,
    backoffMs: { first: 1_000, longest: 300_000 },
    delivery: { attempts: 4, retryDelayMs: 2 },
  });
}

export async function registerTestWorker(database: Database, id: string): Promise<void> {
  await database.query(
    `insert into workers (id, role, host, pid) values ($1, 'worker', 'test', 1)
     on conflict (id) do update set seen_at = now()`,
    [id],
  );
}

export function testStreams(database: Database) {
  return createStreams({ database, secrets: testSecrets, allowPrivateHosts: true });
}

/** Appends events `<prefix>-<n>` of some endpoints in turn, in one batch. */
export async function appendEvents(
  database: Database,
  applicationId: string,
  prefix: string,
  count: number,
  endpoints = 40,
  clock?: Clock,
): Promise<string[]> {
  const ids = Array.from({ length: count }, (_, n) => `${prefix}-${n}`);
  const facts = ids.map(
    (id, n): Fact => ({
      type: 'event.test',
      applicationId,
      endpointId: `e${n % endpoints}`,
      payload: { id, attributes: { id, n: String(n) } },
    }),
  );
  await database.transaction((tx) => appendFacts(tx, facts, clock));
  return ids;
}
