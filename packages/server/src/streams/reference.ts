import type { Recipient } from '../audience/index.ts';
import type { StoredFact } from '../events/index.ts';
import type { RecordedMessage } from '../messaging/index.ts';
import {
  appCustom,
  campaignAttributes,
  customMembers,
  emailAttributes,
  emailEventTypes,
  endpointCustom,
  envelopeMembers,
  mailEventMembers,
  otherAttributes,
  otherEventTypes,
  smsAttributes,
  smsEventTypes,
} from './record.ts';
import { exampleContext, examples } from './reference-examples.ts';
import { renderFacts } from './render.ts';
import { campaignSendStatuses, statusOfDecision } from './status.ts';

/** What the examples are made of. */
export interface ExampleSource {
  fact: StoredFact;
  message?: RecordedMessage;
  endpoint?: Recipient;
}

/** docs/stream-records.md. Tables and examples come from what renders the records. */
export function streamRecordsReference(): string {
  return [
    '# Stream records',
    '',
    '<!-- Made from packages/server/src/streams/record.ts by scripts/generate-docs.ts. Do not edit. -->',
    '',
    "What the [streams](streams.md) of an application carry: one JSON object for each thing that happened, in the shapes of Amazon Pinpoint's event stream. Members marked *Ours* are additions. A member that has no value is absent; `session`, `attributes`, `metrics`, `device.platform`, `client_context.custom` and `facets` are there in any case.",
    '',
    ...section('Members of every record', envelopeMembers),
    ...section('`client_context.custom` of every record', customMembers),
    '## App events',
    '',
    "`event_type` is the type that the client put (`_session.start`, `purchase` …); `attributes` and `metrics` are the client's. Events of an imported archive are not streamed: they were, when they happened.",
    '',
    ...table({ ...prefixed('client_context.custom.', appCustom) }),
    ...example('app'),
    '## Campaign',
    '',
    '`_campaign.send`: one for each member of the audience of a campaign, sent to or not.',
    '',
    ...table({
      ...prefixed('attributes.', campaignAttributes),
      ...prefixed('client_context.custom.', endpointCustom),
    }),
    ...statusTable(),
    ...example('campaign'),
    '## E-mail',
    '',
    ...table(emailEventTypes, 'event_type'),
    "Attributes, beside those of the message's Context:",
    '',
    ...table({ ...prefixed('attributes.', emailAttributes) }),
    '`facets.email_channel.mail_event` has `mail` and one member by kind:',
    '',
    ...table({ ...mailEventMembers }),
    ...example('email'),
    '## SMS',
    '',
    ...table(smsEventTypes, 'event_type'),
    "Attributes, beside those of the message's Context:",
    '',
    ...table({ ...prefixed('attributes.', smsAttributes) }),
    ...example('sms'),
    '## Push, voice and custom channels',
    '',
    'Ours: Pinpoint streamed nothing about single messages of these channels. The channel is `push`, `voice` or `custom`.',
    '',
    ...table(prefixed('_push.', otherEventTypes), 'event_type'),
    ...table({ ...prefixed('attributes.', otherAttributes) }),
    ...example('push'),
  ].join('\n');
}

type Words = Readonly<Record<string, string>>;

function section(title: string, words: Words): string[] {
  return [`## ${title}`, '', ...table(words)];
}

function table(words: Words, head = 'member'): string[] {
  const rows = Object.entries(words).map(
    ([name, text]) => `| \`${name}\` | ${text.replaceAll('|', '\\|')} |`,
  );
  return [`| ${head} | |`, '|---|---|', ...rows, ''];
}

function prefixed(prefix: string, words: Words): Words {
  return Object.fromEntries(Object.entries(words).map(([name, text]) => [prefix + name, text]));
}

function statusTable(): string[] {
  const reasons = new Map<string, string[]>(campaignSendStatuses.map((status) => [status, []]));
  for (const [decision, status] of Object.entries(statusOfDecision))
    reasons.get(status)!.push(`\`${decision}\``);
  const outcomes: Words = {
    SUCCESS: 'A provider accepted the message.',
    FAILURE: 'Refused.',
    FAILURE_PERMANENT: 'Refused because the address does not exist.',
    TRANSIENT_FAILURE: 'Refused for a reason that may pass, and not tried any more.',
    EXPIRED: 'Its time ended before a provider took it.',
    UNKNOWN: 'In doubt: handed over, and nobody knows what came of it.',
    CUSTOM_DELIVERY_FAILURE: 'The function or URL of a custom channel refused it.',
  };
  const rows = campaignSendStatuses.flatMap((status) => {
    const held = reasons.get(status)!;
    const text = [outcomes[status], held.length > 0 ? `Not sent: ${held.join(', ')}.` : undefined];
    const words = text.filter((part) => part !== undefined).join(' ');
    return words ? [`| ${status} | ${words} |`] : [];
  });
  return ['| campaign_send_status | |', '|---|---|', ...rows, ''];
}

function example(name: keyof typeof examples): string[] {
  const source: ExampleSource = examples[name];
  const [record] = renderFacts([source.fact], exampleContext(source));
  return ['```json', JSON.stringify(JSON.parse(record!.json), null, 2), '```', ''];
}
