import type { Clock } from '../platform/clock.ts';
import type { Queryable } from '../platform/database.ts';
import type { Secrets } from '../platform/secrets.ts';
import type { DeliveryChannel, ProviderAccount } from './provider.ts';
import { type ProviderAccountRow, selectRoute } from './provider-account.sql.ts';

/** What a stored secret belongs to; see platform/secrets.ts. */
export function secretsContext(accountId: string): string {
  return `provider_accounts/${accountId}`;
}

/** An account as providers get it, its secrets decrypted. @throws Error when they cannot be. */
export function accountOfRow(row: ProviderAccountRow, secrets: Secrets): ProviderAccount {
  return {
    id: row.id,
    applicationId: row.application_id,
    channel: row.channel,
    provider: row.provider,
    name: row.name,
    settings: row.settings,
    secrets: row.secrets
      ? JSON.parse(secrets.decrypt(row.secrets, secretsContext(row.id)).toString('utf8'))
      : {},
    messagesPerSecond: row.messages_per_second,
    dailyLimit: row.daily_limit,
  };
}

export interface Routes {
  /**
   * The accounts that are tried for an application's messages, in this order: its own active ones, the shared active
   * ones, the server of POSTRIDER_SMTP_URL for e-mail. With none of them, the sandbox. An account that did not change
   * stays the same object. At most a second old.
   */
  routeFor(applicationId: string, channel: DeliveryChannel): Promise<ProviderAccount[]>;
  /** Forgets what is cached, after a change in this process; the others see it within the second. */
  invalidate(): void;
}

export interface RoutesOptions {
  database: Queryable;
  secrets: Secrets;
  clock: Clock;
  /** The account of POSTRIDER_SMTP_URL. */
  smtpUrlAccount?: ProviderAccount;
}

const cacheMs = 1000;
const maxCached = 10_000;

export function createRoutes(options: RoutesOptions): Routes {
  const { database, secrets, clock } = options;
  const cache = new Map<string, { at: number; route: Promise<ProviderAccount[]> }>();
  const known = new Map<string, { version: string; account: ProviderAccount }>();
  const sandboxes = new Map<DeliveryChannel, ProviderAccount>();

  function accountFor(row: ProviderAccountRow): ProviderAccount {
    const same = known.get(row.id);
    if (same?.version === row.version) return same.account;
    const account = accountOfRow(row, secrets);
    if (known.size >= maxCached) known.clear();
    known.set(row.id, { version: row.version, account });
    return account;
  }

  function lastResort(channel: DeliveryChannel): ProviderAccount[] {
    if (channel === 'EMAIL' && options.smtpUrlAccount) return [options.smtpUrlAccount];
    const sandbox = sandboxes.get(channel) ?? sandboxAccount(channel);
    sandboxes.set(channel, sandbox);
    return [sandbox];
  }

  async function read(applicationId: string, channel: DeliveryChannel): Promise<ProviderAccount[]> {
    const { rows } = await database.query<ProviderAccountRow>(selectRoute(applicationId, channel));
    const accounts = rows.map(accountFor);
    if (accounts.length === 0) return lastResort(channel);
    return channel === 'EMAIL' && options.smtpUrlAccount ? [...accounts, options.smtpUrlAccount] : accounts;
  }

  return {
    routeFor(applicationId, channel) {
      const key = `${channel} ${applicationId}`;
      const now = clock.now();
      const cached = cache.get(key);
      if (cached && now - cached.at < cacheMs && now >= cached.at) return cached.route;
      if (cache.size >= maxCached) cache.clear();
      const entry = { at: now, route: read(applicationId, channel) };
      cache.set(key, entry);
      // A failure is not kept: the next message asks again.
      entry.route.catch(() => {
        if (cache.get(key) === entry) cache.delete(key);
      });
      return entry.route;
    },
    invalidate: () => cache.clear(),
  };
}

/** The implicit sandbox: what serves a channel for which nobody has set anything up. */
function sandboxAccount(channel: DeliveryChannel): ProviderAccount {
  return {
    id: `sandbox-${channel.toLowerCase()}`,
    applicationId: null,
    channel,
    provider: 'sandbox',
    name: 'Sandbox',
    settings: {},
    secrets: {},
    messagesPerSecond: null,
    dailyLimit: null,
  };
}
