import type { Log } from '../platform/log.ts';
import type { FunctionAnswer, FunctionCall } from '../platform/remote-function.ts';

/** What a message travels on. Device kinds (GCM, APNS …) are all PUSH to a provider account. */
export const deliveryChannels = ['EMAIL', 'SMS', 'PUSH', 'VOICE', 'CUSTOM', 'IN_APP'] as const;
export type DeliveryChannel = (typeof deliveryChannels)[number];

export interface EmailContent {
  kind: 'email';
  /** `a@b.c` or `Name <a@b.c>`. */
  from: string;
  replyTo?: string[];
  subject: string;
  html?: string;
  text?: string;
  headers?: { name: string; value: string }[];
  attachments?: { filename: string; contentType: string; dataBase64: string; contentId?: string }[];
  /** A whole MIME message, base64: goes out as it is; the other members but `from` are then empty. */
  rawBase64?: string;
}

export interface SmsContent {
  kind: 'sms';
  body: string;
  messageType: 'TRANSACTIONAL' | 'PROMOTIONAL';
  originationNumber?: string;
  senderId?: string;
  /** India's DLT registration. */
  entityId?: string;
  templateId?: string;
}

/** Channels whose vendors come later: what the sandbox stores and shows. */
export interface OtherContent {
  kind: 'push' | 'voice' | 'custom' | 'in_app';
  title?: string;
  body: string;
  data?: Record<string, unknown>;
  /** A function of the customer's takes it over. */
  delivery?: FunctionDelivery;
}

/** Calls the functions of customers: hooks and custom delivery. */
export interface CustomerFunctions {
  /**
   * Calls the function that an application's `uri` names, signed with the application's secret.
   * @throws the database's error when the secret cannot be read; nothing was called then
   */
  call(
    applicationId: string,
    uri: string,
    call: Pick<FunctionCall, 'id' | 'body' | 'signal'>,
  ): Promise<FunctionAnswer>;
}

/** What a function of the customer's is told beside the words: those of one call have all but the endpoint in common. */
export interface FunctionDelivery {
  /** An https URL, or name or ARN of a Lambda function. */
  uri: string;
  campaignId: string | null;
  treatmentId: string;
  activityId?: string;
  scheduledTime?: string;
  endpointId: string;
  /** As Pinpoint shows endpoints to functions. */
  endpoint: Record<string, unknown>;
}

export type MessageContent = EmailContent | SmsContent | OtherContent;

/** One message to one address, ready to be handed over. */
export interface OutgoingMessage {
  /** UUIDv7 of the message row; the e-mail Message-ID is made of it, so a repeat carries the same. */
  id: string;
  applicationId: string;
  channel: DeliveryChannel;
  address: string;
  /** 1 for the first attempt. */
  attempt: number;
  content: MessageContent;
}

/**
 * Classes of refusals, the same for all providers. Only a `hard` one says something about the address itself and
 * suppresses it; `block` is about us (reputation, policy), `soft` passes.
 */
export type BounceClass = 'hard' | 'soft' | 'block' | 'other';

/** The verdict on one attempt. */
export interface AttemptResult {
  id: string;
  /**
   * `accepted`: the provider has taken it over. `deferred`: it refused for now (retry). `rejected`: it refused for good.
   * `unknown`: the connection broke after the content was handed over, so it may or may not have been taken; it is not
   * tried elsewhere.
   */
  outcome: 'accepted' | 'deferred' | 'rejected' | 'unknown';
  /** The provider's code as number: SMTP reply or HTTP status; 0 when it never answered. */
  code: number;
  /** The provider's own words, at most 500 characters. */
  response: string;
  providerMessageId?: string;
  bounce?: BounceClass;
  /** For `deferred`: not before this many milliseconds. */
  retryAfterMs?: number;
  /**
   * For `deferred`: the message itself was not refused; the account could not be used at all (connect, TLS, login, limit),
   * so the next account of the route may be tried at once.
   */
  accountUnusable?: boolean;
}

interface ReceiptBase {
  messageId: string;
  applicationId: string;
  at: number;
}

/** What became of a message at its destination. */
export interface DeliveryReceipt extends ReceiptBase {
  kind: 'delivered' | 'bounced' | 'complained';
  code: number;
  response: string;
  bounce?: BounceClass;
}

/** Somebody, or something, looked at a message. */
export interface EngagementReceipt extends ReceiptBase {
  kind: 'opened' | 'clicked';
  /**
   * A program did it before any person could (prefetching proxy, link scanner): counted by itself, never as a person's,
   * and it triggers nothing.
   */
  machine: boolean;
  /** Of a click: where the link leads. */
  url?: string;
  userAgent?: string;
  ipAddress?: string;
}

/** What a provider reports later about a message it had accepted. */
export type Receipt = DeliveryReceipt | EngagementReceipt;

/** A member of a provider's settings: validates what the operator enters, and draws the form. */
export interface SettingField {
  name: string;
  label: string;
  type: 'string' | 'number' | 'boolean' | 'enum';
  options?: string[];
  required?: boolean;
  /** Stored encrypted, never given out again. */
  secret?: boolean;
  default?: string | number | boolean;
  /** Bounds of a `number`, inclusive. */
  minimum?: number;
  maximum?: number;
  /** Regular expression that the whole of a `string` matches, as HTML's `pattern`. */
  pattern?: string;
  description: string;
}

/** An account at a provider, as it is stored; `secrets` are already decrypted. */
export interface ProviderAccount {
  id: string;
  applicationId: string | null;
  channel: DeliveryChannel;
  provider: string;
  name: string;
  settings: Record<string, unknown>;
  secrets: Record<string, string>;
  messagesPerSecond: number | null;
  dailyLimit: number | null;
  /** Made from this server's own environment, not by a user: its host may be a private one in any case. */
  fromEnvironment?: boolean;
}

export interface ProviderContext {
  log: Log;
  /** Private and loopback hosts may be connected to (POSTRIDER_ALLOW_PRIVATE_HOSTS). */
  allowPrivateHosts: boolean;
  /** Hands receipts to messaging; resolves when they are committed. */
  receive(receipts: Receipt[]): Promise<void>;
  /** Stores messages in the built-in inbox; only the sandbox uses it. */
  storeInInbox(messages: OutgoingMessage[]): Promise<void>;
}

/** An open way to one account: connections are made when needed and reused. */
export interface ProviderSession {
  /** How many `send` calls may run at once, and how many messages one call may hold. */
  readonly limits: { concurrency: number; batch: number };
  /**
   * Attempts each message once. Resolves with one result for each message, in the same order; never rejects for the
   * reason of a message. After `signal` aborts, messages that were not handed over are answered `deferred`.
   */
  send(messages: OutgoingMessage[], signal: AbortSignal): Promise<AttemptResult[]>;
  /** Does the account work (connect and log in)? Throws with the provider's words when not. */
  check(): Promise<void>;
  close(): Promise<void>;
}

/** A vendor or protocol. One folder under providers/ each; all run through the contract test. */
export interface Provider {
  readonly name: string;
  readonly channels: readonly DeliveryChannel[];
  readonly fields: readonly SettingField[];
  /** `maxConnections` bounds the connections of this session: each lane of each process has a session of its own. */
  open(
    account: ProviderAccount,
    context: ProviderContext,
    options: { maxConnections: number },
  ): ProviderSession;
}
