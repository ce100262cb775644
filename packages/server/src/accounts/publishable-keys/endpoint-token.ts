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
 * first one do not open the second.
 */
export interface TokenSubject {
  applicationId: string;
  endpointId: string;
  /** Milliseconds since the epoch. */
  createdAt: number;
}

const prefix = 'et_';

/** The token of an endpoint: the same each time, and nobody without the secret of the key can make it. */
export function makeEndpointToken(secret: Uint8Array, subject: TokenSubject): string {
  const { applicationId, endpointId, createdAt } = subject;
  const text = JSON.stringify(['endpoint token', applicationId, endpointId, createdAt]);
  return prefix + createHmac('sha256', secret).update(text).digest('base64url');
}

/** Was one of `tokens` made for `subject` with one of `secrets`? Takes the same time wherever they differ. */
export function hasEndpointToken(
  tokens: readonly string[],
  secrets: readonly Uint8Array[],
  subject: TokenSubject,
): boolean {
  if (tokens.length === 0) return false;
  const given = tokens.map((token) => Buffer.from(token));
  for (const secret of secrets) {
    const expected = Buffer.from(makeEndpointToken(secret, subject));
    for (const token of given) {
      if (token.length === expected.length && timingSafeEqual(token, expected)) return true;
    }
  }
  return false;
}

/** Tokens of one request: a person has a device or two, not a crowd. */
const maxTokens = 20;
const maxHeaderLength = 4_000;

/** The tokens of a header, in which several stand with commas between them. */
export function readEndpointTokens(header: string | undefined): string[] {
  if (!header || header.length > maxHeaderLength) return [];
  return header
    .split(',')
    .map((token) => token.trim())
    .filter((token) => /^et_[\w-]{43}$/.test(token))
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
  endpointId: string,
  proofs: Buffer[],
): Promise<boolean> {
  if (proofs.length === 0) return false;
  const { rows } = await db.query(matchEndpointCreation(applicationId, endpointId, proofs));
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
