import { createHash } from 'node:crypto';
import type { EndpointResponse } from '@aws-sdk/client-pinpoint';
import { type Recipient, toEndpointResponse } from '../audience/index.ts';
import { maskSecrets, type Renderer } from '../content/index.ts';
import { isoTime } from '../platform/clock.ts';
import type { ContentSource, DispatchClass, Occasion } from './dispatch.ts';
import type { Decision } from './policy.ts';
import type { DeliveryChannel, EmailContent, MessageContent } from './provider.ts';

/** What is said to one recipient instead of the message's own words (SendMessages). */
export interface Overrides {
  body?: string;
  title?: string;
  rawBase64?: string;
  data?: Record<string, unknown>;
  substitutions?: Record<string, string[]>;
}

/** A person's address without an endpoint, or an endpoint. */
export type Addressee = Recipient | { channel: string | null; address: string | null };

export interface ComposeItem {
  recipient: Addressee;
  overrides?: Overrides;
  /** The event that it is about, as `{{Event…}}`. */
  occasion?: Occasion;
}

export interface ComposeContext {
  applicationId: string;
  channel: DeliveryChannel;
  source: ContentSource;
  class: DispatchClass;
}

export type Composed =
  | { content: MessageContent; summary: string }
  | {
      decision: Extract<Decision, 'missing_variable' | 'template_error' | 'channel_disabled'>;
      detail: string;
    };

/** Defaults of an application's channel: who a message comes from when neither campaign nor call says so. */
export interface ChannelSender {
  from?: string;
  senderId?: string;
  originationNumber?: string;
}

export interface ComposerOptions {
  renderer: Pick<Renderer, 'render'>;
  senderOf(applicationId: string, channel: DeliveryChannel): Promise<ChannelSender>;
}

export interface Composer {
  /** One result for each item, in order. */
  compose(context: ComposeContext, items: ComposeItem[]): Promise<Composed[]>;
}

const summaryLength = 120;

export function createComposer({ renderer, senderOf }: ComposerOptions): Composer {
  return {
    async compose(context, items) {
      const sender = await senderOf(context.applicationId, context.channel);
      if (context.channel === 'EMAIL' && !(context.source.sender?.from ?? sender.from)) {
        const detail = 'There is no from address: neither the message nor the e-mail channel names one';
        return items.map(() => ({ decision: 'channel_disabled', detail }));
      }
      const results = new Array<Composed>(items.length);
      for (const [source, indexes] of groupBySource(context.source, items)) {
        const inputs = indexes.map((index) => ({
          endpoint: variablesOf(context.applicationId, items[index]!),
          substitutions: { ...source.substitutions, ...items[index]!.overrides?.substitutions },
        }));
        const parts = partsOf(source, context.channel);
        const rendered = await renderer.render(
          { key: keyOf(parts, source.defaults), parts, defaults: source.defaults ?? {} },
          inputs,
        );
        indexes.forEach((index, position) => {
          results[index] = finish(context, source, sender, rendered[position]!);
        });
      }
      return results;
    },
  };
}

/** Items without words of their own share the message's; each other set of words is rendered by itself. */
function groupBySource(source: ContentSource, items: ComposeItem[]): [ContentSource, number[]][] {
  const groups = new Map<string, [ContentSource, number[]]>();
  items.forEach(({ overrides }, index) => {
    const { body, title, rawBase64, data } = overrides ?? {};
    const own = body !== undefined || title !== undefined || rawBase64 !== undefined || data !== undefined;
    const key = own ? JSON.stringify([body, title, rawBase64, data]) : '';
    const group = groups.get(key);
    if (group) group[1].push(index);
    else groups.set(key, [own ? withOverrides(source, overrides!) : source, [index]]);
  });
  return [...groups.values()];
}

function withOverrides(source: ContentSource, { body, title, rawBase64, data }: Overrides): ContentSource {
  const inline = { ...source.inline };
  if (body !== undefined) Object.assign(inline, { body, text: body, html: undefined });
  if (title !== undefined) Object.assign(inline, { title, subject: title });
  if (rawBase64 !== undefined) inline.rawBase64 = rawBase64;
  if (data !== undefined) inline.data = data;
  return { ...source, inline };
}

