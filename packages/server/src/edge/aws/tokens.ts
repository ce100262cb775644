import { badMember } from '../../platform/errors.ts';

const defaultPageSize = 100;

/** An opaque list token: where the next page begins, as the list's own keys. */
export function encodeToken(position: readonly (string | number)[]): string {
  return Buffer.from(JSON.stringify(position)).toString('base64url');
}

/**
 * What `encodeToken` was given.
 * @param form an example of the position (`['', 0]`): length and types must agree.
 * @throws CallerError bad_request for anything that `encodeToken` did not make in this form.
 */
export function decodeToken<const Form extends readonly (string | number)[]>(
  token: string,
  form: Form,
): { [Index in keyof Form]: Form[Index] extends string ? string : number } {
  const position = readToken(token);
  const fits =
    Array.isArray(position) &&
    position.length === form.length &&
    position.every((part, index) => typeof part === typeof form[index] && isStorable(part));
  if (!fits) throw badMember('token', 'expected the NextToken of an earlier answer to the same list');
  return position as never;
}

function readToken(token: string): unknown {
  if (!/^[\w-]{1,4000}$/.test(token)) return undefined;
  try {
    return JSON.parse(Buffer.from(token, 'base64url').toString());
  } catch {
    return undefined;
  }
}

function isStorable(part: unknown): boolean {
  return typeof part === 'string'
    ? !part.includes('\u0000') && part.isWellFormed()
    : Number.isSafeInteger(part);
}

/** How many items a page holds: the (already checked) `page-size`, or 100. */
export function pageLimit(pageSize: string | undefined): number {
  return pageSize === undefined ? defaultPageSize : Number(pageSize);
}

/**
 * Cuts a page out of `rows`, of which the statement fetched `limit + 1`: the items, and the token of the next page
 * when there is one.
 */
export function page<Row>(
  rows: readonly Row[],
  limit: number,
  position: (last: Row) => readonly (string | number)[],
): { items: Row[]; nextToken: string | undefined } {
  const items = rows.slice(0, limit);
  const more = rows.length > limit;
  return { items, nextToken: more ? encodeToken(position(items.at(-1)!)) : undefined };
}
