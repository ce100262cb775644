/**
 * The records that streams carry: the shapes in which Pinpoint streamed events (reference 8.4 and 8.5). Member names are
 * Pinpoint's. What is said about each member here is docs/stream-records.md (`npm run docs`).
 */

type Words = Readonly<Record<string, string>>;
type Attributes<Known extends Words> = { [Name in keyof Known]?: string | undefined };

/** `3.1` is the version that Pinpoint wrote last. */
export const eventVersion = '3.1';

export interface StreamRecord {
  event_type: string;
  event_timestamp: number;
  arrival_timestamp: number;
  event_version: typeof eventVersion;
  application: RecordApplication;
  client: { client_id: string };
  device: RecordDevice;
  session: RecordSession;
  attributes: Record<string, string>;
  metrics: Record<string, number>;
  client_context: { custom: Record<string, string> };
  facets: { email_channel?: { mail_event: MailEvent } };
  awsAccountId: string;
}

export interface RecordApplication {
  app_id: string;
  package_name?: string | undefined;
  sdk: { name?: string | undefined; version?: string | undefined };
  title?: string | undefined;
  version_name?: string | undefined;
  version_code?: string | undefined;
}

export interface RecordDevice {
  locale?: { code: string; country?: string | undefined; language: string } | undefined;
  make?: string | undefined;
  model?: string | undefined;
  platform: { name?: string | undefined; version?: string | undefined };
}

export interface RecordSession {
  session_id?: string | undefined;
  start_timestamp?: number | undefined;
  stop_timestamp?: number | undefined;
}

export interface MailEvent {
  mail: {
    message_id: string;
    message_send_timestamp: number;
    from_address: string;
    destination: string[];
    headers_truncated: boolean;
    headers: { name: string; value: string }[];
    common_headers: { from: string; to: string[]; subject: string };
  };
  send?: Record<never, never>;
  delivery?: {
    smtp_response: string;
    reporting_mta: string;
    recipients: string[];
    processing_time_millis: number;
  };
  open?: { ip_address: string; user_agent: string; machine: boolean };
  click?: { ip_address: string; user_agent: string; link: string; machine: boolean };
  bounce?: {
    bounce_type: 'Permanent' | 'Transient' | 'Undetermined';
    bounce_sub_type: string;
    bounced_recipients: { email_address: string; action: string; diagnostic_code: string }[];
  };
  complaint?: { complaint_feedback_type: string; complained_recipients: { email_address: string }[] };
  rejected?: { reason: string };
  rendering_failure?: { error_message: string };
}

/** Members of every record, by their path. */
export const envelopeMembers = {
  event_type: 'What happened; see the kinds below.',
  event_timestamp:
    "When it happened, in milliseconds since 1970 (UTC): by the client's clock for app events (a time that arrival shows to be wrong is replaced by that of arrival), when the message was decided on for e-mail.",
  arrival_timestamp:
    'When Postrider learned of it, in milliseconds. For e-mail: when it happened, since the other one is the same for all events of a message.',
  event_version: 'Always `3.1`.',
  'application.app_id': 'Id of the application.',
  'application.sdk': '`{name, version}` of the SDK that put the event; `{}` for all others.',
  'application.package_name, title, version_name, version_code':
    'App events: the app as the event said; `version_name` is the AppVersion of the endpoint.',
  'client.client_id':
    'Id of the endpoint. A message to a bare address has no endpoint: then the id of the message.',
  device:
    'App events: `platform {name, version}`, `locale {code, country, language}`, `make` and `model` from the endpoint\'s Demographic. `{"platform": {}}` for all others.',
  session: 'App events: `session_id`, `start_timestamp`, `stop_timestamp` as the client said; else `{}`.',
  attributes: 'Strings; see the kinds.',
  metrics: 'Numbers; `{}` where there are none.',
  'client_context.custom': 'Strings; see below and the kinds.',
  facets: '`{}`, but for e-mail.',
  awsAccountId: 'POSTRIDER_ACCOUNT_ID.',
} as const satisfies Words;

/** Members of `client_context.custom` of every record. */
export const customMembers = {
  legacy_identifier: 'Id of the application, again.',
  record_id:
    'Ours: the same for every repeat of a record. A stream delivers at least once, so consumers that count keep the ids that they have seen.',
} as const satisfies Words;

export const appCustom = {
  user_id: 'Ours: the user of the endpoint when the event arrived.',
  client_timestamp:
    "Ours: what the client's clock said, in milliseconds, when arrival shows that it cannot be right.",
} as const satisfies Words;

export const endpointCustom = {
  endpoint: 'The endpoint as JSON in a string, in the shape of EndpointResponse.',
} as const satisfies Words;

