import type { Transaction } from '../platform/database.ts';
import {
  type SessionColumns,
  type SessionKeyRow,
  type SessionRow,
  selectSessions,
  selectTouchedSessions,
  upsertSessions,
} from './session.sql.ts';
import { figuresOf } from './session.ts';
import { count, type RollupSlice } from './slice.ts';

/**
 * Writes what was said of sessions, and counts the difference into the slices: the figures of every session that was
 * touched are taken away as they were before and added as they are after. Actors have their ids by now.
 */
export async function writeSessions(tx: Transaction, slices: readonly RollupSlice[]): Promise<void> {
  const columns: SessionColumns = { actorId: [], sessionId: [], startedMs: [], endedMs: [], hasUser: [] };
  const sliceOf = new Map<number, RollupSlice>();
  for (const slice of slices) {
    for (const session of slice.sessions.values()) {
      sliceOf.set(session.endpoint.id, slice);
      columns.actorId.push(session.endpoint.id);
      columns.sessionId.push(session.sessionId);
      columns.startedMs.push(session.startedMs);
      columns.endedMs.push(session.endedMs);
      columns.hasUser.push(session.hasUser);
    }
  }
  if (columns.actorId.length === 0) return;
  const { rows: touched } = await tx.query<SessionKeyRow>(selectTouchedSessions(columns));
  const read = selectSessions(
    touched.map((key) => key.actorId),
    touched.map((key) => key.sessionId),
  );
  const before = await tx.query<SessionRow>(read);
  await tx.query(upsertSessions(columns));
  const after = await tx.query<SessionRow>(read);
  for (const row of before.rows) countSession(sliceOf.get(row.actorId)!, row, -1);
  for (const row of after.rows) countSession(sliceOf.get(row.actorId)!, row, 1);
}

function countSession(slice: RollupSlice, session: SessionRow, sign: 1 | -1): void {
  if (session.startedMs === null) return;
  const figures = figuresOf(session);
  const { day, hour } = slice.calendar.hourOf(session.startedMs);
  count(slice, 'session', day, String(hour), sign * figures.sessions);
  count(slice, 'user_session', day, '', sign * figures.userSessions);
  count(slice, 'timed_session', day, '', sign * figures.timedSessions);
  count(slice, 'session_ms', day, '', sign * figures.lengthMs);
}
