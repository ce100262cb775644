import { eventFactType } from '../audience/index.ts';

/** A start at most so long after the end of the session before it goes on with that session. */
export const longestPauseMs = 5_000;

/** What a session's length counts for at most: apps that were started in the background stop days later. */
export const longestSessionMs = 86_400_000;

export const sessionStart = eventFactType('_session.start');
const sessionEnds = new Set(['_session.stop', '_session.pause'].map(eventFactType));

export function isSessionEnd(factType: string): boolean {
  return sessionEnds.has(factType);
}

/** A session with the end of the one that its endpoint began before it. */
export interface SessionInOrder {
  startedMs: number | null;
  endedMs: number | null;
  hasUser: boolean;
  previousEndedMs: number | null;
}

/** What a session adds to the figures of the day and hour of its start. */
export interface SessionFigures {
  /** 1, or 0 when it goes on with the one before. */
  sessions: 0 | 1;
  userSessions: 0 | 1;
  timedSessions: 0 | 1;
  lengthMs: number;
}

const nothing: SessionFigures = { sessions: 0, userSessions: 0, timedSessions: 0, lengthMs: 0 };

/** The figures of one session; none before its start is known. The length of one that goes on counts all the same. */
export function figuresOf(session: SessionInOrder): SessionFigures {
  const { startedMs, endedMs, previousEndedMs } = session;
  if (startedMs === null) return nothing;
  const pauseMs = previousEndedMs === null ? Number.POSITIVE_INFINITY : startedMs - previousEndedMs;
  const counts = pauseMs >= 0 && pauseMs <= longestPauseMs ? 0 : 1;
  const timed = endedMs !== null && endedMs >= startedMs;
  return {
    sessions: counts,
    userSessions: counts === 1 && session.hasUser ? 1 : 0,
    timedSessions: counts === 1 && timed ? 1 : 0,
    lengthMs: timed ? Math.min(endedMs - startedMs, longestSessionMs) : 0,
  };
}
