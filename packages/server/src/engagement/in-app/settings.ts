import type { Queryable } from '../../platform/database.ts';
import { notFound } from '../../platform/errors.ts';
import { selectEvaluation, upsertEvaluation } from './in-app.sql.ts';

/** Of an application's in-app messages. */
export interface InAppSettings {
  /** Who decides about quiet time and caps when a request does not say. */
  evaluation: 'client' | 'server';
}

export async function getInAppSettings(db: Queryable, applicationId: string): Promise<InAppSettings> {
  const { rows } = await db.query<InAppSettings>(selectEvaluation(applicationId));
  return rows[0]!;
}

/** @throws CallerError not_found when there is no such application */
export async function setInAppSettings(
  db: Queryable,
  applicationId: string,
  settings: InAppSettings,
): Promise<void> {
  try {
    await db.query(upsertEvaluation(applicationId, settings.evaluation));
  } catch (error) {
    if ((error as { code?: string }).code === '23503') throw notFound('Application', applicationId);
    throw error;
  }
}
