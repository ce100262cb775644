import { badMember } from '../../platform/errors.ts';

/** Pieces of JSON Schema that many routes share. */

export const appParams = {
  type: 'object',
  required: ['app'],
  properties: { app: { type: 'string', description: 'Id of the application.' } },
} as const;

/** Parameters of a path below an application. */
export function appAnd(...names: string[]) {
  return {
    type: 'object',
    required: ['app', ...names],
    properties: {
      app: appParams.properties.app,
      ...Object.fromEntries(names.map((name) => [name, { type: 'string' }])),
    },
  };
}

export const pageQuery = {
  limit: { type: 'integer', minimum: 1, maximum: 500, default: 50, description: 'Most items of the page.' },
  cursor: { type: 'string', description: 'The `next` of the page before.' },
} as const;

/** A page of items; `next` is null on the last one. */
export function pageOf(item: object) {
  return {
    type: 'object',
    required: ['items', 'next'],
    properties: {
      items: { type: 'array', items: item },
      next: {
        type: ['string', 'null'],
        description: 'The `cursor` of the next page; null when there is none.',
      },
    },
  };
}

/** An object whose members are described in words, not checked again on the way out. */
export function described(description: string) {
  return { type: 'object', additionalProperties: true, description };
}

/** Cursors are opaque to callers: base64url of the key of the last item. */
export function encodeCursor(key: unknown): string {
  return Buffer.from(JSON.stringify(key)).toString('base64url');
}

/** @throws CallerError bad_request when the cursor is not one of ours. */
export function decodeCursor<T>(
  cursor: string | undefined,
  valid: (key: unknown) => key is T,
): T | undefined {
  if (cursor === undefined) return undefined;
  try {
    const key: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    if (valid(key)) return key;
  } catch {
    // Falls through to the same answer as a cursor of the wrong shape.
  }
  throw badMember('querystring.cursor', 'expected the `next` of an earlier page');
}

export const isText = (key: unknown): key is string =>
  typeof key === 'string' && key.length < 2_000 && !key.includes('\0');
const uuidPattern = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
export const isUuid = (key: unknown): key is string => typeof key === 'string' && uuidPattern.test(key);
