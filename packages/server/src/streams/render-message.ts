import { maskSecrets } from '../content/index.ts';
import type { StoredFact } from '../events/index.ts';
import type { RecordedMessage } from '../messaging/index.ts';
import { uuidTime } from '../platform/ids.ts';
import type {
  EmailAttributes,
  emailEventTypes,
  MailEvent,
  OtherAttributes,
  otherEventTypes,
  SmsAttributes,
  StreamRecord,
} from './record.ts';
import { envelope, present, type RenderContext } from './render.ts';

type EmailEvent = keyof typeof emailEventTypes;

/** Members of the payloads of message facts that records say something of. */
interface MessagePayload {
  response?: string;
  bounce?: string;
  machine?: boolean;
  url?: string;
  userAgent?: string;
  ipAddress?: string;
}

/** The record of the message's channel about a fact of it (or about a window that held it back), if there is one. */
export function renderMessage(
  fact: StoredFact,
  message: RecordedMessage,
  context: RenderContext,
): StreamRecord[] {
  if (message.channel === 'EMAIL') return emailRecords(fact, message, context);
  if (fact.type === 'dispatch.window' || message.channel === 'IN_APP') return [];
  return message.channel === 'SMS'
    ? smsRecords(fact, message, context)
    : otherRecords(fact, message, context);
}

function campaignOf(message: RecordedMessage, context: RenderContext) {
  if (!message.campaignId) return {};
  const treatmentId = message.treatmentId ?? '0';
  return {
    campaign_id: message.campaignId,
    treatment_id: treatmentId,
    campaign_activity_id: context.activityIdOf(message.dispatchId, treatmentId),
  };
}

function wordsOf(payload: MessagePayload): string {
  return maskSecrets(String(payload.response ?? ''));
}

function emailEvent(fact: StoredFact, message: RecordedMessage): EmailEvent | undefined {
  const { bounce } = fact.payload as MessagePayload;
  switch (fact.type) {
    case 'message.sent':
      return '_email.send';
    case 'message.delivered':
      return '_email.delivered';
    case 'message.complained':
      return '_email.complaint';
    case 'message.opened':
      return '_email.open';
    case 'message.clicked':
      return '_email.click';
    case 'message.bounced':
      return bounce === 'hard' ? '_email.hardbounce' : '_email.softbounce';
    case 'message.failed':
      if (bounce === 'hard') return '_email.hardbounce';
      return bounce === 'soft' ? '_email.softbounce' : '_email.rejected';
    case 'dispatch.window':
      return message.decision === 'missing_variable' || message.decision === 'template_error'
        ? '_email.rendering_failure'
        : undefined;
    default:
      return undefined;
  }
}

const feedbackOf: Record<EmailEvent, string> = {
  '_email.send': 'received',
  '_email.delivered': 'delivered',
  '_email.rejected': 'rejected',
  '_email.hardbounce': 'hardbounce',
  '_email.softbounce': 'softbounce',
  '_email.complaint': 'complaint',
  '_email.open': 'opened',
  '_email.click': 'clicked',
  '_email.rendering_failure': 'rendering_failure',
};

function emailRecords(fact: StoredFact, message: RecordedMessage, context: RenderContext): StreamRecord[] {
  const eventType = emailEvent(fact, message);
  if (!eventType) return [];
  const payload = fact.payload as MessagePayload;
  const record = envelope(fact, context, { eventType, clientId: message.endpointId ?? message.id });
  record.event_timestamp = uuidTime(message.id);
  record.arrival_timestamp = fact.occurredAt;
  const feedback = eventType === '_email.click' ? (payload.url ?? '') : feedbackOf[eventType];
  const attributes: EmailAttributes = { feedback, ...campaignOf(message, context) };
  record.attributes = { ...message.context, ...present(attributes) };
  record.facets = {
    email_channel: { mail_event: { mail: mailOf(message), ...mailDetail(eventType, fact, message) } },
  };
  return [record];
}

function mailOf(message: RecordedMessage): MailEvent['mail'] {
  const from = message.sent?.from ?? '';
  const subject = message.summary ?? '';
  const messageId = message.sent?.providerMessageId;
  return {
    message_id: message.id,
    message_send_timestamp: uuidTime(message.id),
    from_address: from,
    destination: [message.address],
    headers_truncated: true,
    headers: [
      { name: 'From', value: from },
      { name: 'To', value: message.address },
      { name: 'Subject', value: subject },
      ...(messageId ? [{ name: 'Message-ID', value: messageId }] : []),
    ],
    common_headers: { from, to: [message.address], subject },
  };
}

