import sql, { type Sql } from 'sql-template-tag';

export const selectTags = (arns: string[]): Sql => sql`select arn, tags from tags where arn = any(${arns})`;

/** New values win. Returns how many tags the resource then has; no row when its application does not exist. */
export const mergeTags = (arn: string, applicationId: string | null, tags: string): Sql => sql`
  insert into tags (arn, application_id, tags)
  select ${arn}, ${applicationId}::text, ${tags}::jsonb
  where ${applicationId}::text is null
    or exists (select from applications where id = ${applicationId} for key share)
  on conflict (arn) do update set tags = tags.tags || excluded.tags
  returning (select count(*) from jsonb_object_keys(tags.tags)) as count`;

export const removeTags = (arn: string, keys: string[]): Sql =>
  sql`update tags set tags = tags.tags - ${keys}::text[] where arn = ${arn}`;

export const deleteTagsRow = (arn: string): Sql => sql`delete from tags where arn = ${arn}`;
