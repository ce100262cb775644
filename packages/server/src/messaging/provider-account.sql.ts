import sql, { empty, type Sql } from 'sql-template-tag';
import type { DeliveryChannel } from './provider.ts';

export type ProviderAccountState = 'draft' | 'active' | 'disabled';

export interface ProviderAccountRow {
  id: string;
  application_id: string | null;
  channel: DeliveryChannel;
  provider: string;
  name: string;
  settings: Record<string, unknown>;
  /** Encrypted JSON of the secret settings; null when there are none. */
  secrets: Buffer | null;
  priority: number;
  state: ProviderAccountState;
  messages_per_second: number | null;
  daily_limit: number | null;
  created_at: Date;
  modified_at: Date;
  /** Changes with every change of the row. */
  version: string;
  /** Reserved of today's daily limit. */
  sent_today: number;
}

const columns = sql`
  a.id, a.application_id, a.channel, a.provider, a.name, a.settings, a.secrets, a.priority, a.state,
  a.messages_per_second, a.daily_limit, a.created_at, a.modified_at, a.modified_at::text as version,
  coalesce((select d.sent from provider_account_days d
            where d.account_id = a.id and d.day = (now() at time zone 'utc')::date), 0) as sent_today`;

export function insertProviderAccount(
  row: Omit<ProviderAccountRow, 'created_at' | 'modified_at' | 'version' | 'sent_today'>,
): Sql {
  return sql`
    insert into provider_accounts (
      id, application_id, channel, provider, name, settings, secrets, priority, state, messages_per_second, daily_limit)
    values (
      ${row.id}, ${row.application_id}, ${row.channel}, ${row.provider}, ${row.name}, ${JSON.stringify(row.settings)},
      ${row.secrets}, ${row.priority}, ${row.state}, ${row.messages_per_second}, ${row.daily_limit})`;
}

export function updateProviderAccountRow(
  row: Pick<
    ProviderAccountRow,
    'id' | 'name' | 'settings' | 'secrets' | 'priority' | 'state' | 'messages_per_second' | 'daily_limit'
  >,
): Sql {
  return sql`
    update provider_accounts set
      name = ${row.name}, settings = ${JSON.stringify(row.settings)}, secrets = ${row.secrets},
      priority = ${row.priority}, state = ${row.state}, messages_per_second = ${row.messages_per_second},
      daily_limit = ${row.daily_limit}, modified_at = clock_timestamp()
    where id = ${row.id}`;
}

export function selectProviderAccount(id: string, lock: 'for update' | 'no lock'): Sql {
  return sql`select ${columns} from provider_accounts a where id = ${id} ${lock === 'for update' ? sql`for update of a` : empty}`;
}

/** Those of one application, those shared by all (null), or every account (undefined), in the order of trying. */
export function selectProviderAccounts(applicationId: string | null | undefined): Sql {
  const condition =
    applicationId === undefined
      ? empty
      : applicationId === null
        ? sql`where application_id is null`
        : sql`where application_id = ${applicationId}`;
  return sql`
    select ${columns} from provider_accounts a ${condition}
    order by channel, application_id nulls last, priority, created_at, id`;
}

/** Accounts that are tried for an application's messages: its own first, then the shared ones. */
export function selectRoute(applicationId: string, channel: DeliveryChannel): Sql {
  return sql`
    select ${columns} from provider_accounts a
    where channel = ${channel} and state = 'active' and (application_id = ${applicationId} or application_id is null)
    order by application_id nulls last, priority, created_at, id`;
}

export function deleteProviderAccountRow(id: string): Sql {
  return sql`delete from provider_accounts where id = ${id}`;
}

/** The account's counter of today (UTC), locked. */
export function lockProviderAccountDay(accountId: string): Sql {
  return sql`
    insert into provider_account_days as d (account_id, day, sent)
    select id, (clock_timestamp() at time zone 'utc')::date, 0 from provider_accounts where id = ${accountId}
    on conflict (account_id, day) do update set sent = d.sent
    returning day, sent, (select daily_limit from provider_accounts where id = ${accountId}) as daily_limit`;
}

export function addToProviderAccountDay(accountId: string, day: string, count: number): Sql {
  return sql`
    update provider_account_days set sent = sent + ${count} where account_id = ${accountId} and day = ${day}::date`;
}
