import type { Recipient } from '../audience/index.ts';
import type { StoredFact } from '../events/index.ts';
import type { RecordedMessage } from '../messaging/index.ts';
import type { ExampleSource } from './reference.ts';
import { factId, type RenderContext } from './render.ts';

const applicationId = '4f0a1c9be6d84d3a9d1f6a2b7c8e9d00';
const messageId = '01965a10-3f80-7000-8000-0000000000a1';
const batchId = '01965a10-43c8-7000-8000-0000000000b1';
const dispatchId = '01965a10-3b98-7000-8000-0000000000d1';
const arrival = 0x01965a1043c8;

const endpoint: Recipient = {
  id: 'phone-7',
  segmentId: null,
  channel: 'GCM',
  address: 'device-token',
  optOut: 'NONE',
  status: 'ACTIVE',
  cohort: 42,
  userId: 'user-7',
  attributes: { plan: ['gold'] },
  metrics: {},
  demographic: {
    AppVersion: '2.1',
    Locale: 'en_US',
    Make: 'Google',
    Model: 'Pixel 9',
    Platform: 'android',
    PlatformVersion: '16',
  },
  location: {},
  requestId: null,
  effectiveAt: arrival - 1_000,
  createdAt: arrival - 1_000,
  userAttributes: {},
};

const fact: StoredFact = {
  batchId,
  seq: 0,
  day: '2025-04-21',
  type: 'event.purchase',
  applicationId,
  occurredAt: arrival - 12,
  endpointId: 'phone-7',
  messageId: null,
  dispatchId: null,
  payload: {},
};

const message: RecordedMessage = {
  id: messageId,
  channel: 'EMAIL',
  address: 'recipient@example.com',
  endpointId: 'mail-7',
  userId: 'user-7',
  dispatchId,
  campaignId: '8f7c3b1e5a9d4c2fb6e0d1a2c3b4e5f6',
  treatmentId: '0',
  decision: 'sending',
  summary: 'Your order is on its way',
  class: 'promotional',
  context: { team: 'growth' },
  sent: {
    from: 'shop@example.com',
    providerMessageId: `<${messageId}@example.com>`,
  },
};

const ofMessage = { ...fact, messageId, dispatchId, endpointId: 'mail-7' };

/** One of each kind. */
export const examples = {
  app: {
    endpoint,
    fact: {
      ...fact,
      payload: {
        id: 'event-1',
        attributes: { product: 'book' },
        metrics: { price: 12.5 },
        session: { id: 'session-1', startedAt: arrival - 60_012 },
        userId: 'user-7',
        app: { packageName: 'com.example.shop', title: 'Shop', versionCode: '21', sdkName: 'aws-amplify' },
      },
    },
  },
  campaign: {
    endpoint,
    message: { ...message, channel: 'PUSH', endpointId: 'phone-7', decision: 'daily_cap', sent: null },
    fact: { ...fact, type: 'dispatch.window', endpointId: null, dispatchId },
  },
  email: {
    message,
    fact: {
      ...ofMessage,
      type: 'message.delivered',
      payload: { response: '250 2.0.0 OK', code: 250 },
    },
  },
  sms: {
    message: {
      ...message,
      channel: 'SMS',
      address: '+14255550199',
      campaignId: null,
      treatmentId: null,
      class: 'transactional',
      sent: { messageType: 'TRANSACTIONAL', origination: '+12065550142', parts: 1 },
    },
    fact: { ...ofMessage, type: 'message.delivered', payload: { response: 'DELIVRD' } },
  },
  push: {
    endpoint,
    message: { ...message, channel: 'PUSH', endpointId: 'phone-7', campaignId: null, sent: {} },
    fact: { ...ofMessage, endpointId: 'phone-7', type: 'message.sent' },
  },
} satisfies Record<string, ExampleSource>;

/** The context in which an example is rendered. */
export function exampleContext(source: ExampleSource): RenderContext {
  const { fact: about, message: known, endpoint: reached } = source;
  return {
    applicationId,
    accountId: '123456789012',
    endpoints: new Map(reached ? [[reached.id, reached]] : []),
    messages: new Map(known ? [[known.id, known]] : []),
    held: new Map(known && about.type === 'dispatch.window' ? [[factId(about), [known]]] : []),
    activityIdOf: () => '01965a103b987000800000000000c001',
    countryOf: () => 'US',
  };
}
