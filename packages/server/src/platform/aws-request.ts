import { createHash, createHmac, type Hmac, type Hash as NodeHash } from 'node:crypto';
import { SignatureV4 } from '@smithy/signature-v4';
import type { Clock } from './clock.ts';
import type { Config } from './config.ts';
import { type FetchResponse, fetchOutbound, type OutboundPolicy } from './outbound.ts';

/** The parts of `arn:aws:lambda:us-east-1:123456789012:function:x`. */
export interface AwsArn {
  partition: string;
  service: string;
  region: string;
  accountId: string;
  /** What stands after the account: `function:x`, `stream/x`. */
  resource: string;
}

const arnPattern =
  /^arn:(aws[a-z0-9-]{0,20}):([a-z0-9-]{1,64}):([a-z0-9-]{1,64}):(\d{12}):([\x21-\x7e]{1,512})$/;

/** Undefined when `text` is no ARN of a resource in a region. */
export function parseAwsArn(text: string): AwsArn | undefined {
  const match = arnPattern.exec(text);
  if (!match) return undefined;
  const [partition, service, region, accountId, resource] = match.slice(1) as [
    string,
    string,
    string,
    string,
    string,
  ];
  return { partition, service, region, accountId, resource };
}

/** One signed POST. Any status is a response; only a request without one throws. */
export interface AwsRequest {
  /** The resource: its service, region and partition decide where the request goes and what it is signed for. */
  arn: AwsArn;
  /** Percent-encoded; `/` when absent. */
  path?: string;
  /** Beside host, x-amz-date, x-amz-content-sha256 and authorization. `content-type` is JSON unless given. */
  headers?: Record<string, string>;
  body: string | Uint8Array;
  /** For everything: resolving, connecting, sending and the whole response. */
  timeoutMs: number;
  maxResponseBytes: number;
  /** What is sent may arrive twice: see `FetchOptions`. */
  repeatable?: boolean;
  signal?: AbortSignal;
}

/** Speaks to services of AWS with the credentials of this installation. */
export interface AwsClient {
  /** @throws OutboundError when there is no response. */
  post(request: AwsRequest): Promise<FetchResponse>;
}

export interface AwsClientOptions {
  credentials: { accessKeyId: string; secretAccessKey: string; sessionToken?: string | undefined };
  /** Instead of `https://<service>.<region>.amazonaws.com`; the operator named it, so its host may be a private one. */
  endpointUrl?: string | undefined;
  /** It was not the operator who named it, so the rules for users' hosts hold. */
  endpointIsUsers?: boolean;
  clock: Clock;
  outbound: OutboundPolicy;
  /** Certificates of authorities to trust instead of the system's, PEM. For tests. */
  ca?: string;
}

/** The client of a process by its settings (POSTRIDER_AWS_…); undefined when no credentials are configured. */
export function configuredAwsClient(
  config: Pick<Config, 'awsAccessKeyId' | 'awsSecretAccessKey' | 'awsSessionToken' | 'awsEndpointUrl'>,
  { clock, outbound }: { clock: Clock; outbound: OutboundPolicy },
): AwsClient | undefined {
  const { awsAccessKeyId, awsSecretAccessKey } = config;
  if (!awsAccessKeyId || !awsSecretAccessKey) return undefined;
  return createAwsClient({
    credentials: {
      accessKeyId: awsAccessKeyId,
      secretAccessKey: awsSecretAccessKey,
      sessionToken: config.awsSessionToken,
    },
    endpointUrl: config.awsEndpointUrl,
    clock,
    outbound,
  });
}

/** @throws Error when `endpointUrl` is no URL. */
export function createAwsClient(options: AwsClientOptions): AwsClient {
  const { credentials, endpointUrl, clock, outbound } = options;
  const override = endpointUrl === undefined ? undefined : new URL(endpointUrl);
  const signers = new Map<string, SignatureV4>();
  const signerOf = (service: string, region: string): SignatureV4 => {
    const key = `${service} ${region}`;
    let signer = signers.get(key);
    if (!signer) {
      signer = new SignatureV4({ credentials, region, service, sha256: Sha256, applyChecksum: true });
      // Regions and services are few; ARNs that users made up must not add up.
      if (signers.size >= 100) signers.clear();
      signers.set(key, signer);
    }
    return signer;
  };
  return {
    async post({ arn, path = '/', headers, body, timeoutMs, maxResponseBytes, repeatable, signal }) {
      const base = override ?? new URL(`https://${hostOf(arn)}`);
      const wholePath = `${base.pathname.replace(/\/$/, '')}${path}`;
      const signed = await signerOf(arn.service, arn.region).sign(
        {
          method: 'POST',
          protocol: base.protocol,
          hostname: base.hostname,
          path: wholePath,
          query: {},
          headers: { 'content-type': 'application/json', ...headers, host: base.host },
          body,
        },
        { signingDate: new Date(clock.now()) },
      );
      return fetchOutbound(`${base.origin}${wholePath}`, {
        ...outbound,
        allowPrivateHosts: outbound.allowPrivateHosts || (override !== undefined && !options.endpointIsUsers),
        method: 'POST',
        headers: signed.headers,
        body,
        timeoutMs,
        maxResponseBytes,
        ca: options.ca,
        repeatable,
        signal,
      });
    },
  };
}

function hostOf({ service, region, partition }: AwsArn): string {
  return `${service}.${region}.${partition === 'aws-cn' ? 'amazonaws.com.cn' : 'amazonaws.com'}`;
}

type SourceData = string | ArrayBuffer | ArrayBufferView;

/** The hash that the signer asks for, by node:crypto. */
class Sha256 {
  readonly #secret: Buffer | undefined;
  #hash: NodeHash | Hmac;

  constructor(secret?: SourceData) {
    this.#secret = secret === undefined ? undefined : bytesOf(secret);
    this.#hash = this.#start();
  }

  update(data: SourceData): void {
    this.#hash.update(bytesOf(data));
  }

  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }

  reset(): void {
    this.#hash = this.#start();
  }

  #start(): NodeHash | Hmac {
    return this.#secret === undefined ? createHash('sha256') : createHmac('sha256', this.#secret);
  }
}

function bytesOf(data: SourceData): Buffer {
  if (typeof data === 'string') return Buffer.from(data, 'utf8');
  return ArrayBuffer.isView(data)
    ? Buffer.from(data.buffer, data.byteOffset, data.byteLength)
    : Buffer.from(data);
}
