/** What the client said of its session. Times in milliseconds since the epoch. */
export interface EventSession {
  id: string;
  startedAt?: number;
  stoppedAt?: number;
  durationMs?: number;
}

/** The program that put an event. */
export interface EventApp {
  packageName?: string;
  title?: string;
  versionCode?: string;
  sdkName?: string;
  sdkVersion?: string;
}

/** The payload of a fact that is a client's event. Everything that figures are made of is in it or in its fact. */
export interface EventPayload extends Record<string, unknown> {
  /** The client's id of the event; an endpoint puts each one once. */
  id: string;
  attributes?: Record<string, string>;
  metrics?: Record<string, number>;
  session?: EventSession;
  /** The user of the endpoint when the event arrived, after the changes that came with it. */
  userId?: string;
  /** What the client's clock said, when arrival says that it cannot be right. */
  clientTimestamp?: number;
  app?: EventApp;
  /** Which door it came by; the Pinpoint API when absent. */
  source?: 'segment' | 'archive';
  /** When an archived event first arrived, in milliseconds; other events arrived when their batch was written. */
  arrivedAt?: number;
  /** What else the record of an archive said: what a campaign, an e-mail or an SMS was about. */
  archived?: Record<string, unknown>;
}

const prefix = 'event.';

/** The type of the fact that says an event of this type: never one of our own facts, whatever the client calls it. */
export function eventFactType(eventType: string): string {
  return prefix + eventType;
}

/** The type that the client gave, or undefined for a fact that is no client's event. */
export function eventTypeOf(factType: string): string | undefined {
  return factType.startsWith(prefix) ? factType.slice(prefix.length) : undefined;
}

/** The types that Pinpoint defines and its SDKs write (reference 8.3). */
const standardTypes: readonly string[] = [
  ...['_session.start', '_session.stop', '_session.pause', '_session.resume'],
  ...['_userauth.sign_in', '_userauth.sign_up', '_userauth.auth_fail'],
  '_monetization.purchase',
  ...['campaign', 'journey'].flatMap((origin) => [
    `_${origin}.opened_notification`,
    `_${origin}.received_foreground`,
    `_${origin}.received_background`,
  ]),
  ...['_inapp.message_displayed', '_inapp.message_clicked', '_inapp.message_dismissed'],
];
const standard: ReadonlySet<string> = new Set(standardTypes);

/** `_session_start`: what some SDKs wrote for `_session.start` (reference 12, no. 12). */
const legacyTypes: ReadonlyMap<string, string> = new Map(
  standardTypes.map((type) => [type.replace('.', '_'), type]),
);

/** The documented name of a type that may be written in the legacy way. */
export function normaliseEventType(eventType: string): string {
  return legacyTypes.get(eventType) ?? eventType;
}

/** Does Pinpoint define this type? All others are the application's own. */
export function isStandardType(eventType: string): boolean {
  return standard.has(eventType);
}

const serviceType =
  /^_(email|SMS|voice|push|custom)\.|^_(campaign|journey)\.(?!opened_notification$|received_)/;

/**
 * Is an event of this type a sign that its endpoint used the app? Not so what Pinpoint itself wrote into event
 * streams (`_email.open`, `_SMS.SUCCESS`, `_campaign.send` …), which an archive brings back: that says something of
 * a message, and neither makes an endpoint nor counts as its activity.
 */
export function isAppActivity(eventType: string): boolean {
  return !(eventType.charCodeAt(0) === 0x5f && serviceType.test(eventType));
}
