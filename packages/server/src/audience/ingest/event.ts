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
