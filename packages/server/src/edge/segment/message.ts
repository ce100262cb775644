/** The calls of the Segment HTTP API. */
export const callTypes = ['identify', 'track', 'page', 'screen', 'group', 'alias'] as const;
export type CallType = (typeof callTypes)[number];

export type Json = Record<string, unknown>;

/** One call, read and checked as far as it can be without knowing what is stored. */
export interface Message {
  /** Place in the batch. */
  index: number;
  type: CallType;
  messageId: string;
  anonymousId: string | undefined;
  userId: string | undefined;
  /** Of `alias`. */
  previousId: string | undefined;
  /** Of `group`. */
  groupId: string | undefined;
  /** Of `track`, `page` and `screen`. */
  name: string | undefined;
  properties: Json;
  traits: Json;
  context: Json;
  /** When it happened, by our clock, in milliseconds since the epoch. */
  at: number;
}

/** A call that cannot be understood; its text says why. */
export class BadMessage extends Error {}

/** What counts for all calls of a request. */
export interface RequestFrame {
  /** Milliseconds since the epoch. */
  now: number;
  sentAt: unknown;
  /** Context of the batch, under that of each call. */
  context: Json;
  newId: () => string;
}

/** Segment's documented bound of one call. */
export const maxMessageBytes = 32 * 1024;
const maxIdLength = 256;
const maxNameLength = 256;

/** @throws BadMessage */
export function readMessage(
  raw: unknown,
  type: CallType | undefined,
  index: number,
  frame: RequestFrame,
): Message {
  if (!isObject(raw)) throw new BadMessage('expected an object');
  const bytes = Buffer.byteLength(JSON.stringify(raw));
  if (bytes > maxMessageBytes) {
    throw new BadMessage(`expected at most ${maxMessageBytes} bytes, got ${bytes}`);
  }
  const call = type ?? callTypes.find((known) => known === raw.type);
  if (!call) throw new BadMessage(`type: expected one of ${callTypes.join(', ')}`);
  const message: Message = {
    index,
    type: call,
    messageId: idOf(raw, 'messageId') ?? frame.newId(),
    anonymousId: idOf(raw, 'anonymousId'),
    userId: idOf(raw, 'userId'),
    previousId: idOf(raw, 'previousId'),
    groupId: idOf(raw, 'groupId'),
    name: nameOf(raw, call),
    properties: objectOf(raw, 'properties'),
    traits: objectOf(raw, 'traits'),
    context: { ...frame.context, ...objectOf(raw, 'context') },
    at: correctedTime(raw, frame),
  };
  if (call === 'alias') {
    if (!message.userId || !message.previousId) throw new BadMessage('alias: expected previousId and userId');
  } else if (!message.userId && !message.anonymousId) {
    throw new BadMessage('expected a userId or an anonymousId');
  }
  if (call === 'group' && !message.groupId) throw new BadMessage('groupId: expected a text');
  return message;
}

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** An own member, so that `__proto__` and `constructor` of the prototype are never read. */
export function member(object: Json, name: string): unknown {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

export function objectOf(object: Json, name: string): Json {
  const value = member(object, name);
  return isObject(value) ? value : {};
}

/** A text member that says something. */
export function textOf(object: Json, name: string): string | undefined {
  const value = member(object, name);
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function idOf(raw: Json, name: string): string | undefined {
  const value = member(raw, name);
  if (value === undefined || value === null || value === '') return undefined;
  const id = typeof value === 'number' && Number.isFinite(value) ? String(value) : value;
  if (typeof id !== 'string') throw new BadMessage(`${name}: expected a text`);
  if (id.length > maxIdLength) throw new BadMessage(`${name}: expected at most ${maxIdLength} characters`);
  return storable(id, name);
}

function nameOf(raw: Json, call: CallType): string | undefined {
  if (call !== 'track' && call !== 'page' && call !== 'screen') return undefined;
  const name = member(raw, call === 'track' ? 'event' : 'name');
  if (call === 'track' && (typeof name !== 'string' || name.trim() === '')) {
    throw new BadMessage('event: expected the name of the event');
  }
  if (typeof name !== 'string' || name === '') return undefined;
  if (name.length > maxNameLength)
    throw new BadMessage(`event: expected at most ${maxNameLength} characters`);
  return storable(name, call === 'track' ? 'event' : 'name');
}

function storable(text: string, name: string): string {
  if (text.includes('\0') || !text.isWellFormed()) {
    throw new BadMessage(`${name}: expected text without U+0000 and without half surrogate pairs`);
  }
  return text;
}

/**
 * When it happened by our clock: as long before now as the client says that it was before it sent, so that a device
 * whose clock is wrong is still right. Without `sentAt` its clock is believed.
 */
function correctedTime(raw: Json, frame: RequestFrame): number {
  const happened = timeOf(member(raw, 'timestamp')) ?? timeOf(member(raw, 'originalTimestamp'));
  if (happened === undefined) return frame.now;
  const sent = timeOf(member(raw, 'sentAt')) ?? timeOf(frame.sentAt);
  return sent === undefined ? happened : frame.now - (sent - happened);
}

function timeOf(value: unknown): number | undefined {
  if (typeof value !== 'string' || value.length > 40) return undefined;
  const time = Date.parse(value);
  return Number.isNaN(time) ? undefined : time;
}
