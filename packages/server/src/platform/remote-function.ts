import { createHash } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import { type AwsArn, type AwsClient, parseAwsArn } from './aws-request.ts';
import type { Clock } from './clock.ts';
import { type FetchResponse, fetchOutbound, OutboundError, type OutboundPolicy } from './outbound.ts';

/** A function of a customer's: behind a URL of their own, or in AWS Lambda. */
export type FunctionTarget =
  | { kind: 'url'; url: string }
  /** `name`: as users write it (`sift`, `arn:aws:lambda:…:function:sift:prod`). */
  | { kind: 'lambda'; name: string; arn: AwsArn | undefined };

export interface FunctionCall {
  /** The same for every try, and for every repeat of the same call: receivers tell repeats by it. */
  id: string;
  /** JSON. */
  body: string;
  /** `whsec_…`, the newest first: the signature of each is sent. */
  secrets: readonly string[];
  signal?: AbortSignal;
}

/** What came of a call after all its tries. */
export type FunctionAnswer =
  | { ok: true; body: Buffer; tries: number }
  /**
   * `answered`: it said no. `unreachable`: certainly nothing has arrived, and it may do later. `doubtful`: it may have
   * arrived, and nobody knows what came of it. `impossible`: certainly nothing has arrived, and it never will.
   * `words` may be shown to the user.
   */
  | { ok: false; why: FunctionFailure; words: string; tries: number };

export type FunctionFailure = 'answered' | 'unreachable' | 'doubtful' | 'impossible';

export interface RemoteFunctions {
  /** Calls, up to three times; never rejects for the function's reasons. */
  call(target: FunctionTarget, call: FunctionCall): Promise<FunctionAnswer>;
}

/** Pinpoint's limits of a function: 15 seconds, 3 tries, 6 MB. */
export const functionTimeoutMs = 15_000;
export const functionTries = 3;
export const maxAnswerBytes = 6 * 1024 * 1024;

const firstPauseMs = 250;
const longestWords = 300;

export interface RemoteFunctionsOptions {
  outbound: OutboundPolicy;
  clock: Clock;
  /** Undefined without AWS credentials: functions in Lambda are then not called. */
  aws: AwsClient | undefined;
  /** Of functions that are named without a region. */
  region: string;
  /** Certificates of authorities to trust instead of the system's, PEM. For tests. */
  ca?: string;
  /** For tests. */
  timeoutMs?: number;
  pauseMs?: number;
}

/**
 * What a user's text names: an https URL (http only for this machine itself), the ARN of a Lambda function, or its
 * name. Undefined when it can be none of these.
 */
export function parseFunctionTarget(text: string): FunctionTarget | undefined {
  if (text.length > 2048) return undefined;
  if (/^https?:/i.test(text)) return isCallable(text) ? { kind: 'url', url: text } : undefined;
  if (text.startsWith('arn:')) {
    const arn = parseAwsArn(text);
    return arn?.service === 'lambda' && arn.resource.startsWith('function:')
      ? { kind: 'lambda', name: text, arn }
      : undefined;
  }
  return /^(?:\d{12}:function:)?[A-Za-z0-9_-]{1,64}(?::[A-Za-z0-9_$-]{1,128})?$/.test(text)
    ? { kind: 'lambda', name: text, arn: undefined }
    : undefined;
}

function isCallable(text: string): boolean {
  const url = URL.parse(text);
  if (!url || url.username || url.password) return false;
  if (url.protocol === 'https:') return true;
  // Connected to only where POSTRIDER_ALLOW_PRIVATE_HOSTS allows it.
  return url.protocol === 'http:' && /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(url.hostname);
}

/** What one call is about at most: Pinpoint's 50 endpoints. */
export const functionBatch = 50;

/** An id for a call that is the same whenever the same call is made again. */
export function callId(kind: 'hook' | 'delivery', parts: readonly string[]): string {
  return `${kind}_${createHash('sha256').update(JSON.stringify(parts)).digest('base64url').slice(0, 32)}`;
}

/** Batches of at most 50, in order; two with the same id are in different batches. */
export function functionBatches<Item>(items: readonly Item[], idOf: (item: Item) => string): Item[][] {
  const batches: { ids: Set<string>; items: Item[] }[] = [];
  for (const item of items) {
    const id = idOf(item);
    const last = batches.at(-1);
    if (last && last.items.length < functionBatch && !last.ids.has(id)) {
      last.ids.add(id);
      last.items.push(item);
    } else batches.push({ ids: new Set([id]), items: [item] });
  }
  return batches.map((batch) => batch.items);
}

