import type { MessageConfiguration, Template } from '@aws-sdk/client-pinpoint';
import type { LoadedTemplate } from '../../content/index.ts';
import type { ContentByChannel, ContentSource, DispatchPlan, Treatment } from '../../messaging/index.ts';
import { isoTime } from '../../platform/clock.ts';
import { uuidv7 } from '../../platform/ids.ts';
import type { CampaignDefinition, InheritedSettings } from './campaign.ts';
import { pushMessages } from './validate.ts';

/** Loads the version of a template that is sent: the one that is named, else the active one. Throws when there is none. */
export type TemplateLoader = (
  type: 'EMAIL' | 'SMS',
  template: Template,
  path: string,
) => Promise<LoadedTemplate>;

/**
 * What a run of the campaign dispatches, with the words of its templates as they are now.
 *
 * Where a channel has a template and words of its own, the template is sent (its sender and headers come from
 * MessageConfiguration): an update that adds a template need not remove the words. DefaultMessage serves push, and
 * SMS when there is nothing else for it.
 */
export async function planCampaign(
  definition: CampaignDefinition,
  inherited: InheritedSettings,
  loadTemplate: TemplateLoader,
): Promise<DispatchPlan> {
  const { AdditionalTreatments: additional = [], HoldoutPercent: holdoutPercent = 0 } = definition;
  const sizes = treatmentSizes(definition);
  const treatments: Treatment[] = [
    { id: '0', sizePercent: sizes[0]!, ...(await wordsOf(definition, '$', loadTemplate)) },
  ];
  for (const [index, treatment] of additional.entries()) {
    const words = await wordsOf(treatment, `$.AdditionalTreatments[${index}]`, loadTemplate);
    treatments.push({ id: String(index + 1), sizePercent: sizes[index + 1]!, ...words });
  }
  const limits = effectiveLimits(definition, inherited);
  const quiet = effectiveQuietTime(definition, inherited);
  const hook = effectiveHook(definition, inherited);
  return {
    treatments,
    holdoutPercent,
    limits: {
      ...(limits.Daily ? { daily: limits.Daily } : {}),
      ...(limits.Total ? { total: limits.Total } : {}),
    },
    ...(quiet ? { quietTime: quiet } : {}),
    ...(hook ? { hook } : {}),
  };
}

/** Percents of the default treatment and of each additional one: the default one gets what the others leave. */
export function treatmentSizes(definition: CampaignDefinition): number[] {
  const additional = (definition.AdditionalTreatments ?? []).map(({ SizePercent }) => SizePercent!);
  const rest = additional.reduce((left, size) => left - size, 100 - (definition.HoldoutPercent ?? 0));
  return [rest, ...additional];
}

/** The plan of one run, with an activity for each treatment. */
export function planOfRun(plan: DispatchPlan, scheduledStart: Date) {
  return {
    ...plan,
    treatments: plan.treatments.map((treatment) => ({
      ...treatment,
      activityId: uuidv7().replaceAll('-', ''),
    })),
    scheduledTime: isoTime(scheduledStart),
  };
}

/** The campaign's limits; each that it does not give is that of the application when the campaign was created. */
export function effectiveLimits(
  definition: CampaignDefinition,
  inherited: InheritedSettings,
): NonNullable<CampaignDefinition['Limits']> {
  const own = Object.entries(definition.Limits ?? {}).filter(([, value]) => value !== undefined);
  return { ...inherited.Limits, ...Object.fromEntries(own) };
}

/** A campaign's own quiet time replaces the inherited one; an empty one (`{}`) means none. */
export function effectiveQuietTime(
  definition: CampaignDefinition,
  inherited: InheritedSettings,
): { start: string; end: string } | undefined {
  const quiet = definition.Schedule?.QuietTime ?? inherited.QuietTime;
  return quiet?.Start && quiet.End ? { start: quiet.Start, end: quiet.End } : undefined;
}

/** A campaign's own hook replaces the inherited one; an empty one (`{}`) means none. */
function effectiveHook(definition: CampaignDefinition, inherited: InheritedSettings): string | undefined {
  const hook = definition.Hook ?? inherited.CampaignHook;
  return hook?.WebUrl || hook?.LambdaFunctionName || undefined;
}

type Part = Pick<
  CampaignDefinition,
  'MessageConfiguration' | 'TemplateConfiguration' | 'CustomDeliveryConfiguration'
>;

