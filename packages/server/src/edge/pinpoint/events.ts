import type { EventItemResponse, ItemResponse } from '@aws-sdk/client-pinpoint';
import type { IngestAnswer } from '../../audience/index.ts';
import { badMember } from '../../platform/errors.ts';
import type { OperationHandlers } from '../aws/index.ts';
import { guardItems } from '../publishable/call.ts';
import { readEventsRequest } from './events-request.ts';

/** Events of apps: reference section 8. */
export const events = {
  async PutEvents({ ApplicationId, EventsRequest }, ctx) {
    const { ingest } = ctx.services;
    const request = readEventsRequest(EventsRequest);
    const { requestEvents } = ingest.eventLimits;
    if (request.eventCount > requestEvents) {
      throw badMember('$.BatchItem', `expected at most ${requestEvents} events, got ${request.eventCount}`);
    }
    if (request.items.length > requestEvents) {
      throw badMember(
        '$.BatchItem',
        `expected at most ${requestEvents} endpoints, got ${request.items.length}`,
      );
    }
    const grant = ctx.publishable && (await guardItems(ctx.publishable, request.items));
    const results = await ingest.put(ApplicationId, request.items);
    if (grant && results[0]!.endpoint.status !== 403) await ctx.publishable!.answer(grant);
    const Results: Record<string, ItemResponse> = Object.create(null);
    for (const [place, { endpoint, events }] of results.entries()) {
      const { endpointId } = request.items[place]!;
      const EventsItemResponse: Record<string, EventItemResponse> = Object.create(null);
      for (const [id, answer] of request.answersOf(place, events)) EventsItemResponse[id] = shown(answer);
      const endpointAnswer = request.endpointRefusal(place) ?? endpoint;
      Results[endpointId] = { EndpointItemResponse: shown(endpointAnswer), EventsItemResponse };
    }
    return { EventsResponse: { Results } };
  },
} satisfies OperationHandlers;

function shown({ status, message }: IngestAnswer): EventItemResponse {
  return { StatusCode: status, Message: message };
}
