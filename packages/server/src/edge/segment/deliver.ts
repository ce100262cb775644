import { readEndpointTokens } from '../../accounts/index.ts';
import type { EndpointIdentity, Ingest, IngestItem, IngestResult } from '../../audience/index.ts';
import { CallerError } from '../../platform/errors.ts';
import { type EndpointGrant, eventIdsProof, guardItem, type PublishableCall } from '../publishable/call.ts';
import { type MappedMessage, userEndpointId } from './map.ts';
import { type Message, objectOf, textOf } from './message.ts';

/** Why a call was not accepted. */
export interface Rejection {
  index: number;
  messageId: string;
  status: 400 | 403;
  message: string;
}

/** What was left out of a call that was accepted. */
export interface Warning {
  index: number;
  messageId: string;
  message: string;
}

/** What became of the calls of a request. */
export interface Delivery {
  rejected: Rejection[];
  warnings: Warning[];
  /** By endpoint id: for the holder of a publishable key. */
  endpointTokens: Map<string, string>;
  /** That of the calls' endpoint, when all are about the same one. */
  ownToken?: string | undefined;
}

/** Puts the calls of a sender who may touch every endpoint, all in one transaction. */
export async function deliverAsOwner(
  ingest: Ingest,
  applicationId: string,
  messages: readonly MappedMessage[],
): Promise<Delivery> {
  const delivery: Delivery = { rejected: [], warnings: [], endpointTokens: new Map() };
  await putAll(ingest, applicationId, messages, delivery);
  return delivery;
}

/**
 * Puts the calls of somebody with a publishable key: each only as far as its endpoint is the caller's. The first call
 * of a new endpoint goes ahead and makes it; those that follow go with its token, like all later ones.
 */
export async function deliverAsStranger(
  ingest: Ingest,
  call: PublishableCall,
  applicationId: string,
  messages: readonly MappedMessage[],
): Promise<Delivery> {
  const delivery: Delivery = { rejected: [], warnings: [], endpointTokens: new Map() };
  let waiting: readonly MappedMessage[] = messages;
  while (waiting.length > 0) {
    const ready: MappedMessage[] = [];
    const later: MappedMessage[] = [];
    const grants = new Map<string, EndpointGrant>();
    const identities = await call.identities([...new Set(waiting.flatMap(endpointIdsOf))]);
    for (const mapped of waiting) {
      const { endpointId } = mapped.item;
      const before = grants.get(endpointId);
      if (before && before.guard.createdAt === undefined) {
        later.push(mapped);
        continue;
      }
      const grant = await grantMessage(call, mapped, messages, identities, delivery);
      if (!grant) continue;
      grants.set(endpointId, grant);
      guardItem(mapped.item, grant);
      for (const contact of await grantContacts(call, mapped, identities, delivery)) {
        grants.set(contact.endpointId, contact);
      }
      ready.push(mapped);
    }
    for (const endpointId of await putAll(ingest, applicationId, ready, delivery)) {
      const token = await grants.get(endpointId)!.token();
      if (token !== undefined) delivery.endpointTokens.set(endpointId, token);
    }
    waiting = later;
  }
  const [own, ...more] = new Set(messages.map(({ item }) => item.endpointId));
  if (own !== undefined && more.length === 0) delivery.ownToken = delivery.endpointTokens.get(own);
  return delivery;
}

function endpointIdsOf({ item, others }: MappedMessage): string[] {
  return [item, ...others].map(({ endpointId }) => endpointId);
}

type Identities = ReadonlyMap<string, EndpointIdentity>;

/** Leave for the call's own endpoint; undefined, and the call rejected, when the caller has none. */
async function grantMessage(
  call: PublishableCall,
  { message, item: { endpointId } }: MappedMessage,
  all: readonly MappedMessage[],
  identities: Identities,
  delivery: Delivery,
): Promise<EndpointGrant | undefined> {
  const given = credentialsOf(message);
  const made = delivery.endpointTokens.get(endpointId);
  // Libraries may send the calls again in other batches, so each message id is a proof by itself.
  const creationProofs = all
    .filter(({ item }) => item.endpointId === endpointId)
    .flatMap((one) => eventIdsProof([one.message.messageId]));
  try {
    const tokens = made === undefined ? given.tokens : [...given.tokens, made];
    const credentials = { tokens, identityProof: given.identityProof, creationProofs };
    return await call.endpoint(endpointId, credentials, { identities });
  } catch (error) {
    if (!(error instanceof CallerError) || (error.code !== 'forbidden' && error.code !== 'bad_request')) {
      throw error;
    }
    reject(delivery, message, error.code === 'forbidden' ? 403 : 400, error.message);
    return undefined;
  }
}

