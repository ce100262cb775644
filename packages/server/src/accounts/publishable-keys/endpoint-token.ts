import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { Database, Queryable } from '../../platform/database.ts';
import { deleteRows } from '../../platform/delete-rows.ts';
import {
  deleteOldEndpointCreations,
  matchEndpointCreation,
  noteEndpointCreation,
} from './publishable-key.sql.ts';

/**
 * What a token vouches for. An endpoint that was deleted and made again was created at another time, so tokens of the
 * first one do not open the second. And a token is made for the user that the endpoint has: when the customer's backend
 * gives the endpoint to a user, who held it before does not hold the user's.
 */
export interface TokenSubject {
  applicationId: string;
  endpointId: string;
  /** Milliseconds since the epoch. */
  createdAt: number;
  /** Null when the endpoint has no user. */
  userId: string | null;
}

const prefix = 'et_';
/** Length of the part of a token that says for which user it is, and of its signature. */
const tagLength = 8;
const macLength = 43;

/** The token of an endpoint: the same each time, and nobody without the secret of the key can make it. */
export function makeEndpointToken(secret: Uint8Array, subject: TokenSubject): string {
  const tag = userTag(secret, subject);
  return prefix + tag + mac(secret, subject, tag);
}

/** Which user a token is for, without telling which. */
function userTag(secret: Uint8Array, { applicationId, userId }: TokenSubject): string {
  const text = JSON.stringify(['endpoint token user', applicationId, userId]);
  return createHmac('sha256', secret).update(text).digest().subarray(0, 6).toString('base64url');
}

function mac(
  secret: Uint8Array,
  { applicationId, endpointId, createdAt }: TokenSubject,
  tag: string,
): string {
  const text = JSON.stringify(['endpoint token', applicationId, endpointId, createdAt, tag]);
  return createHmac('sha256', secret).update(text).digest('base64url');
}

/**
 * Was one of `tokens` made for the endpoint with one of `secrets`? `current`: and for the user that it has; `earlier`:
 * for another one, or none. Takes the same time wherever a wrong one differs.
 */
export function checkEndpointTokens(
  tokens: readonly string[],
  secrets: readonly Uint8Array[],
  subject: TokenSubject,
): 'current' | 'earlier' | undefined {
  let found: 'earlier' | undefined;
  for (const token of tokens) {
    const tag = token.slice(prefix.length, prefix.length + tagLength);
    const given = Buffer.from(token.slice(prefix.length + tagLength));
    for (const secret of secrets) {
      const expected = Buffer.from(mac(secret, subject, tag));
      if (given.length !== expected.length || !timingSafeEqual(given, expected)) continue;
      if (tag === userTag(secret, subject)) return 'current';
      found = 'earlier';
    }
  }
  return found;
}

/** Tokens of one request: a person has a device or two, not a crowd. */
const maxTokens = 20;
const maxHeaderLength = 4_000;

const form = new RegExp(`^${prefix}[\\w-]{${tagLength + macLength}}$`);

/** The tokens of a header, in which several stand with commas between them. */
export function readEndpointTokens(header: string | undefined): string[] {
  if (!header || header.length > maxHeaderLength) return [];
  return header
    .split(',')
    .map((token) => token.trim())
    .filter((token) => form.test(token))
    .slice(0, maxTokens);
}

/** What only the maker of a request knows, by the hash: the application and the key are in it. */
export function hashCreationProof(keyId: string, proof: string): Buffer {
  return createHash('sha256')
    .update(JSON.stringify(['endpoint creation', keyId, proof]))
    .digest();
}

/** Writes down how the maker of an endpoint will be known again; before the endpoint is made. */
export async function noteCreation(
  db: Queryable,
  applicationId: string,
  endpointId: string,
  proofs: Buffer[],
): Promise<void> {
  if (proofs.length > 0) await db.query(noteEndpointCreation(applicationId, endpointId, proofs));
}

/** Is this the request, come again, that made the endpoint within the last two days? */
export async function isCreationAgain(
  db: Queryable,
  applicationId: string,
  endpoint: { id: string; createdAt: number },
  proofs: Buffer[],
): Promise<boolean> {
  if (proofs.length === 0) return false;
  const { rows } = await db.query(matchEndpointCreation(applicationId, endpoint, proofs));
  return rows.length > 0;
}

/** Forgets how makers of endpoints are known again, two days after. */
export async function expireEndpointCreations(db: Queryable): Promise<void> {
  await db.query(deleteOldEndpointCreations());
}

/** What is left of the accounts' rows of a deleted application. */
export async function eraseEndpointCreations(database: Database, applicationId: string): Promise<void> {
  await deleteRows(database, 'endpoint_creations', 'application_id', applicationId);
}
