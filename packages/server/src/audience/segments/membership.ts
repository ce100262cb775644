import sql, { type Sql } from 'sql-template-tag';
import type { Database, Queryable, Transaction } from '../../platform/database.ts';
import { badMember } from '../../platform/errors.ts';
import { memberKey } from '../endpoints/row.ts';
import { exceedsRetention } from './behaviour.ts';
import { type CompiledSegment, type CompileOptions, compileSegment, type PredicateNode } from './compile.ts';
import type { SegmentTarget } from './resolve.ts';

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

/** Is an endpoint with this id, or any endpoint of this user, a member? For `select`. */
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
