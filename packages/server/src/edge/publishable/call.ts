import type { IncomingMessage, ServerResponse } from 'node:http';
import {
  type ActivePublishableKey,
  hasEndpointToken,
  hashCreationProof,
  isCreationAgain,
  makeEndpointToken,
  noteCreation,
  provesIdentity,
  readEndpointTokens,
} from '../../accounts/index.ts';
import { type EndpointGuard, endpointCreationTimes, type IngestItem } from '../../audience/index.ts';
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
  /** The endpoint's token, once the work is committed; undefined when the caller should have none. */
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
    this.#tokens = readEndpointTokens(header(endpointTokenHeader));
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
   * @throws CallerError forbidden when it exists and the request has no right to it.
   */
  async endpoint(
    endpointId: string,
    credentials: Credentials = {},
    options: { mayMake?: (id: string) => boolean } = {},
  ): Promise<EndpointGrant> {
    const { applicationId } = this.#key;
    const createdAt = await this.#createdAt(endpointId);
    const guard: EndpointGuard = { createdAt, proves: (userId) => this.proves(userId, credentials) };
    if (createdAt !== undefined && this.#holdsToken(endpointId, createdAt, credentials)) {
      const token = makeEndpointToken(this.#key.tokenSecret, { applicationId, endpointId, createdAt });
      return { endpointId, guard, token: () => Promise.resolve(token) };
    }
    const proofs = this.#hashedProofs(endpointId, credentials);
    if (createdAt !== undefined) {
      if (!(await isCreationAgain(this.#database, applicationId, endpointId, proofs))) {
        throw noToken(endpointId);
      }
    } else {
      if (!randomUuid.test(endpointId) && !options.mayMake?.(endpointId)) throw badNewId();
      await noteCreation(this.#database, applicationId, endpointId, proofs);
    }
    return { endpointId, guard, token: () => this.#newToken(endpointId) };
  }

  /** @throws CallerError forbidden unless the request has the token of this endpoint. */
  async requireToken(endpointId: string): Promise<void> {
    const createdAt = await this.#createdAt(endpointId);
    if (createdAt === undefined || !this.#holdsToken(endpointId, createdAt, {})) throw noToken(endpointId);
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

  async #createdAt(endpointId: string): Promise<number | undefined> {
    const times = await endpointCreationTimes(this.#database, this.#key.applicationId, [endpointId]);
    return times.get(endpointId);
  }

  #holdsToken(endpointId: string, createdAt: number, { tokens = [] }: Credentials): boolean {
    const { applicationId, tokenSecrets } = this.#key;
    return hasEndpointToken([...this.#tokens, ...tokens], tokenSecrets, {
      applicationId,
      endpointId,
      createdAt,
    });
  }

  #hashedProofs(endpointId: string, { creationProofs = [] }: Credentials): Buffer[] {
    return [...this.#creationProofs, ...creationProofs].map((proof) =>
      hashCreationProof(this.#key.id, `${endpointId} ${proof}`),
    );
  }

  async #newToken(endpointId: string): Promise<string | undefined> {
    const createdAt = await this.#createdAt(endpointId);
    if (createdAt === undefined) return undefined;
    const { applicationId, tokenSecret } = this.#key;
    return makeEndpointToken(tokenSecret, { applicationId, endpointId, createdAt });
  }
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
