import sql, { empty, join, type Sql } from 'sql-template-tag';
import { firstIdAt, uuidDay } from '../platform/ids.ts';
import type { KpiGroup, KpiMessages } from './kpi-names.ts';
import { outcomeBits } from './kpi-results.sql.ts';

/** What is counted of a set of messages. Everything below `attempted` is of those that a provider accepted. */
export interface KpiFigures {
  /** The group's key; empty when there is none. */
  key: string;
  attempted: number;
  sent: number;
  hardBounced: number;
  softBounced: number;
  complained: number;
  /** Messages that a person opened, and all openings by people. */
  opened: number;
  opens: number;
  clicks: number;
  /** Distinct recipients: of messages that were delivered, opened, clicked; of no meaning unless asked for. */
  uniqueDeliveries: number;
  uniqueOpens: number;
  uniqueClicks: number;
  machineOpens: number;
  machineClicks: number;
}

export interface KpiQuery {
  applicationId: string;
  campaignId?: string;
  messages: KpiMessages;
  group?: KpiGroup;
  /** When the messages were made: milliseconds, `from` included, `to` not. */
  from: number;
  to: number;
  timeZone: string;
  /** Distinct recipients are counted too, which takes longer. */
  distinct?: boolean;
}

const { sent, delivered, hardBounced, otherwiseBounced, complained } = outcomeBits;

/** A provider took it: it said so, or reported something that it can only report about what it took. */
const isSent = sql`r.outcomes & ${sent | delivered | hardBounced | otherwiseBounced | complained} <> 0`;
const isHard = sql`r.outcomes & ${hardBounced} <> 0`;
const isSoft = sql`r.outcomes & ${hardBounced | otherwiseBounced} = ${otherwiseBounced}`;

const ofMessages: Record<KpiMessages, Sql> = {
  campaign: sql`r.kind = 'campaign'`,
  campaignEmail: sql`r.kind = 'campaign' and r.channel = 'EMAIL'`,
  directEmail: sql`r.kind = 'direct' and r.channel = 'EMAIL'`,
  directSms: sql`r.kind = 'direct' and r.channel = 'SMS'`,
};

/** A bounce takes a delivery back: for campaigns a hard one, for direct messages any. */
function isDelivered(messages: KpiMessages): Sql {
  return messages.startsWith('campaign')
    ? sql`(${isSent} and not ${isHard})`
    : sql`(${isSent} and r.outcomes & ${hardBounced | otherwiseBounced} = 0)`;
}

/** First by recipient, where distinct ones are asked for, then by group: distinct counts without sorting all rows. */
export function selectKpis(query: KpiQuery): Sql {
  const { applicationId, campaignId, messages, group, distinct } = query;
  const [from, to] = [firstIdAt(query.from), firstIdAt(query.to)];
  const conditions = [
    sql`r.application_id = ${applicationId}`,
    sql`r.message_id >= ${from}::uuid and r.message_id < ${to}::uuid`,
    sql`r.day between ${uuidDay(from)}::date and ${uuidDay(to)}::date`,
    ofMessages[messages],
    ...(campaignId === undefined ? [] : [sql`r.campaign_id = ${campaignId}`]),
    ...(group === 'error' ? [sql`r.error_code is not null`] : []),
  ];
  const delivered = isDelivered(messages);
  return sql`
    select key::text as key, sum(attempted)::int8 as attempted, sum(sent)::int8 as sent,
      sum(hard)::int8 as "hardBounced", sum(soft)::int8 as "softBounced", sum(complained)::int8 as complained,
      sum(opened)::int8 as opened, sum(opens)::int8 as opens, sum(clicks)::int8 as clicks,
      sum(machine_opens)::int8 as "machineOpens", sum(machine_clicks)::int8 as "machineClicks",
      count(*) filter (where delivered > 0) as "uniqueDeliveries", count(*) filter (where opens > 0) as "uniqueOpens",
      count(*) filter (where clicks > 0) as "uniqueClicks"
    from (
      select ${keyOf(query)} as key, ${distinct ? sql`r.recipient` : sql`null::uuid`} as recipient,
        count(*) as attempted, count(*) filter (where ${isSent}) as sent, count(*) filter (where ${isHard}) as hard,
        count(*) filter (where ${isSoft}) as soft,
        count(*) filter (where r.outcomes & ${complained} <> 0) as complained,
        count(*) filter (where ${delivered}) as delivered,
        count(*) filter (where r.opens > 0 and ${delivered}) as opened, sum(r.opens) as opens, sum(r.clicks) as clicks,
        sum(r.machine_opens) as machine_opens, sum(r.machine_clicks) as machine_clicks
      from message_results r ${group === 'activity' ? activities(applicationId) : empty}
      where ${join(conditions, ' and ')}
      group by 1, 2
    ) recipients
    group by recipients.key order by recipients.key`;
}

/** The run that a message belongs to: that of its dispatch and treatment. */
function activities(applicationId: string): Sql {
  return sql`left join campaign_activities a on a.application_id = ${applicationId} and a.campaign_id = r.campaign_id
    and a.dispatch_id = r.dispatch_id and a.treatment_id = coalesce(r.treatment_id, '0')`;
}

function keyOf({ group, timeZone }: KpiQuery): Sql {
  switch (group) {
    case 'campaign':
      return sql`r.campaign_id`;
    case 'activity':
      return sql`coalesce(a.id, replace(r.dispatch_id::text, '-', '')) collate "C"`;
    case 'date':
      return sql`(uuid_extract_timestamp(r.message_id) at time zone ${timeZone}::text)::date`;
    case 'error':
      return sql`r.error_code::text`;
    default:
      return sql`''::text`;
  }
}
