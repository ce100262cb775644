import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type ActivePublishableKey,
  checkEndpointTokens,
  hashCreationProof,
  isCreationAgain,
  makeEndpointToken,
  noteCreation,
  provesIdentity,
  readEndpointTokens,
} from '../../accounts/index.ts';
import {
  type EndpointGuard,
  type EndpointIdentity,
  endpointIdentities,
  type IngestItem,
} from '../../audience/index.ts';
import type { Database } from '../../platform/database.ts';
import { badMember, CallerError } from '../../platform/errors.ts';
import { endpointTokenHeader, identityProofHeader } from './cors.ts';

/** What a request brings along that lets it touch one endpoint; given by the request's headers where absent. */
export interface Credentials {
  tokens?: readonly string[];
  identityProof?: string | undefined;
  /** Texts that only the maker of this request can know, such as the ids of its events. */
  creationProofs?: readonly string[];
}

/** The leave to touch one endpoint. */
export interface EndpointGrant {
  endpointId: string;
  guard: EndpointGuard;
  /** The endpoint's token, once the work is committed; undefined when there is no such endpoint. */
  token(): Promise<string | undefined>;
}

/**
 * Ids that a stranger may give to a new endpoint: random UUIDs. Any other id could be one that the customer's backend
 * is going to use (`user-42`, or a UUID made of it), and who made it first would hold its token.
 */
const randomUuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;
/** The same somewhere in an id (`node-next-1700000000000-…`), which makes the whole id one that nobody guesses. */
const randomPart = /[0-9a-f]{8}-[0-9a-f]{4}-[47][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/i;
/** A proof has to hold at least what a random UUID does. */
const minProofLength = 22;

/**
 * The ids of a request's events as proof of who made it: only their maker knows them, provided that at least one of
 * them is random.
 */
export function eventIdsProof(ids: readonly string[]): string[] {
  return ids.some((id) => randomPart.test(id)) ? [`events ${JSON.stringify([...ids].sort())}`] : [];
}

/** One request with a publishable key. */
export class PublishableCall {
  readonly #key: ActivePublishableKey;
  readonly #database: Database;
  readonly #response: ServerResponse;
  readonly #tokens: readonly string[];
  readonly #identityProof: string | undefined;
  readonly #creationProofs: string[] = [];

  constructor(options: {
    key: ActivePublishableKey;
    database: Database;
    request: IncomingMessage;
    response: ServerResponse;
  }) {
    this.#key = options.key;
    this.#database = options.database;
    this.#response = options.response;
    const header = (name: string) => {
      const value = options.request.headers[name];
      return Array.isArray(value) ? value.join(',') : value;
    };
    this.#tokens = readEndpointTokens(header(endpointTokenHeader) ?? tokenOfBeacon(options.request.url));
    this.#identityProof = header(identityProofHeader);
    // The second is the same in all attempts of an AWS SDK at one request.
    for (const name of ['idempotency-key', 'amz-sdk-invocation-id']) {
      const value = header(name);
      if (value && value.length >= minProofLength) this.#creationProofs.push(value);
    }
  }

  /**
   * Asks to change this endpoint, or to make it.
   * @param options.mayMake ids beside random UUIDs that this caller may make.
   * @param options.identities of `identities`, for a request about many; the guard judges by what holds at the commit.
   * @throws CallerError forbidden when it exists and the request has no right to it.
   */
  async endpoint(
    endpointId: string,
    credentials: Credentials = {},
    options: {
      mayMake?: (id: string) => boolean;
      identities?: ReadonlyMap<string, EndpointIdentity>;
    } = {},
  ): Promise<EndpointGrant> {
    const { applicationId } = this.#key;
    const { identities = await this.identities([endpointId]) } = options;
    const identity = identities.get(endpointId);
    const proofs = this.#hashedProofs(endpointId, credentials);
    if (!identity) {
      if (!randomUuid.test(endpointId) && !options.mayMake?.(endpointId)) throw badNewId();
      await noteCreation(this.#database, applicationId, endpointId, proofs);
    } else {
      const held = this.#holdsToken(endpointId, identity, credentials);
      const endpoint = { id: endpointId, createdAt: identity.createdAt };
      if (!held && !(await isCreationAgain(this.#database, applicationId, endpoint, proofs))) {
        throw noToken(endpointId);
      }
      if (held !== 'current') this.#requireUser(endpointId, identity, credentials);
    }
    return {
      endpointId,
      guard: { createdAt: identity?.createdAt, proves: (userId) => this.proves(userId, credentials) },
      token: () => this.#token(endpointId),
    };
  }

  /** @throws CallerError forbidden unless the request has the token of this endpoint. */
  async requireToken(endpointId: string): Promise<void> {
    const identity = await this.#identity(endpointId);
    const held = identity && this.#holdsToken(endpointId, identity, {});
    if (!held) throw noToken(endpointId);
    if (held !== 'current') this.#requireUser(endpointId, identity, {});
  }

  /** Did the customer's backend vouch that this is the user? */
  proves(userId: string, credentials: Credentials = {}): boolean {
    const proof = credentials.identityProof ?? this.#identityProof;
    return proof !== undefined && provesIdentity(this.#key.identitySecrets, userId, proof);
  }

  /** Gives the endpoint's token to the caller, in a header of the answer. After the commit. */
  async answer(grant: EndpointGrant): Promise<void> {
    const token = await grant.token();
    if (token !== undefined) this.#response.setHeader(endpointTokenHeader, token);
  }

  /** Of those of these endpoints that exist now, by id. */
  identities(endpointIds: readonly string[]): Promise<ReadonlyMap<string, EndpointIdentity>> {
    return endpointIdentities(this.#database, this.#key.applicationId, endpointIds);
  }

  async #identity(endpointId: string): Promise<EndpointIdentity | undefined> {
    return (await this.identities([endpointId])).get(endpointId);
  }

  #holdsToken(endpointId: string, identity: EndpointIdentity, { tokens = [] }: Credentials) {
    const { applicationId, tokenSecrets } = this.#key;
    const subject = { applicationId, endpointId, ...identity };
    return checkEndpointTokens([...this.#tokens, ...tokens], tokenSecrets, subject);
  }

  /**
   * The endpoint was somebody else's, or nobody's, when its token was made. Without this, one who brings another person
   * to use an id of his own would see and steer what the other gets after logging in.
   */
  #requireUser(endpointId: string, { userId }: EndpointIdentity, credentials: Credentials): void {
    if (userId === null || this.proves(userId, credentials)) return;
    throw new CallerError(
      'forbidden',
      `Endpoint ${endpointId.slice(0, 100)} has another user than when its token was made: send the identity proof of that user (X-Postrider-Identity-Proof) to get a new token`,
    );
  }

  #hashedProofs(endpointId: string, { creationProofs = [] }: Credentials): Buffer[] {
    return [...this.#creationProofs, ...creationProofs].map((proof) =>
      hashCreationProof(this.#key.id, `${endpointId} ${proof}`),
    );
  }

  async #token(endpointId: string): Promise<string | undefined> {
    const identity = await this.#identity(endpointId);
    if (!identity) return undefined;
    const { applicationId, tokenSecret } = this.#key;
    return makeEndpointToken(tokenSecret, { applicationId, endpointId, ...identity });
  }
}

/** A beacon has no headers of its own, so the token stands in its query. Elsewhere it would only get into logs. */
function tokenOfBeacon(url = ''): string | undefined {
  const query = /^\/v1\/apps\/[^/?]+\/events\/legacy\/?\?(.*)$/.exec(url)?.[1];
  return query === undefined ? undefined : (new URLSearchParams(query).get('endpoint-token') ?? undefined);
}

function noToken(endpointId: string): CallerError {
  return new CallerError(
    'forbidden',
    `With a publishable key, endpoint ${endpointId.slice(0, 100)} needs its token in the header X-Postrider-Endpoint-Token`,
  );
}

function badNewId(): CallerError {
  return badMember(
    'EndpointId',
    'expected a random UUID (version 4 or 7), as a publishable key makes only such endpoints',
  );
}

/**
 * Bounds items of events to what the caller may touch: one endpoint a request.
 * @throws CallerError bad_request for more endpoints, forbidden for one that is not the caller's.
 */
export async function guardItems(
  call: PublishableCall,
  items: IngestItem[],
): Promise<EndpointGrant | undefined> {
  const [item] = items;
  if (!item) return undefined;
  if (items.length > 1) {
    throw badMember('$.BatchItem', 'expected one endpoint, as the request is made with a publishable key');
  }
  const creationProofs = eventIdsProof(item.events.map(({ id }) => id));
  const grant = await call.endpoint(item.endpointId, { creationProofs });
  guardItem(item, grant);
  return grant;
}

export function guardItem(item: IngestItem, { guard }: EndpointGrant): void {
  item.guard = guard;
  item.mustBeNew = guard.createdAt === undefined;
}
