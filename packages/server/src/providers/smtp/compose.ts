import { buildHeaderValue } from 'nodemailer/lib/mime-funcs';
import type { EmailContent, OutgoingMessage } from '../../messaging/provider.ts';
import { uuidTime } from '../../platform/ids.ts';
import { type EncodedContent, encodeBase64, encodeText } from './encode.ts';
import {
  ComposeError,
  customHeader,
  headerLine,
  type Mailbox,
  mailboxHeader,
  parseMailbox,
  unstructuredHeader,
} from './headers.ts';

/** A message as it goes over SMTP. */
export interface ComposedMail {
  envelope: { from: string; to: string };
  bytes: Buffer;
  /** An address needs SMTPUTF8. */
  utf8: boolean;
  /** The bytes are not all ASCII: BODY=8BITMIME where the server has it. */
  eightBit: boolean;
}

/** A MIME entity: its headers (each with CRLF) and its content. */
interface Entity {
  headers: string;
  content: Buffer[];
}

/**
 * Writes a message as MIME, without streams: nodemailer's MailComposer takes three times as long as sending it does.
 * The same message always gives the same bytes, so a repeat can be recognised by its Message-ID and by its body.
 * @param returnPath envelope sender; the address in From when undefined
 * @throws ComposeError when the message cannot be written as an e-mail
 */
export function composeMail(
  message: OutgoingMessage,
  content: EmailContent,
  returnPath?: string,
): ComposedMail {
  const from = senderMailbox(content.from);
  const to = parseMailbox(message.address);
  const sender = returnPath === undefined ? from : senderMailbox(returnPath);
  const envelope = { from: sender.address, to: to.address };
  if (content.rawBase64 !== undefined) {
    const bytes = Buffer.from(content.rawBase64, 'base64');
    if (bytes.length === 0) throw new ComposeError('The raw message is empty');
    return { envelope, bytes, utf8: sender.utf8 || to.utf8, eightBit: hasEightBit(bytes) };
  }
  const headers = messageHeaders(message, content, from, to);
  const entity = bodyEntity(content, message.id);
  const head = Buffer.from(`${headers}MIME-Version: 1.0\r\n${entity.headers}\r\n`, 'utf8');
  const utf8 = from.utf8 || to.utf8 || sender.utf8 || hasEightBit(head);
  return { envelope, bytes: Buffer.concat([head, ...entity.content]), utf8, eightBit: utf8 };
}

// A campaign has one sender: it is parsed once, not for each message.
const knownSenders = new Map<string, Mailbox>();
const maxKnownSenders = 1000;

function senderMailbox(text: string): Mailbox {
  const known = knownSenders.get(text);
  if (known) return known;
  const mailbox = parseMailbox(text);
  if (knownSenders.size >= maxKnownSenders) knownSenders.clear();
  knownSenders.set(text, mailbox);
  return mailbox;
}

function messageHeaders(message: OutgoingMessage, content: EmailContent, from: Mailbox, to: Mailbox): string {
  let headers = headerLine('From', mailboxHeader(from));
  headers += headerLine('To', mailboxHeader(to));
  if (content.replyTo?.length)
    headers += headerLine(
      'Reply-To',
      content.replyTo.map((address) => mailboxHeader(parseMailbox(address))).join(', '),
    );
  headers += headerLine('Subject', unstructuredHeader(content.subject));
  headers += headerLine('Message-ID', `<${message.id}@${from.domain}>`);
  headers += headerLine('Date', mailDate(uuidTime(message.id)));
  headers += headerLine('X-Postrider-Id', message.id);
  for (const { name, value } of content.headers ?? []) {
    if (content.replyTo?.length && name.toLowerCase() === 'reply-to') continue;
    headers += customHeader(name, value);
  }
  return headers;
}

/** RFC 5322, 3.3, in UTC. */
function mailDate(at: number): string {
  return new Date(at).toUTCString().replace(/GMT$/, '+0000');
}

function hasEightBit(bytes: Buffer): boolean {
  for (let i = 0; i < bytes.length; i++) if (bytes[i]! > 0x7f) return true;
  return false;
}

