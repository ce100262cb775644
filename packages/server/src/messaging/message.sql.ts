import sql, { empty, join, type Sql } from 'sql-template-tag';
import { maskSecrets } from '../content/index.ts';
import type { Queryable } from '../platform/database.ts';
import { badMember, notFound } from '../platform/errors.ts';
import { firstIdAt, uuidDay } from '../platform/ids.ts';
import type { Dispatch } from './dispatch.ts';
import { addressKey, decisions } from './policy.ts';
import { type DeliveryChannel, deliveryChannels } from './provider.ts';

/** What became of a message that was to be sent; a message that was held back has its decision as status. */
export const outcomeStatuses = [
  'sending',
  'deferred',
  'in_doubt',
  'sent',
  'failed',
  'expired',
  'delivered',
  'bounced',
  'complained',
] as const;

const statuses = new Set<string>([...outcomeStatuses, ...decisions]);

/**
 * The standing of each kind of fact (opens and clicks say nothing about where a message is): the highest one is the message's status; among those of standing 1 (nothing is
 * settled yet) the latest.
 */
const standing = sql`case e.type
  when 'message.complained' then 6 when 'message.bounced' then 5 when 'message.delivered' then 4
  when 'message.sent' then 3 when 'message.failed' then 3 when 'message.expired' then 3 else 1 end`;

/** `resent` waits for its attempt like a deferred one. */
const statusOfFact = sql`case e.type when 'message.resent' then 'deferred' else substr(e.type, 9) end`;

const latestFact = sql`left join lateral (
    select ${statusOfFact} as status, e.occurred_at, e.payload
    from events e where e.message_id = m.id and e.day >= m.day and e.type like 'message.%'
      and e.type not in ('message.opened', 'message.clicked')
    order by ${standing} desc, e.occurred_at desc limit 1
  ) f on true`;

/** A message in the log, without its words beyond the masked summary. */
export interface MessageSummary {
  id: string;
  at: Date;
  channel: string;
  address: string;
  endpointId: string | null;
  userId: string | null;
  dispatchId: string;
  campaignId: string | null;
  treatmentId: string | null;
  /** The event that it is about, of an event-triggered campaign: the client's id of it. */
  eventId: string | null;
  status: string;
  detail: string | null;
  summary: string | null;
  providerMessageId: string | null;
}

const messageColumns = sql`m.id, m.channel, m.address, m.endpoint_id as "endpointId", m.user_id as "userId",
  m.dispatch_id as "dispatchId", m.campaign_id as "campaignId", m.treatment_id as "treatmentId", m.event_id as "eventId",
  case when m.decision = 'sending' then coalesce(f.status, 'sending') else m.decision end as status,
  coalesce(m.detail, f.payload->>'response') as detail, m.summary,
  f.payload->>'providerMessageId' as "providerMessageId"`;

export interface MessageFilter {
  address?: string;
  endpointId?: string;
  campaignId?: string;
  dispatchId?: string;
  status?: string;
  from?: Date;
  to?: Date;
  providerMessageId?: string;
}

export interface MessagePage {
  items: MessageSummary[];
  /** Id of the last message of this page, when there may be more. */
  next: string | null;
}

/**
 * Messages of an application, newest first. All filters are ANDed.
 * @throws CallerError bad_request for an unknown status
 */
export async function searchMessages(
  db: Queryable,
  applicationId: string,
  filter: MessageFilter,
  page: { limit: number; before?: string },
): Promise<MessagePage> {
  if (filter.status !== undefined && !statuses.has(filter.status)) {
    throw badMember('$.status', `expected one of ${[...statuses].join(', ')}`);
  }
  const conditions: Sql[] = [sql`m.application_id = ${applicationId}`];
  const add = (value: unknown, condition: Sql) => {
    if (value !== undefined) conditions.push(condition);
  };
  // Whatever its case, as mail servers do; a device token that differs in nothing else is found as well.
  add(filter.address, sql`lower(m.address) = lower(${filter.address})`);
  add(filter.endpointId, sql`m.endpoint_id = ${filter.endpointId}`);
  add(filter.campaignId, sql`m.campaign_id = ${filter.campaignId}`);
  add(
    filter.campaignId,
    sql`m.dispatch_id in (select id from dispatches where application_id = ${applicationId} and campaign_id = ${filter.campaignId})`,
  );
  add(filter.dispatchId, sql`m.dispatch_id = ${filter.dispatchId}`);
  const from = filter.from && firstIdAt(filter.from.getTime());
  const to = filter.to && firstIdAt(filter.to.getTime());
  add(from, sql`m.day >= ${from && uuidDay(from)} and m.id >= ${from}`);
  add(to, sql`m.day <= ${to && uuidDay(to)} and m.id < ${to}`);
  add(page.before, sql`m.day <= ${page.before && uuidDay(page.before)} and m.id < ${page.before}`);
  if (filter.providerMessageId !== undefined) {
    conditions.push(sql`m.id in (${byProviderMessageId(applicationId, filter.providerMessageId)})`);
  }
  const status = filter.status === undefined ? empty : statusCondition(applicationId, filter);
  const { rows } = await db.query<Omit<MessageSummary, 'at'>>(sql`
    select ${messageColumns} from messages m ${latestFact}
    where ${join(conditions, ' and ')} ${status}
    order by m.id desc limit ${page.limit + 1}`);
  const items = rows.slice(0, page.limit).map(summaryOf);
  return { items, next: rows.length > page.limit ? items.at(-1)!.id : null };
}

function byProviderMessageId(applicationId: string, providerMessageId: string): Sql {
  return sql`select message_id from events
    where application_id = ${applicationId} and type in ('message.sent', 'message.in_doubt')
      and payload->>'providerMessageId' = ${providerMessageId}`;
}

