import { expect, test } from 'vitest';
import { operations } from '../../packages/server/src/edge/pinpoint/operations.ts';
import { waitFor } from '../support/processes.ts';
import { byId, endpoint, laterEndpoint } from './endpoints.ts';
import { writeEvents, writeInApp, writeKpis, writeStream } from './events.ts';
import { call, called, checks, forget, goneLater, killAndCheck, later, product } from './harness.ts';

const dimensions = (value: string) => ({
  Attributes: { plan: { AttributeType: 'INCLUSIVE', Values: [value] } },
  Demographic: { Channel: { DimensionType: 'INCLUSIVE', Values: ['EMAIL'] } },
});

const message = {
  EmailMessage: { FromAddress: 'shop@example.com', Title: 'Hello', HtmlBody: '<p>Hello</p>' },
};

async function createdApp(name: string): Promise<string> {
  const { ApplicationResponse } = await call('CreateApp', {
    CreateApplicationRequest: { Name: name, tags: { team: name } },
  });
  const ApplicationId = ApplicationResponse.Id;
  later(
    'CreateApp',
    ApplicationResponse,
    async () => (await call('GetApp', { ApplicationId })).ApplicationResponse,
    async () => byId((await call('GetApps', { PageSize: '100' })).ApplicationsResponse.Item, ApplicationId),
  );
  return ApplicationId;
}

/** Settings and channels answer what they are; `turn` makes the second writing another one. */
async function writeSettings(ApplicationId: string, turn: number): Promise<void> {
  const { ApplicationSettingsResource } = await call('UpdateApplicationSettings', {
    ApplicationId,
    WriteApplicationSettingsRequest: {
      Limits: { Daily: 10 + turn, Total: 20, MaximumDuration: 3_600, MessagesPerSecond: 500 },
      QuietTime: { Start: '22:00', End: `0${turn}:00` },
    },
  });
  later(
    'UpdateApplicationSettings',
    ApplicationSettingsResource,
    async () => (await call('GetApplicationSettings', { ApplicationId })).ApplicationSettingsResource,
  );
  const { EmailChannelResponse } = await call('UpdateEmailChannel', {
    ApplicationId,
    EmailChannelRequest: { FromAddress: `shop${turn}@example.com`, Identity: 'example.com', Enabled: true },
  });
  const { SMSChannelResponse } = await call('UpdateSmsChannel', {
    ApplicationId,
    SMSChannelRequest: { SenderId: `SHOP${turn}`, Enabled: turn === 1 },
  });
  later(
    'UpdateEmailChannel',
    EmailChannelResponse,
    async () => (await call('GetEmailChannel', { ApplicationId })).EmailChannelResponse,
  );
  later(
    'UpdateSmsChannel',
    SMSChannelResponse,
    async () => (await call('GetSmsChannel', { ApplicationId })).SMSChannelResponse,
  );
  for (const channel of [EmailChannelResponse, SMSChannelResponse]) {
    const { Id, Version, Enabled, LastModifiedDate } = channel;
    later('GetChannels', { Id, Version, Enabled, LastModifiedDate }, async () => {
      const { ChannelsResponse } = await call('GetChannels', { ApplicationId });
      const found = ChannelsResponse.Channels[channel.Platform];
      return {
        Id: found.Id,
        Version: found.Version,
        Enabled: found.Enabled,
        LastModifiedDate: found.LastModifiedDate,
      };
    });
  }
}

/** An endpoint's write answers only that it was accepted: it is read before the kill, and otherwise after it. */
async function writeEndpoint(
  ApplicationId: string,
  EndpointId: string,
  EndpointRequest: object,
): Promise<void> {
  await call('UpdateEndpoint', { ApplicationId, EndpointId, EndpointRequest });
  const { EndpointResponse } = await call('GetEndpoint', { ApplicationId, EndpointId });
  expect(EndpointResponse).toMatchObject(EndpointRequest);
  laterEndpoint(ApplicationId, EndpointResponse);
}

