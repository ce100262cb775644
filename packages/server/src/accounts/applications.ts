import type { Database, Queryable, Transaction } from '../platform/database.ts';
import { notFound } from '../platform/errors.ts';
import { hexId } from '../platform/ids.ts';
import type { Log } from '../platform/log.ts';
import {
  deleteApplicationRow,
  forgetDeletedApplication,
  insertApplication,
  selectApplication,
  selectApplicationExists,
  selectApplications,
  selectDeletedApplications,
  takeApplication,
} from './application.sql.ts';

/** Pinpoint calls it a project too. */
export interface Application {
  id: string;
  name: string;
  createdAt: Date;
}

interface ApplicationRow {
  id: string;
  name: string;
  created_at: Date;
}

function fromRow(row: ApplicationRow): Application {
  return { id: row.id, name: row.name, createdAt: row.created_at };
}

export async function createApplication(db: Queryable, name: string): Promise<Application> {
  const { rows } = await db.query<ApplicationRow>(insertApplication(hexId(), name));
  return fromRow(rows[0]!);
}

/** @throws CallerError not_found */
export async function getApplication(db: Queryable, id: string): Promise<Application> {
  const { rows } = await db.query<ApplicationRow>(selectApplication(id));
  if (!rows[0]) throw notFound('Application', id);
  return fromRow(rows[0]);
}

export async function applicationExists(db: Queryable, id: string): Promise<boolean> {
  const { rows } = await db.query<{ found: boolean }>(selectApplicationExists(id));
  return rows[0]!.found;
}

/**
 * Keeps the application from being deleted until this transaction ends, so that what it writes is erased with the rest.
 * A lock of its own, not one on the row: many share it without writing anything, and a deletion gets its turn.
 * @throws CallerError not_found
 */
export async function holdApplication(tx: Transaction, id: string): Promise<void> {
  const { rows } = await tx.query<{ found: boolean }>(takeApplication(id));
  if (!rows[0]!.found) throw notFound('Application', id);
}

/**
 * Up to `limit` applications after the id `after` (`''` for the first), in the order of their ids.
 * @param ids only these; undefined for all.
 */
export async function listApplications(
  db: Queryable,
  options: { ids?: string[] | undefined; after: string; limit: number },
): Promise<Application[]> {
  const { rows } = await db.query<ApplicationRow>(
    selectApplications(options.ids, options.after, options.limit),
  );
  return rows.map(fromRow);
}

/**
 * Deletes the application with its settings, channels and tags, and marks what other rooms hold of it for
 * `eraseDeletedApplications`.
 * @throws CallerError not_found
 */
export async function deleteApplication(db: Queryable, id: string): Promise<Application> {
  const { rows } = await db.query<ApplicationRow>(deleteApplicationRow(id));
  if (!rows[0]) throw notFound('Application', id);
  return fromRow(rows[0]);
}

/** What a room does to forget an application. Deletes in chunks, may be called again, and alongside itself. */
export interface ApplicationEraser {
  /** The room's name, for the log. */
  room: string;
  erase(database: Database, applicationId: string): Promise<void>;
}

/**
 * Erases what is left of deleted applications: right after a deletion, and again by a regular job for those during
 * whose erasure the process ended. A room that fails is logged; its application stays marked and is tried again.
 * @returns how many applications are now wholly gone.
 */
export async function eraseDeletedApplications(options: {
  database: Database;
  erasers: readonly ApplicationEraser[];
  log: Log;
}): Promise<number> {
  const { database, erasers, log } = options;
  const { rows } = await database.query<{ id: string }>(selectDeletedApplications());
  let erased = 0;
  for (const { id } of rows) {
    if (!(await eraseApplication(database, erasers, id, log))) continue;
    await database.query(forgetDeletedApplication(id));
    erased += 1;
  }
  return erased;
}

async function eraseApplication(
  database: Database,
  erasers: readonly ApplicationEraser[],
  applicationId: string,
  log: Log,
): Promise<boolean> {
  let complete = true;
  for (const { room, erase } of erasers) {
    try {
      await erase(database, applicationId);
    } catch (error) {
      complete = false;
      log.error(
        { err: error, room, applicationId },
        'erasing a deleted application failed; tried again later',
      );
    }
  }
  return complete;
}
