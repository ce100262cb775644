import { isDeepStrictEqual } from 'node:util';
import type {
  CampaignLimits,
  CustomDeliveryConfiguration,
  MessageConfiguration,
  MessageHeader,
  Template,
  TemplateConfiguration,
  WriteTreatmentResource,
} from '@aws-sdk/client-pinpoint';
import { checkInAppForm } from '../../content/index.ts';
import { badMember, CallerError } from '../../platform/errors.ts';
import { parseFunctionTarget } from '../../platform/remote-function.ts';
import type { CampaignDefinition } from './campaign.ts';
import { checkSchedule, isInApp, type ScheduleOptions } from './schedule.ts';

/** Additional treatments of a campaign (reference 4.4). */
const maxTreatments = 4;

/** Equal as JSON: absent and undefined members are the same, and so are objects with and without a prototype. */
export function sameJson(left: unknown, right: unknown): boolean {
  const plain = (value: unknown) => (value === undefined ? undefined : JSON.parse(JSON.stringify(value)));
  return isDeepStrictEqual(plain(left), plain(right));
}

/**
 * Checks everything of a campaign that can be seen without the database. `previous` is the definition before an
 * update: a start time that was not changed may lie in the past.
 *
 * A campaign without segment, schedule or message is refused. (Pinpoint stored such a campaign as INVALID; an error
 * that names the member serves the caller better than an object that never runs.)
 * @throws CallerError bad_request with the member's path; not_implemented for what is not built yet.
 */
export function checkDefinition(
  definition: CampaignDefinition,
  now: number,
  previous?: CampaignDefinition,
  options: Pick<ScheduleOptions, 'eventLeadMs'> = {},
): void {
  if (!definition.SegmentId)
    throw badMember('$.SegmentId', 'expected the id of a segment of this application');
  const schedule = definition.Schedule;
  const mustBeAhead = schedule?.StartTime !== previous?.Schedule?.StartTime || !previous;
  checkSchedule(schedule, '$.Schedule', { ...options, now, mustBeAhead });
  checkLimits(definition.Limits, '$.Limits');
  if (isInApp(schedule)) checkInAppCampaign(definition);
  checkHook(definition.Hook);
  checkPart(definition, '$', definition);
  const treatments = definition.AdditionalTreatments ?? [];
  if (treatments.length > maxTreatments)
    throw badMember('$.AdditionalTreatments', `expected at most ${maxTreatments} treatments`);
  treatments.forEach((treatment, index) => {
    checkTreatment(treatment, `$.AdditionalTreatments[${index}]`, definition);
  });
  checkShares(definition.HoldoutPercent, treatments);
}

function checkTreatment(
  treatment: WriteTreatmentResource,
  path: string,
  definition: CampaignDefinition,
): void {
  checkPart(treatment, path, definition);
  if (treatment.Schedule && !sameJson(treatment.Schedule, definition.Schedule)) {
    throw new CallerError(
      'not_implemented',
      `${path}.Schedule: a schedule of its own is not supported yet for a treatment; leave it out to use the campaign's`,
      `${path}.Schedule`,
    );
  }
}

function checkShares(holdoutPercent: number | undefined, treatments: WriteTreatmentResource[]): void {
  if (holdoutPercent !== undefined) checkInteger(holdoutPercent, '$.HoldoutPercent', 0, 100);
  treatments.forEach(({ SizePercent }, index) => {
    checkInteger(SizePercent, `$.AdditionalTreatments[${index}].SizePercent`, 0, 100);
  });
  const sum = treatments.reduce((total, { SizePercent }) => total + (SizePercent ?? 0), holdoutPercent ?? 0);
  if (sum > 100) {
    const path = treatments.length ? '$.AdditionalTreatments' : '$.HoldoutPercent';
    throw badMember(path, `expected HoldoutPercent and all SizePercent to add up to at most 100, not ${sum}`);
  }
}

function checkInteger(value: number | undefined, path: string, least: number, most: number): void {
  if (!Number.isInteger(value) || value! < least || value! > most)
    throw badMember(path, `expected a whole number from ${least} to ${most}`);
}

/**
 * Ranges of reference 4.5. MessagesPerSecond starts at 1 (Pinpoint's console) and not at 50 (its API guide): nothing
 * is gained by refusing a slow campaign.
 */
export function checkLimits(limits: CampaignLimits | undefined, path: string): void {
  if (!limits) return;
  const ranges = {
    Daily: [0, 100],
    Total: [0, 100],
    Session: [0, 100],
    MessagesPerSecond: [1, 20_000],
    MaximumDuration: [60, 31_536_000],
  } as const;
  for (const [name, [least, most]] of Object.entries(ranges)) {
    const value = limits[name as keyof typeof ranges];
    if (value !== undefined) checkInteger(value, `${path}.${name}`, least, most);
  }
}

