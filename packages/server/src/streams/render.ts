import type { EventPayload, Recipient } from '../audience/index.ts';
import { eventTypeOf, toEndpointResponse } from '../audience/index.ts';
import type { StoredFact } from '../events/index.ts';
import type { RecordedMessage } from '../messaging/index.ts';
import { uuidTime } from '../platform/ids.ts';
import type { OutgoingRecord } from './outlets/outlet.ts';
import {
  type CampaignAttributes,
  type CustomMembers,
  eventVersion,
  type RecordDevice,
  type StreamRecord,
} from './record.ts';
import { renderMessage } from './render-message.ts';
import { type CampaignSendStatus, statusOfDecision, statusOfOutcome } from './status.ts';

/** What records say beside their fact; read for a whole set of facts at once. */
export interface RenderContext {
  applicationId: string;
  /** POSTRIDER_ACCOUNT_ID. */
  accountId: string;
  endpoints: ReadonlyMap<string, Recipient>;
  messages: ReadonlyMap<string, RecordedMessage>;
  /** What a window did not send, by `factId` of its fact. */
  held: ReadonlyMap<string, readonly RecordedMessage[]>;
  activityIdOf(dispatchId: string, treatmentId: string): string | undefined;
  /** ISO code of a telephone number's country. */
  countryOf(address: string): string | undefined;
}

/** A record, ready to be handed over. Its key is the endpoint, or the message when it has none. */
export interface RenderedRecord extends OutgoingRecord {
  /** The fact that it is of. */
  fact: StoredFact;
}

export function factId(fact: Pick<StoredFact, 'batchId' | 'seq'>): string {
  return `${fact.batchId}-${fact.seq}`;
}

/** The records of facts, in their order: none, one, or several for each. */
export function renderFacts(facts: readonly StoredFact[], context: RenderContext): RenderedRecord[] {
  return facts.flatMap((fact) =>
    recordsOf(fact, context).map((record, index) => {
      const id = index === 0 ? factId(fact) : `${factId(fact)}-${index}`;
      record.client_context.custom.record_id = id;
      return {
        id,
        key: record.client.client_id,
        arrivedAt: record.arrival_timestamp,
        json: JSON.stringify(record),
        fact,
      };
    }),
  );
}

function recordsOf(fact: StoredFact, context: RenderContext): StreamRecord[] {
  const eventType = eventTypeOf(fact.type);
  if (eventType !== undefined) return appRecords(fact, eventType, context);
  if (fact.type === 'dispatch.window') {
    const held = context.held.get(factId(fact)) ?? [];
    return held.flatMap((message) => heldRecords(fact, message, context));
  }
  const message = fact.messageId === null ? undefined : context.messages.get(fact.messageId);
  if (!message) return [];
  const status = message.campaignId ? statusOfOutcome(fact.type, fact.payload, message.channel) : undefined;
  const campaign = status === undefined ? [] : [campaignRecord(fact, message, { status }, context)];
  return [...campaign, ...renderMessage(fact, message, context)];
}

/** An archived event was streamed when it first happened. */
function appRecords(fact: StoredFact, eventType: string, context: RenderContext): StreamRecord[] {
  const payload = fact.payload as EventPayload;
  if (payload.source === 'archive') return [];
  const { app = {}, session } = payload;
  const endpoint = fact.endpointId === null ? undefined : context.endpoints.get(fact.endpointId);
  const record = envelope(fact, context, {
    eventType,
    clientId: fact.endpointId ?? payload.id,
    custom: {
      user_id: payload.userId,
      client_timestamp: payload.clientTimestamp === undefined ? undefined : String(payload.clientTimestamp),
    },
  });
  record.application = {
    app_id: context.applicationId,
    package_name: app.packageName,
    sdk: { name: app.sdkName, version: app.sdkVersion },
    title: app.title,
    version_name: endpoint?.demographic.AppVersion,
    version_code: app.versionCode,
  };
  record.device = deviceOf(endpoint);
  if (session) {
    record.session = {
      session_id: session.id,
      start_timestamp: session.startedAt,
      stop_timestamp: session.stoppedAt,
    };
  }
  record.attributes = payload.attributes ?? {};
  record.metrics = payload.metrics ?? {};
  return [record];
}

function deviceOf(endpoint: Recipient | undefined): RecordDevice {
  const { Locale, Make, Model, Platform, PlatformVersion } = endpoint?.demographic ?? {};
  const [language = '', country] = (Locale ?? '').split(/[_-]/);
  return {
    locale: Locale ? { code: Locale, country, language } : undefined,
    make: Make,
    model: Model,
    platform: { name: Platform, version: PlatformVersion },
  };
}

function heldRecords(fact: StoredFact, message: RecordedMessage, context: RenderContext): StreamRecord[] {
  const { decision } = message;
  if (!message.campaignId) return [];
  const status = Object.hasOwn(statusOfDecision, decision)
    ? statusOfDecision[decision as keyof typeof statusOfDecision]
    : 'UNKNOWN';
  const campaign = campaignRecord(fact, message, { status, reason: decision }, context);
  return [campaign, ...renderMessage(fact, message, context)];
}

function campaignRecord(
  fact: StoredFact,
  message: RecordedMessage,
  outcome: { status: CampaignSendStatus; reason?: string },
  context: RenderContext,
): StreamRecord {
  const endpoint = message.endpointId === null ? undefined : context.endpoints.get(message.endpointId);
  const treatmentId = message.treatmentId ?? '0';
  const record = envelope(fact, context, {
    eventType: '_campaign.send',
    clientId: message.endpointId ?? message.id,
    custom: {
      endpoint: JSON.stringify(endpoint ? toEndpointResponse(context.applicationId, endpoint) : {}),
    },
  });
  const attributes: CampaignAttributes = {
    campaign_id: message.campaignId ?? undefined,
    treatment_id: treatmentId,
    campaign_activity_id: context.activityIdOf(message.dispatchId, treatmentId),
    delivery_type: endpoint?.channel ?? message.channel,
    campaign_send_status: outcome.status,
    campaign_send_reason: outcome.reason,
  };
  record.attributes = present(attributes);
  return record;
}

/** The members that all records have; empty objects are there, as in Pinpoint's. */
export function envelope(
  fact: StoredFact,
  context: Pick<RenderContext, 'applicationId' | 'accountId'>,
  head: { eventType: string; clientId: string; custom?: CustomMembers },
): StreamRecord {
  const { arrivedAt } = fact.payload as { arrivedAt?: number };
  return {
    event_type: head.eventType,
    event_timestamp: fact.occurredAt,
    arrival_timestamp: arrivedAt ?? uuidTime(fact.batchId),
    event_version: eventVersion,
    application: { app_id: context.applicationId, sdk: {} },
    client: { client_id: head.clientId },
    device: { platform: {} },
    session: {},
    attributes: {},
    metrics: {},
    client_context: {
      custom: { legacy_identifier: context.applicationId, ...present(head.custom ?? {}) },
    },
    facets: {},
    awsAccountId: context.accountId,
  };
}

/** Without the members that are undefined. */
export function present(values: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}
