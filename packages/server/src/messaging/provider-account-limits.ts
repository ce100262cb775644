import type { Database, Transaction } from '../platform/database.ts';
import type { ProviderAccount } from './provider.ts';
import { addToProviderAccountDay, lockProviderAccountDay } from './provider-account.sql.ts';
import { type Lease, leaseRate } from './rate.sql.ts';

/** Keeps the accounts' rates and daily limits, over all processes. */
export function createAccountLimits(database: Database): {
  lease(account: ProviderAccount, wanted: number): Promise<Lease>;
  reserveDaily(account: ProviderAccount, wanted: number): Promise<number>;
} {
  return {
    async lease(account, wanted) {
      if (account.messagesPerSecond === null) return { granted: wanted, waitMs: 0 };
      return leaseRate(database, `account:${account.id}`, account.messagesPerSecond, wanted);
    },
    async reserveDaily(account, wanted) {
      if (account.dailyLimit === null) return wanted;
      return database.transaction((tx) => reserveAccountDay(tx, account.id, wanted));
    },
  };
}

/**
 * Reserves up to `wanted` messages of the account's daily limit (days of UTC, by the database's clock); returns how many
 * there is room for. The day's counter is locked until the end of the transaction. An account without a limit, or
 * without a row (the implicit ones), grants all.
 */
export async function reserveAccountDay(tx: Transaction, accountId: string, wanted: number): Promise<number> {
  if (wanted <= 0) return 0;
  const { rows } = await tx.query<{ day: string; sent: number; daily_limit: number | null }>(
    lockProviderAccountDay(accountId),
  );
  const today = rows[0];
  if (!today) return wanted;
  const granted =
    today.daily_limit === null ? wanted : Math.max(0, Math.min(wanted, today.daily_limit - today.sent));
  if (granted > 0) await tx.query(addToProviderAccountDay(accountId, today.day, granted));
  return granted;
}
