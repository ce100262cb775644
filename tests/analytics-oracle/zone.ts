/** What clocks of a time zone show, asked of Intl for each quarter of an hour, within which no clock is changed. */
export interface LocalTime {
  /** Days since 1970-01-01. */
  day: number;
  /** `2026-11-21` */
  date: string;
  hour: number;
  /** Minutes that the clocks are ahead of UTC. */
  offsetMinutes: number;
}

const quarterMs = 900_000;
const dayMs = 86_400_000;

export class Zone {
  readonly #format: Intl.DateTimeFormat;
  readonly #known = new Map<number, LocalTime>();

  constructor(timeZone: string) {
    this.#format = new Intl.DateTimeFormat('en-CA', {
      timeZone,
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
    });
  }

  at(instant: number): LocalTime {
    const quarter = Math.floor(instant / quarterMs);
    const known = this.#known.get(quarter);
    if (known) return known;
    const parts = new Map(
      this.#format.formatToParts(quarter * quarterMs).map(({ type, value }) => [type, value]),
    );
    const date = `${parts.get('year')}-${parts.get('month')}-${parts.get('day')}`;
    const hour = Number(parts.get('hour'));
    const local = Date.parse(`${date}T00:00:00Z`) + hour * 3_600_000 + Number(parts.get('minute')) * 60_000;
    const offsetMinutes = (local - quarter * quarterMs) / 60_000;
    const time = { day: Date.parse(`${date}T00:00:00Z`) / dayMs, date, hour, offsetMinutes };
    this.#known.set(quarter, time);
    return time;
  }

  /** The first quarter of an hour of a day, found by halving. */
  startOf(day: number): number {
    let [low, high] = [(day - 2) * 96, (day + 2) * 96];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.at(middle * quarterMs).day >= day) high = middle;
      else low = middle + 1;
    }
    return low * quarterMs;
  }
}

export function dateOf(day: number): string {
  return new Date(day * dayMs).toISOString().slice(0, 10);
}

/** 0 is the week of Monday, 1969-12-29. */
export function weekOf(day: number): number {
  return Math.floor((day + 3) / 7);
}
