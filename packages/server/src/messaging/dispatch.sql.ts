import sql, { type Sql } from 'sql-template-tag';
import type { Queryable } from '../platform/database.ts';
import { CallerError, notFound } from '../platform/errors.ts';
import type { Dispatch, DispatchClass, DispatchPlan, DispatchState, Lane, Occasion } from './dispatch.ts';
import { storableJson } from './storable.ts';

/** Endpoints in one chunk: what one worker claims, reads and renders at once. */
export const chunkSize = 500;

export interface NewDispatch {
  id: string;
  applicationId: string;
  kind: 'campaign' | 'test';
  class: DispatchClass;
  lane: Lane;
  campaignId: string | null;
  plan: DispatchPlan;
  /** A statement that selects the endpoint ids of the audience, in a column `id`. */
  members: Sql;
  messagesPerSecond?: number;
  expiresAt: Date;
}

/**
 * Starts a dispatch in the caller's transaction. The audience is evaluated here, once: what becomes a member
 * later is not reached, what ceases to be one is. Workers see it when the transaction commits.
 */
export async function startDispatch(tx: Queryable, dispatch: NewDispatch): Promise<{ audienceSize: number }> {
  await tx.query(sql`
    insert into dispatches (id, application_id, kind, class, lane, state, campaign_id, plan, messages_per_second, expires_at)
    values (${dispatch.id}, ${dispatch.applicationId}, ${dispatch.kind}, ${dispatch.class}, ${dispatch.lane}, 'running',
            ${dispatch.campaignId}, ${JSON.stringify(dispatch.plan)}, ${dispatch.messagesPerSecond ?? null}, ${dispatch.expiresAt})`);
  const { rows } = await tx.query<{ size: number }>(sql`
    with members as (${dispatch.members}),
    numbered as (
      select id, ((row_number() over (order by id)) - 1) / ${chunkSize}::int as number from members
    ),
    chunks as (
      insert into dispatch_chunks (dispatch_id, number, endpoint_ids, size)
      select ${dispatch.id}::uuid, number, array_agg(id order by id), count(*) from numbered group by number
      returning size
    )
    update dispatches set audience_size = coalesce((select sum(size) from chunks), 0)
    where id = ${dispatch.id}
    returning audience_size as size`);
  return { audienceSize: rows[0]!.size };
}

/**
 * Starts a dispatch that gets its members later, by `addMembers`, until `closeDispatch`; in the caller's transaction.
 * It may begin paused.
 */
export async function openDispatch(
  tx: Queryable,
  dispatch: Omit<NewDispatch, 'members'> & { paused: boolean },
): Promise<void> {
  await tx.query(sql`
    insert into dispatches (id, application_id, kind, class, lane, state, open, campaign_id, plan, messages_per_second, expires_at)
    values (${dispatch.id}, ${dispatch.applicationId}, ${dispatch.kind}, ${dispatch.class}, ${dispatch.lane},
            ${dispatch.paused ? 'paused' : 'running'}, true, ${dispatch.campaignId}, ${JSON.stringify(dispatch.plan)},
            ${dispatch.messagesPerSecond ?? null}, ${dispatch.expiresAt})`);
}

/** No more members come: the dispatch is done when those that it has are. */
export async function closeDispatch(tx: Queryable, applicationId: string, id: string): Promise<void> {
  await tx.query(
    sql`update dispatches set open = false where id = ${id} and application_id = ${applicationId}`,
  );
}

/** A member that is added to an open dispatch, and why. */
export interface AddedMember {
  endpointId: string;
  occasion: Occasion;
}

/** Chunks of added members end at this size of their occasions as JSON, so that none is too much to hold. */
const maxChunkBytes = 1_000_000;

/**
 * Adds members to open dispatches (each of which is given once), each member as often as it is given, in the caller's
 * transaction. The caller sees to it that the dispatch is not closed meanwhile. A chunk that nobody has claimed yet
 * grows: so the chunks are small while the workers keep up, and large when there is a lot to do.
 */
