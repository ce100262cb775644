import { expect } from 'vitest';
import { waitFor } from '../support/processes.ts';
import { endpoint, laterEndpoint } from './endpoints.ts';
import { call, later, product } from './harness.ts';

/** An in-app campaign, and what an endpoint is shown. */
export async function writeInApp(ApplicationId: string): Promise<void> {
  const everybody = await call('CreateSegment', {
    ApplicationId,
    WriteSegmentRequest: { Name: 'everybody', Dimensions: {} },
  });
  const EventFilter = {
    FilterType: 'SYSTEM',
    Dimensions: { EventType: { DimensionType: 'INCLUSIVE', Values: ['_session.start'] } },
  };
  await call('CreateCampaign', {
    ApplicationId,
    WriteCampaignRequest: {
      Name: 'shown',
      SegmentId: everybody.SegmentResponse.Id,
      Schedule: {
        Frequency: 'IN_APP_EVENT',
        StartTime: 'IMMEDIATE',
        EndTime: '2040-01-01T00:00:00Z',
        EventFilter,
      },
      MessageConfiguration: { InAppMessage: { CustomConfig: { colour: 'red' } } },
    },
  });
  const read = async () =>
    (await call('GetInAppMessages', { ApplicationId, EndpointId: 'e/1' })).InAppMessagesResponse
      .InAppMessageCampaigns;
  const shown = await read();
  expect(shown).toHaveLength(1);
  later('in-app messages', shown, read);
}

/** What came of the one campaign that has run, `sent` messages, as KPIs. */
export async function writeKpis(ApplicationId: string, CampaignId: string, sent: number): Promise<void> {
  const range = { StartTime: new Date(Date.now() - 86_400_000), EndTime: new Date(Date.now() + 3_600_000) };
  const KpiName = 'unique-deliveries';
  const ofCampaign = async () =>
    (await call('GetCampaignDateRangeKpi', { ApplicationId, CampaignId, KpiName, ...range }))
      .CampaignDateRangeKpiResponse.KpiResult.Rows;
  const ofApplication = async () =>
    (await call('GetApplicationDateRangeKpi', { ApplicationId, KpiName, ...range }))
      .ApplicationDateRangeKpiResponse.KpiResult.Rows;
  const delivered = (rows: { Values: { Value: string }[] }[]) => Number(rows[0]?.Values[0]?.Value ?? 0);
  await waitFor('the KPI of the campaign', async () => delivered(await ofCampaign()) === sent);
  await waitFor('the KPI of the application', async () => delivered(await ofApplication()) === sent);
  later('KPIs', await ofCampaign(), ofCampaign, ofApplication);
}

/** An event with its endpoint, in the figures as well; putting it again after the kill changes nothing. */
export async function writeEvents(ApplicationId: string): Promise<void> {
  const put = async () =>
    (
      await call('PutEvents', {
        ApplicationId,
        EventsRequest: {
          BatchItem: {
            'of/event': {
              Endpoint: endpoint({ Address: 'event@example.com', User: { UserId: 'eve' } }),
              Events: {
                first: {
                  EventType: 'purchase',
                  Timestamp: new Date().toISOString(),
                  Attributes: { product: 'shoes' },
                },
              },
            },
          },
        },
      })
    ).EventsResponse.Results;
  later('PutEvents', await put(), put);
  const { EndpointResponse } = await call('GetEndpoint', { ApplicationId, EndpointId: 'of/event' });
  laterEndpoint(ApplicationId, EndpointResponse);
  const counted = async () => {
    const path = `/api/apps/${ApplicationId}/analytics/event-counts`;
    const { items } = await product.json<{ items: { type: string; events: number }[] }>(path);
    return items.map(({ type, events }) => ({ type, events }));
  };
  await waitFor('the figures', async () => (await counted()).length === 1);
  later('figures', [{ type: 'purchase', events: 1 }], counted);
}

/** The event stream; every writing is read again. */
export async function writeStream(ApplicationId: string, prefix: string): Promise<void> {
  const { EventStream } = await call('PutEventStream', {
    ApplicationId,
    WriteEventStream: { DestinationStreamArn: `s3://streams/${prefix}`, RoleArn: 'arn:aws:iam::1:role/x' },
  });
  later(
    `PutEventStream of ${prefix}`,
    EventStream,
    async () => (await call('GetEventStream', { ApplicationId })).EventStream,
  );
}
