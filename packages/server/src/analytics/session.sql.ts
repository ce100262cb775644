/** What is said of sessions, column by column. */
export interface SessionColumns {
  actorId: number[];
  sessionId: string[];
  startedMs: (number | null)[];
  endedMs: (number | null)[];
  hasUser: boolean[];
}

const askedColumns = `unnest($1::int8[], $2::text[], $3::int8[], $4::int8[], $5::bool[])
  as asked (actor_id, session_id, started_ms, ended_ms, has_user)`;

function valuesOf(sessions: SessionColumns): unknown[] {
  return [sessions.actorId, sessions.sessionId, sessions.startedMs, sessions.endedMs, sessions.hasUser];
}

export interface SessionPlaceRow {
  /** Place in what is said, from 1. */
  place: number;
  /** What was known of the session; null when nothing was. */
  oldHasUser: boolean | null;
  oldStartedMs: number | null;
  oldEndedMs: number | null;
  /** End of the session before it in the order of its endpoint, and the one next after it, where its start now lies. */
  previousEndedMs: number | null;
  nextStartedMs: number | null;
  nextEndedMs: number | null;
  nextHasUser: boolean;
}

/** Sessions as they are, with their neighbours where their start will be. */
export function selectSessionPlaces(sessions: SessionColumns) {
  return {
    name: 'analytics-select-session-places',
    text: `select asked.place::int4, old.has_user as "oldHasUser", old.started_ms as "oldStartedMs",
        old.ended_ms as "oldEndedMs", previous.ended_ms as "previousEndedMs",
        next.started_ms as "nextStartedMs", next.ended_ms as "nextEndedMs", next.has_user as "nextHasUser"
      from unnest($1::int8[], $2::text[], $3::int8[]) with ordinality as asked (actor_id, session_id, started_ms, place)
      left join lateral (
        select has_user, started_ms, ended_ms from analytics_sessions s
        where s.actor_id = asked.actor_id and s.session_id = asked.session_id limit 1
      ) old on true
      left join lateral (
        select ended_ms from analytics_sessions s
        where s.actor_id = asked.actor_id
          and (s.started_ms, s.session_id) < (least(old.started_ms, asked.started_ms), asked.session_id)
        order by s.started_ms desc, s.session_id desc limit 1
      ) previous on true
      left join lateral (
        select has_user, started_ms, ended_ms from analytics_sessions s
        where s.actor_id = asked.actor_id
          and (s.started_ms, s.session_id) > (least(old.started_ms, asked.started_ms), asked.session_id)
        order by s.started_ms, s.session_id limit 1
      ) next on true`,
    values: [sessions.actorId, sessions.sessionId, sessions.startedMs],
  };
}

export interface SessionKeyRow {
  actorId: number;
  sessionId: string;
}

/**
 * Sessions whose figures may change when these are written: those themselves, and those that come (or will come) next
 * after them in the order of their endpoint.
 */
export function selectTouchedSessions(sessions: SessionColumns) {
  return {
    name: 'analytics-select-touched-sessions',
    text: `with said as (
        select asked.actor_id, asked.session_id, old.started_ms as old_ms,
          least(old.started_ms, asked.started_ms) as new_ms
        from ${askedColumns}
        left join lateral (
          select started_ms from analytics_sessions s
          where s.actor_id = asked.actor_id and s.session_id = asked.session_id limit 1
        ) old on true
      )
      select actor_id as "actorId", session_id as "sessionId" from said
      union
      select next.actor_id, next.session_id from (
        select actor_id, session_id, new_ms as at_ms from said where new_ms is not null
        union all
        select actor_id, session_id, old_ms from said where old_ms <> new_ms
      ) place
      cross join lateral (
        select s.actor_id, s.session_id from analytics_sessions s
        where s.actor_id = place.actor_id and (s.started_ms, s.session_id) > (place.at_ms, place.session_id)
        order by s.started_ms, s.session_id limit 1
      ) next`,
    values: valuesOf(sessions),
  };
}

export interface SessionRow {
  actorId: number;
  startedMs: number | null;
  endedMs: number | null;
  hasUser: boolean;
  /** End of the session that the endpoint began before this one. */
  previousEndedMs: number | null;
}

export function selectSessions(actorIds: readonly number[], sessionIds: readonly string[]) {
  return {
    name: 'analytics-select-sessions',
    text: `select s.actor_id as "actorId", s.started_ms as "startedMs", s.ended_ms as "endedMs",
        s.has_user as "hasUser", previous.ended_ms as "previousEndedMs"
      from unnest($1::int8[], $2::text[]) as asked (actor_id, session_id)
      cross join lateral (
        select * from analytics_sessions s
        where s.actor_id = asked.actor_id and s.session_id = asked.session_id limit 1
      ) s
      left join lateral (
        select ended_ms from analytics_sessions p
        where p.actor_id = s.actor_id and (p.started_ms, p.session_id) < (s.started_ms, s.session_id)
        order by p.started_ms desc, p.session_id desc limit 1
      ) previous on true`,
    values: [actorIds, sessionIds],
  };
}

/** The earliest start and the latest end that were ever said. */
export function upsertSessions(sessions: SessionColumns) {
  return {
    name: 'analytics-upsert-sessions',
    text: `insert into analytics_sessions as s (actor_id, session_id, started_ms, ended_ms, has_user)
      select * from ${askedColumns}
      on conflict (actor_id, session_id) do update set
        started_ms = least(s.started_ms, excluded.started_ms),
        ended_ms = greatest(s.ended_ms, excluded.ended_ms),
        has_user = s.has_user or excluded.has_user`,
    values: valuesOf(sessions),
  };
}
