import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Tokens } from '../../accounts/index.ts';
import {
  type EndpointLimits,
  endpointIdentities,
  endpointIdsOfUsers,
  type Ingest,
} from '../../audience/index.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Database } from '../../platform/database.ts';
import { CallerError, type ErrorCode } from '../../platform/errors.ts';
import { uuidv7 } from '../../platform/ids.ts';
import type { Log } from '../../platform/log.ts';
import { discardBody, parseJson, Room } from '../aws/body.ts';
import { toCallerError } from '../aws/reply.ts';
import { allowOrigin, answerPreflight, endpointTokenHeader } from '../publishable/cors.ts';
import { keyOfHeader, type PublishableDoor } from '../publishable/door.ts';
import { readRequestBody } from './body.ts';
import { type Delivery, deliverAsOwner, deliverAsStranger, type Rejection } from './deliver.ts';
import { endpointIdOf, type MappedMessage, mapMessage, userEndpointId } from './map.ts';
import {
  BadMessage,
  type CallType,
  isObject,
  type Json,
  type Message,
  member,
  objectOf,
  readMessage,
  textOf,
} from './message.ts';
import { findSender, type Sender } from './write-key.ts';

/** The calls by path, long and short. `import` is the older name of `batch`. */
const paths: ReadonlyMap<string, CallType | 'batch'> = new Map([
  ['batch', 'batch'],
  ['import', 'batch'],
  ['b', 'batch'],
  ['identify', 'identify'],
  ['i', 'identify'],
  ['track', 'track'],
  ['t', 'track'],
  ['page', 'page'],
  ['p', 'page'],
  ['screen', 'screen'],
  ['s', 'screen'],
  ['group', 'group'],
  ['g', 'group'],
  ['alias', 'alias'],
  ['a', 'alias'],
]);

/** Segment's documented bound of a batch; strangers' calls are looked at one by one. */
const maxMessages = 2_500;
const maxStrangersMessages = 100;

export interface SegmentDoorOptions {
  ingest: Ingest;
  endpointLimits: EndpointLimits;
  publishable: PublishableDoor;
  tokens: Pick<Tokens, 'find'>;
  database: Database;
  clock: Clock;
  log: Log;
  /** Called once for each answered request, for metrics. */
  observe?: (request: { operation: string; status: number; durationMs: number }) => void;
}

export interface SegmentDoor {
  /** Answers a request of the Segment HTTP API and returns true; false for any other path. */
  handle(request: IncomingMessage, response: ServerResponse): boolean;
}

/** The Segment HTTP tracking API: `POST /v1/batch`, `/v1/track` and the others, into the same ingest as PutEvents. */
export function createSegmentDoor(options: SegmentDoorOptions): SegmentDoor {
  return {
    handle(request, response) {
      const call = callOf(request.url ?? '');
      if (!call) return false;
      void answer(options, call, request, response);
      return true;
    },
  };
}

function callOf(url: string): CallType | 'batch' | undefined {
  const name = /^\/v1\/([a-z]{1,8})\/?(?:\?|$)/.exec(url)?.[1];
  return name === undefined ? undefined : paths.get(name);
}

async function answer(
  options: SegmentDoorOptions,
  call: CallType | 'batch',
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const startedAt = performance.now();
  const requestId = uuidv7(options.clock.now());
  response.setHeader('x-request-id', requestId);
  try {
    if (request.method === 'OPTIONS') {
      answerPreflight(request, response, 'POST');
      return;
    }
    allowOrigin(request, response);
    if (request.method !== 'POST') {
      response.setHeader('allow', 'POST, OPTIONS');
      throw new CallerError('method_not_allowed', `This path takes POST, not ${request.method}`);
    }
    const room = new Room();
    const delivery = await deliver(options, call, request, response, room).finally(() => room.giveBack());
    sendDelivery(response, call, delivery);
  } catch (error) {
    const callerError = toCallerError(error);
    const unexpected = callerError !== error;
    options.log[unexpected ? 'error' : 'debug']({ err: error, call, requestId }, 'request failed');
    if (callerError.code === 'too_many_requests' || callerError.code === 'unavailable') {
      if (!response.hasHeader('retry-after')) response.setHeader('retry-after', '1');
    }
    send(response, statuses[callerError.code], {
      success: false,
      code: callerError.code,
      message: callerError.message,
      requestId,
    });
    discardBody(request);
  }
  const durationMs = performance.now() - startedAt;
  options.observe?.({ operation: `segment.${call}`, status: response.statusCode, durationMs });
}

interface Result extends Delivery {
  /** Calls of the request. */
  count: number;
}

async function deliver(
  options: SegmentDoorOptions,
  call: CallType | 'batch',
  request: IncomingMessage,
  response: ServerResponse,
  room: Room,
): Promise<Result> {
  const { ingest, publishable: door } = options;
  const admit = async (writeKey: string) => {
    const found = await findSender(writeKey, { door, tokens: options.tokens });
    if (found.kind === 'publishable') door.admit(found.key, request, response);
    return found;
  };
  const headerKey = keyOfHeader(request.headers.authorization);
  let sender = headerKey === undefined ? undefined : await admit(headerKey);
  const body = parseJson(await readRequestBody(request, room));
  if (!isObject(body)) throw new CallerError('bad_request', '$: expected a JSON object', '$');
  if (!sender) {
    const bodyKey = textOf(body, 'writeKey');
    if (bodyKey === undefined) {
      throw new CallerError(
        'unauthenticated',
        'The request has no write key: send it as user name of Basic credentials, or as writeKey in the body',
      );
    }
    sender = await admit(bodyKey);
  }
  const { messages, rejected } = readMessages(call, body, sender, options);
  const mapped = await mapAll(messages, sender, options);
  const delivery =
    sender.kind === 'secret'
      ? await deliverAsOwner(ingest, sender.applicationId, mapped)
      : await deliverAsStranger(
          ingest,
          door.call(sender.key, request, response),
          sender.applicationId,
          mapped,
        );
  const all = [...rejected, ...delivery.rejected].sort((a, b) => a.index - b.index);
  if (all.length > 0) {
    const { applicationId } = sender;
    options.log.info({ applicationId, rejected: all.length, first: all[0] }, 'calls of Segment rejected');
  }
  return { ...delivery, rejected: all, count: messages.length + rejected.length };
}

