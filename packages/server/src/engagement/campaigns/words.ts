import type { MessageConfiguration } from '@aws-sdk/client-pinpoint';
import { checkInAppContent, type Renderer } from '../../content/index.ts';
import { badMember } from '../../platform/errors.ts';
import type { CampaignDefinition } from './campaign.ts';
import { pushMessages } from './validate.ts';

/**
 * Refuses words in a campaign's own messages that are no correct template, before anybody is to get them. Those of
 * stored templates were checked when they were stored.
 * @throws CallerError bad_request with the path of the member and the line
 */
export async function checkCampaignWords(
  renderer: Pick<Renderer, 'check'>,
  request: Pick<CampaignDefinition, 'MessageConfiguration' | 'AdditionalTreatments'>,
): Promise<void> {
  const check = async (message: MessageConfiguration | undefined, path: string) => {
    await checkMessageWords(renderer, message, path);
    if (message?.InAppMessage)
      await checkInAppContent(renderer, message.InAppMessage, `${path}.InAppMessage`);
  };
  await check(request.MessageConfiguration, '$.MessageConfiguration');
  for (const [index, treatment] of (request.AdditionalTreatments ?? []).entries()) {
    const path = `$.AdditionalTreatments[${index}].MessageConfiguration`;
    await check(treatment.MessageConfiguration, path);
  }
}

async function checkMessageWords(
  renderer: Pick<Renderer, 'check'>,
  message: MessageConfiguration | undefined,
  path: string,
): Promise<void> {
  const parts: Record<string, string> = {};
  const add = (member: string, words: string | undefined) => {
    if (words !== undefined) parts[`${path}.${member}`] = words;
  };
  add('EmailMessage.Title', message?.EmailMessage?.Title);
  add('EmailMessage.HtmlBody', message?.EmailMessage?.HtmlBody);
  add('EmailMessage.Body', message?.EmailMessage?.Body);
  message?.EmailMessage?.Headers?.forEach(({ Value }, index) => {
    add(`EmailMessage.Headers[${index}].Value`, Value);
  });
  add('SMSMessage.Body', message?.SMSMessage?.Body);
  add('CustomMessage.Data', message?.CustomMessage?.Data);
  for (const [name, push] of pushMessages(message)) {
    add(`${name}.Title`, push.Title);
    add(`${name}.Body`, push.Body);
  }
  if (Object.keys(parts).length === 0) return;
  const error = await renderer.check(parts);
  if (error) throw badMember(error.part, error.message);
}
