import type { Queryable } from '../../platform/database.ts';
import { badMember } from '../../platform/errors.ts';
import { selectIdentities, selectRecipients, selectRecipientsWhere } from './endpoint.sql.ts';
import type { Recipient } from './row.ts';

/** A registered endpoint, or undefined. What was committed before the call is seen. */
export async function getEndpoint(
  db: Queryable,
  applicationId: string,
  id: string,
): Promise<Recipient | undefined> {
  const [recipient] = await selectRecipients(db, applicationId, [id]);
  return recipient?.segmentId === null ? recipient : undefined;
}

/** What tells an endpoint from another one that had its id before: when it was created (ms), and its user. */
export interface EndpointIdentity {
  createdAt: number;
  userId: string | null;
}

/** Of those of these endpoints that exist, by id. */
export async function endpointIdentities(
  db: Queryable,
  applicationId: string,
  ids: readonly string[],
): Promise<Map<string, EndpointIdentity>> {
  return ids.length === 0 ? new Map() : selectIdentities(db, applicationId, ids);
}

/** More endpoints than the rule for users ever allows; a bound for the answer all the same. */
const maxUserEndpoints = 10_000;

/** The registered endpoints of a user, by id. */
export async function getUserEndpoints(
  db: Queryable,
  applicationId: string,
  userId: string,
): Promise<Recipient[]> {
  return selectRecipientsWhere(db, applicationId, 'e.user_id = $2', [userId], maxUserEndpoints);
}

/**
 * The endpoints with these ids (those that only a segment sees included), with their users' attributes, in one
 * statement. Made for chunks of 500 to 5000; ids that are not there are missing in the answer, whose order is
 * any.
 */
export async function loadRecipients(
  db: Queryable,
  applicationId: string,
  ids: readonly string[],
): Promise<Recipient[]> {
  return ids.length === 0 ? [] : selectRecipients(db, applicationId, ids);
}

export interface EndpointQuery {
  /** Exactly this address; for e-mail in any case of letters. */
  address?: string;
  userId?: string;
  idPrefix?: string;
  channel?: string;
  /** Endpoints that have this value among those of the custom attribute. */
  attribute?: { name: string; value: string };
  status?: string;
  /** Go on after this id. */
  after?: string;
  /** 1 to 1000; default 50. */
  limit?: number;
}

export interface EndpointPage {
  endpoints: Recipient[];
  /** The `after` of the next page, when there may be one. */
  next: string | undefined;
}

/** Registered endpoints that meet all of the conditions, by id. */
export async function searchEndpoints(
  db: Queryable,
  applicationId: string,
  query: EndpointQuery,
): Promise<EndpointPage> {
  const limit = query.limit ?? 50;
  if (!Number.isInteger(limit) || limit < 1 || limit > 1000) {
    throw badMember('limit', 'expected a whole number from 1 to 1000');
  }
  const conditions: string[] = ['true'];
  const values: unknown[] = [];
  const add = (condition: (place: string) => string, value: unknown) => {
    values.push(value);
    conditions.push(condition(`$${values.length + 1}`));
  };
  if (query.address !== undefined) {
    add((place) => `e.address = any(${place})`, [...new Set([query.address, query.address.toLowerCase()])]);
  }
  if (query.userId !== undefined) add((place) => `e.user_id = ${place}`, query.userId);
  if (query.idPrefix) add((place) => `e.id like ${place}`, `${escapeLike(query.idPrefix)}%`);
  if (query.channel !== undefined) add((place) => `e.channel = ${place}`, query.channel);
  if (query.status !== undefined) add((place) => `e.status = ${place}`, query.status);
  if (query.attribute) {
    const wanted = Object.create(null) as Record<string, string[]>;
    wanted[query.attribute.name] = [query.attribute.value];
    add((place) => `e.attributes @> ${place}::jsonb`, JSON.stringify(wanted));
  }
  if (query.after !== undefined) add((place) => `e.id > ${place}`, query.after);
  const found = await selectRecipientsWhere(db, applicationId, conditions.join(' and '), values, limit + 1);
  const endpoints = found.slice(0, limit);
  return { endpoints, next: found.length > limit ? endpoints.at(-1)!.id : undefined };
}

/** Text in which `%`, `_` and `\` stand for themselves in a LIKE pattern. */
export function escapeLike(text: string): string {
  return text.replace(/[\\%_]/g, (character) => `\\${character}`);
}