/** A hook is asked before anything is sent: by HTTPS, or in Lambda. It filters; it cannot deliver instead of us. */
export function checkHook(hook: CampaignDefinition['Hook'], path = '$.Hook'): void {
  if (!hook) return;
  if (hook.Mode === 'DELIVERY')
    throw badMember(
      `${path}.Mode`,
      'expected FILTER; a function that delivers itself is named by CustomDeliveryConfiguration',
    );
  if (hook.LambdaFunctionName && hook.WebUrl)
    throw badMember(path, 'expected WebUrl or LambdaFunctionName, not both');
  if (hook.WebUrl && parseFunctionTarget(hook.WebUrl)?.kind !== 'url')
    throw badMember(`${path}.WebUrl`, 'expected an https URL of at most 2048 characters');
  if (hook.LambdaFunctionName && parseFunctionTarget(hook.LambdaFunctionName)?.kind !== 'lambda')
    throw badMember(`${path}.LambdaFunctionName`, 'expected the name or ARN of a Lambda function');
}

/** Clients fetch and show it, so that nothing of it is sent, filtered or delivered. */
function checkInAppCampaign({ Hook, Priority }: CampaignDefinition): void {
  if (Hook?.LambdaFunctionName || Hook?.WebUrl)
    throw badMember('$.Hook', 'expected no hook: clients fetch an in-app campaign, which sends nothing');
  if (Priority !== undefined) checkInteger(Priority, '$.Priority', 0, 5);
}

type WithMessage = Pick<
  CampaignDefinition,
  'MessageConfiguration' | 'TemplateConfiguration' | 'CustomDeliveryConfiguration'
>;

/** The message of the campaign or of one treatment. */
function checkPart(part: WithMessage, path: string, { Schedule }: CampaignDefinition): void {
  if (isInApp(Schedule)) checkInAppPart(part, path);
  else checkMessage(part, path);
}

const otherMessages = [
  ...(['EmailMessage', 'SMSMessage', 'CustomMessage', 'DefaultMessage'] as const),
  ...(['APNSMessage', 'GCMMessage', 'ADMMessage', 'BaiduMessage'] as const),
] as const;
const otherTemplates = ['EmailTemplate', 'SMSTemplate', 'PushTemplate', 'VoiceTemplate'] as const;

/** Either words of its own or a template; nothing for other channels, since nothing is sent. */
function checkInAppPart(part: WithMessage, path: string): void {
  const { MessageConfiguration: message, TemplateConfiguration: templates } = part;
  const refuse = (member: string) => {
    throw badMember(
      `${path}.${member}`,
      'expected only InAppMessage or InAppTemplate: clients fetch an IN_APP_EVENT campaign, and nothing is sent',
    );
  };
  if (part.CustomDeliveryConfiguration) refuse('CustomDeliveryConfiguration');
  for (const name of otherMessages) if (message?.[name]) refuse(`MessageConfiguration.${name}`);
  for (const name of otherTemplates) if (templates?.[name]?.Name) refuse(`TemplateConfiguration.${name}`);
  if (templates?.InAppTemplate?.Name) {
    checkTemplateReference(templates.InAppTemplate, `${path}.TemplateConfiguration.InAppTemplate`);
    return;
  }
  const inApp = `${path}.MessageConfiguration.InAppMessage`;
  if (!message?.InAppMessage)
    throw badMember(inApp, 'expected the message to show, or an InAppTemplate in TemplateConfiguration');
  checkInAppForm(message.InAppMessage, inApp);
}

/** At least one channel has words. */
function checkMessage(part: WithMessage, path: string): void {
  const { MessageConfiguration: message, TemplateConfiguration: templates } = part;
  const delivery = part.CustomDeliveryConfiguration;
  if (delivery) checkDelivery(delivery, `${path}.CustomDeliveryConfiguration`);
  checkTemplates(templates, `${path}.TemplateConfiguration`);
  if (message) checkWords(message, `${path}.MessageConfiguration`);
  const channels = [
    templates?.EmailTemplate,
    templates?.SMSTemplate,
    message?.EmailMessage?.HtmlBody ?? message?.EmailMessage?.Body,
    message?.SMSMessage?.Body,
    message?.CustomMessage?.Data,
    delivery?.DeliveryUri,
    ...pushMessages(message).flatMap(([, push]) => [push.Body, push.RawContent, push.Title]),
  ];
  if (!channels.some((words) => words !== undefined)) {
    throw badMember(
      `${path}.MessageConfiguration`,
      'expected a message or template for at least one channel, such as EmailMessage with HtmlBody or Body, SMSMessage with Body, or an EmailTemplate in TemplateConfiguration',
    );
  }
}

