import sql, { type Sql } from 'sql-template-tag';

const columns = sql`type, enabled, settings, version, created_at, modified_at, modified_by`;

export const selectChannel = (applicationId: string, type: string): Sql =>
  sql`select ${columns} from channels where application_id = ${applicationId} and type = ${type}`;

export const selectChannels = (applicationId: string): Sql =>
  sql`select ${columns} from channels where application_id = ${applicationId} order by type`;

/** `enabled` null keeps what it is; a new channel is then enabled. No row when the application does not exist. */
export const upsertChannel = (row: {
  applicationId: string;
  type: string;
  enabled: boolean | null;
  settings: string;
  modifiedBy: string;
}): Sql => sql`
  insert into channels (application_id, type, enabled, settings, modified_by)
  select id, ${row.type}, coalesce(${row.enabled}::boolean, true), ${row.settings}::jsonb, ${row.modifiedBy}
  from applications where id = ${row.applicationId} for key share
  on conflict (application_id, type) do update set
    enabled = coalesce(${row.enabled}::boolean, channels.enabled),
    settings = excluded.settings,
    version = channels.version + 1,
    modified_at = now(),
    modified_by = excluded.modified_by
  returning ${columns}`;

export const deleteChannelRow = (applicationId: string, type: string): Sql => sql`
  delete from channels where application_id = ${applicationId} and type = ${type} returning ${columns}`;

export const selectDisabledChannels = (applicationId: string): Sql =>
  sql`select type from channels where application_id = ${applicationId} and not enabled`;
