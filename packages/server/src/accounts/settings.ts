import type { WriteApplicationSettingsRequest } from '@aws-sdk/client-pinpoint';
import type { Queryable, Transaction } from '../platform/database.ts';
import { notFound } from '../platform/errors.ts';
import { selectSettings, updateSettingsRow } from './application.sql.ts';

/** An application's defaults for campaigns and journeys, in the form of the Pinpoint API. */
export type ApplicationSettings = WriteApplicationSettingsRequest;

export interface StoredSettings {
  settings: ApplicationSettings;
  /** Undefined when they were never changed. */
  modifiedAt: Date | undefined;
}

interface SettingsRow {
  settings: ApplicationSettings;
  settings_modified_at: Date | null;
}

function fromRow(row: SettingsRow): StoredSettings {
  return { settings: row.settings, modifiedAt: row.settings_modified_at ?? undefined };
}

/** @throws CallerError not_found */
export async function getSettings(db: Queryable, applicationId: string): Promise<StoredSettings> {
  const { rows } = await db.query<SettingsRow>(selectSettings(applicationId, false));
  if (!rows[0]) throw notFound('Application', applicationId);
  return fromRow(rows[0]);
}

/**
 * Members that are given replace the stored ones whole; the others stay as they are (clients such as Terraform send
 * only what changed).
 * @throws CallerError not_found
 */
export async function updateSettings(
  tx: Transaction,
  applicationId: string,
  changes: ApplicationSettings,
): Promise<StoredSettings> {
  const { rows } = await tx.query<SettingsRow>(selectSettings(applicationId, true));
  if (!rows[0]) throw notFound('Application', applicationId);
  const merged = JSON.stringify({ ...rows[0].settings, ...changes });
  const updated = await tx.query<SettingsRow>(updateSettingsRow(applicationId, merged));
  return fromRow(updated.rows[0]!);
}
