import type {
  DirectMessageConfiguration,
  EmailMessage,
  TemplateConfiguration,
} from '@aws-sdk/client-pinpoint';
import type { LoadedTemplate } from '../../content/index.ts';
import {
  checkAddress,
  checkHeaders,
  checkTemplateReference,
  templateLoader,
} from '../../engagement/index.ts';
import type { ContentByChannel, ContentSource } from '../../messaging/index.ts';
import type { Queryable } from '../../platform/database.ts';
import { badMember, CallerError } from '../../platform/errors.ts';

type Inline = NonNullable<ContentSource['inline']>;

/**
 * What a direct message says on each channel. Words given in the call win over the template's, the message of a channel
 * over the default one. DefaultMessage serves every channel that has nothing of its own.
 * @throws CallerError bad_request with the member's path; not_implemented for templates of other kinds
 */
export async function directContent(
  db: Queryable,
  message: DirectMessageConfiguration,
  templates: TemplateConfiguration | undefined,
): Promise<ContentByChannel> {
  for (const name of ['PushTemplate', 'VoiceTemplate', 'InAppTemplate'] as const) {
    if (!templates?.[name]?.Name) continue;
    const path = `$.TemplateConfiguration.${name}`;
    throw new CallerError(
      'not_implemented',
      `${path}: only EmailTemplate and SMSTemplate are supported yet`,
      path,
    );
  }
  const email = await loadNamed(db, 'EMAIL', templates);
  const sms = await loadNamed(db, 'SMS', templates);
  const content: ContentByChannel = {};
  const set = (channel: keyof ContentByChannel, source: ContentSource | undefined) => {
    if (source) content[channel] = withSubstitutions(source, message, channel);
  };
  set('EMAIL', emailSource(message, email));
  set('SMS', smsSource(message, sms));
  set('PUSH', pushSource(message));
  set('VOICE', voiceSource(message));
  set('CUSTOM', defaultSource(message));
  if (Object.keys(content).length === 0) {
    throw badMember(
      '$.MessageConfiguration',
      'expected words for at least one channel, such as EmailMessage with SimpleEmail, SMSMessage with Body, DefaultMessage, or a template in TemplateConfiguration',
    );
  }
  return content;
}

async function loadNamed(
  db: Queryable,
  type: 'EMAIL' | 'SMS',
  templates: TemplateConfiguration | undefined,
): Promise<LoadedTemplate | undefined> {
  const member = type === 'EMAIL' ? 'EmailTemplate' : 'SMSTemplate';
  const template = templates?.[member];
  if (!template) return undefined;
  const path = `$.TemplateConfiguration.${member}`;
  checkTemplateReference(template, path);
  return await templateLoader(db)(type, template, path);
}

/** The words of a template with those that the call gives instead. */
function withTemplate(
  type: 'EMAIL' | 'SMS',
  template: LoadedTemplate | undefined,
  inline: Inline,
): Pick<ContentSource, 'template' | 'inline' | 'defaults'> {
  if (!template) return { inline };
  const { name, version, parts, headers, defaults } = template;
  const { html, text, ...others } = parts;
  // A body given in the call replaces the whole body: the template's other half would say something else.
  const body = inline.html === undefined && inline.text === undefined ? { html, text } : {};
  return {
    template: { type, name, version },
    inline: { ...body, ...others, ...(headers ? { headers } : {}), ...inline },
    defaults,
  };
}

function emailSource(
  message: DirectMessageConfiguration,
  template: LoadedTemplate | undefined,
): ContentSource | undefined {
  const email = message.EmailMessage;
  const inline = email ? emailWords(email) : {};
  const own = Object.keys(inline).some((member) => member !== 'headers');
  if (!own && !template) {
    if (message.DefaultMessage?.Body === undefined) return undefined;
    inline.text = message.DefaultMessage.Body;
  }
  const path = '$.MessageConfiguration.EmailMessage';
  checkAddress(email?.FromAddress, `${path}.FromAddress`);
  if ((email?.ReplyToAddresses?.length ?? 0) > 50)
    throw badMember(`${path}.ReplyToAddresses`, 'expected at most 50 addresses');
  email?.ReplyToAddresses?.forEach((address, index) => {
    checkAddress(address, `${path}.ReplyToAddresses[${index}]`);
  });
  const sender = {
    ...(email?.FromAddress ? { from: email.FromAddress } : {}),
    ...(email?.ReplyToAddresses?.length ? { replyTo: email.ReplyToAddresses } : {}),
  };
  return { ...withTemplate('EMAIL', inline.rawBase64 ? undefined : template, inline), sender };
}

