import type { Queryable, Transaction } from '../platform/database.ts';
import { badMember, notFound } from '../platform/errors.ts';
import { deleteTagsRow, mergeTags, removeTags, selectTags } from './tag.sql.ts';

/** Key -> value. Without a prototype, so any key is an ordinary one. */
export type Tags = Record<string, string>;

const maxTags = 50;
const maxKeyLength = 128;
const maxValueLength = 256;

/** The tags of a resource; empty when it has none. */
export async function getTags(db: Queryable, arn: string): Promise<Tags> {
  return (await getTagsOf(db, [arn])).get(arn) ?? {};
}

/** The tags of many resources in one statement, by ARN; those without tags are left out. */
export async function getTagsOf(db: Queryable, arns: string[]): Promise<Map<string, Tags>> {
  if (arns.length === 0) return new Map();
  const { rows } = await db.query<{ arn: string; tags: Tags }>(selectTags(arns));
  return new Map(rows.map((row) => [row.arn, row.tags]));
}

/**
 * Adds tags to a resource; a key that it has gets the new value.
 * @param applicationId of a resource that is deleted with its application; null for templates.
 * @throws CallerError not_found when the application does not exist; bad_request when a key or value is too long, reserved, or the resource would have more than 50.
 */
export async function addTags(
  tx: Transaction,
  arn: string,
  applicationId: string | null,
  tags: Tags,
): Promise<void> {
  checkTags(tags);
  if (Object.keys(tags).length === 0) return;
  const { rows } = await tx.query<{ count: number }>(mergeTags(arn, applicationId, JSON.stringify(tags)));
  if (!rows[0]) throw notFound('Application', applicationId ?? '');
  if (rows[0].count > maxTags) throw badMember('$.tags', `a resource has at most ${maxTags} tags`);
}

/** Keys that the resource does not have are no error. */
export async function deleteTagKeys(db: Queryable, arn: string, keys: string[]): Promise<void> {
  await db.query(removeTags(arn, keys));
}

/** For a resource that is deleted. */
export async function deleteTags(db: Queryable, arn: string): Promise<void> {
  await db.query(deleteTagsRow(arn));
}

function checkTags(tags: Tags): void {
  const entries = Object.entries(tags);
  if (entries.length > maxTags) throw badMember('$.tags', `a resource has at most ${maxTags} tags`);
  for (const [key, value] of entries) {
    if (key.length < 1 || key.length > maxKeyLength) {
      throw badMember('$.tags', `expected keys of 1 to ${maxKeyLength} characters`);
    }
    if (key.toLowerCase().startsWith('aws:'))
      throw badMember('$.tags', 'keys that begin with aws: are reserved');
    if (value.length > maxValueLength) {
      throw badMember('$.tags', `expected values of at most ${maxValueLength} characters`);
    }
  }
}
