import type { OperationName } from '../../packages/server/src/edge/aws/operation.ts';

/** Ids that exist on the server under test, by the path label that takes them. */
export type KnownIds = Map<string, string[]>;

const email = { Subject: { Data: 'Hello' }, HtmlPart: { Data: '<p>Hello</p>' } };
const template = { Subject: 'Hello', HtmlPart: '<p>Hello {{User.UserId}}</p>' };
const inAppTemplate = {
  Layout: 'OVERLAYS',
  Content: [{ HeaderConfig: { Alignment: 'LEFT', Header: 'Hello {{User.UserId}}', TextColor: '#000000' } }],
};
const role = 'arn:aws:iam::000000000000:role/x';

/** A right body of each operation that chance alone would hardly meet. A family whose operations need one adds it. */
const samples: { [Name in OperationName]?: (ids: KnownIds) => unknown } = {
  CreateCampaign: (ids) => ({
    Name: 'fuzz',
    SegmentId: ids.get('SegmentId')?.at(-1) ?? 'none',
    Schedule: { StartTime: '2030-01-01T00:00:00Z' },
    MessageConfiguration: { EmailMessage: { Title: 'Hello', HtmlBody: '<p>Hello</p>' } },
  }),
  CreateEmailTemplate: () => template,
  CreateExportJob: () => ({ RoleArn: role, S3UrlPrefix: 's3://bucket/prefix/' }),
  CreateImportJob: () => ({
    Format: 'CSV',
    RoleArn: role,
    S3Url: 's3://bucket/key',
    RegisterEndpoints: true,
  }),
  CreateInAppTemplate: () => inAppTemplate,
  CreateSegment: () => ({
    Name: 'fuzz',
    Dimensions: { Attributes: { plan: { AttributeType: 'INCLUSIVE', Values: ['pro'] } } },
  }),
  CreateSmsTemplate: () => ({ Body: 'Hello {{User.UserId}}' }),
  PutEventStream: () => ({ DestinationStreamArn: 's3://bucket/stream', RoleArn: role }),
  RemoveAttributes: () => ({ Blacklist: ['plan'] }),
  SendMessages: () => ({
    Addresses: { 'fuzz@example.com': { ChannelType: 'EMAIL' } },
    MessageConfiguration: { EmailMessage: { FromAddress: 'shop@example.com', SimpleEmail: email } },
  }),
  UpdateCampaign: () => ({ Name: 'renamed' }),
  UpdateEmailTemplate: () => template,
  UpdateEndpoint: () => ({ Address: 'fuzz@example.com', ChannelType: 'EMAIL', User: { UserId: 'u' } }),
  UpdateEndpointsBatch: () => ({ Item: [{ Id: 'e', Address: 'fuzz@example.com', ChannelType: 'EMAIL' }] }),
  UpdateInAppTemplate: () => inAppTemplate,
  UpdateSegment: () => ({ Name: 'renamed' }),
  UpdateSmsTemplate: () => ({ Body: 'Hello' }),
  UpdateTemplateActiveVersion: () => ({ Version: '1' }),
};

export function sampleOf(name: OperationName, ids: KnownIds): unknown {
  return samples[name]?.(ids);
}

/** Values of path labels that are the caller's to choose, so that what one request makes another finds. */
export const chosenLabels: Record<string, string[]> = {
  AttributeType: ['endpoint-custom-attributes', 'endpoint-user-attributes', 'endpoint-metric-attributes'],
  EndpointId: ['e', 'f/g'],
  KpiName: ['unique-deliveries', 'txn-emails-sent-grouped-by-date'],
  TemplateName: ['fuzz'],
  TemplateType: ['EMAIL', 'email'],
  UserId: ['u', 'v'],
  Version: ['1'],
};

/** The label that takes the `Id` of an operation's reply. */
export function labelOfReply(name: OperationName): string | undefined {
  const [, noun] = /^(?:Create|Update)(Segment|Campaign|Journey|App)$/.exec(name) ?? [];
  if (noun) return noun === 'App' ? undefined : `${noun}Id`;
  if (/^Create(Import|Export)Job$/.test(name)) return 'JobId';
  return undefined;
}
