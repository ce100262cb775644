import type { Transaction } from '../platform/database.ts';
import {
  type SessionColumns,
  type SessionKeyRow,
  type SessionPlaceRow,
  type SessionRow,
  selectSessionPlaces,
  selectSessions,
  selectTouchedSessions,
  upsertSessions,
} from './session.sql.ts';
import { figuresOf, type SessionInOrder } from './session.ts';
import { count, earliest, latest, type RollupSlice, type SeenSession } from './slice.ts';

interface Said {
  slice: RollupSlice;
  session: SeenSession;
}

/**
 * Writes what was said of sessions, and counts the difference into the slices: the figures of every session that is
 * touched are taken away as they were before and added as they are after. Actors have their ids by now.
 */
export async function writeSessions(tx: Transaction, slices: readonly RollupSlice[]): Promise<void> {
  const said: Said[] = [];
  const perActor = new Map<number, number>();
  for (const slice of slices) {
    for (const session of slice.sessions.values()) {
      said.push({ slice, session });
      perActor.set(session.endpoint.id, (perActor.get(session.endpoint.id) ?? 0) + 1);
    }
  }
  // Several sessions of an endpoint may be each other's neighbours.
  const alone = said.filter(({ session }) => perActor.get(session.endpoint.id) === 1);
  const together = said.filter(({ session }) => perActor.get(session.endpoint.id)! > 1);
  const moved = alone.length > 0 ? await writeAlone(tx, alone) : [];
  const rest = [...together, ...moved];
  if (rest.length > 0) await writeTogether(tx, rest);
}

/**
 * The usual case: one session of its endpoint, whose place in the order is new or stays. Then it changes nothing but
 * itself and what it is to the next one. Answers those that move in the order, and leaves them alone.
 */
async function writeAlone(tx: Transaction, said: readonly Said[]): Promise<Said[]> {
  const { rows } = await tx.query<SessionPlaceRow>(selectSessionPlaces(columnsOf(said)));
  const moved: Said[] = [];
  const staying: Said[] = [];
  for (const row of rows) {
    const one = said[row.place - 1]!;
    const { slice, session } = one;
    const startedMs = earliest(row.oldStartedMs, session.startedMs);
    if (row.oldStartedMs !== null && row.oldStartedMs !== startedMs) {
      moved.push(one);
      continue;
    }
    staying.push(one);
    if (startedMs === null) continue;
    const { previousEndedMs } = row;
    const endedMs = latest(row.oldEndedMs, session.endedMs);
    const hasUser = row.oldHasUser === true || session.hasUser;
    countSession(slice, { startedMs, endedMs, hasUser, previousEndedMs }, 1);
    const wasThere = row.oldHasUser !== null && row.oldStartedMs !== null;
    if (wasThere) {
      const before = { startedMs, endedMs: row.oldEndedMs, hasUser: row.oldHasUser!, previousEndedMs };
      countSession(slice, before, -1);
    }
    if (row.nextStartedMs === null) continue;
    const next = { startedMs: row.nextStartedMs, endedMs: row.nextEndedMs, hasUser: row.nextHasUser };
    countSession(slice, { ...next, previousEndedMs: wasThere ? row.oldEndedMs : previousEndedMs }, -1);
    countSession(slice, { ...next, previousEndedMs: endedMs }, 1);
  }
  if (staying.length > 0) await tx.query(upsertSessions(columnsOf(staying)));
  return moved;
}

/** Any case: reads what is touched before and after. */
async function writeTogether(tx: Transaction, said: readonly Said[]): Promise<void> {
  const columns = columnsOf(said);
  const sliceOf = new Map(said.map(({ slice, session }) => [session.endpoint.id, slice]));
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

function columnsOf(said: readonly Said[]): SessionColumns {
  return {
    actorId: said.map(({ session }) => session.endpoint.id),
    sessionId: said.map(({ session }) => session.sessionId),
    startedMs: said.map(({ session }) => session.startedMs),
    endedMs: said.map(({ session }) => session.endedMs),
    hasUser: said.map(({ session }) => session.hasUser),
  };
}

function countSession(slice: RollupSlice, session: SessionInOrder, sign: 1 | -1): void {
  if (session.startedMs === null) return;
  const figures = figuresOf(session);
  const { day, hour } = slice.calendar.hourOf(session.startedMs);
  count(slice, 'session', day, String(hour), sign * figures.sessions);
  count(slice, 'user_session', day, '', sign * figures.userSessions);
  count(slice, 'timed_session', day, '', sign * figures.timedSessions);
  count(slice, 'session_ms', day, '', sign * figures.lengthMs);
}