/** Leave for the endpoints of a proven user's mail address and phone; without it they are left out. */
async function grantContacts(
  call: PublishableCall,
  mapped: MappedMessage,
  identities: Identities,
  delivery: Delivery,
): Promise<EndpointGrant[]> {
  const { message, others } = mapped;
  const { userId } = message;
  const given = credentialsOf(message);
  const items: IngestItem[] = [];
  const grants: EndpointGrant[] = [];
  for (const item of others) {
    if (userId === undefined || !call.proves(userId, given)) {
      warn(delivery, message, `${item.endpointId}: not made, since that needs an identity proof of the user`);
      continue;
    }
    const own = userEndpointId(userId);
    try {
      const mayMake = (id: string) => id.startsWith(`${own}:`);
      const grant = await call.endpoint(item.endpointId, given, { mayMake, identities });
      guardItem(item, grant);
      grants.push(grant);
      items.push(item);
    } catch (error) {
      if (!(error instanceof CallerError) || error.code !== 'forbidden') throw error;
      warn(delivery, message, error.message);
    }
  }
  mapped.others = items;
  return grants;
}

/** What a call itself brings along, since libraries cannot set headers. */
function credentialsOf(message: Message) {
  const given = objectOf(message.context, 'postrider');
  return {
    tokens: readEndpointTokens(textOf(given, 'endpointToken')),
    identityProof: textOf(given, 'identityProof'),
  };
}

/** @returns the ids of the endpoints of which something was accepted. */
async function putAll(
  ingest: Ingest,
  applicationId: string,
  messages: readonly MappedMessage[],
  delivery: Delivery,
): Promise<Set<string>> {
  const results = await ingest.put(
    applicationId,
    messages.flatMap(({ item, others }) => [item, ...others]),
  );
  const accepted = new Set<string>();
  let place = 0;
  for (const mapped of messages) {
    const result = results[place]!;
    if (judge(mapped, result, delivery)) accepted.add(mapped.item.endpointId);
    for (const [at, { endpointId }] of mapped.others.entries()) {
      const { status, message } = results[place + 1 + at]!.endpoint;
      if (status === 202) accepted.add(endpointId);
      else warn(delivery, mapped.message, `${endpointId}: ${message}`);
    }
    place += 1 + mapped.others.length;
  }
  return accepted;
}

/** Says what was refused of a call. @returns whether something of it was accepted. */
function judge({ message, warnings }: MappedMessage, result: IngestResult, delivery: Delivery): boolean {
  const event = result.events[0]!;
  const { endpoint } = result;
  if (endpoint.status === 403) {
    reject(delivery, message, 403, endpoint.message);
    return false;
  }
  for (const text of warnings) warn(delivery, message, text);
  if (event.status !== 202) reject(delivery, message, event.status, event.message);
  else if (endpoint.status !== 202) {
    // The event is kept. Of a call that is about the endpoint that is not what was asked.
    if (message.type === 'identify' || message.type === 'group' || message.type === 'alias') {
      reject(delivery, message, 400, endpoint.message);
    } else warn(delivery, message, endpoint.message);
  }
  for (const further of result.events.slice(1)) {
    if (further.status !== 202) warn(delivery, message, further.message);
  }
  return event.status === 202 || endpoint.status === 202;
}

function reject(delivery: Delivery, message: Message, status: 400 | 403, text: string): void {
  delivery.rejected.push({ index: message.index, messageId: message.messageId, status, message: text });
}

/** As many as somebody reads. */
const maxWarnings = 100;

function warn(delivery: Delivery, message: Message, text: string): void {
  if (delivery.warnings.length >= maxWarnings) return;
  delivery.warnings.push({ index: message.index, messageId: message.messageId, message: text });
}