function emailWords(email: EmailMessage): Inline {
  const path = '$.MessageConfiguration.EmailMessage';
  const { RawEmail: raw, SimpleEmail: simple } = email;
  if (raw?.Data && simple) throw badMember(path, 'expected either SimpleEmail or RawEmail');
  if (raw?.Data) return { rawBase64: Buffer.from(raw.Data).toString('base64') };
  checkHeaders(simple?.Headers, `${path}.SimpleEmail.Headers`);
  const html = simple?.HtmlPart?.Data;
  const text = simple?.TextPart?.Data ?? (html === undefined ? email.Body : undefined);
  const subject = simple?.Subject?.Data;
  return {
    ...(subject === undefined ? {} : { subject }),
    ...(html === undefined ? {} : { html }),
    ...(text === undefined ? {} : { text }),
    ...(simple?.Headers?.length
      ? { headers: simple.Headers.map(({ Name, Value }) => ({ name: Name!, value: Value ?? '' })) }
      : {}),
  };
}

function smsSource(
  message: DirectMessageConfiguration,
  template: LoadedTemplate | undefined,
): ContentSource | undefined {
  const sms = message.SMSMessage;
  const body = sms?.Body ?? (template ? undefined : message.DefaultMessage?.Body);
  if (body === undefined && !template) return undefined;
  if ((body?.length ?? 0) > 1600)
    throw badMember('$.MessageConfiguration.SMSMessage.Body', 'expected at most 1600 characters');
  const sender = {
    ...(sms?.MessageType ? { messageType: sms.MessageType } : {}),
    ...(sms?.OriginationNumber ? { originationNumber: sms.OriginationNumber } : {}),
    ...(sms?.SenderId ? { senderId: sms.SenderId } : {}),
    ...(sms?.EntityId ? { entityId: sms.EntityId } : {}),
    ...(sms?.TemplateId ? { templateId: sms.TemplateId } : {}),
  };
  return { ...withTemplate('SMS', template, body === undefined ? {} : { body }), sender };
}

/** The words of the first push message that is there; all go along whole, for the vendors' own forms. */
function pushSource(message: DirectMessageConfiguration): ContentSource | undefined {
  const names = [
    'GCMMessage',
    'APNSMessage',
    'ADMMessage',
    'BaiduMessage',
    'DefaultPushNotificationMessage',
  ] as const;
  const given = names.filter((name) => message[name]);
  if (given.length === 0) return defaultSource(message);
  const body = given.map((name) => message[name]!.Body).find((words) => words !== undefined);
  const title = given.map((name) => message[name]!.Title).find((words) => words !== undefined);
  const data = Object.fromEntries(given.map((name) => [name, message[name]]));
  return {
    inline: {
      body: body ?? message.DefaultMessage?.Body ?? '',
      ...(title === undefined ? {} : { title }),
      data,
    },
  };
}

function voiceSource(message: DirectMessageConfiguration): ContentSource | undefined {
  const voice = message.VoiceMessage;
  if (voice?.Body === undefined) return defaultSource(message);
  const data = {
    ...(voice.LanguageCode ? { LanguageCode: voice.LanguageCode } : {}),
    ...(voice.VoiceId ? { VoiceId: voice.VoiceId } : {}),
  };
  const sender = voice.OriginationNumber ? { originationNumber: voice.OriginationNumber } : {};
  return { inline: { body: voice.Body, data }, sender };
}

function defaultSource(message: DirectMessageConfiguration): ContentSource | undefined {
  const body = message.DefaultMessage?.Body;
  return body === undefined ? undefined : { inline: { body } };
}

/** Message-wide substitutions: of the default message, then those of the channel's own. */
function withSubstitutions(
  source: ContentSource,
  message: DirectMessageConfiguration,
  channel: keyof ContentByChannel,
): ContentSource {
  const own = {
    EMAIL: [message.EmailMessage],
    SMS: [message.SMSMessage],
    PUSH: [
      message.DefaultPushNotificationMessage,
      message.BaiduMessage,
      message.ADMMessage,
      message.APNSMessage,
      message.GCMMessage,
    ],
    VOICE: [message.VoiceMessage],
    CUSTOM: [],
    IN_APP: [],
  }[channel];
  const substitutions = Object.fromEntries(
    [message.DefaultMessage, ...own].flatMap((part) => Object.entries(part?.Substitutions ?? {})),
  );
  return Object.keys(substitutions).length ? { ...source, substitutions } : source;
}