/** Held messages by their decision; the others by facts of that kind first, so that a rare status is found quickly. */
function statusCondition(applicationId: string, { status }: MessageFilter): Sql {
  if (decisions.some((decision) => decision === status) && status !== 'sending' && status !== 'expired') {
    return sql`and m.decision = ${status}`;
  }
  const current = sql`(case when m.decision = 'sending' then coalesce(f.status, 'sending') else m.decision end) = ${status}`;
  if (status === 'sending' || status === 'sent' || status === 'expired') return sql`and ${current}`;
  const types = status === 'deferred' ? ['message.deferred', 'message.resent'] : [`message.${status}`];
  return sql`and m.id in (select message_id from events where application_id = ${applicationId} and type = any(${types}))
    and ${current}`;
}

function summaryOf(row: Omit<MessageSummary, 'at'>): MessageSummary {
  return { ...row, at: new Date(Number.parseInt(row.id.slice(0, 8) + row.id.slice(9, 13), 16)) };
}

export interface TimelineEntry {
  at: Date;
  /** `decided`, `sent`, `deferred`, `bounced` … */
  event: string;
  attempt?: number;
  account?: string;
  code?: number;
  /** The provider's own words, or ours. Codes and secrets masked. */
  words?: string;
  providerMessageId?: string;
  retryAt?: string;
  bounce?: string;
  /** Of `opened` and `clicked`: a program did it, not a person. */
  machine?: boolean;
  url?: string;
  userAgent?: string;
}

export interface MessageDetail extends MessageSummary {
  timeline: TimelineEntry[];
  context: Record<string, string>;
}

/**
 * One message with everything that happened to it, oldest first.
 * @throws CallerError not_found
 */
export async function getMessage(db: Queryable, applicationId: string, id: string): Promise<MessageDetail> {
  if (!/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/.test(id))
    throw notFound('Message', id);
  const { rows } = await db.query<
    Omit<MessageDetail, 'at' | 'timeline'> & { decision: string; context: Record<string, string> | null }
  >(sql`
    select ${messageColumns}, m.decision, d.plan->'context' as context
    from messages m ${latestFact} left join dispatches d on d.id = m.dispatch_id
    where m.application_id = ${applicationId} and m.id = ${id} and m.day = ${uuidDay(id)}`);
  const row = rows[0];
  if (!row) throw notFound('Message', id);
  const { decision, ...message } = row;
  const summary = summaryOf(message);
  const { rows: facts } = await db.query<{
    type: string;
    at: Date;
    payload: Record<string, unknown>;
    account: string | null;
  }>(sql`
    select e.type, e.occurred_at as at, e.payload, a.name as account
    from events e left join provider_accounts a on a.id = e.payload->>'accountId'
    where e.message_id = ${id} and e.day >= ${uuidDay(id)} order by e.occurred_at, e.batch_id, e.seq`);
  const decided: TimelineEntry = {
    at: summary.at,
    event: 'decided',
    words: decision === 'sending' ? 'To be sent' : [decision, row.detail].filter(Boolean).join(': '),
  };
  return {
    ...summary,
    context: row.context ?? {},
    timeline: [decided, ...inOrder(facts.map((fact) => entryOf(fact)))],
  };
}

/** By time, but what a provider reports about a message comes after it has taken it, whatever its clock says. */
function inOrder(entries: TimelineEntry[]): TimelineEntry[] {
  const sent = entries.find(({ event }) => event === 'sent')?.at.getTime() ?? 0;
  const timeOf = ({ at, attempt }: TimelineEntry) =>
    attempt === undefined ? Math.max(at.getTime(), sent + 1) : at.getTime();
  return entries.toSorted((a, b) => timeOf(a) - timeOf(b));
}

function entryOf(fact: {
  type: string;
  at: Date;
  payload: Record<string, unknown>;
  account: string | null;
}): TimelineEntry {
  const { payload } = fact;
  return {
    at: fact.at,
    event: fact.type.slice('message.'.length),
    attempt: payload.attempt as number | undefined,
    account: fact.account ?? (payload.accountId as string | undefined),
    code: payload.code as number | undefined,
    words: payload.response === undefined ? undefined : maskSecrets(String(payload.response)),
    providerMessageId: payload.providerMessageId as string | undefined,
    retryAt: payload.retryAt as string | undefined,
    bounce: payload.bounce as string | undefined,
    machine: payload.machine as boolean | undefined,
    url: payload.url as string | undefined,
    userAgent: payload.userAgent as string | undefined,
  };
}

/**
 * Which of these addresses this dispatch has already sent to, whatever their case; keys as policy's `taken` has them.
 * Each address is looked up by itself: for a list, PostgreSQL would read all of the dispatch on a day without statistics.
 */
export async function takenAddresses(
  db: Queryable,
  dispatch: Pick<Dispatch, 'id' | 'applicationId' | 'createdAt'>,
  addresses: string[],
): Promise<Set<string>> {
  if (addresses.length === 0) return new Set();
  const { rows } = await db.query<{ channel: DeliveryChannel; address: string }>(sql`
    select m.channel, m.address
    from unnest(${addresses}::text[]) as asked
    cross join lateral (
      select channel, address from messages
      where application_id = ${dispatch.applicationId} and lower(address) = lower(asked) and id > ${dispatch.id}
        and dispatch_id = ${dispatch.id} and decision = 'sending'
        and day >= ${dispatch.createdAt.toISOString().slice(0, 10)}
      limit ${deliveryChannels.length}
    ) m`);
  return new Set(rows.map(({ channel, address }) => addressKey(channel, address)));
}
