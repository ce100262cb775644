import type { EmailTemplateRequest, SMSTemplateRequest } from '@aws-sdk/client-pinpoint';
import { badMember, CallerError } from '../platform/errors.ts';
import type { PartError, Parts } from './render-batch.ts';
import type { Renderer } from './renderer.ts';

type Content = EmailTemplateRequest & SMSTemplateRequest;

/** A template's texts in the terms of the renderer; headers keep their names beside. */
export interface TemplateParts {
  parts: Record<string, string>;
  headers: { name: string; value: string }[] | undefined;
}

/** Pinpoint's sizes (reference 6.1), in characters. */
const maxEmailLength = 600_000;
const maxSmsLength = 1_600;
const maxDescriptionLength = 10_000;
const maxHeaders = 15;
const maxHeaderName = 126;
const maxHeaderValue = 870;

/** @throws CallerError bad_request unless the name is one of letters, digits, `-` and `_`, at most 128 of them. */
export function checkTemplateName(name: string): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/.test(name)) {
    throw badMember(
      'template-name',
      'expected 1 to 128 letters, digits, - and _, beginning with a letter or digit',
    );
  }
}

/**
 * Is this what a template may hold, and does it compile?
 * @throws CallerError bad_request: too long, DefaultSubstitutions that are no JSON object, headers that no mail can have,
 *   or a part that does not compile (`$.HtmlPart: line 3: …`); not_implemented for a recommender.
 */
export async function checkTemplateContent(
  renderer: Pick<Renderer, 'check'>,
  type: 'EMAIL' | 'SMS',
  content: Content,
): Promise<void> {
  if (type === 'EMAIL') checkEmailContent(content);
  else checkSmsContent(content);
  const error = await renderer.check(allParts(content));
  if (error) throw partError(error);
}

function checkEmailContent(content: EmailTemplateRequest): void {
  checkCommon(content);
  const { Subject, HtmlPart, TextPart, Headers = [] } = content;
  if (Subject === undefined && HtmlPart === undefined && TextPart === undefined) {
    throw badMember('$', 'expected Subject, HtmlPart or TextPart');
  }
  const texts: [string, string | undefined][] = [
    ['Subject', Subject],
    ['HtmlPart', HtmlPart],
    ['TextPart', TextPart],
  ];
  let total = 0;
  for (const [member, text] of texts) {
    total += text?.length ?? 0;
    if (total > maxEmailLength) {
      throw badMember(`$.${member}`, `an e-mail template has at most ${maxEmailLength} characters`);
    }
  }
  if (Headers.length > maxHeaders) throw badMember('$.Headers', `expected at most ${maxHeaders} headers`);
  for (const [index, { Name, Value }] of Headers.entries()) {
    const path = `$.Headers[${index}]`;
    if (Name === undefined || !/^[!-9;-~]+$/.test(Name) || Name.length > maxHeaderName) {
      throw badMember(`${path}.Name`, `expected the name of a header, at most ${maxHeaderName} characters`);
    }
    if (Value === undefined || Value.length > maxHeaderValue) {
      throw badMember(`${path}.Value`, `expected at most ${maxHeaderValue} characters`);
    }
  }
}

function checkSmsContent(content: SMSTemplateRequest): void {
  checkCommon(content);
  if (content.Body === undefined) throw badMember('$.Body', 'expected a text');
  if (content.Body.length > maxSmsLength) {
    throw badMember('$.Body', `an SMS template has at most ${maxSmsLength} characters`);
  }
}

function checkCommon(content: Content): void {
  if ((content.TemplateDescription?.length ?? 0) > maxDescriptionLength) {
    throw badMember('$.TemplateDescription', `expected at most ${maxDescriptionLength} characters`);
  }
  if (content.RecommenderId !== undefined) {
    throw new CallerError(
      'not_implemented',
      '$.RecommenderId: recommenders are not supported yet',
      '$.RecommenderId',
    );
  }
  readDefaults(content.DefaultSubstitutions);
}

/**
 * Reads DefaultSubstitutions: a text that is a JSON object of texts (`{"User.UserAttributes.FirstName":"friend"}`).
 * @throws CallerError bad_request
 */
export function readDefaults(text: string | undefined): Record<string, string> {
  const defaults: Record<string, string> = Object.create(null);
  if (text === undefined || text.trim() === '') return defaults;
  const path = '$.DefaultSubstitutions';
  const expected = 'expected a text that is a JSON object such as {"User.UserAttributes.FirstName":"friend"}';
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) throw badMember(path, expected);
    throw error;
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) throw badMember(path, expected);
  for (const [name, value] of Object.entries(parsed)) {
    const single: unknown = Array.isArray(value) && value.length === 1 ? value[0] : value;
    if (typeof single !== 'string' && typeof single !== 'number' && typeof single !== 'boolean') {
      throw badMember(path, `${JSON.stringify(name.slice(0, 100))}: expected a text`);
    }
    const written = String(single);
    if (written.includes('\u0000') || !written.isWellFormed()) {
      throw badMember(
        path,
        `${JSON.stringify(name.slice(0, 100))}: expected a text without NUL and half characters`,
      );
    }
    defaults[name] = written;
  }
  return defaults;
}

/** A template's texts as the renderer takes them (`headers` are rendered as the parts `header:0`, `header:1` …). */
export function templateParts(content: Content): TemplateParts {
  const parts: Record<string, string> = {};
  const add = (part: string, text: string | undefined) => {
    if (text !== undefined) parts[part] = text;
  };
  add('subject', content.Subject);
  add('html', content.HtmlPart);
  add('text', content.TextPart);
  add('body', content.Body);
  const headers = content.Headers?.map(({ Name, Value }) => ({ name: Name ?? '', value: Value ?? '' }));
  return { parts, headers };
}

/** All texts, headers included. */
export function allParts(content: Content): Parts {
  const { parts, headers } = templateParts(content);
  for (const [index, { value }] of (headers ?? []).entries()) parts[`header:${index}`] = value;
  return parts;
}

const members = new Map([
  ['subject', '$.Subject'],
  ['html', '$.HtmlPart'],
  ['text', '$.TextPart'],
  ['body', '$.Body'],
]);

function partError({ part, message }: PartError): CallerError {
  const header = /^header:(\d+)$/.exec(part);
  return badMember(header ? `$.Headers[${header[1]}].Value` : (members.get(part) ?? '$'), message);
}
