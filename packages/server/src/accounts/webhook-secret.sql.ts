import sql, { type Sql } from 'sql-template-tag';

export const selectWebhookSecret = (applicationId: string): Sql => sql`
  select secret, case when previous_until > now() then previous end as previous, created_at
  from webhook_secrets where application_id = ${applicationId}`;

/** No row when there is a secret already. @throws foreign key violation when there is no such application */
export const insertWebhookSecret = (applicationId: string, secret: Buffer): Sql => sql`
  insert into webhook_secrets (application_id, secret) values (${applicationId}, ${secret})
  on conflict (application_id) do nothing`;

export const replaceWebhookSecret = (applicationId: string, secret: Buffer, overlapMs: number): Sql => sql`
  update webhook_secrets set previous = secret, previous_until = now() + ${overlapMs} * interval '1 ms',
    secret = ${secret}, created_at = now()
  where application_id = ${applicationId}`;
