import { CallerError } from '../platform/errors.ts';
import type { Scopes } from './principal.ts';

/** An access key or a token as it is listed: everything but its secret. */
export interface Credential {
  id: string;
  name: string;
  scopes: Scopes;
  createdAt: Date;
  /** To the minute. */
  lastUsedAt: Date | undefined;
  revokedAt: Date | undefined;
}

export interface CredentialRow {
  id: string;
  name: string;
  scopes: Scopes;
  created_at: Date;
  last_used_at: Date | null;
  revoked_at: Date | null;
}

export function credentialFromRow(row: CredentialRow): Credential {
  return {
    id: row.id,
    name: row.name,
    scopes: row.scopes,
    createdAt: row.created_at,
    lastUsedAt: row.last_used_at ?? undefined,
    revokedAt: row.revoked_at ?? undefined,
  };
}

const maxNameLength = 100;

/** @throws CallerError bad_request unless 1 to 100 printable characters. */
export function checkName(name: string): string {
  if (name.length < 1 || name.length > maxNameLength || /\p{Cc}/u.test(name) || !name.isWellFormed()) {
    throw new CallerError('bad_request', `name: expected 1 to ${maxNameLength} printable characters`, 'name');
  }
  return name;
}
