import type { DeliveryChannel } from './provider.ts';

/** Which guarantee a message gets after a crash: `transactional` is sent again, `promotional` is listed in doubt. */
export type DispatchClass = 'transactional' | 'promotional';

/** In falling order of urgency. Each has its own workers and connections, so an OTP never waits for a campaign. */
export const lanes = ['verification', 'transactional', 'triggered', 'bulk'] as const;
export type Lane = (typeof lanes)[number];

export type DispatchState = 'running' | 'paused' | 'stopped' | 'done';

/** Where the words of a message on one channel come from: a template version, words given inline, or both (inline wins). */
export interface ContentSource {
  template?: { type: 'EMAIL' | 'SMS'; name: string; version: number };
  inline?: {
    subject?: string;
    html?: string;
    text?: string;
    /** SMS, push, voice and custom: the text. */
    body?: string;
    /** Push: the title. */
    title?: string;
    headers?: { name: string; value: string }[];
    attachments?: { filename: string; contentType: string; dataBase64: string; contentId?: string }[];
    /** A whole MIME message, base64. */
    rawBase64?: string;
    /** Push, custom: passed on as it is. */
    data?: Record<string, unknown>;
  };
  sender?: {
    from?: string;
    replyTo?: string[];
    originationNumber?: string;
    senderId?: string;
    messageType?: 'TRANSACTIONAL' | 'PROMOTIONAL';
    entityId?: string;
    templateId?: string;
  };
  /** Values of variables for which a recipient has none; `''` allows the hole. Filled from the template by startDispatch. */
  defaults?: Record<string, string>;
  /** Message-wide values of variables, by their dotted names; they win over the recipient's attributes. */
  substitutions?: Record<string, string[]>;
}

export type ContentByChannel = Partial<Record<DeliveryChannel, ContentSource>>;

/** One variant of a campaign. `0` is the default treatment; its share is what the others and the holdout leave. */
export interface Treatment {
  id: string;
  sizePercent: number;
  content: ContentByChannel;
  /** A function of the customer's delivers to endpoints of these types; its words are those of CUSTOM. */
  delivery?: CustomDelivery;
  /** The words as the campaign gives them (Pinpoint's MessageConfiguration): hooks get them. */
  messageConfiguration?: object;
  /** The run, as hooks and deliveries are told of it. */
  activityId?: string;
}

/** Where a function of the customer's takes messages over. */
export interface CustomDelivery {
  /** An https URL, or name or ARN of a Lambda function. */
  uri: string;
  /** ChannelTypes; PUSH stands for all kinds of devices. */
  endpointTypes: string[];
}

/** What to say to whom by which rules; stored with the dispatch, so that later edits do not touch a running one. */
export interface DispatchPlan {
  treatments: Treatment[];
  holdoutPercent: number;
  /** Most messages to one endpoint: in 24 hours over all campaigns, and in all runs of this campaign. 0 or absent: no limit. */
  limits: { daily?: number; total?: number };
  /** `HH:MM` in the recipient's zone; does not apply to a recipient without a valid zone. */
  quietTime?: { start: string; end: string };
  context?: Record<string, string>;
  /** A function of the customer's that is asked whom to leave out: an https URL, or name or ARN of a Lambda function. */
  hook?: string;
  /** When the run was due, ISO 8601: hooks and deliveries are told. */
  scheduledTime?: string;
}

/** The event for which somebody became a member of an open dispatch; templates know it as `{{Event…}}`. */
export interface Occasion {
  /** The client's id of the event: with the endpoint, what the message is about. */
  id: string;
  /** EventType, as the client gave it. */
  type: string;
  /** When it happened, in milliseconds. */
  at: number;
  /** A message about it that cannot be sent by then is not sent any more, in milliseconds. */
  expiresAt: number;
  attributes?: Record<string, string>;
  metrics?: Record<string, number>;
}

/** A dispatch as the pipeline reads it. */
export interface Dispatch {
  id: string;
  applicationId: string;
  kind: 'campaign' | 'direct' | 'test';
  class: DispatchClass;
  lane: Lane;
  state: DispatchState;
  campaignId: string | null;
  plan: DispatchPlan;
  messagesPerSecond: number | null;
  audienceSize: number;
  createdAt: Date;
  expiresAt: Date;
}

/**
 * The treatment of a cohort (0–99), or `holdout`. The lowest cohorts are held out, then come the additional
 * treatments in order, the rest gets the default one; so the same endpoint always falls in the same bucket.
 */
export function treatmentOf<Choice extends Pick<Treatment, 'id' | 'sizePercent'>>(
  plan: { holdoutPercent: number; treatments: readonly Choice[] },
  cohort: number,
): Choice | 'holdout' {
  let from = plan.holdoutPercent;
  if (cohort < from) return 'holdout';
  for (const treatment of plan.treatments) {
    if (treatment.id === '0') continue;
    from += treatment.sizePercent;
    if (cohort < from) return treatment;
  }
  const standard = plan.treatments.find((treatment) => treatment.id === '0');
  if (!standard) throw new Error('A dispatch plan has no default treatment');
  return standard;
}
