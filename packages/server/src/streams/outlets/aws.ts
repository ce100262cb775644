import { type AwsClient, parseAwsArn } from '../../platform/aws-request.ts';
import { OutboundError } from '../../platform/outbound.ts';
import {
  type OutgoingRecord,
  type Outlet,
  OutletError,
  type OutletLimits,
  type PutResult,
  shownBody,
} from './outlet.ts';

const timeoutMs = 30_000;
const maxResponseBytes = 1024 * 1024;

/** What Kinesis and Firehose have in common, and what not. */
interface Service {
  target: string;
  limits: Omit<OutletLimits, 'order' | 'concurrency'>;
  body(arn: string, records: readonly OutgoingRecord[]): unknown;
  /** Member of the answer with one entry for each record. */
  results: 'Records' | 'RequestResponses';
}

const base64 = (text: string) => Buffer.from(text).toString('base64');

/** Partition keys are 1 to 256 characters. */
function partitionKey(key: string): string {
  return [...key].slice(0, 256).join('') || '-';
}

const services: Record<'kinesis' | 'firehose', Service> = {
  kinesis: {
    target: 'Kinesis_20131202.PutRecords',
    // 5 MB with partition keys; the record may have 1 MB with its key.
    limits: { records: 500, bytes: 5_000_000, recordBytes: 1_000_000, overheadBytes: 256 },
    body: (arn, records) => ({
      StreamARN: arn,
      StreamName: arn.slice(arn.indexOf('stream/') + 'stream/'.length),
      Records: records.map(({ key, json }) => ({ Data: base64(json), PartitionKey: partitionKey(key) })),
    }),
    results: 'Records',
  },
  firehose: {
    target: 'Firehose_20150804.PutRecordBatch',
    limits: { records: 500, bytes: 4_000_000, recordBytes: 1_000_000, overheadBytes: 1 },
    body: (arn, records) => ({
      DeliveryStreamName: arn.slice(arn.indexOf('deliverystream/') + 'deliverystream/'.length),
      // Firehose joins records as they are, so each brings its end of line.
      Records: records.map(({ json }) => ({ Data: base64(`${json}\n`) })),
    }),
    results: 'RequestResponses',
  },
};

/** Error types that are about a record in the request, not about the stream or our key. */
const refusedTypes =
  /^(ValidationException|InvalidArgumentException|SerializationException|InvalidRecordException)$/;

/**
 * Kinesis Data Streams (PutRecords) or Firehose (PutRecordBatch).
 */
export function createAwsOutlet(options: {
  kind: 'kinesis' | 'firehose';
  destination: string;
  client: AwsClient;
  order: 'key' | 'none';
}): Outlet {
  const { client, destination } = options;
  const service = services[options.kind];
  const arn = parseAwsArn(destination);
  if (!arn) throw new OutletError('unavailable', `${destination} is no ARN`);
  return {
    limits: { ...service.limits, concurrency: 4, order: options.order },
    async put(records, signal) {
      const response = await client
        .post({
          arn,
          headers: { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': service.target },
          body: JSON.stringify(service.body(destination, records)),
          timeoutMs,
          maxResponseBytes,
          // Records carry their id, and are handed over again whenever an answer is missing.
          repeatable: true,
          signal,
        })
        .catch((error: unknown) => {
          if (error instanceof OutboundError) throw new OutletError('unavailable', error.message);
          throw error;
        });
      if (response.status === 200) return resultsOf(response.body, service.results, records.length);
      const type = errorType(response.body, response.headers['x-amzn-errortype']);
      const words = `${options.kind} answered ${response.status} ${type}: ${shownBody(response.body)}`;
      throw new OutletError(
        response.status === 400 && refusedTypes.test(type) ? 'refused' : 'unavailable',
        words,
      );
    },
    close: async () => undefined,
  };
}

interface Answer {
  ErrorCode?: string;
  ErrorMessage?: string;
}

function resultsOf(body: Buffer, member: Service['results'], count: number): PutResult[] {
  let answers: unknown;
  try {
    answers = (JSON.parse(body.toString()) as Record<string, unknown>)[member];
  } catch {
    answers = undefined;
  }
  if (!Array.isArray(answers) || answers.length !== count)
    throw new OutletError(
      'unavailable',
      `the answer does not say what became of each record: ${shownBody(body)}`,
    );
  return (answers as Answer[]).map((answer) =>
    answer?.ErrorCode
      ? { failed: `${answer.ErrorCode}: ${String(answer.ErrorMessage ?? '').slice(0, 300)}` }
      : 'accepted',
  );
}

/** `ResourceNotFoundException`, from a header or a body that may name it with a namespace. */
function errorType(body: Buffer, header: string | string[] | undefined): string {
  let type = typeof header === 'string' ? header : '';
  try {
    const parsed = JSON.parse(body.toString()) as { __type?: unknown };
    if (typeof parsed.__type === 'string') type = parsed.__type;
  } catch {
    // Not JSON: the header, or nothing, says what it is.
  }
  return type.split('#').at(-1)!.split(':')[0]!;
}
