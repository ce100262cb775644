import sql, { empty, join, type Sql } from 'sql-template-tag';

export const insertApplication = (id: string, name: string): Sql =>
  sql`insert into applications (id, name) values (${id}, ${name}) returning id, name, created_at`;

export const selectApplication = (id: string): Sql =>
  sql`select id, name, created_at from applications where id = ${id}`;

/** @param ids only these applications; undefined for all. */
export const selectApplications = (ids: string[] | undefined, after: string, limit: number): Sql => sql`
  select id, name, created_at from applications
  where ${join([sql`id > ${after}`, ...(ids ? [sql`id = any(${ids})`] : [])], ' and ')}
  order by id limit ${limit}`;

/** Held by whoever writes what belongs to an application, until its transaction ends; the deletion waits for them. */
const applicationLock = (id: string): Sql => sql`hashtextextended(${'application '} || ${id}::text, 0)`;

/** Takes the lock and answers whether there is such an application. Named, as many transactions begin with it. */
export const takeApplication = (id: string) => ({
  name: 'applications-hold',
  text: 'select hold_application($1) as found',
  values: [id],
});

export const selectApplicationExists = (id: string) => ({
  name: 'applications-exists',
  text: 'select exists (select from applications where id = $1) as found',
  values: [id],
});

/** The application is gone with this statement; what other rooms hold of it is marked for erasure. */
export const deleteApplicationRow = (id: string): Sql => sql`
  with held as materialized (select pg_advisory_xact_lock(${applicationLock(id)})),
  deleted as (delete from applications where id = ${id} and (select count(*) from held) = 1
    returning id, name, created_at),
  marked as (insert into deleted_applications (id) select id from deleted)
  select id, name, created_at from deleted`;

export const selectDeletedApplications = (): Sql =>
  sql`select id from deleted_applications order by deleted_at limit 100`;

export const forgetDeletedApplication = (id: string): Sql =>
  sql`delete from deleted_applications where id = ${id}`;

export const selectSettings = (id: string, lock: boolean): Sql =>
  sql`select settings, settings_modified_at from applications where id = ${id} ${lock ? sql`for update` : empty}`;

export const updateSettingsRow = (id: string, settings: string): Sql => sql`
  update applications set settings = ${settings}, settings_modified_at = now()
  where id = ${id} returning settings, settings_modified_at`;