/** The push messages that are there, the channel-specific ones first: they win over the default. */
export function pushMessages(message: MessageConfiguration | undefined) {
  return (['GCMMessage', 'APNSMessage', 'ADMMessage', 'BaiduMessage', 'DefaultMessage'] as const).flatMap(
    (name) => {
      const push = message?.[name];
      return push ? [[name, push] as const] : [];
    },
  );
}

function checkWords(message: MessageConfiguration, path: string): void {
  if (message.InAppMessage)
    throw badMember(`${path}.InAppMessage`, 'expected only with the Frequency IN_APP_EVENT');
  const email = message.EmailMessage;
  if (email) {
    checkAddress(email.FromAddress, `${path}.EmailMessage.FromAddress`);
    checkHeaders(email.Headers, `${path}.EmailMessage.Headers`);
  }
  if ((message.SMSMessage?.Body?.length ?? 0) > 1600)
    throw badMember(`${path}.SMSMessage.Body`, 'expected at most 1600 characters');
  if (Buffer.byteLength(message.CustomMessage?.Data ?? '') > 5_000)
    throw badMember(`${path}.CustomMessage.Data`, 'expected at most 5 KB');
}

/** Kinds of endpoints that a function of the customer's may deliver to. PUSH stands for all kinds of devices. */
export const endpointTypes: readonly string[] = [
  ...['ADM', 'APNS', 'APNS_SANDBOX', 'APNS_VOIP', 'APNS_VOIP_SANDBOX', 'BAIDU', 'GCM', 'PUSH'],
  ...['CUSTOM', 'EMAIL', 'IN_APP', 'SMS', 'VOICE'],
];

/** Where a function of the customer's delivers (reference 11). */
function checkDelivery(delivery: CustomDeliveryConfiguration, path: string): void {
  if (!parseFunctionTarget(delivery.DeliveryUri ?? ''))
    throw badMember(
      `${path}.DeliveryUri`,
      'expected an https URL of at most 2048 characters, or the name or ARN of a Lambda function',
    );
  delivery.EndpointTypes?.forEach((type, index) => {
    if (!endpointTypes.includes(type))
      throw badMember(`${path}.EndpointTypes[${index}]`, `expected one of ${endpointTypes.join(', ')}`);
  });
}

/** A sender as `a@b.c` or `Name <a@b.c>`. */
export function checkAddress(address: string | undefined, path: string): void {
  if (address === undefined) return;
  if (address.length > 1000 || !/^(?:[^<>\r\n]*<[^<>@\s]+@[^<>@\s]+>|[^<>@\s]+@[^<>@\s]+)$/.test(address))
    throw badMember(path, 'expected an address as a@example.com or Name <a@example.com>');
}

/** Header fields that go out as they are given: a name of RFC 5322 and one line of value. */
export function checkHeaders(headers: MessageHeader[] | undefined, path: string): void {
  if ((headers?.length ?? 0) > 15) throw badMember(path, 'expected at most 15 headers');
  headers?.forEach(({ Name, Value }, index) => {
    if (!/^[!-9;-~]{1,126}$/.test(Name ?? ''))
      throw badMember(
        `${path}[${index}].Name`,
        'expected a header name: 1 to 126 printable characters without colon',
      );
    if (!/^[^\r\n]{0,870}$/.test(Value ?? ''))
      throw badMember(`${path}[${index}].Value`, 'expected one line of at most 870 characters');
  });
}

function checkTemplates(templates: TemplateConfiguration | undefined, path: string): void {
  if (!templates) return;
  if (templates.PushTemplate?.Name) {
    throw new CallerError(
      'not_implemented',
      `${path}.PushTemplate: only EmailTemplate, SMSTemplate and InAppTemplate are supported yet`,
      `${path}.PushTemplate`,
    );
  }
  if (templates.InAppTemplate?.Name)
    throw badMember(`${path}.InAppTemplate`, 'expected only with the Frequency IN_APP_EVENT');
  if (templates.VoiceTemplate?.Name)
    throw badMember(
      `${path}.VoiceTemplate`,
      'expected no voice template: campaigns do not call (as in Pinpoint)',
    );
  for (const name of ['EmailTemplate', 'SMSTemplate'] as const) {
    if (templates[name]) checkTemplateReference(templates[name], `${path}.${name}`);
  }
}

/** Name and version of a template, by form; whether it exists is checked in references.ts. */
export function checkTemplateReference(template: Template, path: string): void {
  if (!template.Name) throw badMember(`${path}.Name`, "expected the template's name");
  if (template.Version !== undefined && !/^(latest|[1-9]\d{0,8})$/.test(template.Version))
    throw badMember(`${path}.Version`, 'expected the number of a version as a string, or latest');
}
