import sql, { empty, join, type Sql } from 'sql-template-tag';
import type { Queryable } from '../../platform/database.ts';
import { badMember } from '../../platform/errors.ts';
import type { Campaign } from './campaign.ts';

/** One page of a list, newest first; `next` is the `after` of the page that follows. */
export interface Page<Item> {
  items: Item[];
  next?: string;
}

const columns = sql`application_id as "applicationId", id, version, definition, inherited, state,
  state_reason as "stateReason", segment_version as "segmentVersion", next_run_at as "nextRunAt",
  dispatch_id as "dispatchId", created_at as "createdAt", modified_at as "modifiedAt"`;

export async function selectCampaign(
  db: Queryable,
  applicationId: string,
  id: string,
  options: { lock: boolean } = { lock: false },
): Promise<Campaign | undefined> {
  const { rows } = await db.query<Campaign>(sql`
    select ${columns} from campaigns where application_id = ${applicationId} and id = ${id}
    ${options.lock ? sql`for update` : empty}`);
  return rows[0];
}

export async function insertCampaign(
  tx: Queryable,
  campaign: Pick<
    Campaign,
    'applicationId' | 'id' | 'definition' | 'inherited' | 'state' | 'segmentVersion' | 'nextRunAt'
  >,
): Promise<Campaign> {
  const { rows } = await tx.query<Campaign>(sql`
    insert into campaigns (application_id, id, definition, inherited, state, segment_version, next_run_at)
    values (${campaign.applicationId}, ${campaign.id}, ${JSON.stringify(campaign.definition)},
            ${JSON.stringify(campaign.inherited)}, ${campaign.state}, ${campaign.segmentVersion}, ${campaign.nextRunAt})
    returning ${columns}`);
  await insertVersion(tx, rows[0]!);
  return rows[0]!;
}

/** Writes the next version of a campaign that the caller has locked. */
export async function updateCampaignRow(
  tx: Queryable,
  campaign: Pick<
    Campaign,
    'applicationId' | 'id' | 'definition' | 'state' | 'stateReason' | 'segmentVersion' | 'nextRunAt'
  >,
): Promise<Campaign> {
  const { rows } = await tx.query<Campaign>(sql`
    update campaigns set version = version + 1, definition = ${JSON.stringify(campaign.definition)},
      state = ${campaign.state}, state_reason = ${campaign.stateReason}, segment_version = ${campaign.segmentVersion},
      next_run_at = ${campaign.nextRunAt}, modified_at = greatest(now(), modified_at + interval '1 millisecond')
    where application_id = ${campaign.applicationId} and id = ${campaign.id}
    returning ${columns}`);
  await insertVersion(tx, rows[0]!);
  return rows[0]!;
}

async function insertVersion(tx: Queryable, campaign: Campaign): Promise<void> {
  await tx.query(sql`
    insert into campaign_versions (application_id, campaign_id, version, definition, state, segment_version, modified_at)
    values (${campaign.applicationId}, ${campaign.id}, ${campaign.version}, ${JSON.stringify(campaign.definition)},
            ${campaign.state}, ${campaign.segmentVersion}, ${campaign.modifiedAt})`);
}

/** Versions, activities and counters go with it; the message log keeps its rows. */
export async function deleteCampaignRow(tx: Queryable, applicationId: string, id: string): Promise<void> {
  await tx.query(sql`delete from campaigns where application_id = ${applicationId} and id = ${id}`);
}

/** Campaigns of an application, newest first. */
export async function selectCampaigns(
  db: Queryable,
  applicationId: string,
  page: { limit: number; after?: string },
): Promise<Page<Campaign>> {
  const after = page.after === undefined ? undefined : parseKey(page.after);
  const { rows } = await db.query<Campaign & { key: string }>(sql`
    select ${columns}, created_at::text || ' ' || id as key from campaigns
    where application_id = ${applicationId}
      ${after ? sql`and (created_at, id) < (${after.createdAt}::timestamptz, ${after.id})` : empty}
    order by created_at desc, id desc limit ${page.limit + 1}`);
  return cut(rows, page.limit, (row) => row.key);
}

/** `2026-11-21 21:26:33.995123+00 <id>`: the whole precision of the column, which a Date would lose. */
function parseKey(key: string): { createdAt: string; id: string } {
  const match = /^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?\+00) ([0-9a-f]{32})$/.exec(key);
  if (!match) throw badMember('token', 'expected the NextToken of an earlier answer to the same list');
  return { createdAt: match[1]!, id: match[2]! };
}

function cut<Row>(rows: Row[], limit: number, key: (row: Row) => string): Page<Row> {
  const items = rows.slice(0, limit);
  return rows.length > limit ? { items, next: key(items.at(-1)!) } : { items };
}

const versionColumns = sql`c.application_id as "applicationId", c.id, v.version, v.definition, c.inherited,
  case when v.version = c.version then c.state else v.state end as state,
  case when v.version = c.version then c.state_reason end as "stateReason",
  v.segment_version as "segmentVersion", c.next_run_at as "nextRunAt", c.dispatch_id as "dispatchId",
  c.created_at as "createdAt", v.modified_at as "modifiedAt"`;

function fromVersions(applicationId: string, id: string, where: Sql): Sql {
  return sql`select ${versionColumns} from campaigns c
    join campaign_versions v on v.application_id = c.application_id and v.campaign_id = c.id
    where c.application_id = ${applicationId} and c.id = ${id} and ${where}`;
}

/** A version as it was written; the newest one has the campaign's present state. */
export async function selectVersion(
  db: Queryable,
  applicationId: string,
  id: string,
  version: number,
): Promise<Campaign | undefined> {
  const { rows } = await db.query<Campaign>(fromVersions(applicationId, id, sql`v.version = ${version}`));
  return rows[0];
}

/** All versions of a campaign, newest first. */
export async function selectVersions(
  db: Queryable,
  applicationId: string,
  id: string,
  page: { limit: number; after?: string },
): Promise<Page<Campaign>> {
  const before = page.after === undefined ? 2_147_483_647 : parseVersion(page.after);
  if (before === undefined)
    throw badMember('token', 'expected the NextToken of an earlier answer to the same list');
  const { rows } = await db.query<Campaign>(
    join(
      [
        fromVersions(applicationId, id, sql`v.version < ${before}`),
        sql`order by v.version desc limit ${page.limit + 1}`,
      ],
      ' ',
    ),
  );
  return cut(rows, page.limit, (row) => String(row.version));
}

/** The number that a version's name stands for; undefined when it can be none. */
export function parseVersion(text: string): number | undefined {
  return /^[1-9]\d{0,8}$/.test(text) ? Number(text) : undefined;
}

/**
 * Marks what cannot run any more because its segment was deleted; a run in progress has its audience and goes on.
 * (`triggers.ts` stops what events trigger.)
 */
export async function markIdleDeleted(
  tx: Queryable,
  applicationId: string,
  segmentId: string,
): Promise<void> {
  await tx.query(sql`
    update campaigns set state = 'DELETED', state_reason = ${`Segment ${segmentId} was deleted`}, next_run_at = null
    where application_id = ${applicationId} and definition->>'SegmentId' = ${segmentId}
      and state in ('SCHEDULED', 'PAUSED', 'EXECUTING') and dispatch_id is null`);
}