/** The texts of a message that may hold variables, by part. */
function partsOf({ inline = {} }: ContentSource, channel: DeliveryChannel): Record<string, string> {
  const parts: Record<string, string> = {};
  const add = (name: string, text: string | undefined) => {
    if (text !== undefined) parts[name] = text;
  };
  if (channel === 'EMAIL') {
    add('subject', inline.subject);
    add('html', inline.html);
    add('text', inline.text ?? (inline.html === undefined ? inline.body : undefined));
    inline.headers?.forEach(({ value }, index) => {
      add(`header:${index}`, value);
    });
  } else {
    add('title', inline.title);
    add('body', inline.body);
  }
  return parts;
}

function keyOf(parts: Record<string, string>, defaults: Record<string, string> | undefined): string {
  return createHash('sha256')
    .update(JSON.stringify([parts, defaults]))
    .digest('base64url');
}

/** An endpoint as templates see it: Pinpoint's EndpointResponse; with the event, when there is one. */
function variablesOf(applicationId: string, { recipient, occasion }: ComposeItem): EndpointResponse {
  const endpoint = endpointOf(applicationId, recipient);
  return occasion ? Object.assign(endpoint, { Event: eventOf(occasion) }) : endpoint;
}

function eventOf({ id, type, at, attributes = {}, metrics = {} }: Occasion) {
  return { Id: id, Type: type, Timestamp: isoTime(at), Attributes: attributes, Metrics: metrics };
}

function endpointOf(applicationId: string, recipient: Addressee): EndpointResponse {
  if ('id' in recipient) return toEndpointResponse(applicationId, recipient);
  const { address, channel } = recipient;
  return {
    Address: address ?? undefined,
    ChannelType: (channel ?? undefined) as EndpointResponse['ChannelType'],
  };
}

type Rendered = Awaited<ReturnType<Renderer['render']>>[number];

function finish(
  { channel, class: dispatchClass }: ComposeContext,
  source: ContentSource,
  channelSender: ChannelSender,
  rendered: Rendered,
): Composed {
  if ('missing' in rendered) {
    const detail = `No value for ${rendered.missing.map((name) => `{{${name}}}`).join(', ')}`;
    return { decision: 'missing_variable', detail: detail.slice(0, 500) };
  }
  if ('error' in rendered) return { decision: 'template_error', detail: rendered.error.slice(0, 500) };
  const { parts } = rendered;
  const { inline = {}, sender = {} } = source;
  if (channel === 'EMAIL') {
    const content: EmailContent = {
      kind: 'email',
      from: sender.from ?? channelSender.from!,
      replyTo: sender.replyTo,
      subject: parts.subject ?? '',
      html: parts.html,
      text: parts.text,
      headers: inline.headers?.map(({ name }, index) => ({ name, value: parts[`header:${index}`] ?? '' })),
      attachments: inline.attachments,
      rawBase64: inline.rawBase64,
    };
    return { content, summary: summarise(content.subject) };
  }
  const body = parts.body ?? '';
  if (channel === 'SMS') {
    return {
      content: {
        kind: 'sms',
        body,
        messageType:
          sender.messageType ?? (dispatchClass === 'promotional' ? 'PROMOTIONAL' : 'TRANSACTIONAL'),
        originationNumber: sender.originationNumber ?? channelSender.originationNumber,
        senderId: sender.senderId ?? channelSender.senderId,
        entityId: sender.entityId,
        templateId: sender.templateId,
      },
      summary: summarise(body),
    };
  }
  const kinds = { PUSH: 'push', VOICE: 'voice', CUSTOM: 'custom', IN_APP: 'in_app' } as const;
  return {
    content: { kind: kinds[channel], title: parts.title, body, data: inline.data },
    summary: summarise(parts.title ?? body),
  };
}

function summarise(text: string): string {
  return maskSecrets(text.slice(0, 4 * summaryLength)).slice(0, summaryLength);
}
