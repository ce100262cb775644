import type {
  EndpointLimits,
  EventLimits,
  IngestEvent,
  IngestItem,
  PublicEndpoint,
} from '../../audience/index.ts';
import { appOfContext, endpointOfContext, sessionOfContext } from './context.ts';
import { type Json, type Message, member, objectOf, textOf } from './message.ts';
import { toAttributes, toEvent, type Warn } from './properties.ts';

/** What a call comes to. */
export interface MappedMessage {
  message: Message;
  /** The endpoint of the call, with its event. */
  item: IngestItem;
  /** Further endpoints that it changes: those by which the person can be reached (traits `email` and `phone`). */
  others: IngestItem[];
  /** What was left out or cut. */
  warnings: string[];
}

export interface MapOptions {
  eventLimits: EventLimits;
  endpointLimits: EndpointLimits;
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

/**
 * The endpoint of a call: the anonymous id is its id; what comes with a user id only (from servers) is about one
 * endpoint of that user that stands for no device.
 */
export function endpointIdOf(message: Message): string {
  if (message.type === 'alias') return message.previousId!;
  return message.anonymousId ?? userEndpointId(message.userId!);
}

export function userEndpointId(userId: string): string {
  return `user:${userId}`;
}

/** @param endpointId of `endpointIdOf`, unless the call turned out to be about another one. */
export function mapMessage(message: Message, endpointId: string, options: MapOptions): MappedMessage {
  const warnings: string[] = [];
  const warn: Warn = (text) => {
    if (warnings.length < 20) warnings.push(text);
  };
  const endpoint = mapEndpoint(message, options, warn);
  const item: IngestItem = { endpointId, events: mapEvents(message, options, warn), source: 'segment' };
  if (Object.keys(endpoint).length > 0) item.endpoint = endpoint;
  return { message, item, others: mapContacts(message, warn), warnings };
}

function mapEndpoint(message: Message, options: MapOptions, warn: Warn): PublicEndpoint {
  const endpoint: Writable<PublicEndpoint> = endpointOfContext(message.context);
  const { userId } = message;
  const changes = message.type === 'identify' || message.type === 'group';
  const traits = changes ? traitsOf(message, options, warn) : undefined;
  if (userId !== undefined) {
    const hasTraits = traits && Object.keys(traits.attributes).length > 0;
    endpoint.User = { UserId: userId, ...(hasTraits ? { UserAttributes: traits.attributes } : {}) };
  } else if (traits && Object.keys(traits.attributes).length > 0) {
    endpoint.Attributes = traits.attributes;
  }
  if (traits && Object.keys(traits.metrics).length > 0) endpoint.Metrics = traits.metrics;
  if (message.type === 'identify') {
    const location = locationOfAddress(message.traits);
    if (location) endpoint.Location = { ...location, ...endpoint.Location };
  }
  return endpoint;
}

function traitsOf(message: Message, options: MapOptions, warn: Warn) {
  const numbersAsText = message.userId !== undefined;
  const limits = options.endpointLimits;
  if (message.type === 'identify') return toAttributes(message.traits, limits, { numbersAsText }, warn);
  const group = toAttributes(message.traits, limits, { numbersAsText: true, prefix: 'group' }, warn);
  return { attributes: { ...group.attributes, groupId: [message.groupId!] }, metrics: {} };
}

/** Segment's trait `address` as a place, as far as it has the form of one. */
function locationOfAddress(traits: Json): PublicEndpoint['Location'] | undefined {
  const address = objectOf(traits, 'address');
  const country = textOf(address, 'country');
  const location: Writable<NonNullable<PublicEndpoint['Location']>> = {};
  for (const [name, from] of [
    ['City', 'city'],
    ['PostalCode', 'postalCode'],
    ['Region', 'state'],
  ] as const) {
    const value = textOf(address, from);
    if (value !== undefined && value.length <= 100 && isStorable(value)) location[name] = value;
  }
  if (country !== undefined && /^[A-Za-z]{2}$/.test(country)) location.Country = country.toUpperCase();
  return Object.keys(location).length > 0 ? location : undefined;
}

function isStorable(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed();
}

function mapEvents(message: Message, options: MapOptions, warn: Warn): IngestEvent[] {
  const limits = options.eventLimits;
  const session = sessionOfContext(message.context);
  const app = appOfContext(message.context);
  const { attributes, metrics } = toEvent(propertiesOf(message), limits, warn);
  const event: IngestEvent = {
    id: message.messageId,
    type: message.type === 'track' ? message.name! : message.type,
    at: message.at,
    attributes,
    metrics,
    ...(session ? { session } : {}),
    ...(Object.keys(app).length > 0 ? { app } : {}),
  };
  const purchase = purchaseOf(message, event, limits.names);
  return purchase ? [event, purchase] : [event];
}

/** What the event itself says; traits are of the endpoint or user, not of the event. */
function propertiesOf({ type, name, properties, groupId, previousId }: Message): Json {
  switch (type) {
    case 'track':
      return properties;
    case 'page':
    case 'screen':
      return name === undefined ? properties : { name, ...properties };
    case 'group':
      return { groupId };
    case 'alias':
      return { previousId };
    case 'identify':
      return {};
  }
}

const orderNames: ReadonlySet<string> = new Set(['order completed', 'completed order']);

/** Names that a purchase has of its own: currency, transaction, price, quantity. */
const purchaseNames = 4;

/**
 * An order of Segment's e-commerce events is also the purchase that revenue is counted by. The order's attributes go
 * along, so that purchases can be told apart by them.
 */
function purchaseOf(message: Message, order: IngestEvent, maxNames: number): IngestEvent | undefined {
  if (message.type !== 'track' || !orderNames.has(message.name!.toLowerCase())) return undefined;
  const { properties } = message;
  const amount = ['revenue', 'total', 'value']
    .map((name) => amountOf(member(properties, name)))
    .find((found) => found !== undefined);
  if (amount === undefined) return undefined;
  const orderId = member(properties, 'order_id') ?? member(properties, 'orderId');
  const currency = textOf(properties, 'currency') ?? 'USD';
  return {
    ...order,
    id: `${message.messageId}:purchase`,
    type: '_monetization.purchase',
    attributes: {
      ...Object.fromEntries(Object.entries(order.attributes ?? {}).slice(0, maxNames - purchaseNames)),
      _currency: isStorable(currency) ? currency.slice(0, 20) : 'USD',
      ...((typeof orderId === 'string' && isStorable(orderId)) || typeof orderId === 'number'
        ? { _transaction_id: String(orderId).slice(0, 100) }
        : {}),
    },
    metrics: { _item_price: amount, _quantity: 1 },
  };
}

function amountOf(value: unknown): number | undefined {
  const amount = typeof value === 'string' && /^\s*-?\d+(\.\d+)?\s*$/.test(value) ? Number(value) : value;
  return typeof amount === 'number' && Number.isFinite(amount) ? amount : undefined;
}

/**
 * Endpoints of channels, apart from the call's own: one for each channel of a user (or, as long as the user is not
 * known, of the anonymous id), so that all devices of a user share one mail address.
 */
function mapContacts(message: Message, warn: Warn): IngestItem[] {
  if (message.type !== 'identify') return [];
  const { traits, userId } = message;
  const base = userId === undefined ? endpointIdOf(message) : userEndpointId(userId);
  const contacts: IngestItem[] = [];
  const add = (suffix: string, ChannelType: string, Address: string) => {
    const User = userId === undefined ? undefined : { UserId: userId };
    contacts.push({
      endpointId: `${base}:${suffix}`,
      endpoint: { ChannelType, Address, ...(User ? { User } : {}) },
      events: [],
      source: 'segment',
    });
  };
  const email = textOf(traits, 'email')?.trim();
  if (email !== undefined) {
    if (/^[^\s@]{1,64}@[^\s@]{1,255}$/.test(email) && isStorable(email)) add('email', 'EMAIL', email);
    else warn('email: is no e-mail address, so no endpoint was made of it');
  }
  const phone = textOf(traits, 'phone')?.replace(/[\s().-]/g, '');
  if (phone !== undefined) {
    if (/^\+[1-9]\d{6,14}$/.test(phone)) add('sms', 'SMS', phone);
    else warn('phone: is not of the form +14155550123, so no endpoint was made of it');
  }
  return contacts;
}
