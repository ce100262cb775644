import type { Queryable } from '../platform/database.ts';
import { CallerError, notFound } from '../platform/errors.ts';
import {
  deleteChannelRow,
  selectChannel,
  selectChannels,
  selectDisabledChannels,
  upsertChannel,
} from './channel.sql.ts';

/** A channel of an application: whether it may be used, and its settings. */
export interface Channel {
  /** As in the Pinpoint API: `EMAIL`, `SMS`, `GCM` … */
  type: string;
  enabled: boolean;
  /** Members of the channel's request beside `Enabled`. */
  settings: Record<string, unknown>;
  version: number;
  createdAt: Date;
  modifiedAt: Date;
  modifiedBy: string | undefined;
}

interface ChannelRow {
  type: string;
  enabled: boolean;
  settings: Record<string, unknown>;
  version: number;
  created_at: Date;
  modified_at: Date;
  modified_by: string | null;
}

function fromRow(row: ChannelRow): Channel {
  return {
    type: row.type,
    enabled: row.enabled,
    settings: row.settings,
    version: row.version,
    createdAt: row.created_at,
    modifiedAt: row.modified_at,
    modifiedBy: row.modified_by ?? undefined,
  };
}

function neverConfigured(applicationId: string, type: string): CallerError {
  return new CallerError('not_found', `Application ${applicationId} has no ${type} channel`);
}

/** @throws CallerError not_found when the channel was never configured. */
export async function getChannel(db: Queryable, applicationId: string, type: string): Promise<Channel> {
  const { rows } = await db.query<ChannelRow>(selectChannel(applicationId, type));
  if (!rows[0]) throw neverConfigured(applicationId, type);
  return fromRow(rows[0]);
}

/** In the order of their types. */
export async function listChannels(db: Queryable, applicationId: string): Promise<Channel[]> {
  const { rows } = await db.query<ChannelRow>(selectChannels(applicationId));
  return rows.map(fromRow);
}

/** Types of the channels that were switched off; one that was never configured is not among them. */
export async function disabledChannels(db: Queryable, applicationId: string): Promise<Set<string>> {
  const { rows } = await db.query<{ type: string }>(selectDisabledChannels(applicationId));
  return new Set(rows.map((row) => row.type));
}

/**
 * Makes the channel or replaces its settings. `enabled` undefined keeps what it is; a new channel is then enabled.
 * @throws CallerError not_found when there is no such application.
 */
export async function putChannel(
  db: Queryable,
  applicationId: string,
  type: string,
  change: { enabled: boolean | undefined; settings: Record<string, unknown>; modifiedBy: string },
): Promise<Channel> {
  const { rows } = await db.query<ChannelRow>(
    upsertChannel({
      applicationId,
      type,
      enabled: change.enabled ?? null,
      settings: JSON.stringify(change.settings),
      modifiedBy: change.modifiedBy,
    }),
  );
  if (!rows[0]) throw notFound('Application', applicationId);
  return fromRow(rows[0]);
}

/** @returns the channel as it was. @throws CallerError not_found */
export async function deleteChannel(db: Queryable, applicationId: string, type: string): Promise<Channel> {
  const { rows } = await db.query<ChannelRow>(deleteChannelRow(applicationId, type));
  if (!rows[0]) throw neverConfigured(applicationId, type);
  return fromRow(rows[0]);
}