export async function addMembers(
  tx: Queryable,
  additions: { dispatchId: string; members: AddedMember[] }[],
): Promise<void> {
  const chunks = additions.flatMap(({ dispatchId, members }) =>
    chunksOf(members).map((chunk, place) => ({
      dispatchId,
      grows: place === 0,
      endpointIds: chunk.map(({ endpointId }) => endpointId),
      occasions: chunk.map(({ occasion }) => occasion),
    })),
  );
  if (chunks.length === 0) return;
  await tx.query(sql`
    with added as (
      select * from jsonb_to_recordset(${storableJson(chunks)}::jsonb)
        as a("dispatchId" uuid, grows boolean, "endpointIds" text[], occasions jsonb)
    ),
    waiting as (
      select added.*, c.number
      from added cross join lateral (
        select number from dispatch_chunks c
        where added.grows and c.dispatch_id = added."dispatchId" and c.worker_id is null and c.not_before <= now()
          and c.occasions is not null and c.size + cardinality(added."endpointIds") <= ${chunkSize}
          and pg_column_size(c.occasions) <= ${maxChunkBytes / 2}
        order by number desc limit 1 for update skip locked
      ) c
    ),
    grown as (
      update dispatch_chunks c set endpoint_ids = c.endpoint_ids || waiting."endpointIds",
        occasions = c.occasions || waiting.occasions, size = c.size + cardinality(waiting."endpointIds")
      from waiting where c.dispatch_id = waiting."dispatchId" and c.number = waiting.number
      returning c.dispatch_id
    )
    insert into dispatch_chunks (dispatch_id, number, endpoint_ids, size, occasions)
    select "dispatchId", nextval('added_chunk_numbers'), "endpointIds", cardinality("endpointIds"), occasions
    from added where not grows or "dispatchId" not in (select dispatch_id from grown)`);
}

function chunksOf(members: AddedMember[]): AddedMember[][] {
  const chunks: AddedMember[][] = [];
  let bytes = 0;
  for (const member of members) {
    const size = JSON.stringify(member.occasion).length;
    const last = chunks.at(-1);
    // Those of one event stay together: who has the same address among them gets one message. Other endpoints may have
    // given their events the same id.
    const sameEvent = last?.at(-1)?.occasion === member.occasion;
    if (!last || (!sameEvent && (last.length >= chunkSize || bytes + size > maxChunkBytes))) {
      chunks.push([member]);
      bytes = size;
    } else {
      last.push(member);
      bytes += size;
    }
  }
  return chunks;
}

/**
 * Pauses, resumes or stops a dispatch: no window is committed after this returns (one that is being committed at the
 * same moment may still be). Pausing keeps each position, so that resuming repeats nobody; what a stop leaves unsent
 * gets the reason `stopped`.
 * @throws CallerError conflict when the dispatch was stopped or is done.
 */
export async function setDispatchState(
  db: Queryable,
  applicationId: string,
  id: string,
  state: 'running' | 'paused' | 'stopped',
): Promise<void> {
  const { rowCount } = await db.query(sql`
    update dispatches set state = ${state}, open = open and ${state !== 'stopped'}
    where id = ${id} and application_id = ${applicationId} and state in ('running', 'paused')`);
  if (rowCount) return;
  const { rows } = await db.query<{ state: DispatchState }>(sql`
    select state from dispatches where id = ${id} and application_id = ${applicationId}`);
  const current = rows[0]?.state;
  if (!current) throw notFound('Dispatch', id);
  if (current !== state)
    throw new CallerError('conflict', `The dispatch is ${current} and cannot become ${state}`);
}

const columns = sql`id, application_id as "applicationId", kind, class, lane, state, campaign_id as "campaignId", plan,
  messages_per_second as "messagesPerSecond", audience_size as "audienceSize", created_at as "createdAt", expires_at as "expiresAt"`;

export async function loadDispatch(db: Queryable, id: string): Promise<Dispatch | undefined> {
  const { rows } = await db.query<Dispatch>(sql`select ${columns} from dispatches where id = ${id}`);
  return rows[0];
}

export interface ClaimedChunk {
  dispatchId: string;
  state: DispatchState;
  number: number;
  endpointIds: string[];
  /** Why each of them is a member; null where all are one audience. */
  occasions: Occasion[] | null;
  next: number;
}

/** Of `dispatches d`: there is a chunk of it that can be claimed. */
export const hasFreeChunk = sql`(
  d.finished_at is null and d.state in ('running', 'stopped')
  and exists (
    select from dispatch_chunks c where c.dispatch_id = d.id and c.worker_id is null and c.not_before <= now()))`;

