import { type AwsClient, createAwsClient } from '../../platform/aws-request.ts';
import type { Clock } from '../../platform/clock.ts';
import type { ObjectStore } from '../../platform/objects.ts';
import type { OutboundPolicy } from '../../platform/outbound.ts';
import type { SecretValues } from '../settings.ts';
import type { StreamRow } from '../stream.ts';
import { createFilesOutlet } from './files.ts';
import { type Outlet, OutletError } from './outlet.ts';
import { createWebhookOutlet } from './webhook.ts';

export interface OutletOptions {
  clock: Clock;
  objects: ObjectStore;
  outbound: OutboundPolicy;
  /** The client with the installation's own credentials, when there are some. */
  aws: AwsClient | undefined;
}

/**
 * Opens the way to a stream's destination; nothing is connected yet. What only one kind needs is loaded with it.
 * @throws OutletError when a setting is missing
 */
export async function openOutlet(
  stream: StreamRow,
  secrets: SecretValues,
  options: OutletOptions,
): Promise<Outlet> {
  const { settings, destination } = stream;
  const { clock, outbound } = options;
  const order = settings.order === 'none' ? 'none' : 'key';
  switch (stream.kind) {
    case 'kinesis':
    case 'firehose': {
      const { createAwsOutlet } = await import('./aws.ts');
      const client = awsClientOf(stream, secrets, options);
      return createAwsOutlet({ kind: stream.kind, destination, client, order });
    }
    case 'webhook':
      return createWebhookOutlet({
        url: destination,
        applicationId: stream.applicationId,
        stream: stream.name,
        secrets: [secrets.secret, secrets.previousSecret].filter((secret) => secret !== undefined),
        batchRecords: settings.batchRecords as number | undefined,
        timeoutMs: settings.timeoutMs as number | undefined,
        clock,
        outbound,
      });
    case 'nats': {
      const { createNatsOutlet } = await import('./nats.ts');
      return createNatsOutlet({ url: destination, settings, secrets, order, outbound });
    }
    case 'files':
      return createFilesOutlet({
        destination,
        stream: stream.id,
        gzip: settings.gzip === true,
        objects: options.objects,
      });
  }
}

/** A stream's own key goes to its own endpoint; the installation's only to where the operator says. */
function awsClientOf(stream: StreamRow, secrets: SecretValues, options: OutletOptions): AwsClient {
  const { accessKeyId, endpoint } = stream.settings;
  if (accessKeyId !== undefined && secrets.secretAccessKey !== undefined) {
    return createAwsClient({
      credentials: { accessKeyId: String(accessKeyId), secretAccessKey: secrets.secretAccessKey },
      endpointUrl: endpoint === undefined ? undefined : String(endpoint),
      endpointIsUsers: true,
      clock: options.clock,
      outbound: options.outbound,
    });
  }
  if (options.aws) return options.aws;
  throw new OutletError(
    'unavailable',
    'no AWS credentials are configured: set POSTRIDER_AWS_ACCESS_KEY_ID and POSTRIDER_AWS_SECRET_ACCESS_KEY, or give the stream a key of its own',
  );
}