/** The calls of a body; those that cannot be understood are rejected one by one. */
function readMessages(
  call: CallType | 'batch',
  body: Json,
  sender: Sender,
  options: SegmentDoorOptions,
): { messages: Message[]; rejected: Rejection[] } {
  const list = call === 'batch' ? member(body, 'batch') : [body];
  if (!Array.isArray(list)) throw new CallerError('bad_request', '$.batch: expected a list', '$.batch');
  const most = sender.kind === 'secret' ? maxMessages : maxStrangersMessages;
  if (list.length > most) {
    throw new CallerError(
      'bad_request',
      `$.batch: expected at most ${most} calls, got ${list.length}`,
      '$.batch',
    );
  }
  const now = options.clock.now();
  const context = call === 'batch' ? objectOf(body, 'context') : {};
  const frame = { now, sentAt: member(body, 'sentAt'), context, newId: () => uuidv7(now) };
  const messages: Message[] = [];
  const rejected: Rejection[] = [];
  for (const [index, raw] of list.entries()) {
    try {
      messages.push(readMessage(raw, call === 'batch' ? undefined : call, index, frame));
    } catch (error) {
      if (!(error instanceof BadMessage)) throw error;
      const messageId = isObject(raw) ? (textOf(raw, 'messageId') ?? '').slice(0, 256).toWellFormed() : '';
      rejected.push({ index, messageId, status: 400, message: error.message });
    }
  }
  return { messages, rejected };
}

async function mapAll(
  messages: readonly Message[],
  sender: Sender,
  options: SegmentDoorOptions,
): Promise<MappedMessage[]> {
  const limits = { eventLimits: options.ingest.eventLimits, endpointLimits: options.endpointLimits };
  const aliases = sender.kind === 'secret' ? messages.filter(({ type }) => type === 'alias') : [];
  const movesOf = await endpointsOfAliases(aliases, sender.applicationId, options.database);
  const mapped: MappedMessage[] = [];
  for (const message of messages) {
    const moves = movesOf.get(message) ?? [];
    if (moves.length === 0) {
      mapped.push(mapMessage(message, endpointIdOf(message), limits));
      continue;
    }
    const one = mapMessage(message, userEndpointId(message.userId!), limits);
    for (const endpointId of moves) {
      one.others.push({
        endpointId,
        endpoint: { User: { UserId: message.userId! } },
        events: [],
        source: 'segment',
      });
    }
    mapped.push(one);
  }
  return mapped;
}

/**
 * The endpoints that each alias of one user to another is about. Mostly the previous id is an anonymous one, so an
 * endpoint; then there are none.
 */
async function endpointsOfAliases(
  aliases: readonly Message[],
  applicationId: string,
  database: Database,
): Promise<Map<Message, string[]>> {
  const moving = aliases.filter(({ previousId, userId }) => previousId !== userId);
  const previousIds = [...new Set(moving.map(({ previousId }) => previousId!))];
  if (previousIds.length === 0) return new Map();
  const anonymous = await endpointIdentities(database, applicationId, previousIds);
  const users = previousIds.filter((id) => !anonymous.has(id));
  const endpointIds = await endpointIdsOfUsers(database, applicationId, users);
  return new Map(moving.map((message) => [message, endpointIds.get(message.previousId!) ?? []]));
}

const statuses: Record<ErrorCode, number> = {
  bad_request: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  conflict: 409,
  // As Segment answers it: its libraries know 400 as what is not sent again.
  payload_too_large: 400,
  too_many_requests: 429,
  not_implemented: 501,
  unavailable: 503,
  internal: 500,
};

/** 200 when something was accepted, with what was not; the status of the first rejection when nothing was. */
function sendDelivery(response: ServerResponse, call: CallType | 'batch', result: Result): void {
  const { rejected, warnings, endpointTokens, count } = result;
  const failed = count > 0 && rejected.length === count;
  const details: Json = {};
  if (call === 'batch' && rejected.length > 0) {
    details.accepted = count - rejected.length;
    details.rejected = rejected;
  } else if (failed) {
    details.message = rejected[0]!.message;
    details.messageId = rejected[0]!.messageId;
  }
  if (warnings.length > 0) details.warnings = warnings;
  if (endpointTokens.size > 0) {
    details.endpointTokens = Object.fromEntries(endpointTokens);
    if (result.ownToken !== undefined) response.setHeader(endpointTokenHeader, result.ownToken);
  }
  send(response, failed ? rejected[0]!.status : 200, { success: !failed, ...details });
}

function send(response: ServerResponse, status: number, body: Json): void {
  const json = JSON.stringify(body);
  response.statusCode = status;
  response.setHeader('content-type', 'application/json');
  response.setHeader('content-length', Buffer.byteLength(json));
  response.setHeader('x-content-type-options', 'nosniff');
  response.end(json);
}
