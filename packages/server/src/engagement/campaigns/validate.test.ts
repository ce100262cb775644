import { describe, expect, test } from 'vitest';
import type { CampaignDefinition } from './campaign.ts';
import { checkDefinition, sameJson } from './validate.ts';

const now = Date.UTC(2026, 10, 21, 12);
const sms = { SMSMessage: { Body: 'Hello' } };
const complete: CampaignDefinition = {
  SegmentId: 's1',
  Schedule: { StartTime: 'IMMEDIATE' },
  MessageConfiguration: sms,
};

const treatments = (...sizes: number[]) =>
  sizes.map((SizePercent) => ({ SizePercent, MessageConfiguration: sms }));

test('a complete definition passes', () => {
  checkDefinition(complete, now);
  checkDefinition(
    {
      ...complete,
      Name: '🎉',
      HoldoutPercent: 10,
      AdditionalTreatments: treatments(40, 30, 10, 10),
      Limits: { Daily: 0, Total: 100, MessagesPerSecond: 1, MaximumDuration: 60 },
      Hook: {},
      TemplateConfiguration: { EmailTemplate: { Name: 'welcome', Version: '3' } },
      Priority: 3,
    },
    now,
  );
});

describe('a definition that cannot run is refused with the path of the member', () => {
  const cases: [string, CampaignDefinition, string?][] = [
    ['$.SegmentId', { SegmentId: '' }],
    ['$.Schedule', { Schedule: undefined }],
    ['$.MessageConfiguration', { MessageConfiguration: undefined }],
    [
      '$.MessageConfiguration',
      { MessageConfiguration: { EmailMessage: { FromAddress: 'a@example.com', Title: 'x' } } },
    ],
    ['$.HoldoutPercent', { HoldoutPercent: 101 }],
    ['$.HoldoutPercent', { HoldoutPercent: -1 }],
    ['$.AdditionalTreatments', { HoldoutPercent: 30, AdditionalTreatments: treatments(40, 40) }],
    ['$.AdditionalTreatments', { AdditionalTreatments: treatments(1, 1, 1, 1, 1) }],
    ['$.AdditionalTreatments[1].SizePercent', { AdditionalTreatments: treatments(1, 1.5) }],
    ['$.AdditionalTreatments[0].MessageConfiguration', { AdditionalTreatments: [{ SizePercent: 10 }] }],
    [
      '$.AdditionalTreatments[0].Schedule',
      {
        AdditionalTreatments: [
          { SizePercent: 10, MessageConfiguration: sms, Schedule: { StartTime: '2027-01-01' } },
        ],
      },
      'not_implemented',
    ],
    ['$.Limits.Daily', { Limits: { Daily: 101 } }],
    ['$.Limits.Total', { Limits: { Total: -1 } }],
    ['$.Limits.MessagesPerSecond', { Limits: { MessagesPerSecond: 0 } }],
    ['$.Limits.MaximumDuration', { Limits: { MaximumDuration: 59 } }],
    ['$.Hook', { Hook: { LambdaFunctionName: 'f', WebUrl: 'https://x.example' } }],
    ['$.Hook.Mode', { Hook: { LambdaFunctionName: 'f', Mode: 'DELIVERY' } }],
    ['$.Hook.WebUrl', { Hook: { WebUrl: 'http://x.example' } }],
    ['$.Hook.LambdaFunctionName', { Hook: { LambdaFunctionName: 'arn:aws:sns:eu-west-1:1:t' } }],
    [
      '$.CustomDeliveryConfiguration.DeliveryUri',
      { CustomDeliveryConfiguration: { DeliveryUri: 'http://x.example' } },
    ],
    [
      '$.CustomDeliveryConfiguration.EndpointTypes[1]',
      { CustomDeliveryConfiguration: { DeliveryUri: 'f', EndpointTypes: ['EMAIL', 'FAX' as 'SMS'] } },
    ],
    ['$.MessageConfiguration.InAppMessage', { MessageConfiguration: { InAppMessage: {} } }],
    [
      '$.MessageConfiguration.SMSMessage.Body',
      { MessageConfiguration: { SMSMessage: { Body: 'x'.repeat(1601) } } },
    ],
    [
      '$.MessageConfiguration.CustomMessage.Data',
      { MessageConfiguration: { CustomMessage: { Data: '€'.repeat(1667) } } },
    ],
    [
      '$.MessageConfiguration.EmailMessage.FromAddress',
      {
        MessageConfiguration: {
          EmailMessage: { Body: 'x', FromAddress: 'a@example.com\r\nBcc: b@example.com' },
        },
      },
    ],
    [
      '$.MessageConfiguration.EmailMessage.Headers[0].Value',
      {
        MessageConfiguration: {
          EmailMessage: { Body: 'x', Headers: [{ Name: 'X-A', Value: 'a\r\nBcc: b@example.com' }] },
        },
      },
    ],
    [
      '$.MessageConfiguration.EmailMessage.Headers[0].Name',
      { MessageConfiguration: { EmailMessage: { Body: 'x', Headers: [{ Name: 'X A', Value: 'a' }] } } },
    ],
    ['$.TemplateConfiguration.EmailTemplate.Name', { TemplateConfiguration: { EmailTemplate: {} } }],
    [
      '$.TemplateConfiguration.SMSTemplate.Version',
      { TemplateConfiguration: { SMSTemplate: { Name: 'a', Version: '0' } } },
    ],
    ['$.TemplateConfiguration.VoiceTemplate', { TemplateConfiguration: { VoiceTemplate: { Name: 'a' } } }],
    [
      '$.TemplateConfiguration.PushTemplate',
      { TemplateConfiguration: { PushTemplate: { Name: 'a' } } },
      'not_implemented',
    ],
  ];
  test.each(cases)('%s of %j', (member, change, code = 'bad_request') => {
    expect(() => checkDefinition({ ...complete, ...change }, now)).toThrow(
      expect.objectContaining({ code, member }),
    );
  });
});

test('a treatment may repeat the schedule of its campaign', () => {
  const AdditionalTreatments = [
    { SizePercent: 10, MessageConfiguration: sms, Schedule: { StartTime: 'IMMEDIATE', EndTime: undefined } },
  ];
  checkDefinition({ ...complete, AdditionalTreatments }, now);
});

test('a start time that passed since it was set is no error, a new one in the past is', () => {
  const past = { ...complete, Schedule: { StartTime: '2026-11-20T00:00:00Z' } };
  checkDefinition(past, now, past);
  expect(() => checkDefinition(past, now, complete)).toThrow(
    '$.Schedule.StartTime: expected a time in the future',
  );
});

test('sameJson ignores undefined members, key order and prototypes', () => {
  const bare = Object.assign(Object.create(null), { b: [1], a: 'x' });
  expect(sameJson({ a: 'x', b: [1], c: undefined }, bare)).toBe(true);
  expect(sameJson({ a: 'x' }, { a: 'x', b: null })).toBe(false);
  expect(sameJson(undefined, {})).toBe(false);
  expect(sameJson(JSON.parse('{"__proto__": 1}'), {})).toBe(false);
});