/**
 * Claims one chunk of the lane: of the application that was served longest ago, and of its dispatches the one that
 * was; none of the dispatches in `except`. Chunks of stopped and expired dispatches are claimed as well: their members
 * need their reason.
 */
export async function claimChunk(
  db: Queryable,
  lane: Lane,
  workerId: string,
  except: string[] = [],
): Promise<ClaimedChunk | undefined> {
  const { rows } = await db.query<ClaimedChunk>(sql`
    with open as (
      select d.id, d.application_id, d.served_at,
             max(d.served_at) over (partition by d.application_id) as application_served_at
      from dispatches d
      where d.lane = ${lane} and ${hasFreeChunk} and d.id <> all(${except}::uuid[])
    ),
    chosen as (
      select c.dispatch_id, c.number
      from (select id from open order by application_served_at, served_at limit 4) as next
      join lateral (
        select dispatch_id, number from dispatch_chunks
        where dispatch_id = next.id and worker_id is null and not_before <= now()
        order by number limit 1 for update skip locked
      ) c on true
      limit 1
    ),
    claimed as (
      update dispatch_chunks c set worker_id = ${workerId} from chosen
      where c.dispatch_id = chosen.dispatch_id and c.number = chosen.number
      returning c.dispatch_id, c.number, c.endpoint_ids, c.occasions, c.next
    ),
    served as (
      update dispatches set served_at = clock_timestamp() from claimed where dispatches.id = claimed.dispatch_id
    )
    select claimed.dispatch_id as "dispatchId", d.state, claimed.number, claimed.endpoint_ids as "endpointIds",
      claimed.occasions, claimed.next
    from claimed join dispatches d on d.id = claimed.dispatch_id`);
  return rows[0];
}

/** Gives a chunk back, so that any worker may go on with it; `waitMs` keeps it from being claimed for a while. */
export async function releaseChunk(
  db: Queryable,
  chunk: { dispatchId: string; number: number; workerId: string; waitMs: number },
): Promise<void> {
  await db.query(sql`
    update dispatch_chunks set worker_id = null, not_before = now() + ${chunk.waitMs} * interval '1 millisecond'
    where dispatch_id = ${chunk.dispatchId} and number = ${chunk.number} and worker_id = ${chunk.workerId}`);
}

/**
 * Moves a chunk's cursor in the transaction that writes its message rows, and deletes the chunk when that was the last of
 * it. False when the chunk is no longer this worker's, or the dispatch is not in `state` any more: the caller rolls back.
 */
export async function moveChunk(
  tx: Queryable,
  chunk: {
    dispatchId: string;
    number: number;
    workerId: string;
    from: number;
    to: number;
    /** `to` is the end: a chunk that is claimed does not grow. */
    ends: boolean;
    state: DispatchState;
  },
): Promise<boolean> {
  const { rowCount } = await tx.query(
    chunk.ends
      ? sql`
    delete from dispatch_chunks c using dispatches d where ${isMovable(chunk)}`
      : sql`
    update dispatch_chunks c set next = ${chunk.to} from dispatches d where ${isMovable(chunk)}`,
  );
  return rowCount === 1;
}

function isMovable(chunk: Omit<Parameters<typeof moveChunk>[1], 'to' | 'ends'>): Sql {
  return sql`c.dispatch_id = ${chunk.dispatchId} and c.number = ${chunk.number} and c.worker_id = ${chunk.workerId}
      and c.next = ${chunk.from} and d.id = c.dispatch_id and d.state = ${chunk.state}`;
}

/**
 * Finishes the dispatches of which nothing is left to do: not open, no chunk, no window in flight, no retry. Returns
 * those it finished. A stopped one stays `stopped`.
 */
export async function finishDispatches(
  tx: Queryable,
): Promise<{ id: string; applicationId: string; campaignId: string | null; state: DispatchState }[]> {
  const { rows } = await tx.query(sql`
    update dispatches d set finished_at = now(), state = case when state = 'stopped' then 'stopped' else 'done' end
    where d.id in (
      select id from dispatches o
      where o.finished_at is null and o.state in ('running', 'stopped') and not o.open
        and not exists (select from dispatch_chunks c where c.dispatch_id = o.id)
        and not exists (select from send_windows w where w.dispatch_id = o.id)
        and not exists (select from retries r where r.dispatch_id = o.id)
      for update skip locked
    )
    returning d.id, d.application_id as "applicationId", d.campaign_id as "campaignId", d.state`);
  return rows;
}
