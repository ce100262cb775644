import type { Database } from '../packages/server/src/platform/database.ts';

/**
 * One measured ratio. Larger is better: throughput over that of the reference, or the reference's time over ours. Both
 * sides are measured in the same run on the same machine, since only their ratio says anything elsewhere.
 */
export interface Measure {
  name: string;
  ratio: number;
  /** What the ratio should reach; below half of it the run fails. */
  floor: number;
  /** The two sides with their units, for people. */
  subject: string;
  baseline: string;
  detail?: string;
}

export interface BenchContext {
  /** 1 for the sizes that the floors are meant for; less for a quick look. */
  scale: number;
  /** A folder of this bench, removed after it; readable for the database server's user. */
  directory: string;
  /** A new, migrated database on the bench's PostgreSQL (settings of production, fsync on). */
  database(): Promise<Database & { url: string }>;
  /** Waits for a quiet machine, so that what else runs does not end up in a figure. */
  quiet(): Promise<void>;
  /** Says what is going on. */
  note(text: string): void;
}

export interface Bench {
  name: string;
  description: string;
  run(context: BenchContext): Promise<Measure[]>;
}

/** `base` at the scale of the run, at least `least`. */
export function scaled(context: BenchContext, base: number, least = 1): number {
  return Math.max(least, Math.round(base * context.scale));
}
