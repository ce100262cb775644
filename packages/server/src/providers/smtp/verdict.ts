import type { AttemptResult } from '../../messaging/provider.ts';
import type { ConnectionOutcome } from './connections.ts';
import { acceptedMessageId, bounceClass, printable, type Reply, retryAfterMs } from './reply.ts';

/** The verdict on an attempt, from what the connection made of it. */
export function resultOf(id: string, outcome: ConnectionOutcome): AttemptResult {
  switch (outcome.kind) {
    case 'accepted': {
      const { code, text } = outcome.reply;
      return { id, outcome: 'accepted', code, response: text, providerMessageId: acceptedMessageId(text) };
    }
    case 'refused':
      return refusal(id, outcome.reply, outcome.command);
    case 'lost':
      return outcome.handedOver
        ? { id, outcome: 'unknown', code: 0, response: printable(outcome.words) }
        : { id, outcome: 'deferred', code: 0, response: printable(outcome.words) };
    case 'unsendable':
      return {
        ...unsendable(id, outcome.words),
        bounce: outcome.reason === 'too_large' ? 'soft' : 'other',
      };
    case 'unreachable':
      return {
        id,
        outcome: 'deferred',
        code: outcome.code,
        response: printable(outcome.words),
        retryAfterMs: retryAfterMs(outcome.words),
        accountUnusable: true,
      };
    case 'aborted':
      return { id, outcome: 'deferred', code: 0, response: 'Stopped before the message was handed over' };
  }
}

/** The message cannot be written as an e-mail, or not for this server: no repeat will change that. */
export function unsendable(id: string, words: string): AttemptResult {
  return { id, outcome: 'rejected', code: 0, response: printable(words), bounce: 'other' };
}

// The server wants a login, or another one: it says nothing about the message (RFC 4954, 6).
const loginCodes = new Set([454, 530, 534, 535, 538]);

function refusal(id: string, reply: Reply, command: 'MAIL' | 'RCPT' | 'DATA' | 'content'): AttemptResult {
  const { code, text } = reply;
  const aboutLogin = command === 'MAIL' && loginCodes.has(code);
  if (code >= 500 && !aboutLogin)
    return { id, outcome: 'rejected', code, response: text, bounce: bounceClass(reply) };
  // 421 before a recipient was named is about this sender as a whole.
  const accountUnusable = aboutLogin || (command === 'MAIL' && code === 421);
  return {
    id,
    outcome: 'deferred',
    code,
    response: text,
    retryAfterMs: retryAfterMs(text),
    ...(accountUnusable ? { accountUnusable } : {}),
  };
}
