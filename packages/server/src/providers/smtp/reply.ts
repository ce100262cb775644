import type { BounceClass } from '../../messaging/provider.ts';

/** How far a message was when its connection or its server failed. */
export type SendPhase = 'connect' | 'envelope' | 'content';

/** A server's reply, taken apart. */
export interface Reply {
  /** Three digits, 0 when the reply does not begin with a reply code (RFC 5321, 4.2). */
  code: number;
  /** RFC 3463 (`5.1.1`), when the reply has one. */
  enhanced: string | undefined;
  /** The words on one line, codes of continuation lines removed, at most 500 characters. */
  text: string;
}

const maxTextLength = 500;

/** Takes a reply of one or more lines apart. */
export function parseReply(reply: string): Reply {
  const lines = reply.slice(0, 10_000).split(/\r?\n/);
  const first = /^([2-5]\d\d)(?:[ -]|$)(?:([245]\.\d{1,3}\.\d{1,3})(?=\s|$))?/.exec(lines[0] ?? '');
  const code = first ? Number(first[1]) : 0;
  const rest = lines
    .slice(1)
    .map((line) => line.replace(/^\d{3}(?:[ -]|$)(?:[245]\.\d{1,3}\.\d{1,3}(?=\s|$))?/, ''));
  return {
    code,
    enhanced: first?.[2],
    text: printable([(lines[0] ?? '').replace(/^(\d{3})-/, '$1 '), ...rest].join(' ')),
  };
}

/** One line that can be stored and shown: no control characters, no half surrogates, at most 500 characters. */
export function printable(text: string): string {
  const line = text.replace(/[\p{Cc}\s]+/gu, ' ').trim();
  return line.slice(0, maxTextLength).toWellFormed();
}

// Words by which servers say that they refuse us, not the address: never a reason to suppress somebody.
const blockWords =
  /\b(?:block(?:ed|list(?:ed)?)?|black-?list(?:ed)?|deny-?list(?:ed)?|spam(?:haus|cop|my)?|barracuda|reputation|policy|policies|dmarc|dkim|spf|unauthenticated|rbl|dnsbl|banned|virus|malware|suspicious|unsolicited|abuse|rate limit(?:ed)?|access denied|client host|reverse dns|ptr record)\b/i;

// Words by which servers say that a mailbox does not exist or is closed, for replies without an enhanced status.
const unknownMailboxWords =
  /\b(?:(?:user|recipient|mailbox|account|address|addressee|alias)\b.{0,60}\b(?:unknown|not found|not exist|doesn'?t exist|does not exist|disabled|inactive|invalid|unavailable|not known|no longer|not listed|unrouteable|unrouted)|(?:unknown|invalid|no such|no) (?:local )?(?:user|recipient|mailbox|account|address|alias|person)|mailbox unavailable|not a (?:valid|known) (?:user|recipient|mailbox|address)|undeliverable address|does not like recipient|null mx)\b/i;

// What large receivers answer for an unknown mailbox in words that would mean something else elsewhere.
const unknownMailboxAtVendor = [
  // Microsoft 365, directory-based edge blocking
  /^550 5\.4\.1 Recipient address rejected: Access denied/,
  // Yahoo
  /^554 delivery error: dd This user doesn't have an? \S+ account/,
];

const mailboxFullWords =
  /\b(?:quota|mailbox (?:is )?full|over ?quota|insufficient (?:system )?storage|too large)\b/i;

/**
 * Class of a 5xx refusal. By the words of known receivers, then by enhanced status, then by words, then by code, so that a suppressing `hard` needs a clear
 * statement about the mailbox and is never concluded from a policy refusal (5.7.x, a bare 554, words about blocking).
 */
export function bounceClass(reply: Reply): BounceClass {
  const { enhanced, text, code } = reply;
  if (unknownMailboxAtVendor.some((words) => words.test(text))) return 'hard';
  if (enhanced?.startsWith('5.7.')) return 'block';
  if (blockWords.test(text)) return 'block';
  const byStatus = enhanced === undefined ? undefined : classOfStatus(enhanced, text);
  if (byStatus) return byStatus;
  if (mailboxFullWords.test(text) || code === 552) return 'soft';
  // 556: the domain takes no mail (RFC 7504); 521 is its twin for a host.
  if (code === 556) return 'hard';
  if ((code === 550 || code === 551 || code === 553) && unknownMailboxWords.test(text)) return 'hard';
  return 'other';
}

/** Class by the registry of enhanced status codes (RFC 3463 and its successors); undefined when it says too little. */
function classOfStatus(status: string, text: string): BounceClass | undefined {
  const detail = status.slice(2);
  if (/^1\.(?:[12346]|10)$/.test(detail) || detail === '2.1') return 'hard';
  if (/^1\./.test(detail)) return 'other';
  if (/^2\.[234]$/.test(detail) || /^3\.[14]$/.test(detail)) return 'soft';
  // A host that is silent or has no route; some answer it for an unknown recipient.
  if (detail === '4.1' || detail === '4.4') return unknownMailboxWords.test(text) ? 'hard' : 'soft';
  if (/^4\.(?:[2357])$/.test(detail)) return 'soft';
  if (/^[56]\./.test(detail) || /^4\./.test(detail) || /^3\./.test(detail)) return 'other';
  return undefined;
}

const maxRetryAfterMs = 24 * 3_600_000;
const unitMs: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000 };

/**
 * The wait that a temporary refusal asks for (`try again in 5 minutes`, `greylisted for 300 seconds`,
 * `retry in 00:05:00`); undefined when it names none. A number without unit means seconds. At most a day.
 */
export function retryAfterMs(text: string): number | undefined {
  const clock = /\b(?:try|retry|again|wait|come back)\b[^.]{0,60}?\b(\d{1,2}):(\d\d):(\d\d)\b/i.exec(text);
  if (clock) {
    const seconds = Number(clock[1]) * 3600 + Number(clock[2]) * 60 + Number(clock[3]);
    return Math.min(seconds * 1000, maxRetryAfterMs);
  }
  const words =
    /\b(?:try|retry|retried|again|wait|delayed|(?:gr[ae]y-?list(?:ed|ing)?))\b[^.]{0,60}?\b(?:in|after|for|at least|within|wait)\s+(?:about\s+|at least\s+)?(\d{1,6})\s*(s(?:ec(?:ond)?s?)?|m(?:in(?:ute)?s?)?|h(?:(?:ou)?rs?)?)?\b/i.exec(
      text,
    );
  if (!words) return undefined;
  return Math.min(Number(words[1]) * unitMs[(words[2] ?? 's')[0]!.toLowerCase()]!, maxRetryAfterMs);
}

/** The server's own id of an accepted message, from the words of its last 250; undefined when they name none. */
export function acceptedMessageId(text: string): string | undefined {
  const id =
    // Postfix, SendGrid, Haraka, smtp-server
    /\bqueued(?: mail for delivery)? (?:as|id)[: ]+([^\s;,()]+)/i.exec(text)?.[1] ??
    // Exim
    /\bid=([^\s;,()]+)/i.exec(text)?.[1] ??
    // Microsoft and others that answer a Message-ID
    /<([^<>\s]+)>/.exec(text)?.[1] ??
    // sendmail
    /([\w-]+) Message accepted for delivery/i.exec(text)?.[1] ??
    // Gmail
    /\bOK\s+\d+\s+(\S+) - gsmtp/i.exec(text)?.[1] ??
    // Amazon SES
    /\bOk:? ([0-9a-f]+(?:-[0-9a-f]+)+)$/i.exec(text)?.[1];
  return id?.slice(0, 200);
}
