/** The definitions of docs/analytics.md that a mutant may get wrong. */
export interface Rules {
  /** A start so soon after the end of the session before goes on with it. */
  pauseMs: number;
  longestSessionMs: number;
  monthDays: number;
  /** Days after which retention is judged, beyond the first possible one. */
  judgedLater: number;
  weeksBeginOnSunday: boolean;
  /** Events count on the day of their arrival. */
  byArrival: boolean;
  /** Days are days of UTC. */
  inUtc: boolean;
  serviceTypesAreUse: boolean;
  /** Users are those that endpoints have now. */
  currentUsers: boolean;
  /** What deleted endpoints did does not count. */
  forgetsDeleted: boolean;
  roundsMoney: boolean;
  machinesCount: boolean;
  /** Soft bounces of campaigns' messages take deliveries back. */
  softBouncesCount: boolean;
  testsCount: boolean;
  /** The end of an attribution's window belongs to it. */
  windowIncluded: boolean;
  /** Each message attributes a session or purchase again. */
  countsEachTouch: boolean;
  /** One event may serve several steps of a funnel. */
  eventServesTwice: boolean;
  /** Events of the same millisecond do not follow each other. */
  strictlyLater: boolean;
  /** An event without the attribute does not meet an excluding filter. */
  absentIsExcluded: boolean;
}

export const documented: Rules = {
  pauseMs: 5_000,
  longestSessionMs: 86_400_000,
  monthDays: 30,
  judgedLater: 0,
  weeksBeginOnSunday: false,
  byArrival: false,
  inUtc: false,
  serviceTypesAreUse: false,
  currentUsers: false,
  forgetsDeleted: false,
  roundsMoney: true,
  machinesCount: false,
  softBouncesCount: false,
  testsCount: false,
  windowIncluded: false,
  countsEachTouch: false,
  eventServesTwice: false,
  strictlyLater: false,
  absentIsExcluded: false,
};

/** Each wrong in one thing: the histories must show it. */
export const mutants: Record<string, Partial<Rules>> = {
  'a rule of 4,999 milliseconds': { pauseMs: 4_999 },
  'a rule of 5,001 milliseconds': { pauseMs: 5_001 },
  'sessions of any length': { longestSessionMs: Number.POSITIVE_INFINITY },
  'months of 29 days': { monthDays: 29 },
  'months of 31 days': { monthDays: 31 },
  'retention that is judged a day early': { judgedLater: -1 },
  'retention that is judged a day late': { judgedLater: 1 },
  'weeks that begin on Sunday': { weeksBeginOnSunday: true },
  'late events on the day of their arrival': { byArrival: true },
  'days of UTC': { inUtc: true },
  'records of messages as use': { serviceTypesAreUse: true },
  'users as they are now': { currentUsers: true },
  'deleted endpoints forgotten': { forgetsDeleted: true },
  'money that is not rounded': { roundsMoney: false },
  'machines as people': { machinesCount: true },
  'soft bounces of campaigns as hard ones': { softBouncesCount: true },
  'test messages that count': { testsCount: true },
  'an attribution window that includes its end': { windowIncluded: true },
  'a session attributed to each message': { countsEachTouch: true },
  'an event as two steps of a funnel': { eventServesTwice: true },
  'no chain within a millisecond': { strictlyLater: true },
  'events without an attribute left out by its exclusion': { absentIsExcluded: true },
};