function laterSegment(ApplicationId: string, segment: { Id: string; Version: number }): void {
  const SegmentId = segment.Id;
  const ofVersion = (items: { Version: number }[]) =>
    items.find(({ Version }) => Version === segment.Version);
  later(
    `segment version ${segment.Version}`,
    segment,
    async () => (await call('GetSegment', { ApplicationId, SegmentId })).SegmentResponse,
    async () => byId((await call('GetSegments', { ApplicationId })).SegmentsResponse.Item, SegmentId),
    async () =>
      (await call('GetSegmentVersion', { ApplicationId, SegmentId, Version: String(segment.Version) }))
        .SegmentResponse,
    async () =>
      ofVersion((await call('GetSegmentVersions', { ApplicationId, SegmentId })).SegmentsResponse.Item),
  );
}

function laterCampaign(ApplicationId: string, campaign: { Id: string; Version: number }): void {
  const CampaignId = campaign.Id;
  const ofVersion = (items: { Version: number }[]) =>
    items.find(({ Version }) => Version === campaign.Version);
  later(
    `campaign version ${campaign.Version}`,
    campaign,
    async () => (await call('GetCampaign', { ApplicationId, CampaignId })).CampaignResponse,
    async () => byId((await call('GetCampaigns', { ApplicationId })).CampaignsResponse.Item, CampaignId),
    async () =>
      (await call('GetCampaignVersion', { ApplicationId, CampaignId, Version: String(campaign.Version) }))
        .CampaignResponse,
    async () =>
      ofVersion((await call('GetCampaignVersions', { ApplicationId, CampaignId })).CampaignsResponse.Item),
  );
}

const kinds = [
  {
    create: 'CreateEmailTemplate',
    update: 'UpdateEmailTemplate',
    get: 'GetEmailTemplate',
    TemplateType: 'EMAIL',
    answer: 'EmailTemplateResponse',
    request: (text: string) => ({
      EmailTemplateRequest: { Subject: text, HtmlPart: `<p>${text}</p>`, TemplateDescription: text },
    }),
  },
  {
    create: 'CreateSmsTemplate',
    update: 'UpdateSmsTemplate',
    get: 'GetSmsTemplate',
    TemplateType: 'SMS',
    answer: 'SMSTemplateResponse',
    request: (text: string) => ({ SMSTemplateRequest: { Body: text, TemplateDescription: text } }),
  },
  {
    create: 'CreateInAppTemplate',
    update: 'UpdateInAppTemplate',
    get: 'GetInAppTemplate',
    TemplateType: 'INAPP',
    answer: 'InAppTemplateResponse',
    request: (text: string) => ({
      InAppTemplateRequest: { CustomConfig: { words: text }, TemplateDescription: text },
    }),
  },
] as const;

const deleteOf = {
  EMAIL: 'DeleteEmailTemplate',
  SMS: 'DeleteSmsTemplate',
  INAPP: 'DeleteInAppTemplate',
} as const;

/** A template as it is now, and what the lists say of it. */
async function laterTemplate(
  kind: (typeof kinds)[number],
  TemplateName: string,
  Version?: string,
): Promise<void> {
  const read = async () =>
    (await call(kind.get, { TemplateName, ...(Version ? { Version } : {}) }))[kind.answer];
  later(`template ${TemplateName}`, await read(), read);
  const { TemplateType } = kind;
  const versions = async () =>
    (await call('ListTemplateVersions', { TemplateName, TemplateType })).TemplateVersionsResponse.Item;
  later('template versions', await versions(), versions);
  const listed = async () =>
    (await call('ListTemplates', { TemplateType })).TemplatesResponse.Item.find(
      (item: { TemplateName: string }) => item.TemplateName === TemplateName,
    );
  later('template in the list', await listed(), listed);
}

