import type { Database, Queryable } from '../platform/database.ts';
import { badMember, CallerError, notFound } from '../platform/errors.ts';
import { hexId, uuidv7 } from '../platform/ids.ts';
import type { Secrets } from '../platform/secrets.ts';
import {
  type AttemptResult,
  type DeliveryChannel,
  deliveryChannels,
  type MessageContent,
  type Provider,
  type ProviderAccount,
  type ProviderContext,
} from './provider.ts';
import {
  deleteProviderAccountRow,
  insertProviderAccount,
  type ProviderAccountRow,
  type ProviderAccountState,
  selectProviderAccount,
  selectProviderAccounts,
  updateProviderAccountRow,
} from './provider-account.sql.ts';
import { type AccountSettings, checkText, mergeSettings } from './provider-account-fields.ts';
import { accountOfRow, type Routes, secretsContext } from './provider-account-route.ts';

/** An account as it is shown: of secret settings only the names. */
export interface ProviderAccountView {
  id: string;
  /** Null serves every application. */
  applicationId: string | null;
  channel: DeliveryChannel;
  provider: string;
  name: string;
  settings: Record<string, unknown>;
  secretsSet: string[];
  /** Lower is tried first. */
  priority: number;
  state: ProviderAccountState;
  messagesPerSecond: number | null;
  dailyLimit: number | null;
  /** Counted for accounts with a daily limit only; the day is UTC's. */
  sentToday: number;
  createdAt: Date;
  modifiedAt: Date;
}

/** What can be changed. In `settings`, secret or not, null removes a member and an absent one stays. */
export interface ProviderAccountPatch {
  name?: string;
  settings?: Record<string, unknown>;
  priority?: number;
  messagesPerSecond?: number | null;
  dailyLimit?: number | null;
}

export interface NewProviderAccount extends ProviderAccountPatch {
  applicationId: string | null;
  channel: string;
  provider: string;
  name: string;
}

export interface TestMessage {
  address: string;
  /** Sender of an e-mail, sender id or number of a text. */
  from?: string;
  /** Whose inbox a sandbox stores the message in, for a shared account. */
  applicationId?: string;
}

export interface ProviderAccountsOptions {
  database: Database;
  secrets: Secrets;
  providers: readonly Provider[];
  routes: Routes;
}

const maxPriority = 1_000_000;
const maxRate = 1_000_000;
const maxDailyLimit = 2_000_000_000;
const testTimeoutMs = 60_000;

/** The accounts at providers: created as a draft, tried by a test message, then put into the route. */
export class ProviderAccounts {
  readonly #options: ProviderAccountsOptions;

  constructor(options: ProviderAccountsOptions) {
    this.#options = options;
  }

  /** @throws CallerError with the path of the member at fault */
  async create(input: NewProviderAccount): Promise<ProviderAccountView> {
    const channel = deliveryChannels.find((known) => known === input.channel);
    if (!channel) throw badMember('$.channel', `expected one of ${deliveryChannels.join(', ')}`);
    const provider = this.#provider(input.provider);
    if (!provider.channels.includes(channel))
      throw badMember('$.channel', `${provider.name} serves ${provider.channels.join(', ')}`);
    const id = hexId();
    const settings = mergeSettings(provider, { settings: {}, secrets: {} }, settingsOf(input));
    const row = {
      id,
      application_id: input.applicationId,
      channel,
      provider: provider.name,
      ...patchedColumns(input, { priority: 100, messages_per_second: null, daily_limit: null, name: '' }),
      settings: settings.settings,
      secrets: this.#sealed(id, settings),
      state: 'draft' as const,
    };
    try {
      await this.#options.database.query(insertProviderAccount(row));
    } catch (error) {
      if ((error as { code?: string }).code === '23503')
        throw notFound('Application', String(input.applicationId));
      throw error;
    }
    return this.get(id);
  }

  /** @throws CallerError not_found */
  async get(id: string): Promise<ProviderAccountView> {
    return this.#viewOf(await this.#row(this.#options.database, id));
  }

  /** Of one application, the shared ones (null), or all (undefined); in the order in which they are tried. */
  async list(applicationId?: string | null): Promise<ProviderAccountView[]> {
    const { rows } = await this.#options.database.query<ProviderAccountRow>(
      selectProviderAccounts(applicationId),
    );
    return rows.map((row) => this.#viewOf(row));
  }

  /** @throws CallerError with the path of the member at fault; then nothing was changed */
  update(id: string, patch: ProviderAccountPatch): Promise<ProviderAccountView> {
    return this.#change(id, (row) => {
      const stored = { settings: row.settings, secrets: this.#secretsOf(row) };
      const settings =
        patch.settings === undefined
          ? stored
          : mergeSettings(this.#provider(row.provider), stored, settingsOf(patch));
      return {
        ...row,
        ...patchedColumns(patch, row),
        settings: settings.settings,
        secrets: this.#sealed(row.id, settings),
      };
    });
  }

