import sql, { join } from 'sql-template-tag';
import type { Queryable } from '../platform/database.ts';
import { uuidv7 } from '../platform/ids.ts';
import { type Principal, principalName } from './principal.ts';

/** Who did what to what. */
export interface AuditEntry {
  /** UUIDv7: sorts by time. */
  id: string;
  at: Date;
  /** `access_key:PRAK…`, `token:…`, `operator:…`, or `system`. */
  principal: string;
  /** As in scopes: `mobiletargeting:DeleteApp`, `postrider:CreateAccessKey`. */
  action: string;
  applicationId: string | undefined;
  detail: Record<string, unknown>;
}

/** Writes an entry; give the transaction of the deed, so that there is never one without the other. */
export async function recordAudit(
  db: Queryable,
  entry: {
    principal: Principal | 'system';
    action: string;
    applicationId?: string | undefined;
    detail?: Record<string, unknown>;
  },
): Promise<void> {
  const principal = entry.principal === 'system' ? 'system' : principalName(entry.principal);
  await db.query(sql`
    insert into audit_entries (id, principal, action, application_id, detail)
    values (${uuidv7()}, ${principal}, ${entry.action}, ${entry.applicationId ?? null},
      ${JSON.stringify(entry.detail ?? {})}::jsonb)`);
}

/** Newest first. `before` is the id of the last entry of the page before. */
export async function listAudit(
  db: Queryable,
  options: { applicationId?: string | undefined; before?: string | undefined; limit: number },
): Promise<AuditEntry[]> {
  const conditions = [
    sql`true`,
    ...(options.applicationId === undefined ? [] : [sql`application_id = ${options.applicationId}`]),
    ...(options.before === undefined ? [] : [sql`id < ${options.before}::uuid`]),
  ];
  const { rows } = await db.query(sql`
    select id, at, principal, action, application_id, detail from audit_entries
    where ${join(conditions, ' and ')} order by id desc limit ${options.limit}`);
  return rows.map((row) => ({
    id: row.id,
    at: row.at,
    principal: row.principal,
    action: row.action,
    applicationId: row.application_id ?? undefined,
    detail: row.detail,
  }));
}
