import type { IncomingMessage, ServerResponse } from 'node:http';
import { isPublishableKeyId, type Principal, publishableActions } from '../../accounts/index.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Database } from '../../platform/database.ts';
import { CallerError } from '../../platform/errors.ts';
import { uuidv7 } from '../../platform/ids.ts';
import type { Log } from '../../platform/log.ts';
import { allowOrigin, answerPreflight } from '../publishable/cors.ts';
import { bearerKeyId, type PublishableDoor } from '../publishable/door.ts';
import { parseArn } from './arn.ts';
import {
  decodeBody,
  discardBody,
  isPacked,
  maxBodyBytes,
  maxEventsBodyBytes,
  parseJson,
  quoteStrangeNumbers,
  Room,
  readBody,
} from './body.ts';
import { type OperationModel, operationModels } from './model.ts';
import type { OperationContext, OperationHandlers, OperationName } from './operation.ts';
import { parseInput, type WireObject } from './parse.ts';
import { sendError, sendReply, toCallerError } from './reply.ts';
import { type Match, Router } from './router.ts';
import { payloadJson } from './serialise.ts';
import type { Services } from './services.ts';
import {
  type AccessKey,
  type FindAccessKey,
  type PendingSignature,
  SignatureVerifier,
  type SignedRequest,
  sha256,
} from './signature.ts';

/** The service name that Pinpoint's clients sign for; also the prefix of actions. */
const service = 'mobiletargeting';

export interface WireEngineOptions {
  handlers: OperationHandlers;
  findAccessKey: FindAccessKey;
  /** @throws CallerError forbidden. `applicationId` is undefined for what belongs to no application. */
  authorize: (principal: Principal, action: string, applicationId: string | undefined) => void;
  region: string;
  accountId: string;
  database: Database;
  clock: Clock;
  log: Log;
  services: Services;
  /** Lets in holders of publishable keys; nobody has one where it is absent. */
  publishable?: PublishableDoor;
  /** Called once for each answered request, for metrics. */
  observe?: (request: { operation: OperationName | undefined; status: number; durationMs: number }) => void;
}

export interface WireEngine {
  /** Answers one request; never rejects. */
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>;
}

/** Operations whose handlers read the body themselves: what is wrong with one item is answered for that item. */
const readsOwnBody: ReadonlySet<OperationName> = new Set(['PutEvents']);

/**
 * The undocumented path to which web apps of old send their last event as they close (reference 8.6): by a beacon,
 * which cannot set a header, so the body is text/plain and the signature stands in the query.
 */
const beaconModel: OperationModel = {
  ...operationModels.get('PutEvents')!,
  path: '/v1/apps/{ApplicationId}/events/legacy',
};

/** One handler of any operation: the models hold what the types say of each. */
type AnyHandler = (input: WireObject, ctx: OperationContext) => Promise<WireObject>;

/** The Pinpoint API on node:http: route, authenticate, parse, authorise, handle, answer. */
export function createWireEngine(options: WireEngineOptions): WireEngine {
  const router = new Router([...operationModels.values(), beaconModel]);
  const door = options.publishable;
  const findAccessKey: FindAccessKey = (id) =>
    door && isPublishableKeyId(id)
      ? publishableAccessKey(door, id).then((key) => key ?? options.findAccessKey(id))
      : options.findAccessKey(id);
  const verifier = new SignatureVerifier({ ...options, findAccessKey, service });

  async function answer(
    { request, response, url }: Exchange,
    match: Match,
    requestId: string,
    log: () => Log,
  ): Promise<WireObject> {
    const { model } = match;
    const isBeacon = model === beaconModel;
    const keyId = door && publishableKeyId(request, isBeacon ? url : undefined);
    const pending =
      keyId === undefined
        ? await verifier.begin(signedRequest(request, url), { mayBePresigned: isBeacon })
        : await publishableBearer(door!, keyId);
    const { publishable } = pending;
    if (publishable) door!.admit(publishable, request, response);
    const limit = model.name === 'PutEvents' ? maxEventsBodyBytes : maxBodyBytes;
    const room = new Room();
    try {
      const packed = await readBody(request, limit, room);
      const principal = pending.verify(sha256(packed));
      const body = isPacked(request) ? await decodeBody(request, packed, limit) : packed;
      if (body !== packed) room.take(body.length);
      const handler = options.handlers[model.name] as AnyHandler | undefined;
      if (!handler) throw notImplemented(model);
      const labelled = applicationOf(match, options);
      options.authorize(principal, `${service}:${model.name}`, labelled);
      const query = groupQuery(url.query);
      const isRaw = readsOwnBody.has(model.name);
      const payload = model.inputPayload ? parseJson(isRaw ? quoteStrangeNumbers(body) : body) : undefined;
      const input = parseInput(model, { labels: match.labels, query, body: payload, isRaw });
      const { region, accountId, database, clock, services } = options;
      const call = publishable && door!.call(publishable, request, response);
      return await handler(input, {
        ...{ principal, requestId, region, accountId, database, clock, services, query, log },
        publishable: call,
      });
    } finally {
      room.giveBack();
    }
  }

  return {
    async handle(request, response) {
      const startedAt = performance.now();
      const requestId = uuidv7(options.clock.now());
      let operation: OperationName | undefined;
      let status: number;
      try {
        const url = splitUrl(request.url ?? '');
        const preflight = preflightMethod(request);
        const match = router.match(preflight ?? request.method ?? '', url.rawPath);
        operation = match.model.name;
        const isForPages = door !== undefined && publishableActions.includes(`${service}:${operation}`);
        if (preflight !== undefined) {
          if (!isForPages) throw notForPages(operation);
          answerPreflight(request, response, preflight);
          return;
        }
        if (isForPages) allowOrigin(request, response);
        const log = () => options.log.child({ operation, requestId });
        const output = await answer({ request, response, url }, match, requestId, log);
        status = match.model.status;
        sendReply(response, status, requestId, outputJson(match.model, output));
      } catch (error) {
        const callerError = toCallerError(error);
        const unexpected = callerError !== error;
        options.log[unexpected ? 'error' : 'debug']({ err: error, operation, requestId }, 'request failed');
        status = sendError(response, requestId, callerError, operation === 'PutEvents');
        discardBody(request);
      }
      options.observe?.({ operation, status, durationMs: performance.now() - startedAt });
    },
  };
}

interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  url: Url;
}

/** A publishable key as one that signs, so that the AWS SDKs can use it: its secret is its id. */
async function publishableAccessKey(door: PublishableDoor, id: string): Promise<AccessKey | undefined> {
  const publishable = await door.find(id);
  if (!publishable) return undefined;
  // Uses are noted where it is admitted.
  return { principal: publishable.principal, secret: publishable.id, publishable, used: () => {} };
}

/**
 * The publishable key that a request names instead of a signature.
 * @param beacon the URL of a beacon, whose query may name the key, since a beacon has no headers of its own.
 */
function publishableKeyId(request: IncomingMessage, beacon: Url | undefined): string | undefined {
  return (
    (bearerKeyId(request.headers.authorization) ?? beacon?.query.find(([name]) => name === 'key')?.[1]) ||
    undefined
  );
}

async function publishableBearer(door: PublishableDoor, id: string): Promise<PendingSignature> {
  const publishable = await door.find(id);
  if (!publishable) {
    throw new CallerError('unauthenticated', `The publishable key ${id} is unknown here or was revoked`);
  }
  return { publishable, verify: () => publishable.principal };
}

/** What a browser wants to send, when it asks whether it may. */
function preflightMethod(request: IncomingMessage): string | undefined {
  if (request.method !== 'OPTIONS') return undefined;
  const method = request.headers['access-control-request-method'];
  return method !== undefined && /^[A-Z]{1,10}$/.test(method) ? method : undefined;
}

function notForPages(operation: OperationName): CallerError {
  return new CallerError('method_not_allowed', `Web pages of other origins may not call ${operation}`);
}

interface Url {
  rawPath: string;
  query: [string, string][];
}

function splitUrl(url: string): Url {
  const at = url.indexOf('?');
  if (at < 0) return { rawPath: url, query: [] };
  const query = url
    .slice(at + 1)
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair): [string, string] => {
      const equals = pair.indexOf('=');
      return equals < 0
        ? [decodeQuery(pair), '']
        : [decodeQuery(pair.slice(0, equals)), decodeQuery(pair.slice(equals + 1))];
    });
  return { rawPath: url.slice(0, at), query };
}

/** A plus sign is a plus sign: every signer writes a space as %20. */
function decodeQuery(raw: string): string {
  try {
    return decodeURIComponent(raw);
  } catch {
    throw new CallerError('bad_request', 'The query holds a broken percent code');
  }
}

function groupQuery(pairs: [string, string][]): Map<string, string[]> {
  const query = new Map<string, string[]>();
  for (const [name, value] of pairs) {
    const values = query.get(name);
    if (values) values.push(value);
    else query.set(name, [value]);
  }
  return query;
}

function signedRequest(request: IncomingMessage, url: Url): SignedRequest {
  const { headers, rawHeaders } = request;
  // `headers` keeps one of several `Host`, joins others in its own way, and has no `__proto__`: these are read anew.
  const isEachOnce = Object.keys(headers).length * 2 === rawHeaders.length;
  const all = isEachOnce ? undefined : valuesOf(rawHeaders);
  return {
    method: request.method ?? '',
    rawPath: url.rawPath,
    query: url.query,
    header: all
      ? (name) => all.get(name)
      : (name) => (Object.hasOwn(headers, name) ? headers[name] : undefined),
  };
}

/** The headers by lower-case name, with all values of each. */
function valuesOf(rawHeaders: readonly string[]): Map<string, string[]> {
  const headers = new Map<string, string[]>();
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!.toLowerCase();
    const values = headers.get(name);
    if (values) values.push(rawHeaders[at + 1]!);
    else headers.set(name, [rawHeaders[at + 1]!]);
  }
  return headers;
}

/** The application that an operation is about: named by its path, or by the ARN in its path. */
function applicationOf(match: Match, scope: { region: string; accountId: string }): string | undefined {
  const resourceArn = match.labels.get('ResourceArn');
  if (resourceArn === undefined) return match.labels.get('ApplicationId');
  return parseArn(scope, resourceArn)?.applicationId;
}

function notImplemented(model: OperationModel): CallerError {
  return new CallerError(
    'not_implemented',
    `${model.name} is not built in this version of Postrider; docs/operations.md lists what is`,
  );
}

function outputJson(model: OperationModel, output: WireObject): string | undefined {
  const { outputPayload } = model;
  if (!outputPayload) return undefined;
  return payloadJson(outputPayload.shape, output[outputPayload.name] ?? {});
}
