import type { MessageConfiguration, Template, TemplateConfiguration } from '@aws-sdk/client-pinpoint';
import type { ContentByChannel, ContentSource, DispatchPlan } from '../../messaging/index.ts';
import type { CampaignDefinition, InheritedSettings } from './campaign.ts';
import { pushMessages } from './validate.ts';

/** Finds the version of a template that is sent: the one that is named, else the active one. Throws when there is none. */
export type TemplateResolver = (type: 'EMAIL' | 'SMS', template: Template, path: string) => Promise<number>;

/**
 * What a run of the campaign dispatches, with template versions pinned as they are now.
 *
 * Where a channel has a template and words of its own, the template is sent (its sender and headers come from
 * MessageConfiguration): an update that adds a template need not remove the words. DefaultMessage serves push, and
 * SMS when there is nothing else for it.
 */
export async function planCampaign(
  definition: CampaignDefinition,
  inherited: InheritedSettings,
  resolveTemplate: TemplateResolver,
): Promise<DispatchPlan> {
  const additional = definition.AdditionalTreatments ?? [];
  const holdoutPercent = definition.HoldoutPercent ?? 0;
  const rest = additional.reduce((left, { SizePercent }) => left - SizePercent!, 100 - holdoutPercent);
  const treatments = [
    { id: '0', sizePercent: rest, content: await contentOf(definition, '$', resolveTemplate) },
  ];
  for (const [index, treatment] of additional.entries()) {
    const content = await contentOf(treatment, `$.AdditionalTreatments[${index}]`, resolveTemplate);
    treatments.push({ id: String(index + 1), sizePercent: treatment.SizePercent!, content });
  }
  const limits = effectiveLimits(definition, inherited);
  const quiet = effectiveQuietTime(definition, inherited);
  return {
    treatments,
    holdoutPercent,
    limits: {
      ...(limits.Daily ? { daily: limits.Daily } : {}),
      ...(limits.Total ? { total: limits.Total } : {}),
    },
    ...(quiet ? { quietTime: quiet } : {}),
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
function effectiveQuietTime(
  definition: CampaignDefinition,
  inherited: InheritedSettings,
): { start: string; end: string } | undefined {
  const quiet = definition.Schedule?.QuietTime ?? inherited.QuietTime;
  return quiet?.Start && quiet.End ? { start: quiet.Start, end: quiet.End } : undefined;
}

async function contentOf(
  part: { MessageConfiguration?: MessageConfiguration; TemplateConfiguration?: TemplateConfiguration },
  path: string,
  resolveTemplate: TemplateResolver,
): Promise<ContentByChannel> {
  const message = part.MessageConfiguration;
  const content: ContentByChannel = {};
  const pinned = async (type: 'EMAIL' | 'SMS', template: Template | undefined, member: string) =>
    template && {
      type,
      name: template.Name!,
      version: await resolveTemplate(type, template, `${path}.TemplateConfiguration.${member}`),
    };
  const email = emailContent(
    message,
    await pinned('EMAIL', part.TemplateConfiguration?.EmailTemplate, 'EmailTemplate'),
  );
  if (email) content.EMAIL = email;
  const sms = smsContent(
    message,
    await pinned('SMS', part.TemplateConfiguration?.SMSTemplate, 'SMSTemplate'),
  );
  if (sms) content.SMS = sms;
  const push = pushContent(message);
  if (push) content.PUSH = push;
  if (message?.CustomMessage?.Data !== undefined)
    content.CUSTOM = { inline: { body: message.CustomMessage.Data } };
  return content;
}

function emailContent(
  message: MessageConfiguration | undefined,
  template: ContentSource['template'],
): ContentSource | undefined {
  const email = message?.EmailMessage;
  const sender = email?.FromAddress ? { sender: { from: email.FromAddress } } : {};
  const headers = email?.Headers?.length
    ? { headers: email.Headers.map(({ Name, Value }) => ({ name: Name!, value: Value ?? '' })) }
    : {};
  if (template) return { template, ...(headers.headers ? { inline: headers } : {}), ...sender };
  if (email?.HtmlBody === undefined && email?.Body === undefined) return undefined;
  return {
    inline: {
      subject: email.Title ?? '',
      ...(email.HtmlBody === undefined ? {} : { html: email.HtmlBody }),
      ...(email.Body === undefined ? {} : { text: email.Body }),
      ...headers,
    },
    ...sender,
  };
}

function smsContent(
  message: MessageConfiguration | undefined,
  template: ContentSource['template'],
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
  return { ...(template ? { template } : { inline: { body: body! } }), sender };
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