/** mixed( alternative( text, related( html, inline … ) ), attachment … ), each level only where it is needed. */
function bodyEntity(content: EmailContent, id: string): Entity {
  // `=_` cannot appear in quoted-printable or base64; parts that are written as they are are checked for it.
  const prefix = `=_${id.replaceAll('-', '')}`;
  const attachments = content.attachments ?? [];
  const inline = content.html === undefined ? [] : attachments.filter(({ contentId }) => contentId);
  const attached = attachments.filter((attachment) => !inline.includes(attachment));

  let html = content.html === undefined ? undefined : textEntity('html', content.html, prefix);
  if (html && inline.length > 0)
    html = multipart('related', `${prefix}_r`, [
      html,
      ...inline.map((part) => attachmentEntity(part, prefix)),
    ]);
  const text =
    content.text === undefined && html ? undefined : textEntity('plain', content.text ?? '', prefix);
  const body = html && text ? multipart('alternative', `${prefix}_a`, [text, html]) : (html ?? text)!;
  if (attached.length === 0) return body;
  return multipart('mixed', `${prefix}_m`, [body, ...attached.map((part) => attachmentEntity(part, prefix))]);
}

function textEntity(subtype: 'plain' | 'html', text: string, forbidden: string): Entity {
  return encodedEntity(`Content-Type: text/${subtype}; charset=utf-8\r\n`, encodeText(text, forbidden));
}

function encodedEntity(headers: string, encoded: EncodedContent): Entity {
  return {
    headers: `${headers}Content-Transfer-Encoding: ${encoded.transferEncoding}\r\n`,
    content: [encoded.bytes],
  };
}

const crlf = Buffer.from('\r\n');

function multipart(subtype: string, boundary: string, parts: Entity[]): Entity {
  const content = parts.flatMap(({ headers, content }) => [
    Buffer.from(`--${boundary}\r\n${headers}\r\n`, 'utf8'),
    ...content,
    crlf,
  ]);
  content.push(Buffer.from(`--${boundary}--\r\n`));
  return { headers: `Content-Type: multipart/${subtype};\r\n boundary="${boundary}"\r\n`, content };
}

type Attachment = NonNullable<EmailContent['attachments']>[number];

function attachmentEntity(attachment: Attachment, forbidden: string): Entity {
  const { contentType, filename, contentId } = attachment;
  if (!/^[\w!#$&^.+-]{1,100}\/[\w!#$&^.+-]{1,100}(?:;[\x20-\x7e]{0,200})?$/.test(contentType))
    throw new ComposeError(`"${contentType.slice(0, 100)}" of an attachment is not a media type`);
  const bytes = Buffer.from(attachment.dataBase64, 'base64');
  const disposition = buildHeaderValue({
    value: contentId ? 'inline' : 'attachment',
    params: { filename: printableName(filename) },
  });
  let identity = headerLine('Content-Disposition', disposition);
  if (contentId)
    identity += headerLine('Content-ID', `<${contentId.replace(/[^\x21-\x3b=\x3f-\x7e]/g, '')}>`);
  // A message must not be encoded (RFC 2046, 5.2.1); one that cannot travel as it is travels as a file.
  if (/^message\//i.test(contentType)) {
    if (travelsAsItIs(bytes, forbidden))
      return encodedEntity(`${headerLine('Content-Type', contentType)}${identity}`, {
        transferEncoding: '7bit',
        bytes,
      });
    return encodedEntity(`Content-Type: application/octet-stream\r\n${identity}`, {
      transferEncoding: 'base64',
      bytes: encodeBase64(bytes),
    });
  }
  return encodedEntity(`${headerLine('Content-Type', contentType)}${identity}`, {
    transferEncoding: 'base64',
    bytes: encodeBase64(bytes),
  });
}

function printableName(filename: string): string {
  return (
    filename
      .replace(/\p{Cc}+/gu, ' ')
      .toWellFormed()
      .slice(0, 255) || 'attachment'
  );
}

function travelsAsItIs(bytes: Buffer, forbidden: string): boolean {
  const text = bytes.toString('latin1');
  return /^[\t\r\n\x20-\x7e]*$/.test(text) && !/[^\r\n]{999}/.test(text) && !text.includes(forbidden);
}
