import sql, { type Sql } from 'sql-template-tag';

/** No row when the template exists already. */
export const insertTemplate = (type: string, name: string): Sql => sql`
  insert into templates (type, name, last_version, active_version) values (${type}, ${name}, 1, 1)
  on conflict do nothing
  returning name`;

export const insertVersion = (type: string, name: string, version: number, content: string): Sql => sql`
  insert into template_versions (type, name, version, content)
  values (${type}, ${name}, ${version}, ${content}::jsonb)`;

/** Whoever changes a template holds this row, so changes of one template go one after another. */
export const lockTemplate = (type: string, name: string): Sql => sql`
  select t.last_version, t.active_version,
    (select max(v.version) from template_versions v where v.type = t.type and v.name = t.name) as latest_version,
    (select count(*) from template_versions v where v.type = t.type and v.name = t.name) as version_count
  from templates t
  where t.type = ${type} and t.name = ${name}
  for update of t`;

export const updateVersion = (type: string, name: string, version: number, content: string): Sql => sql`
  update template_versions set content = ${content}::jsonb, modified_at = now()
  where type = ${type} and name = ${name} and version = ${version}`;

export const updateLastVersion = (type: string, name: string, version: number): Sql => sql`
  update templates set last_version = ${version} where type = ${type} and name = ${name}`;

export const updateActiveVersion = (type: string, name: string, version: number | null): Sql => sql`
  update templates set active_version = ${version} where type = ${type} and name = ${name}`;

export const deleteTemplateRow = (type: string, name: string): Sql => sql`
  delete from templates where type = ${type} and name = ${name}`;

export const deleteVersionRow = (type: string, name: string, version: number): Sql => sql`
  delete from template_versions where type = ${type} and name = ${name} and version = ${version}`;

export const selectTemplateExists = (type: string, name: string): Sql => sql`
  select exists (select from templates where type = ${type} and name = ${name}) as found`;

/** `version` null is the active one, -1 the latest. */
export const selectTemplate = (type: string, name: string, version: number | null): Sql => sql`
  select t.type, t.name, v.version, v.content, t.created_at, v.modified_at
  from templates t
  join template_versions v on v.type = t.type and v.name = t.name
    and v.version = coalesce(
      case when ${version}::int is null then t.active_version else nullif(${version}::int, -1) end,
      (select max(latest.version) from template_versions latest where latest.type = t.type and latest.name = t.name))
  where t.type = ${type} and t.name = ${name}`;

/** Templates by name and type, with their active version. */
export const selectTemplates = (filter: {
  type: string | null;
  prefix: string;
  afterName: string;
  afterType: string;
  limit: number;
}): Sql => sql`
  select t.type, t.name, v.version, t.created_at, v.modified_at
  from templates t
  cross join lateral (
    select version, modified_at from template_versions v
    where v.type = t.type and v.name = t.name and (t.active_version is null or v.version = t.active_version)
    order by version desc limit 1
  ) v
  where (t.name, t.type) > (${filter.afterName}, ${filter.afterType})
    and (${filter.type}::text is null or t.type = ${filter.type})
    and starts_with(t.name, ${filter.prefix})
  order by t.name, t.type
  limit ${filter.limit}`;

/** Versions of a template, latest first. */
export const selectVersions = (type: string, name: string, before: number | null, limit: number): Sql => sql`
  select version, content, created_at, modified_at from template_versions
  where type = ${type} and name = ${name} and (${before}::bigint is null or version < ${before}::bigint)
  order by version desc
  limit ${limit}`;
