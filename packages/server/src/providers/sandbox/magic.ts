import type { BounceClass, DeliveryChannel } from '../../messaging/provider.ts';

/** What the sandbox does with a message to a magic address; docs/sandbox.md lists them for users. */
export interface Behaviour {
  /** The answer to the attempt. */
  verdict:
    | { outcome: 'accepted' }
    | { outcome: 'rejected'; code: number; response: string; bounce: BounceClass }
    | {
        outcome: 'deferred';
        code: number;
        response: string;
        accountUnusable?: boolean;
        retryAfterMs?: number;
      }
    | { outcome: 'unknown'; response: string };
  /** For an accepted message: what is reported about it later. */
  receipts: {
    kind: 'delivered' | 'bounced' | 'complained';
    code: number;
    response: string;
    bounce?: BounceClass;
  }[];
  /** The answer takes this long. */
  delayMs: number;
}

export const slowAnswerMs = 2000;
/** A `retry` address is refused this many times, by the number of the attempt. */
const refusedAttempts = 2;

const delivered = { kind: 'delivered', code: 250, response: '250 2.0.0 delivered by the sandbox' } as const;
const accepted: Behaviour = { verdict: { outcome: 'accepted' }, receipts: [delivered], delayMs: 0 };

function rejected(code: number, response: string, bounce: BounceClass): Behaviour {
  return {
    verdict: { outcome: 'rejected', code, response: `${code} ${response}`, bounce },
    receipts: [],
    delayMs: 0,
  };
}

function deferred(code: number, response: string, accountUnusable?: boolean): Behaviour {
  const verdict = { outcome: 'deferred', code, response: `${code} ${response}`, accountUnusable } as const;
  return { verdict, receipts: [], delayMs: 0 };
}

function bounced(code: number, response: string, bounce: BounceClass): Behaviour {
  const receipt = { kind: 'bounced', code, response: `${code} ${response}`, bounce } as const;
  return { verdict: { outcome: 'accepted' }, receipts: [receipt], delayMs: 0 };
}

const behaviours = new Map<string, Behaviour>([
  ['bounce', bounced(550, '5.1.1 there is no such mailbox', 'hard')],
  ['suppressionlist', bounced(550, '5.1.1 there is no such mailbox', 'hard')],
  ['softbounce', bounced(552, '5.2.2 the mailbox is full', 'soft')],
  [
    'complaint',
    {
      ...accepted,
      receipts: [delivered, { kind: 'complained', code: 0, response: 'marked as spam by the recipient' }],
    },
  ],
  ['reject', rejected(550, '5.1.1 there is no such mailbox', 'hard')],
  ['block', rejected(554, '5.7.1 refused by policy', 'block')],
  ['defer', deferred(451, '4.7.1 try again later')],
  ['down', deferred(421, '4.3.2 the service is not available', true)],
  [
    'unknown',
    {
      verdict: { outcome: 'unknown', response: 'The connection broke after the content was sent' },
      receipts: [],
      delayMs: 0,
    },
  ],
  ['delay', { ...accepted, delayMs: slowAnswerMs }],
]);
const refusedForNow: Behaviour = {
  verdict: {
    outcome: 'deferred',
    code: 451,
    response: '451 4.3.0 try again in 1 second',
    retryAfterMs: 1000,
  },
  receipts: [],
  delayMs: 0,
};

// +1 <area> 555 01xx: numbers that North America keeps for fiction, so none of them is a person's.
const fictionalNumber = /^\+1\d{3}55501(\d\d)$/;
const numberWords = new Map([
  ['50', 'bounce'],
  ['51', 'reject'],
  ['52', 'softbounce'],
  ['53', 'block'],
  ['54', 'delay'],
  ['55', 'retry'],
  ['56', 'defer'],
  ['57', 'unknown'],
  ['58', 'down'],
  ['59', 'complaint'],
]);

/** What happens to attempt number `attempt` of a message to `address`. Any ordinary address is delivered. */
export function behaviourOf(channel: DeliveryChannel, address: string, attempt: number): Behaviour {
  const word = channel === 'SMS' || channel === 'VOICE' ? wordOfNumber(address) : wordOfAddress(address);
  if (word === undefined) return accepted;
  if (word === 'retry') return attempt <= refusedAttempts ? refusedForNow : accepted;
  return behaviours.get(word) ?? accepted;
}

/** `bounce` of `bounce@…`, `Bounce+anything@…` or, on channels without such a form, of the address itself. */
function wordOfAddress(address: string): string | undefined {
  return /^([a-z]{5,15}|down)(?=[+@]|$)/i.exec(address)?.[1]?.toLowerCase();
}

function wordOfNumber(address: string): string | undefined {
  const digits = fictionalNumber.exec(address.replace(/[\s().-]/g, ''))?.[1];
  return digits === undefined ? undefined : numberWords.get(digits);
}
