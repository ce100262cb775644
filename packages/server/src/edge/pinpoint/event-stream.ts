import type { EventStream } from '@aws-sdk/client-pinpoint';
import { getApplication } from '../../accounts/index.ts';
import { isoTime } from '../../platform/clock.ts';
import { CallerError } from '../../platform/errors.ts';
import { eventStreamName, type Stream } from '../../streams/index.ts';
import type { OperationContext, OperationHandlers } from '../aws/index.ts';
import { checkLength } from './check.ts';

/**
 * The one event stream that Pinpoint knows of an application (reference 8.4): the stream `default` of the own API, which
 * can have others beside it. DestinationStreamArn takes, beside the ARNs of Kinesis and Firehose, what
 * streams/destination.ts reads. RoleArn is kept and answered; nobody assumes it.
 */
export const eventStreams = {
  async PutEventStream({ ApplicationId, WriteEventStream: request }, ctx) {
    checkLength('$.RoleArn', request.RoleArn, 0, 2048);
    const stream = await ctx.services.streams.put(
      ApplicationId,
      eventStreamName,
      { destination: request.DestinationStreamArn, roleArn: request.RoleArn },
      {
        principal: ctx.principal,
        action: 'mobiletargeting:PutEventStream',
        path: '$.DestinationStreamArn',
      },
    );
    return { EventStream: toResponse(stream) };
  },

  async GetEventStream({ ApplicationId }, ctx) {
    await getApplication(ctx.database, ApplicationId);
    return {
      EventStream: toResponse(
        await orNone(ctx.services.streams.get(ApplicationId, eventStreamName), ApplicationId),
      ),
    };
  },

  async DeleteEventStream({ ApplicationId }, ctx) {
    await getApplication(ctx.database, ApplicationId);
    return { EventStream: toResponse(await orNone(removed(ApplicationId, ctx), ApplicationId)) };
  },
} satisfies OperationHandlers;

function removed(applicationId: string, ctx: OperationContext): Promise<Stream> {
  return ctx.services.streams.remove(applicationId, eventStreamName, {
    principal: ctx.principal,
    action: 'mobiletargeting:DeleteEventStream',
  });
}

async function orNone(stream: Promise<Stream>, applicationId: string): Promise<Stream> {
  return await stream.catch((error: unknown) => {
    if (error instanceof CallerError && error.code === 'not_found')
      throw new CallerError('not_found', `Application ${applicationId} has no event stream`);
    throw error;
  });
}

function toResponse(stream: Stream): EventStream {
  return {
    ApplicationId: stream.applicationId,
    DestinationStreamArn: stream.destination,
    ExternalId: stream.id,
    LastModifiedDate: isoTime(stream.modifiedAt),
    LastUpdatedBy: stream.modifiedBy ?? undefined,
    RoleArn: stream.roleArn ?? '',
  };
}