function mailDetail(
  eventType: EmailEvent,
  fact: StoredFact,
  message: RecordedMessage,
): Omit<MailEvent, 'mail'> {
  const payload = fact.payload as MessagePayload;
  const reader = {
    ip_address: payload.ipAddress ?? '',
    user_agent: payload.userAgent ?? '',
    machine: payload.machine ?? false,
  };
  switch (eventType) {
    case '_email.send':
      return { send: {} };
    case '_email.delivered':
      return {
        delivery: {
          smtp_response: wordsOf(payload),
          reporting_mta: '',
          recipients: [message.address],
          processing_time_millis: Math.max(0, fact.occurredAt - uuidTime(message.id)),
        },
      };
    case '_email.open':
      return { open: reader };
    case '_email.click':
      return { click: { ...reader, link: payload.url ?? '' } };
    case '_email.hardbounce':
    case '_email.softbounce':
      return { bounce: bounceOf(payload, message) };
    case '_email.complaint':
      return {
        complaint: {
          complaint_feedback_type: 'abuse',
          complained_recipients: [{ email_address: message.address }],
        },
      };
    case '_email.rejected':
      return { rejected: { reason: wordsOf(payload) } };
    case '_email.rendering_failure':
      return { rendering_failure: { error_message: message.decision } };
  }
}

function bounceOf(payload: MessagePayload, message: RecordedMessage): NonNullable<MailEvent['bounce']> {
  const types = { hard: 'Permanent', soft: 'Transient', block: 'Transient' } as const;
  const type = Object.hasOwn(types, payload.bounce ?? '')
    ? types[payload.bounce as keyof typeof types]
    : 'Undetermined';
  return {
    bounce_type: type,
    bounce_sub_type: payload.bounce === 'block' ? 'ContentRejected' : 'General',
    bounced_recipients: [
      { email_address: message.address, action: 'failed', diagnostic_code: wordsOf(payload) },
    ],
  };
}

function smsEvent(fact: StoredFact): { eventType: string; status: string } | undefined {
  const { bounce } = fact.payload as MessagePayload;
  switch (fact.type) {
    case 'message.sent':
      return { eventType: '_SMS.BUFFERED', status: 'PENDING' };
    case 'message.delivered':
      return { eventType: '_SMS.SUCCESS', status: 'DELIVERED' };
    case 'message.expired':
      return { eventType: '_SMS.FAILURE', status: 'TTL_EXPIRED' };
    case 'message.failed':
    case 'message.bounced': {
      const statuses = { hard: 'INVALID', soft: 'UNREACHABLE', block: 'BLOCKED' };
      const known = Object.hasOwn(statuses, bounce ?? '');
      const status = known ? statuses[bounce as keyof typeof statuses] : 'UNKNOWN';
      return { eventType: '_SMS.FAILURE', status };
    }
    default:
      return undefined;
  }
}

function smsRecords(fact: StoredFact, message: RecordedMessage, context: RenderContext): StreamRecord[] {
  const event = smsEvent(fact);
  if (!event) return [];
  const { sent } = message;
  const record = envelope(fact, context, {
    eventType: event.eventType,
    clientId: message.endpointId ?? message.id,
  });
  const type = sent?.messageType ?? (message.class === 'transactional' ? 'TRANSACTIONAL' : 'PROMOTIONAL');
  const attributes: SmsAttributes = {
    sender_request_id: message.dispatchId,
    message_id: message.id,
    record_status: event.status,
    message_type: type === 'TRANSACTIONAL' ? 'Transactional' : 'Promotional',
    origination_phone_number: sent?.origination,
    destination_phone_number: message.address,
    iso_country_code: context.countryOf(message.address),
    number_of_message_parts: sent?.parts === undefined ? undefined : String(sent.parts),
    ...campaignOf(message, context),
  };
  record.attributes = { ...message.context, ...present(attributes) };
  return [record];
}

/** Push, voice and custom channels, which Pinpoint never streamed: `_push.send`. */
function otherRecords(fact: StoredFact, message: RecordedMessage, context: RenderContext): StreamRecord[] {
  const happened: Partial<Record<string, keyof typeof otherEventTypes>> = {
    'message.sent': 'send',
    'message.delivered': 'delivered',
    'message.failed': 'failure',
    'message.bounced': 'failure',
    'message.expired': 'failure',
  };
  const event = Object.hasOwn(happened, fact.type) ? happened[fact.type] : undefined;
  if (!event) return [];
  const record = envelope(fact, context, {
    eventType: `_${message.channel.toLowerCase()}.${event}`,
    clientId: message.endpointId ?? message.id,
  });
  const endpoint = message.endpointId === null ? undefined : context.endpoints.get(message.endpointId);
  const attributes: OtherAttributes = {
    message_id: message.id,
    delivery_type: endpoint?.channel ?? message.channel,
    ...campaignOf(message, context),
  };
  record.attributes = { ...message.context, ...present(attributes) };
  return [record];
}