  /** Puts the account into the route of its applications. */
  activate(id: string): Promise<ProviderAccountView> {
    return this.#change(id, (row) => {
      // Settings that were valid for an older version may lack a member today.
      mergeSettings(
        this.#provider(row.provider),
        { settings: row.settings, secrets: this.#secretsOf(row) },
        {},
      );
      return { ...row, state: 'active' };
    });
  }

  /** Takes it out of the route: messages that are not under way go elsewhere. A draft stays one. */
  disable(id: string): Promise<ProviderAccountView> {
    return this.#change(id, (row) => ({ ...row, state: row.state === 'draft' ? 'draft' : 'disabled' }));
  }

  /** @throws CallerError not_found */
  async remove(id: string): Promise<void> {
    const { rowCount } = await this.#options.database.query(deleteProviderAccountRow(id));
    if (rowCount === 0) throw notFound('Provider account', id);
    this.#options.routes.invalidate();
  }

  /**
   * Logs in and sends one message with this account, whatever its state. It appears in no log and no count.
   * @returns the provider's verdict; `deferred` with its words when it could not be used
   */
  async testSend(id: string, test: TestMessage, context: ProviderContext): Promise<AttemptResult> {
    const row = await this.#row(this.#options.database, id);
    const account = accountOfRow(row, this.#options.secrets);
    const message = {
      id: uuidv7(),
      applicationId: test.applicationId ?? row.application_id ?? '',
      channel: row.channel,
      address: checkText(test.address, '$.address', 2000),
      attempt: 1,
      content: testContent(row.channel, test.from, account),
    };
    const session = this.#provider(row.provider).open(
      account,
      { ...context, receive: () => Promise.resolve() },
      { maxConnections: 1 },
    );
    try {
      const [result] = await session.send([message], AbortSignal.timeout(testTimeoutMs));
      return result!;
    } finally {
      await session.close();
    }
  }

  #provider(name: string): Provider {
    const provider = this.#options.providers.find((known) => known.name === name);
    if (provider) return provider;
    const names = this.#options.providers.map((known) => known.name).join(', ');
    throw badMember('$.provider', `expected one of ${names}`);
  }

  async #row(
    db: Queryable,
    id: string,
    lock: 'for update' | 'no lock' = 'no lock',
  ): Promise<ProviderAccountRow> {
    const { rows } = await db.query<ProviderAccountRow>(selectProviderAccount(id, lock));
    if (!rows[0]) throw notFound('Provider account', id);
    return rows[0];
  }

  async #change(
    id: string,
    change: (row: ProviderAccountRow) => ProviderAccountRow,
  ): Promise<ProviderAccountView> {
    await this.#options.database.transaction(async (tx) => {
      await tx.query(updateProviderAccountRow(change(await this.#row(tx, id, 'for update'))));
    });
    this.#options.routes.invalidate();
    return this.get(id);
  }

  #secretsOf(row: ProviderAccountRow): Record<string, string> {
    return accountOfRow(row, this.#options.secrets).secrets;
  }

  #sealed(id: string, { secrets }: AccountSettings): Buffer | null {
    if (Object.keys(secrets).length === 0) return null;
    return this.#options.secrets.encrypt(JSON.stringify(secrets), secretsContext(id));
  }

  #viewOf(row: ProviderAccountRow): ProviderAccountView {
    return {
      id: row.id,
      applicationId: row.application_id,
      channel: row.channel,
      provider: row.provider,
      name: row.name,
      settings: row.settings,
      secretsSet: Object.keys(this.#secretsOf(row)).sort(),
      priority: row.priority,
      state: row.state,
      messagesPerSecond: row.messages_per_second,
      dailyLimit: row.daily_limit,
      sentToday: row.sent_today,
      createdAt: row.created_at,
      modifiedAt: row.modified_at,
    };
  }
}

function settingsOf(input: ProviderAccountPatch): Record<string, unknown> {
  const { settings } = input;
  if (settings === undefined) return {};
  if (settings === null || typeof settings !== 'object' || Array.isArray(settings))
    throw badMember('$.settings', 'expected an object');
  return settings;
}

type PatchedColumns = Pick<ProviderAccountRow, 'name' | 'priority' | 'messages_per_second' | 'daily_limit'>;

function patchedColumns(patch: ProviderAccountPatch, row: PatchedColumns): PatchedColumns {
  const { name, priority, messagesPerSecond, dailyLimit } = patch;
  return {
    name: name === undefined && row.name ? row.name : checkText(name, '$.name', 200),
    priority: priority === undefined ? row.priority : wholeNumber(priority, '$.priority', 0, maxPriority),
    messages_per_second:
      messagesPerSecond === undefined
        ? row.messages_per_second
        : limit(messagesPerSecond, '$.messagesPerSecond', maxRate),
    daily_limit:
      dailyLimit === undefined ? row.daily_limit : limit(dailyLimit, '$.dailyLimit', maxDailyLimit),
  };
}

function limit(value: number | null, path: string, maximum: number): number | null {
  return value === null ? null : wholeNumber(value, path, 1, maximum);
}

function wholeNumber(value: number, path: string, minimum: number, maximum: number): number {
  if (!Number.isSafeInteger(value) || value < minimum || value > maximum)
    throw badMember(path, `expected a whole number from ${minimum} to ${maximum}`);
  return value;
}

const testSubject = 'Test message from Postrider';
const testText = 'This is a test message of a provider account. It works.';

function testContent(
  channel: DeliveryChannel,
  from: string | undefined,
  account: ProviderAccount,
): MessageContent {
  switch (channel) {
    case 'EMAIL':
      if (!from) throw badMember('$.from', 'expected the sender of the test mail');
      return {
        kind: 'email',
        from: checkText(from, '$.from', 500),
        subject: testSubject,
        text: `${testText}\n\nAccount: ${account.name}\n`,
        headers: [{ name: 'Auto-Submitted', value: 'auto-generated' }],
      };
    case 'SMS':
      return {
        kind: 'sms',
        body: testText,
        messageType: 'TRANSACTIONAL',
        ...(from?.startsWith('+') ? { originationNumber: from } : { senderId: from }),
      };
    case 'PUSH':
      return { kind: 'push', title: testSubject, body: testText };
    case 'VOICE':
      return { kind: 'voice', body: testText };
    case 'CUSTOM':
      return { kind: 'custom', body: testText };
    case 'IN_APP':
      return { kind: 'in_app', title: testSubject, body: testText };
    default:
      throw new CallerError('bad_request', `There is no test message for ${channel}`);
  }
}
