import type { InAppMessageContent, InAppTemplateRequest } from '@aws-sdk/client-pinpoint';
import { badMember } from '../platform/errors.ts';
import type { Parts } from './render-batch.ts';
import type { Renderer } from './renderer.ts';

/** What an in-app message is made of, in the shape of the Pinpoint API. */
export type InAppContent = Pick<InAppTemplateRequest, 'Content' | 'CustomConfig' | 'Layout'>;

/** Pinpoint's sizes (reference 6.1, 7.5), in characters; screens of a carousel. */
const maxTotal = 200_000;
const maxHeader = 64;
const maxBody = 150;
const maxButton = 64;
const maxUrl = 2048;
const maxScreens = 5;
const maxConfigs = 100;

/**
 * Is this an in-app message that clients can show, and do its variables compile?
 * @param path of the message in the request (`$`, `$.MessageConfiguration.InAppMessage`)
 * @throws CallerError bad_request with the member's path
 */
export async function checkInAppContent(
  renderer: Pick<Renderer, 'check'>,
  message: InAppContent,
  path: string,
): Promise<void> {
  checkInAppForm(message, path);
  const parts = inAppParts(message);
  if (Object.keys(parts).length === 0) return;
  const error = await renderer.check(parts);
  if (error) throw badMember(`${path}.${error.part.slice(partPrefix.length)}`, error.message);
}

/** What can be seen of it without compiling. @throws CallerError bad_request with the member's path */
export function checkInAppForm(message: InAppContent, path: string): void {
  const { Content, CustomConfig, Layout } = message;
  if (!Content?.length && !Object.keys(CustomConfig ?? {}).length)
    throw badMember(`${path}.Content`, 'expected at least one screen, or a CustomConfig');
  const most = Layout === 'CAROUSEL' ? maxScreens : 1;
  if ((Content?.length ?? 0) > most)
    throw badMember(
      `${path}.Content`,
      `expected at most ${most} screen${most > 1 ? 's' : ' (several need the Layout CAROUSEL)'}`,
    );
  if (Content?.length && !Layout) throw badMember(`${path}.Layout`, 'expected the layout of the message');
  Content?.forEach((screen, index) => {
    checkScreen(screen, `${path}.Content[${index}]`);
  });
  if (Object.keys(CustomConfig ?? {}).length > maxConfigs)
    throw badMember(`${path}.CustomConfig`, `expected at most ${maxConfigs} names`);
  if (JSON.stringify(message).length > maxTotal)
    throw badMember(path, `expected at most ${maxTotal} characters in all`);
}

function checkScreen(screen: InAppMessageContent, path: string): void {
  const limit = (member: string, text: string | undefined, most: number) => {
    if ((text?.length ?? 0) > most)
      throw badMember(`${path}.${member}`, `expected at most ${most} characters`);
  };
  // A variable is longer than what it stands for; such texts are measured as a whole message only.
  const words = (member: string, text: string | undefined, most: number) =>
    limit(member, text, text?.includes('{{') ? maxTotal : most);
  words('HeaderConfig.Header', screen.HeaderConfig?.Header, maxHeader);
  words('BodyConfig.Body', screen.BodyConfig?.Body, maxBody);
  limit('ImageUrl', screen.ImageUrl, maxUrl);
  for (const name of ['PrimaryBtn', 'SecondaryBtn'] as const) {
    const button = screen[name];
    words(`${name}.DefaultConfig.Text`, button?.DefaultConfig?.Text, maxButton);
    for (const side of ['DefaultConfig', 'Android', 'IOS', 'Web'] as const) {
      const config = button?.[side];
      if (!config) continue;
      limit(`${name}.${side}.Link`, config.Link, maxUrl);
      if (config.ButtonAction !== 'CLOSE' && !config.Link)
        throw badMember(`${path}.${name}.${side}.Link`, `expected the target of ${config.ButtonAction}`);
    }
  }
}

const partPrefix = 'in_app:';

type Replace = (text: string, member: string) => string;

/** The message with each text that may hold variables replaced. */
function mapTexts({ Content, CustomConfig, Layout }: InAppContent, replace: Replace): InAppContent {
  const config = CustomConfig && Object.create(null);
  for (const [name, value] of Object.entries(CustomConfig ?? {}))
    config[name] = replace(value, `CustomConfig[${JSON.stringify(name)}]`);
  return {
    ...(Layout ? { Layout } : {}),
    ...(Content
      ? { Content: Content.map((screen, index) => mapScreen(screen, `Content[${index}]`, replace)) }
      : {}),
    ...(config ? { CustomConfig: config } : {}),
  };
}

function mapScreen(screen: InAppMessageContent, path: string, replace: Replace): InAppMessageContent {
  const mapped = { ...screen };
  const { HeaderConfig: header, BodyConfig: body } = screen;
  if (header?.Header !== undefined)
    mapped.HeaderConfig = { ...header, Header: replace(header.Header, `${path}.HeaderConfig.Header`) };
  if (body?.Body !== undefined)
    mapped.BodyConfig = { ...body, Body: replace(body.Body, `${path}.BodyConfig.Body`) };
  if (screen.ImageUrl !== undefined) mapped.ImageUrl = replace(screen.ImageUrl, `${path}.ImageUrl`);
  for (const name of ['PrimaryBtn', 'SecondaryBtn'] as const) {
    const button = screen[name];
    if (!button) continue;
    const changed = { ...button };
    const { DefaultConfig: standard } = button;
    if (standard)
      changed.DefaultConfig = {
        ...standard,
        Text: replace(standard.Text ?? '', `${path}.${name}.DefaultConfig.Text`),
        ...(standard.Link === undefined
          ? {}
          : { Link: replace(standard.Link, `${path}.${name}.DefaultConfig.Link`) }),
      };
    for (const side of ['Android', 'IOS', 'Web'] as const) {
      const config = button[side];
      if (config?.Link !== undefined)
        changed[side] = { ...config, Link: replace(config.Link, `${path}.${name}.${side}.Link`) };
    }
    mapped[name] = changed;
  }
  return mapped;
}

/** The texts that hold variables, as parts of the renderer; none for a message that is the same for everybody. */
export function inAppParts(message: InAppContent): Parts {
  const parts: Record<string, string> = {};
  mapTexts(message, (text, member) => {
    if (text.includes('{{')) parts[partPrefix + member] = text;
    return text;
  });
  return parts;
}

/** The message with its rendered parts. */
export function withInAppParts(message: InAppContent, rendered: Parts): InAppContent {
  return mapTexts(message, (text, member) => rendered[partPrefix + member] ?? text);
}