/** A job as it is when it has ended, and the members of its creation that do not change. */
async function laterJob(
  kind: 'Import' | 'Export',
  ApplicationId: string,
  created: { Id: string; CreationDate: string },
): Promise<{ Definition: { SegmentId?: string } }> {
  const JobId = created.Id;
  const responseOf = (answer: Record<string, object>) =>
    answer[`${kind}JobResponse`] as { JobStatus: string };
  const itemsOf = (answer: Record<string, { Item: object[] }>) => answer[`${kind}JobsResponse`]!.Item;
  const read = async () => responseOf(await call(`Get${kind}Job`, { ApplicationId, JobId }));
  await waitFor(`the ${kind} to end`, async () => (await read()).JobStatus === 'COMPLETED');
  const ended = (await read()) as unknown as { Id: string; Definition: { SegmentId?: string } };
  const { Id, CreationDate } = created;
  expect(ended).toMatchObject({ Id, CreationDate });
  later(`${kind} job`, ended, read, async () =>
    byId(itemsOf(await call(`Get${kind}Jobs`, { ApplicationId })), JobId),
  );
  const { SegmentId } = ended.Definition;
  later(`${kind} job of its segment`, ended, async () =>
    byId(itemsOf(await call(`GetSegment${kind}Jobs`, { ApplicationId, SegmentId })), JobId),
  );
  return ended;
}

async function writeJobs(ApplicationId: string, segmentId: string): Promise<void> {
  const rows = ['Id,ChannelType,Address,User.UserId,Attributes.plan', 'i1,EMAIL,i1@example.com,ida,pro', ''];
  const uploaded = await product.request('/api/objects/durable/people.csv', {
    method: 'PUT',
    body: rows.join('\n'),
  });
  expect(uploaded.ok).toBe(true);
  const RoleArn = 'arn:aws:iam::000000000000:role/none';
  const imported = await call('CreateImportJob', {
    ApplicationId,
    ImportJobRequest: {
      Format: 'CSV',
      S3Url: 's3://durable/people.csv',
      RoleArn,
      RegisterEndpoints: true,
      DefineSegment: true,
      SegmentName: 'imported',
    },
  });
  await laterJob('Import', ApplicationId, imported.ImportJobResponse);
  laterEndpoint(
    ApplicationId,
    (await call('GetEndpoint', { ApplicationId, EndpointId: 'i1' })).EndpointResponse,
  );
  const exported = await call('CreateExportJob', {
    ApplicationId,
    ExportJobRequest: { S3UrlPrefix: 's3://durable/out/', RoleArn, SegmentId: segmentId },
  });
  await laterJob('Export', ApplicationId, exported.ExportJobResponse);
}

const campaignRequest = (SegmentId: string, StartTime: string) => ({
  Name: 'durable',
  Description: 'a campaign',
  SegmentId,
  Schedule: { StartTime, Timezone: 'UTC' },
  HoldoutPercent: 5,
  MessageConfiguration: message,
  tags: { purpose: 'test' },
});

/** A campaign that has run, with its activities; and one direct message in the log. */
async function writeSends(ApplicationId: string, SegmentId: string): Promise<void> {
  const { CampaignResponse } = await call('CreateCampaign', {
    ApplicationId,
    WriteCampaignRequest: { ...campaignRequest(SegmentId, 'IMMEDIATE'), HoldoutPercent: 0 },
  });
  const CampaignId = CampaignResponse.Id;
  const current = async () => (await call('GetCampaign', { ApplicationId, CampaignId })).CampaignResponse;
  await waitFor('the campaign to end', async () => (await current()).State.CampaignStatus === 'COMPLETED');
  const activities = async () =>
    (await call('GetCampaignActivities', { ApplicationId, CampaignId })).ActivitiesResponse.Item;
  const counted = async () => {
    const [activity] = await activities();
    return (
      activity.SuccessfulEndpointCount === activity.TotalEndpointCount && activity.TotalEndpointCount > 0
    );
  };
  await waitFor('its counters', counted);
  later('activities', await activities(), activities);
  laterCampaign(ApplicationId, await current());
  const { MessageResponse } = await call('SendMessages', {
    ApplicationId,
    MessageRequest: {
      Addresses: { 'you@example.com': { ChannelType: 'EMAIL' } },
      MessageConfiguration: {
        EmailMessage: { SimpleEmail: { Subject: { Data: 's' }, TextPart: { Data: 't' } } },
      },
    },
  });
  const [{ SuccessfulEndpointCount }] = await activities();
  await writeKpis(ApplicationId, CampaignId, SuccessfulEndpointCount);
  const id = MessageResponse.Result['you@example.com'].MessageId;
  const logged = () => product.json<{ status: string }>(`/api/apps/${ApplicationId}/messages/${id}`);
  await waitFor('the message to be delivered', async () => (await logged()).status === 'delivered');
  later('a direct message', await logged(), logged);
}

