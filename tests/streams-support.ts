import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterAll } from 'vitest';
import { signatureFault } from '../packages/server/src/platform/aws-request.test-support.ts';

/** A record as a stream carries it, as far as the tests look. */
export interface SeenRecord {
  event_type: string;
  event_timestamp: number;
  arrival_timestamp: number;
  client: { client_id: string };
  attributes: Record<string, string>;
  metrics: Record<string, number>;
  session: Record<string, unknown>;
  client_context: { custom: Record<string, string> };
  [member: string]: unknown;
}

export interface Answer {
  status: number;
  body?: unknown;
  headers?: Record<string, string>;
}

/** An HTTP server of a test, closed after the file's last test. */
export async function listen(
  answer: (request: IncomingMessage, body: Buffer) => Answer | Promise<Answer> | 'hang',
): Promise<string> {
  const server: Server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', async () => {
      const given = await answer(request, Buffer.concat(chunks));
      if (given === 'hang') return;
      const text = typeof given.body === 'string' ? given.body : JSON.stringify(given.body ?? {});
      response.writeHead(given.status, { 'content-type': 'application/json', ...given.headers }).end(text);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

export const awsKey = { accessKeyId: 'AKIASTREAMTEST', secretAccessKey: 'a-secret-of-the-stream-tests' };

/** What a recorder answers about one record: an error code, or nothing. */
export type Verdict = (record: SeenRecord, request: number) => string | undefined;

/** A service with the interface of Kinesis and Firehose that checks signatures and keeps what it accepted. */
export interface Recorder {
  url: string;
  /** In the order of acceptance. */
  accepted: SeenRecord[];
  /** Ids of the records of each request, accepted or not. */
  requests: string[][];
  faults: string[];
  /** Every request fails with 503 while true. */
  down: boolean;
  verdict: Verdict;
}

export async function startRecorder(): Promise<Recorder> {
  const recorder: Recorder = {
    url: '',
    accepted: [],
    requests: [],
    faults: [],
    down: false,
    verdict: () => undefined,
  };
  recorder.url = await listen((request, body) => {
    if (recorder.down) return { status: 503, body: { __type: 'ServiceUnavailable', message: 'down' } };
    const [service] = String(request.headers['x-amz-target']).toLowerCase().split('_') as [string];
    const fault = signatureFault(request, body, { ...awsKey, service, region: 'us-east-1' });
    if (fault) {
      recorder.faults.push(fault);
      return { status: 403, body: { __type: 'InvalidSignatureException', message: fault } };
    }
    const parsed = JSON.parse(body.toString()) as { Records: { Data: string; PartitionKey?: string }[] };
    const records = parsed.Records.map(
      ({ Data }): SeenRecord => JSON.parse(Buffer.from(Data, 'base64').toString()),
    );
    if (records.length > 500) recorder.faults.push(`${records.length} records in a request`);
    const number = recorder.requests.push(records.map((record) => record.client_context.custom.record_id!));
    const answers = records.map((record, index) => {
      if (service === 'kinesis' && parsed.Records[index]!.PartitionKey !== record.client.client_id)
        recorder.faults.push(`partition key ${parsed.Records[index]!.PartitionKey}`);
      const code = recorder.verdict(record, number);
      if (code) return { ErrorCode: code, ErrorMessage: 'Rate exceeded for shard' };
      recorder.accepted.push(record);
      return service === 'kinesis' ? { SequenceNumber: '1', ShardId: 's' } : { RecordId: 'r' };
    });
    const failed = answers.filter((answer) => 'ErrorCode' in answer).length;
    return {
      status: 200,
      body:
        service === 'kinesis'
          ? { FailedRecordCount: failed, Records: answers }
          : { FailedPutCount: failed, RequestResponses: answers },
    };
  });
  return recorder;
}

export const kinesisArn = 'arn:aws:kinesis:us-east-1:123456789012:stream/events';
export const firehoseArn = 'arn:aws:firehose:us-east-1:123456789012:deliverystream/events';

/** A nats-server with JetStream and one user (`pr`, `secret`), ended after the file's last test. */
export async function startNats() {
  const folder = await mkdtemp('/tmp/postrider-nats-');
  const port = await freePort();
  const server = spawn(
    '/usr/sbin/nats-server',
    ['-js', '-a', '127.0.0.1', '-p', String(port), '-sd', folder, '--user', 'pr', '--pass', 'secret'],
    { stdio: 'ignore' },
  );
  afterAll(async () => {
    server.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  });
  let connection: NatsConnection | undefined;
  for (let attempt = 0; connection === undefined; attempt++) {
    connection = await connect({ servers: `127.0.0.1:${port}`, user: 'pr', pass: 'secret' }).catch(
      (error) => {
        if (attempt > 100) throw error;
        return undefined;
      },
    );
    if (!connection) await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const own = connection;
  afterAll(() => own.close());
  const manager = await jetstreamManager(own);
  return {
    url: `nats://127.0.0.1:${port}`,
    async addStream(name: string, subject: string): Promise<void> {
      await manager.streams.add({ name, subjects: [subject] });
    },
    /** What a stream holds, in order. */
    async messages(name: string): Promise<SeenRecord[]> {
      const { state } = await manager.streams.info(name);
      const found: SeenRecord[] = [];
      for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
        const message = await manager.streams.getMessage(name, { seq });
        if (message) found.push(message.json<SeenRecord>());
      }
      return found;
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
