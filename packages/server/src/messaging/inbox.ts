import { type Clock, systemClock } from '../platform/clock.ts';
import { isConnectionError, type Queryable } from '../platform/database.ts';
import { firstIdAt, uuidv7 } from '../platform/ids.ts';
import {
  deleteInboxMessages,
  deleteInboxUpTo,
  type InboxColumns,
  insertInboxMessages,
  selectInboxApplications,
  selectInboxLimit,
  selectInboxMessage,
  selectInboxMessages,
} from './inbox.sql.ts';
import type { DeliveryChannel, MessageContent, OutgoingMessage } from './provider.ts';
import { storableJson, storableText } from './storable.ts';

/** A message in the built-in inbox, as lists show it. */
export interface InboxSummary {
  id: string;
  applicationId: string;
  /** Id in the message log; the same for the repeats of one message. */
  messageId: string;
  channel: DeliveryChannel;
  sender: string | null;
  address: string;
  /** Subject of an e-mail, title of a push message, otherwise the beginning of the text. */
  subject: string | null;
  receivedAt: Date;
}

export interface InboxMessage extends InboxSummary {
  content: MessageContent;
}

export interface InboxQuery {
  /** All applications when absent. */
  applicationId?: string;
  address?: string;
  channel?: DeliveryChannel;
  /** `next` of the previous page. */
  before?: string;
  /** 1 to 500; 50 when absent. */
  limit?: number;
}

/** Some ten seconds. */
const maxStoreAttempts = 10;
const maxPage = 500;
const deleteBatch = 5000;
const maxSubjectLength = 200;

/** Messages that the trimming job leaves in each application's inbox. */
export const inboxKeep = 10_000;

/**
 * Stores what the sandbox delivered: one statement for the whole batch. When the connection breaks, it is done again
 * with the same ids, so that a commit whose answer was lost does not deliver twice.
 */
export async function storeInInbox(db: Queryable, messages: readonly OutgoingMessage[]): Promise<void> {
  if (messages.length === 0) return;
  const insert = insertInboxMessages(columnsOf(messages));
  for (let attempt = 1; ; attempt++) {
    try {
      await db.query(insert);
      return;
    } catch (error) {
      if (!isConnectionError(error) || attempt === maxStoreAttempts) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, Math.min(2_000, 50 * 2 ** attempt)));
  }
}

function columnsOf(messages: readonly OutgoingMessage[]): InboxColumns {
  return {
    ids: messages.map(() => uuidv7()),
    applicationIds: messages.map(({ applicationId }) => applicationId),
    messageIds: messages.map(({ id }) => id),
    channels: messages.map(({ channel }) => channel),
    senders: messages.map(({ content }) => storable(senderOf(content))),
    addresses: messages.map(({ address }) => storableText(address)),
    subjects: messages.map(({ content }) => storable(subjectOf(content)?.slice(0, maxSubjectLength))),
    contents: messages.map(({ content }) => storableJson(content)),
  };
}

function storable(text: string | undefined): string | null {
  return text === undefined ? null : storableText(text);
}

function senderOf(content: MessageContent): string | undefined {
  if (content.kind === 'email') return content.from;
  if (content.kind === 'sms') return content.senderId ?? content.originationNumber;
  return undefined;
}

function subjectOf(content: MessageContent): string | undefined {
  if (content.kind === 'email')
    return content.rawBase64 === undefined ? content.subject : rawSubject(content.rawBase64);
  if (content.kind === 'sms') return content.body;
  return content.title ?? content.body;
}

/** Subject of a whole MIME message, as it is written there. */
function rawSubject(rawBase64: string): string | undefined {
  const beginning = Buffer.from(rawBase64.slice(0, 40_000), 'base64').toString('utf8');
  const headers = beginning.split(/\r?\n\r?\n/, 1)[0]!.replace(/\r?\n[ \t]+/g, ' ');
  return /^subject:[ \t]*(.*)$/im.exec(headers)?.[1]?.trim();
}

/** A page of the inbox, newest first; `next` is undefined on the last one. */
export async function listInbox(
  db: Queryable,
  query: InboxQuery,
): Promise<{ messages: InboxSummary[]; next: string | undefined }> {
  const limit = Math.max(1, Math.min(query.limit ?? 50, maxPage));
  if (query.before !== undefined && !isUuid(query.before)) return { messages: [], next: undefined };
  const { rows } = await db.query<SummaryRow>(selectInboxMessages({ ...query, limit: limit + 1 }));
  const messages = rows.slice(0, limit).map(summaryOf);
  return { messages, next: rows.length > limit ? messages.at(-1)?.id : undefined };
}

/** One message with its content; undefined when there is none with this id. */
export async function getInboxMessage(db: Queryable, id: string): Promise<InboxMessage | undefined> {
  if (!isUuid(id)) return undefined;
  const { rows } = await db.query<SummaryRow & { content: MessageContent }>(selectInboxMessage(id));
  const row = rows[0];
  return row && { ...summaryOf(row), content: row.content };
}

/** Empties the inbox of an application, or of all when undefined. Returns how many messages were deleted. */
export function clearInbox(db: Queryable, applicationId: string | undefined): Promise<number> {
  return inBatches(db, () => deleteInboxMessages(applicationId, deleteBatch));
}

export interface InboxLimits {
  /** Messages of each application; `inboxKeep` when absent. */
  keep?: number;
  /** POSTRIDER_RETENTION_DAYS; 0 or absent is for ever. */
  days?: number;
}

/**
 * The job that bounds the inbox: leaves each application its newest messages. Returns how many were deleted.
 */
export async function trimInbox(
  db: Queryable,
  limits: InboxLimits = {},
  clock: Clock = systemClock,
): Promise<number> {
  const { keep = inboxKeep, days = 0 } = limits;
  const oldest = days > 0 ? firstIdAt(clock.now() - days * 86_400_000) : undefined;
  const { rows } = await db.query<{ application_id: string }>(selectInboxApplications);
  let deleted = 0;
  for (const { application_id: applicationId } of rows) {
    const surplus = await db.query<{ id: string }>(selectInboxLimit(applicationId, keep));
    for (const id of [surplus.rows[0]?.id, oldest])
      if (id !== undefined)
        deleted += await inBatches(db, () => deleteInboxUpTo(applicationId, id, deleteBatch));
  }
  return deleted;
}

/** Repeats a statement that deletes a batch until nothing is left, so that no transaction is long. */
async function inBatches(
  db: Queryable,
  statement: () => { text: string; values: unknown[] },
): Promise<number> {
  let deleted = 0;
  for (;;) {
    const { rowCount } = await db.query(statement());
    deleted += rowCount ?? 0;
    if ((rowCount ?? 0) < deleteBatch) return deleted;
  }
}

interface SummaryRow {
  id: string;
  application_id: string;
  message_id: string;
  channel: DeliveryChannel;
  sender: string | null;
  address: string;
  subject: string | null;
  received_at: Date;
}

function summaryOf(row: SummaryRow): InboxSummary {
  return {
    id: row.id,
    applicationId: row.application_id,
    messageId: row.message_id,
    channel: row.channel,
    sender: row.sender,
    address: row.address,
    subject: row.subject,
    receivedAt: row.received_at,
  };
}

function isUuid(text: string): boolean {
  return /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(text);
}