let app = '';
let segmentId = '';
let campaignId = '';
let arn = '';

test('what was created is there after kill -9 of everything, read through other operations', async () => {
  app = await createdApp('first');
  await writeSettings(app, 1);
  await writeEndpoint(app, 'e/1', endpoint());
  const Item = ['b1', 'b2'].map((Id) => ({ ...endpoint({ Address: `${Id}@example.com` }), Id }));
  await call('UpdateEndpointsBatch', { ApplicationId: app, EndpointBatchRequest: { Item } });
  for (const { Id } of Item)
    laterEndpoint(app, (await call('GetEndpoint', { ApplicationId: app, EndpointId: Id })).EndpointResponse);
  const { SegmentResponse } = await call('CreateSegment', {
    ApplicationId: app,
    WriteSegmentRequest: { Name: 'pro', Dimensions: dimensions('pro'), tags: { kind: 'plan' } },
  });
  segmentId = SegmentResponse.Id;
  laterSegment(app, SegmentResponse);
  for (const kind of kinds) {
    await call(kind.create, { TemplateName: 'welcome', ...kind.request('first') });
    await laterTemplate(kind, 'welcome');
  }
  const { CampaignResponse } = await call('CreateCampaign', {
    ApplicationId: app,
    WriteCampaignRequest: campaignRequest(segmentId, '2040-01-01T00:00:00Z'),
  });
  campaignId = CampaignResponse.Id;
  laterCampaign(app, CampaignResponse);
  await writeJobs(app, segmentId);
  await writeSends(app, segmentId);
  await writeInApp(app);
  await writeEvents(app);
  await writeStream(app, 'first');
  arn = `arn:aws:mobiletargeting:us-east-1:000000000000:apps/${app}`;
  await call('TagResource', { ResourceArn: arn, TagsModel: { tags: { owner: 'ada', team: 'second' } } });
  const tags = { owner: 'ada', team: 'second' };
  later('tags', tags, async () => (await call('ListTagsForResource', { ResourceArn: arn })).TagsModel.tags);
  // The application shows its tags as well.
  for (const check of checks)
    if (check.what.startsWith('CreateApp')) check.expected = { ...(check.expected as object), tags };
  await killAndCheck();
}, 120_000);

test('what was changed and deleted is so after kill -9 of everything', async () => {
  await writeSettings(app, 2);
  await writeEndpoint(app, 'e/1', endpoint({ Address: 'ada@example.org', Metrics: { age: 37 } }));
  const updated = await call('UpdateSegment', {
    ApplicationId: app,
    SegmentId: segmentId,
    WriteSegmentRequest: { Name: 'team', Dimensions: dimensions('team') },
  });
  laterSegment(app, updated.SegmentResponse);
  const { CampaignResponse } = await call('UpdateCampaign', {
    ApplicationId: app,
    CampaignId: campaignId,
    WriteCampaignRequest: { Name: 'renamed', Limits: { Daily: 3 } },
  });
  laterCampaign(app, CampaignResponse);
  for (const kind of kinds) {
    const { TemplateType } = kind;
    await call(kind.update, { TemplateName: 'welcome', CreateNewVersion: true, ...kind.request('second') });
    await call(kind.update, { TemplateName: 'welcome', CreateNewVersion: true, ...kind.request('third') });
    await laterTemplate(kind, 'welcome', '3');
    await call('UpdateTemplateActiveVersion', {
      TemplateName: 'welcome',
      TemplateType,
      TemplateActiveVersionRequest: { Version: '2' },
    });
    // The list shows the active version only.
    forget('template in the list');
    await laterTemplate(kind, 'welcome');
  }
  await writeStream(app, 'second');
  await call('UntagResource', { ResourceArn: arn, TagKeys: ['owner'] });
  later(
    'tags',
    { team: 'second' },
    async () => (await call('ListTagsForResource', { ResourceArn: arn })).TagsModel.tags,
  );
  await deletions();
  await killAndCheck();
}, 120_000);

