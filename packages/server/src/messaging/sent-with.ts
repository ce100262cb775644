import type { MessageContent } from './provider.ts';

/** What the fact `message.sent` says about the message beside the provider's answer, for those who report on it. */
export interface SentWith {
  /** E-mail: the sender. */
  from?: string;
  /** SMS. */
  messageType?: 'TRANSACTIONAL' | 'PROMOTIONAL';
  /** SMS: the number or name that it came from. */
  origination?: string;
  /** SMS: the parts that it takes on the way. */
  parts?: number;
}

export function sentWith(content: MessageContent): SentWith {
  if (content.kind === 'email') return { from: content.from };
  if (content.kind !== 'sms') return {};
  return {
    messageType: content.messageType,
    origination: content.originationNumber ?? content.senderId,
    parts: smsParts(content.body),
  };
}

/** GSM 03.38: the characters of one septet, and those that take two. */
const gsmCharacters = new Set(
  '@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !"#¤%&\'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà',
);
const gsmExtension = new Set('^{}\\[~]|€\f');

/**
 * Parts of a text message: 160 septets, or 153 each when there are several; 70 and 67 UTF-16 units when a character is
 * none of GSM 03.38. A character of two units is never cut.
 */
export function smsParts(body: string): number {
  let septets: number[] | undefined = [];
  for (const character of body) {
    if (gsmCharacters.has(character)) septets.push(1);
    else if (gsmExtension.has(character)) septets.push(2);
    else {
      septets = undefined;
      break;
    }
  }
  if (septets) return partsOf(septets, 160, 153);
  return partsOf(
    Array.from(body, (character) => character.length),
    70,
    67,
  );
}

function partsOf(units: number[], single: number, multiple: number): number {
  if (units.reduce((sum, unit) => sum + unit, 0) <= single) return 1;
  let parts = 1;
  let used = 0;
  for (const unit of units) {
    if (used + unit > multiple) {
      parts++;
      used = 0;
    }
    used += unit;
  }
  return parts;
}
