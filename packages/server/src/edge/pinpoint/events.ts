import type { IngestAnswer } from '../../audience/index.ts';
import { badMember } from '../../platform/errors.ts';
import { jsonText, type OperationHandlers } from '../aws/index.ts';
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
    let json = '{"Results":{';
    for (const [place, { endpoint, events }] of results.entries()) {
      const item = request.items[place]!;
      let answers = '';
      for (const [at, answer] of events.entries())
        answers += answerJson(answers, item.events[at]!.id, answer);
      for (const [id, answer] of request.unreadable(place) ?? []) answers += answerJson(answers, id, answer);
      const shown = shownJson(request.endpointRefusal(place) ?? endpoint);
      json += `${place === 0 ? '' : ','}${JSON.stringify(item.endpointId)}:{"EndpointItemResponse":${shown},"EventsItemResponse":{${answers}}}`;
    }
    return { EventsResponse: jsonText(`${json}}}`) };
  },
} satisfies OperationHandlers;

function answerJson(before: string, id: string, answer: IngestAnswer): string {
  return `${before === '' ? '' : ','}${JSON.stringify(id)}:${shownJson(answer)}`;
}

/** `EndpointItemResponse` and `EventItemResponse`, which have the same members. Nearly all are the same. */
function shownJson({ status, message }: IngestAnswer): string {
  return status === 202 && message === 'Accepted'
    ? '{"StatusCode":202,"Message":"Accepted"}'
    : JSON.stringify({ StatusCode: status, Message: message });
}