/** Deletes one thing of each kind, and an attribute of all endpoints, in an application of their own. */
async function deletions(): Promise<void> {
  const ApplicationId = await createdApp('second');
  await call('UpdateEmailChannel', {
    ApplicationId,
    EmailChannelRequest: { FromAddress: 'x@example.com', Identity: 'x' },
  });
  await call('UpdateSmsChannel', { ApplicationId, SMSChannelRequest: {} });
  for (const [EndpointId, UserId] of [
    ['kept', 'kim'],
    ['deleted', 'kim'],
    ['of-deleted-user', 'gone'],
  ] as const)
    await call('UpdateEndpoint', {
      ApplicationId,
      EndpointId,
      EndpointRequest: endpoint({ Address: `${EndpointId}@example.com`, User: { UserId } }),
    });
  const { SegmentResponse } = await call('CreateSegment', {
    ApplicationId,
    WriteSegmentRequest: { Name: 'x', Dimensions: dimensions('x') },
  });
  const SegmentId = SegmentResponse.Id;
  const { CampaignResponse } = await call('CreateCampaign', {
    ApplicationId,
    WriteCampaignRequest: campaignRequest(SegmentId, '2040-01-01T00:00:00Z'),
  });
  const CampaignId = CampaignResponse.Id;
  await call('DeleteCampaign', { ApplicationId, CampaignId });
  goneLater('DeleteCampaign', () => call('GetCampaign', { ApplicationId, CampaignId }));
  await call('DeleteSegment', { ApplicationId, SegmentId });
  goneLater('DeleteSegment', () => call('GetSegment', { ApplicationId, SegmentId }));
  await call('DeleteEmailChannel', { ApplicationId });
  goneLater('DeleteEmailChannel', () => call('GetEmailChannel', { ApplicationId }));
  await call('DeleteSmsChannel', { ApplicationId });
  goneLater('DeleteSmsChannel', () => call('GetSmsChannel', { ApplicationId }));
  await writeStream(ApplicationId, 'deleted');
  forget('PutEventStream of deleted');
  await call('DeleteEventStream', { ApplicationId });
  goneLater('DeleteEventStream', () => call('GetEventStream', { ApplicationId }));
  await call('DeleteEndpoint', { ApplicationId, EndpointId: 'deleted' });
  goneLater('DeleteEndpoint', () => call('GetEndpoint', { ApplicationId, EndpointId: 'deleted' }));
  await call('DeleteUserEndpoints', { ApplicationId, UserId: 'gone' });
  goneLater('DeleteUserEndpoints', () => call('GetUserEndpoints', { ApplicationId, UserId: 'gone' }));
  await call('RemoveAttributes', {
    ApplicationId,
    AttributeType: 'endpoint-custom-attributes',
    UpdateAttributesRequest: { Blacklist: ['plan'] },
  });
  const { EndpointResponse } = await call('GetEndpoint', { ApplicationId, EndpointId: 'kept' });
  expect(EndpointResponse.Attributes).not.toHaveProperty('plan');
  laterEndpoint(ApplicationId, EndpointResponse);
  for (const kind of kinds) {
    await call(kind.create, { TemplateName: 'short-lived', ...kind.request('x') });
    await call(deleteOf[kind.TemplateType], { TemplateName: 'short-lived' });
    goneLater(`template ${kind.TemplateType}`, () => call(kind.get, { TemplateName: 'short-lived' }));
  }
  const third = await call('CreateApp', { CreateApplicationRequest: { Name: 'third' } });
  const gone = third.ApplicationResponse.Id;
  await call('DeleteApp', { ApplicationId: gone });
  goneLater('DeleteApp', () => call('GetApp', { ApplicationId: gone }));
}

test('no operation was left out', () => {
  // A new operation is written or read above.
  expect(Object.keys(operations).filter((name) => !called.has(name))).toEqual([]);
});
