import sql, { type Sql } from 'sql-template-tag';
import type { Database, Queryable, Transaction } from '../../platform/database.ts';
import { badMember } from '../../platform/errors.ts';
import { memberKey } from '../endpoints/row.ts';
import { exceedsRetention } from './behaviour.ts';
import {
  type CompiledSegment,
  type CompileOptions,
  compileResolved,
  compileSegment,
  type PredicateNode,
} from './compile.ts';
import { type Resolution, resolveSegment, type SegmentTarget } from './resolve.ts';
import { selectStates } from './segment.sql.ts';

/** How many endpoints a segment has now. */
export interface SegmentCount {
  total: number;
  /** Those that the policy would let a message go to: active, not opted out, with an address that is not suppressed. */
  messageable: number;
  /** By ChannelType, ordered by it; endpoints without a channel count under null. */
  channels: { channel: string | null; total: number; messageable: number }[];
  /** Why the number may be less than the truth: windows that begin before what the log still has. */
  warnings?: string[];
}

/**
 * Counting behaviour goes through many facts and endpoints. PostgreSQL's defaults take sharing that with workers for too
 * expensive, let groups spill to the disk early, and its guesses of how many facts fit are so low that it would look up
 * endpoints one by one.
 */
const countingSettings =
  "set local parallel_tuple_cost = 0.001; set local parallel_setup_cost = 100; set local work_mem = '64MB'; set local enable_nestloop = off";

/** @throws CallerError as `compileSegment` */
export async function countSegment(
  db: Database | Transaction,
  applicationId: string,
  target: SegmentTarget,
  options: CompileOptions & { retentionDays?: number } = {},
): Promise<SegmentCount> {
  const compiled = await compileSegment(db, applicationId, target, options);
  const count = (on: Queryable) => on.query<SegmentCount['channels'][number]>(countStatement(compiled));
  const { rows } =
    compiled.behaviour.counts.size > 0 && 'transaction' in db
      ? await db.transaction(async (tx) => {
          await tx.query(countingSettings);
          return await count(tx);
        })
      : await count(db);
  const sum = (member: 'total' | 'messageable') => rows.reduce((total, row) => total + row[member], 0);
  const warnings = retentionWarnings(compiled, options.retentionDays ?? 0);
  return {
    total: sum('total'),
    messageable: sum('messageable'),
    channels: rows,
    ...(warnings.length > 0 && { warnings }),
  };
}

function retentionWarnings({ tree, behaviour }: CompiledSegment, retentionDays: number): string[] {
  const visit = ({ what, parts }: PredicateNode): string[] => {
    if (what.kind !== 'condition' || what.condition.kind !== 'behaviour') return parts.flatMap(visit);
    const { path, counted } = what.condition;
    if (!exceedsRetention(counted.window, behaviour.now, retentionDays)) return [];
    return [`${path}.Window begins before the ${retentionDays} days for which events are kept`];
  };
  return visit(tree);
}

/** `normaliseAddress` (suppression.ts) as SQL. */
const normalAddress = sql`case
  when e.channel = 'EMAIL' then lower(btrim(e.address))
  when e.channel in ('SMS', 'VOICE') then '+' || ltrim(translate(btrim(e.address), E' \\t\\n().-', ''), '+')
  else btrim(e.address) end`;

/** A row for each channel. The join on suppressions finds at most one: the address is its key. */
export function countStatement({ from, where }: CompiledSegment): Sql {
  return sql`select e.channel, count(*) as total,
      count(*) filter (where e.status = 'ACTIVE' and e.opt_out <> 'ALL' and e.address <> ''
        and s.address is null) as messageable
    from ${from}
    left join suppressions s on s.application_id = e.application_id and s.channel = e.channel collate "C"
      and s.address = (${normalAddress}) collate "C"
    where ${where} group by e.channel order by e.channel`;
}

const mostSampled = 100;

/** Ids of up to `limit` (1–100) members, any of them. */
export async function sampleSegment(
  db: Queryable,
  applicationId: string,
  target: SegmentTarget,
  limit: number,
  options?: CompileOptions,
): Promise<string[]> {
  if (!Number.isInteger(limit) || limit < 1 || limit > mostSampled) {
    throw badMember('limit', `expected a whole number from 1 to ${mostSampled}`);
  }
  const { members } = await compileSegment(db, applicationId, target, options);
  const { rows } = await db.query<{ id: string }>(sql`${members} limit ${limit}`);
  return rows.map(({ id }) => id);
}

/**
 * Resolutions of segments that were asked for lately, so that a question costs one round trip. Each is checked
 * against the database with every use.
 */
const resolutionsOf = new WeakMap<Queryable, Map<string, Resolution>>();
const mostResolutions = 500;

function resolutionsIn(db: Queryable): Map<string, Resolution> {
  const known = resolutionsOf.get(db) ?? new Map<string, Resolution>();
  resolutionsOf.set(db, known);
  return known;
}

/**
 * Is this endpoint, or any endpoint of this user, in the segment's latest version? The ids are those that callers
 * know, also for members that were imported without being registered. One statement on the ids'
 * index, however large the segment is.
 * @throws CallerError not_found when there is no such segment
 */
export async function isMember(
  db: Queryable,
  applicationId: string,
  segmentId: string,
  who: { endpointId: string } | { userId: string },
  options?: CompileOptions,
): Promise<boolean> {
  const resolutions = resolutionsIn(db);
  const key = `${applicationId} ${segmentId}`;
  const known = resolutions.get(key);
  if (known) {
    const answer = await ask(db, applicationId, known, who, options);
    if (answer !== undefined) return answer;
    resolutions.delete(key);
  }
  const resolution = await resolveSegment(db, applicationId, { segmentId });
  if (resolutions.size >= mostResolutions) resolutions.delete(resolutions.keys().next().value!);
  resolutions.set(key, resolution);
  const compiled = compileResolved(applicationId, resolution.root, { ...options, fewEndpoints: true });
  const { rows } = await db.query<{ member: boolean }>(sql`select ${isOneOf(compiled, who)} as member`);
  return rows[0]!.member;
}

/** The answer of a remembered resolution, or undefined when a segment in it has changed since. */
async function ask(
  db: Queryable,
  applicationId: string,
  { root, states }: Resolution,
  who: { endpointId: string } | { userId: string },
  options?: CompileOptions,
): Promise<boolean | undefined> {
  const compiled = compileResolved(applicationId, root, { ...options, fewEndpoints: true });
  const { rows } = await db.query<{ member: boolean; states: Record<string, string> }>(
    sql`select ${isOneOf(compiled, who)} as member,
      (${selectStates(applicationId, [...states.keys()])}) as states`,
  );
  const now = new Map(Object.entries(rows[0]!.states));
  const same = [...states].every(([id, state]) => now.get(id) === state);
  return same ? rows[0]!.member : undefined;
}

export function isOneOf(
  { from, where, importedIds }: CompiledSegment,
  who: { endpointId: string } | { userId: string },
): Sql {
  const [column, id] = 'endpointId' in who ? [sql`e.id`, who.endpointId] : [sql`e.user_id`, who.userId];
  return sql`exists (select from ${from} where ${column} = any(${storedIds(id, importedIds)}::text[]) and ${where})`;
}

/** Under which ids somebody may be stored whom callers call `id`: as registered, or as an import's own member. */
export function storedIds(id: string, importedIds: readonly string[]): string[] {
  return [id, ...importedIds.map((segmentId) => memberKey(segmentId, id))];
}
