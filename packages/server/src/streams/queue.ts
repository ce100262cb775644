import type { StoredFact } from '../events/index.ts';
import type { Database } from '../platform/database.ts';
import {
  type FactRange,
  forbidScans,
  maxSlices,
  type SliceRow,
  selectFacts,
  selectSlices,
} from './queue.sql.ts';
import { heldCount } from './source.ts';

/** A place in the log. */
export interface Place {
  position: number;
  seq: number;
}

/** A fact with the position of its batch. */
export type PlacedFact = StoredFact & { position: number };

/** Facts that a stream delivers in one round, and the place that its cursor has afterwards. */
export interface Window {
  facts: PlacedFact[];
  /** Everything below it is in `facts`, or was before. */
  end: Place;
  /** More is likely to wait. */
  full: boolean;
}

export interface WindowLimits {
  facts: number;
  /** Of the payloads as JSON. */
  bytes: number;
  /** Records that the facts will make: a fact of a window held back is many. */
  records: number;
}

const lastSeq = 0x7fffffff;

/**
 * The next facts of a stream; undefined when nothing waits. `after` is where the window ends that is not settled yet: what
 * lies before it is passed over.
 */
export async function readWindow(
  database: Database,
  stream: { id: string; applicationId: string },
  limits: WindowLimits,
  after: Place = { position: 0, seq: 0 },
): Promise<Window | undefined> {
  return await database.transaction(async (tx) => {
    const { rows } = await tx.query<SliceRow>(selectSlices(stream.id, after.position, maxSlices));
    const slices = rows.map((slice) =>
      slice.position === after.position ? { ...slice, fromSeq: Math.max(slice.fromSeq, after.seq) } : slice,
    );
    if (slices.length === 0) return undefined;
    let count = 0;
    let expected = 0;
    while (count < slices.length && (count === 0 || expected + slices[count]!.facts <= limits.facts)) {
      expected += slices[count]!.facts;
      count++;
    }
    const taken = slices.slice(0, count);
    const ranges = taken.map((slice) => ({ ...slice, toSeq: lastSeq }));
    await tx.query(forbidScans);
    const { rows: read } = await tx.query<PlacedFact>(
      selectFacts(stream.applicationId, ranges, limits.facts, limits.bytes),
    );
    const facts = withinRecords(read, limits.records);
    // What the database did not answer though there was room for it was erased.
    const whole = facts.length === read.length && read.length < limits.facts && (await isWhole());
    const last = facts.at(-1);
    const end =
      whole || !last
        ? { position: taken.at(-1)!.position + 1, seq: 0 }
        : { position: last.position, seq: last.seq + 1 };
    return { facts, end, full: !whole || count < slices.length || slices.length === maxSlices };

    /** All that the ranges hold was read, and not cut for its size. */
    async function isWhole(): Promise<boolean> {
      if (read.length >= expected) return true;
      const rest = restOf(ranges, facts.at(-1));
      const more = await tx.query(selectFacts(stream.applicationId, rest, 1, limits.bytes));
      return more.rows.length === 0;
    }
  });
}

/** The ranges without what lies up to `last`. */
function restOf(
  ranges: readonly FactRange[],
  last: { position: number; seq: number } | undefined,
): FactRange[] {
  if (!last) return [...ranges];
  return ranges
    .filter(({ position }) => position >= last.position)
    .map((range) => (range.position === last.position ? { ...range, fromSeq: last.seq + 1 } : range));
}

/** As many facts as make `max` records, one at least. */
function withinRecords<Fact extends StoredFact>(facts: Fact[], max: number): Fact[] {
  let records = 0;
  const end = facts.findIndex((fact, index) => {
    records += Math.max(heldCount(fact), fact.type.startsWith('message.') ? 2 : 1);
    return index > 0 && records > max;
  });
  return end === -1 ? facts : facts.slice(0, end);
}

/** Facts that a dead letter names, at most as many as a round takes; fewer when they were erased since. */
export async function readRange(
  database: Database,
  applicationId: string,
  range: FactRange,
  limits: WindowLimits,
): Promise<{ facts: PlacedFact[]; rest: number | undefined }> {
  return await database.transaction(async (tx) => {
    await tx.query(forbidScans);
    const { rows } = await tx.query<PlacedFact>(
      selectFacts(applicationId, [range], limits.facts + 1, limits.bytes),
    );
    const facts = withinRecords(rows.slice(0, limits.facts), limits.records);
    const last = facts.at(-1);
    if (!last) return { facts, rest: undefined };
    const after = rows[facts.length]?.seq;
    if (after !== undefined) return { facts, rest: after };
    // Cut for its size, perhaps.
    const more = await tx.query<StoredFact>(
      selectFacts(applicationId, [{ ...range, fromSeq: last.seq + 1 }], 1, limits.bytes),
    );
    return { facts, rest: more.rows[0]?.seq };
  });
}