export const campaignAttributes = {
  campaign_id: 'Id of the campaign.',
  treatment_id: '`0` is the default treatment.',
  campaign_activity_id: 'Id of the run (activity) for this treatment.',
  delivery_type:
    'Channel of the endpoint: EMAIL, SMS, VOICE, CUSTOM, or the kind of device (GCM, APNS, APNS_SANDBOX …).',
  campaign_send_status: 'What became of it; see the table of statuses.',
  campaign_send_reason:
    "Ours, when nothing was sent: the message log's exact reason (`opted_out`, `suppressed` …).",
} as const satisfies Words;

const messageCampaignAttributes = {
  campaign_id: 'Id of the campaign, when a campaign sent it.',
  treatment_id: 'Its treatment.',
  campaign_activity_id: 'Id of its run.',
} as const satisfies Words;

export const emailAttributes = {
  feedback: 'For a click the address that was clicked; else the word for what happened.',
  ...messageCampaignAttributes,
} as const satisfies Words;

export const smsAttributes = {
  sender_request_id: 'Id of the dispatch.',
  message_id: 'Id of the message, as SendMessages answered it.',
  record_status: 'See the table of SMS.',
  message_type: '`Transactional` or `Promotional`.',
  origination_phone_number: 'Number or sender id that it came from, when one was chosen.',
  destination_phone_number: 'In the form +14255550199.',
  iso_country_code: 'Country of the number, such as `US`.',
  number_of_message_parts: 'Parts on the way, as a string.',
  ...messageCampaignAttributes,
} as const satisfies Words;

export const otherAttributes = {
  message_id: 'Id of the message, as SendMessages answered it.',
  delivery_type: 'Channel of the endpoint, or PUSH, VOICE, CUSTOM.',
  ...messageCampaignAttributes,
} as const satisfies Words;

export type CampaignAttributes = Attributes<typeof campaignAttributes>;
export type EmailAttributes = Attributes<typeof emailAttributes>;
export type SmsAttributes = Attributes<typeof smsAttributes>;
export type OtherAttributes = Attributes<typeof otherAttributes>;
export type CustomMembers = Attributes<typeof customMembers & typeof appCustom & typeof endpointCustom>;

export const emailEventTypes = {
  '_email.send': 'The mail server accepted it.',
  '_email.delivered': 'A receipt says that it was delivered.',
  '_email.rejected': 'The mail server refused it, and not for its address.',
  '_email.hardbounce': 'The address does not exist; it is suppressed from now on.',
  '_email.softbounce': 'Refused or returned for a reason that may pass.',
  '_email.complaint': 'The recipient called it spam.',
  '_email.open': 'Opened. `machine` is true when a program did it (prefetching, scanners).',
  '_email.click': 'A link was followed; `machine` as for opens.',
  '_email.rendering_failure':
    'It could not be composed: a variable is missing, or the template has an error.',
} as const satisfies Words;

export const smsEventTypes = {
  '_SMS.BUFFERED': 'The provider took it. record_status PENDING.',
  '_SMS.SUCCESS': 'A receipt says that it was delivered. record_status DELIVERED.',
  '_SMS.FAILURE':
    'It was not delivered. record_status INVALID (the number), UNREACHABLE (for now), BLOCKED (sender or content refused), TTL_EXPIRED (its time to live ended), UNKNOWN (another reason).',
} as const satisfies Words;

/** Event types of one of the channels PUSH, VOICE and CUSTOM: `_push.send`. */
export const otherEventTypes = {
  send: 'The provider took it.',
  delivered: 'A receipt says that it was delivered.',
  failure: 'It was refused, or its time to live ended.',
} as const satisfies Words;

export const mailEventMembers = {
  mail: "`message_id`, `message_send_timestamp`, `from_address`, `destination[]`, `headers[]` and `common_headers` (From, To, Subject, Message-ID; the subject with codes masked), `headers_truncated` (true: the message's other headers are not kept).",
  send: '`{}`',
  delivery:
    '`smtp_response`, `reporting_mta`, `recipients[]`, `processing_time_millis` (from the decision on).',
  open: '`ip_address`, `user_agent`; ours: `machine`.',
  click: '`ip_address`, `user_agent`, `link`; ours: `machine`.',
  bounce:
    '`bounce_type` (Permanent, Transient, Undetermined), `bounce_sub_type`, `bounced_recipients[{email_address, action, diagnostic_code}]`.',
  complaint: '`complaint_feedback_type`, `complained_recipients[{email_address}]`.',
  rejected: "`reason`: the server's words.",
  rendering_failure: '`error_message`.',
} as const satisfies Record<keyof MailEvent, string>;