/** What a treatment says, and through whom. */
async function wordsOf(
  part: Part,
  path: string,
  loadTemplate: TemplateLoader,
): Promise<Pick<Treatment, 'content' | 'delivery' | 'messageConfiguration'>> {
  const content = await contentOf(part, path, loadTemplate);
  const custom = part.CustomDeliveryConfiguration;
  if (custom) content.CUSTOM ??= { inline: { body: '' } };
  return {
    content,
    ...(custom && {
      delivery: { uri: custom.DeliveryUri!, endpointTypes: custom.EndpointTypes ?? ['CUSTOM'] },
    }),
    ...(part.MessageConfiguration && { messageConfiguration: part.MessageConfiguration }),
  };
}

async function contentOf(part: Part, path: string, loadTemplate: TemplateLoader): Promise<ContentByChannel> {
  const message = part.MessageConfiguration;
  const content: ContentByChannel = {};
  const { EmailTemplate, SMSTemplate } = part.TemplateConfiguration ?? {};
  const templates = `${path}.TemplateConfiguration`;
  const emailTemplate =
    EmailTemplate && (await loadTemplate('EMAIL', EmailTemplate, `${templates}.EmailTemplate`));
  const smsTemplate = SMSTemplate && (await loadTemplate('SMS', SMSTemplate, `${templates}.SMSTemplate`));
  const email = emailContent(message, emailTemplate);
  if (email) content.EMAIL = email;
  const sms = smsContent(message, smsTemplate);
  if (sms) content.SMS = sms;
  const push = pushContent(message);
  if (push) content.PUSH = push;
  if (message?.CustomMessage?.Data !== undefined)
    content.CUSTOM = { inline: { body: message.CustomMessage.Data } };
  return content;
}

function emailContent(
  message: MessageConfiguration | undefined,
  template: LoadedTemplate | undefined,
): ContentSource | undefined {
  const email = message?.EmailMessage;
  const sender = email?.FromAddress ? { sender: { from: email.FromAddress } } : {};
  const headers = email?.Headers?.length
    ? email.Headers.map(({ Name, Value }) => ({ name: Name!, value: Value ?? '' }))
    : template?.headers;
  const withHeaders = headers ? { headers } : {};
  if (template) return { ...fromTemplate('EMAIL', template, withHeaders), ...sender };
  if (email?.HtmlBody === undefined && email?.Body === undefined) return undefined;
  return {
    inline: {
      subject: email.Title ?? '',
      ...(email.HtmlBody === undefined ? {} : { html: email.HtmlBody }),
      ...(email.Body === undefined ? {} : { text: email.Body }),
      ...withHeaders,
    },
    ...sender,
  };
}

/** The words of a template version, and which one it was. */
function fromTemplate(
  type: 'EMAIL' | 'SMS',
  template: LoadedTemplate,
  inline: ContentSource['inline'] = {},
): ContentSource {
  const { name, version, parts, defaults } = template;
  return { template: { type, name, version }, inline: { ...parts, ...inline }, defaults };
}

function smsContent(
  message: MessageConfiguration | undefined,
  template: LoadedTemplate | undefined,
): ContentSource | undefined {
  const sms = message?.SMSMessage;
  const body = sms?.Body ?? message?.DefaultMessage?.Body;
  if (!template && body === undefined) return undefined;
  const sender = {
    ...(sms?.MessageType ? { messageType: sms.MessageType } : {}),
    ...(sms?.OriginationNumber ? { originationNumber: sms.OriginationNumber } : {}),
    ...(sms?.SenderId ? { senderId: sms.SenderId } : {}),
    ...(sms?.EntityId ? { entityId: sms.EntityId } : {}),
    ...(sms?.TemplateId ? { templateId: sms.TemplateId } : {}),
  };
  return { ...(template ? fromTemplate('SMS', template) : { inline: { body: body! } }), sender };
}

/** The words of the first push message that is there; all of them go along whole, for the vendors' own forms. */
function pushContent(message: MessageConfiguration | undefined): ContentSource | undefined {
  const pushes = pushMessages(message);
  const words = pushes.map(([, push]) => push);
  const body =
    words.find((push) => push.Body !== undefined)?.Body ?? words.find((push) => push.RawContent)?.RawContent;
  const title = words.find((push) => push.Title !== undefined)?.Title;
  if (body === undefined && title === undefined) return undefined;
  return {
    inline: { body: body ?? '', ...(title === undefined ? {} : { title }), data: Object.fromEntries(pushes) },
  };
}