type Try = { answer: Buffer } | { failure: string; again: boolean; why: FunctionFailure };

export function createRemoteFunctions(options: RemoteFunctionsOptions): RemoteFunctions {
  const { timeoutMs = functionTimeoutMs, pauseMs = firstPauseMs } = options;
  return {
    async call(target, call) {
      let doubtful = false;
      for (let tries = 1; ; tries++) {
        const result = await tryOnce(options, target, call, timeoutMs);
        if ('answer' in result) return { ok: true, body: result.answer, tries };
        const { why } = result;
        // An answer to a later try says what came of the earlier ones: they have the same id.
        doubtful = why === 'doubtful' || (doubtful && why !== 'answered');
        if (!result.again || tries >= functionTries || call.signal?.aborted) {
          const words = result.failure.slice(0, longestWords).toWellFormed();
          return { ok: false, why: doubtful ? 'doubtful' : why, words, tries };
        }
        await pause(pauseMs * 4 ** (tries - 1), call.signal);
      }
    },
  };
}

async function tryOnce(
  options: RemoteFunctionsOptions,
  target: FunctionTarget,
  call: FunctionCall,
  timeoutMs: number,
): Promise<Try> {
  try {
    if (target.kind === 'url') return judge(await post(options, target.url, call, timeoutMs));
    if (!options.aws) {
      return {
        failure: 'no AWS credentials: set POSTRIDER_AWS_ACCESS_KEY_ID to call functions in Lambda',
        again: false,
        why: 'impossible',
      };
    }
    return judgeLambda(await invoke(options.aws, target, options.region, call, timeoutMs));
  } catch (error) {
    if (!(error instanceof OutboundError)) throw error;
    const { reason, message: failure } = error;
    if (reason === 'refused_address' || reason === 'bad_url')
      return { failure, again: false, why: 'impossible' };
    if (reason === 'too_large') return { failure, again: false, why: 'answered' };
    const refused = (error.cause as { code?: string } | undefined)?.code === 'ECONNREFUSED';
    const unsent = refused || reason === 'unresolved' || reason === 'busy';
    return { failure, again: true, why: unsent ? 'unreachable' : 'doubtful' };
  }
}

/** Signed by Standard Webhooks; each try at its own time, with the same id. */
function post(
  options: RemoteFunctionsOptions,
  url: string,
  { id, body, secrets, signal }: FunctionCall,
  timeoutMs: number,
): Promise<FetchResponse> {
  const now = new Date(options.clock.now());
  return fetchOutbound(url, {
    ...options.outbound,
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'user-agent': 'Postrider',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
      'webhook-signature': secrets.map((secret) => new Webhook(secret).sign(id, now, body)).join(' '),
    },
    body,
    timeoutMs,
    maxResponseBytes: maxAnswerBytes,
    ca: options.ca,
    // By its id.
    repeatable: true,
    signal,
  });
}

function invoke(
  aws: AwsClient,
  target: FunctionTarget & { kind: 'lambda' },
  region: string,
  { id, body, signal }: FunctionCall,
  timeoutMs: number,
): Promise<FetchResponse> {
  const arn = target.arn ?? {
    partition: 'aws',
    service: 'lambda',
    region,
    accountId: '',
    resource: target.name,
  };
  const context = JSON.stringify({ custom: { 'webhook-id': id } });
  return aws.post({
    arn,
    path: `/2015-03-31/functions/${encodeURIComponent(target.name)}/invocations`,
    headers: { 'x-amz-client-context': Buffer.from(context).toString('base64') },
    body,
    timeoutMs,
    maxResponseBytes: maxAnswerBytes,
    repeatable: true,
    signal,
  });
}

/** Only what may pass by itself is tried again. */
function judge({ status, body }: FetchResponse): Try {
  if (status >= 200 && status < 300) return { answer: body };
  const again = status >= 500 || [408, 425, 429].includes(status);
  return { failure: `answered ${status}${wordsOf(body)}`, again, why: 'answered' };
}

/** A function that fails answers 200 with a header that says so. */
function judgeLambda(response: FetchResponse): Try {
  const fault = response.headers['x-amz-function-error'];
  if (response.status !== 200 || fault === undefined) return judge(response);
  return {
    failure: `the function failed (${String(fault)})${wordsOf(response.body)}`,
    again: true,
    why: 'answered',
  };
}

function wordsOf(body: Buffer): string {
  const words = body.subarray(0, longestWords).toString('utf8').replace(/\s+/g, ' ').trim();
  return words ? `: ${words}` : '';
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    if (signal?.aborted) done();
    else signal?.addEventListener('abort', done);
  });
}
