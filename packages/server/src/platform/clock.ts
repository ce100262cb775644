/** Milliseconds since the epoch. The one source of time in the program, so that a test can set it. */
export interface Clock {
  now(): number;
}

export const systemClock: Clock = { now: () => Date.now() };

/** ISO 8601 in UTC with milliseconds, as the Pinpoint API writes every time (`2018-05-24T21:26:33.995Z`). */
export function isoTime(at: number | Date): string {
  return new Date(at).toISOString();
}
