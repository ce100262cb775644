import { domainToASCII } from 'node:url';
import { encodeWord, encodeWords, foldLines } from 'nodemailer/lib/mime-funcs';
import { printable } from './reply.ts';

/** Why a message cannot be written as an e-mail; the message may be shown. */
export class ComposeError extends Error {}

/** An address as SMTP and headers need it. */
export interface Mailbox {
  name: string;
  /** The domain is ASCII (an A-label) unless the local part is not, which needs SMTPUTF8 anyway. */
  address: string;
  domain: string;
  /** The local part is not ASCII: only a server with SMTPUTF8 (RFC 6531) takes it. */
  utf8: boolean;
}

const maxAddressLength = 320;
const dotAtom = /^[^\s"(),:;<>@[\\\].\p{Cc}]+(?:\.[^\s"(),:;<>@[\\\].\p{Cc}]+)*$/u;
const dottedText = /^[^\s"(),:;<>@[\\\]\p{Cc}]+$/u;
const quotedText = /^"(?:[^"\\\p{Cc}]|\\[\x20-\x7e])*"$/u;

/**
 * One mailbox, `a@b.c` or `Name <a@b.c>`, strictly: of a text that could be read in two ways none is taken, since mail
 * would go to somebody else.
 * @throws ComposeError
 */
export function parseMailbox(text: string): Mailbox {
  const parts = /^(?:(\s*"(?:[^"\\]|\\.)*"\s*|[^<>]*)<([^<>]+)>|([^<>]+))\s*$/.exec(text);
  const address = parts?.[2] ?? parts?.[3]?.trim();
  const name = parts?.[1] === undefined ? '' : displayName(parts[1].trim());
  const at = address?.lastIndexOf('@') ?? -1;
  if (/\p{Cc}/u.test(text) || !text.isWellFormed() || !address || name === undefined || at < 0)
    throw new ComposeError(`"${shown(text)}" is not one e-mail address`);
  const local = normalLocalPart(address.slice(0, at), text);
  const utf8 = /[^\x20-\x7e]/.test(local);
  const domain = normalDomain(address.slice(at + 1), text, utf8);
  if (local.length + domain.length >= maxAddressLength)
    throw new ComposeError(`"${shown(text)}" is longer than an e-mail address may be`);
  return { name, address: `${local}@${domain}`, domain, utf8 };
}

/** The name before `<`, without its quotes; undefined when it may be an address of its own or its quotes do not fit. */
function displayName(text: string): string | undefined {
  const quoted = /^"((?:[^"\\]|\\.)*)"$/.exec(text)?.[1];
  if (quoted !== undefined) return quoted.replace(/\\(.)/g, '$1');
  return /["@]/.test(text) ? undefined : text;
}

function normalLocalPart(local: string, text: string): string {
  if (dotAtom.test(local) || quotedText.test(local)) return local;
  // Dots in odd places (`a..b@`, `a.@`) exist at some carriers; in quotes they are valid everywhere.
  if (dottedText.test(local)) return `"${local}"`;
  throw new ComposeError(`"${shown(text)}" is not an e-mail address`);
}

function normalDomain(domain: string, text: string, utf8: boolean): string {
  if (/^\[[\w.:-]+\]$/.test(domain)) return domain;
  const ascii = domainToASCII(domain);
  if (!ascii || !/^[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?$/i.test(ascii))
    throw new ComposeError(`"${shown(text)}" is not an e-mail address: its domain is not one`);
  return utf8 && /[^\x20-\x7e]/.test(domain) ? domain : ascii;
}

function shown(text: string): string {
  return printable(text.slice(0, 100));
}

/** A mailbox as it stands in a header. */
export function mailboxHeader(mailbox: Mailbox): string {
  const name = headerText(mailbox.name);
  if (!name) return mailbox.utf8 || !/["[]/.test(mailbox.address) ? mailbox.address : `<${mailbox.address}>`;
  // Words of letters and digits need nothing; other ASCII goes into quotes, the rest into encoded words.
  if (/^[\w ]+$/.test(name)) return `${name} <${mailbox.address}>`;
  if (/^[\x20-\x7e]+$/.test(name) && !name.includes('=?'))
    return `"${name.replace(/["\\]/g, '\\$&')}" <${mailbox.address}>`;
  return `${encodedWords(name)} <${mailbox.address}>`;
}

/** A header without a structure (Subject, X-…) as encoded words where it needs them. */
export function unstructuredHeader(value: string): string {
  const text = headerText(value);
  const plain = /^[\x20-\x7e]*$/.test(text) && !text.includes('=?') && !/\S{800}/.test(text);
  return plain ? text : encodedWords(text);
}

function encodedWords(text: string): string {
  const letters = text.replace(/[^A-Za-z]/g, '').length;
  const others = text.replace(/[\x20-\x7e]/g, '').length;
  const encoding = others > letters ? 'B' : 'Q';
  const words = encodeWords(text, encoding, 52, true);
  // A long word of ASCII is not for encodeWords to change.
  return /\S{800}/.test(words) ? encodeWord(text, encoding, 52) : words;
}

/**
 * One line without control characters: nothing in a value can end its header. Long runs of blanks are shortened,
 * since folding would make lines of blanks, which some readers take for the end of the headers.
 */
function headerText(value: string): string {
  return value
    .replace(/[\p{Cc}\u2028\u2029]+/gu, ' ')
    .replace(/ {20,}/g, ' ')
    .trim()
    .toWellFormed();
}

/** `Name: value` with its CRLF, folded; @throws ComposeError when a part that cannot be folded is too long. */
export function headerLine(name: string, value: string): string {
  const line = `${name}: ${value}`;
  if (line.length <= 76) return `${line}\r\n`;
  const folded = foldLines(line, 76);
  // RFC 5322, 2.1.1
  if (folded.split('\r\n').some((part) => Buffer.byteLength(part) > 998))
    throw new ComposeError(`The header ${name} has a line of more than 998 characters`);
  return `${folded}\r\n`;
}

// What the message itself, or its way, sets.
const reservedHeaders =
  /^(?:from|sender|to|cc|bcc|subject|date|message-id|mime-version|content-.*|return-path|received|dkim-signature|x-postrider-id)$/i;

/** A header that the sender adds. @throws ComposeError when its name is not one, or is not the sender's to set. */
export function customHeader(name: string, value: string): string {
  if (!/^[!-9;-~]{1,76}$/.test(name)) throw new ComposeError(`"${shown(name)}" is not a header name`);
  if (reservedHeaders.test(name)) throw new ComposeError(`The header ${name} is set by the message itself`);
  return headerLine(name, unstructuredHeader(value));
}
