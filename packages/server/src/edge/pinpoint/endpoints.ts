import { applicationExists, holdApplication } from '../../accounts/index.ts';
import {
  type AttributeType,
  deleteEndpoint,
  deleteUserEndpoints,
  type EndpointGuard,
  type EndpointItem,
  getEndpoint,
  getUserEndpoints,
  removeAttributes,
  toEndpointResponse,
  type UpsertOptions,
  upsertEndpoints,
} from '../../audience/index.ts';
import { repeatableTransaction } from '../../platform/database.ts';
import { badMember, notFound } from '../../platform/errors.ts';
import type { OperationContext, OperationHandlers } from '../aws/index.ts';
import { eventIdsProof } from '../publishable/call.ts';

/** Endpoints of one batch (reference 2.1). */
const maxBatch = 100;
const maxIdLength = 2_000;

/** Endpoints, users and attributes: reference section 2. What is answered was written before. */
export const endpoints = {
  async UpdateEndpoint({ ApplicationId, EndpointId, EndpointRequest }, ctx) {
    const proofs = eventIdsProof(EndpointRequest.RequestId ? [EndpointRequest.RequestId] : []);
    const grant = await ctx.publishable?.endpoint(EndpointId, { creationProofs: proofs });
    const item = { ...EndpointRequest, Id: EndpointId };
    await upsert(ctx, ApplicationId, [item], () => '$', grant?.guard);
    if (grant) await ctx.publishable?.answer(grant);
    return { MessageBody: { Message: 'Accepted', RequestID: ctx.requestId } };
  },

  async UpdateEndpointsBatch({ ApplicationId, EndpointBatchRequest: { Item } }, ctx) {
    if (Item.length > maxBatch) throw badMember('$.Item', `expected at most ${maxBatch} endpoints`);
    await upsert(ctx, ApplicationId, Item);
    return { MessageBody: { Message: 'Accepted', RequestID: ctx.requestId } };
  },

  async GetEndpoint({ ApplicationId, EndpointId }, ctx) {
    const endpoint = await getEndpoint(ctx.database, ApplicationId, EndpointId);
    if (!endpoint) throw notFound('Endpoint', EndpointId);
    return { EndpointResponse: toEndpointResponse(ApplicationId, endpoint) };
  },

  async DeleteEndpoint({ ApplicationId, EndpointId }, ctx) {
    const endpoint = await deleteEndpoint(ctx.database, ApplicationId, EndpointId);
    if (!endpoint) throw notFound('Endpoint', EndpointId);
    return { EndpointResponse: toEndpointResponse(ApplicationId, endpoint) };
  },

  async GetUserEndpoints({ ApplicationId, UserId }, ctx) {
    const found = await getUserEndpoints(ctx.database, ApplicationId, UserId);
    if (found.length === 0) throw notFound('User', UserId);
    return {
      EndpointsResponse: { Item: found.map((endpoint) => toEndpointResponse(ApplicationId, endpoint)) },
    };
  },

  async DeleteUserEndpoints({ ApplicationId, UserId }, ctx) {
    const deleted = await deleteUserEndpoints(ctx.database, ApplicationId, UserId);
    if (deleted.length === 0) throw notFound('User', UserId);
    return {
      EndpointsResponse: { Item: deleted.map((endpoint) => toEndpointResponse(ApplicationId, endpoint)) },
    };
  },

  async RemoveAttributes({ ApplicationId, AttributeType, UpdateAttributesRequest: { Blacklist = [] } }, ctx) {
    await requireApplication(ctx, ApplicationId);
    const Attributes = await removeAttributes(
      ctx.database,
      ApplicationId,
      AttributeType as AttributeType,
      Blacklist,
    );
    return { AttributesResource: { ApplicationId, AttributeType, Attributes } };
  },
} satisfies OperationHandlers;

async function upsert(
  ctx: OperationContext,
  applicationId: string,
  items: EndpointItem[],
  pathOf?: (index: number) => string,
  guard?: EndpointGuard,
): Promise<void> {
  for (const { Id } of items) {
    if (Id !== undefined && (Id.length === 0 || Id.length > maxIdLength)) {
      throw badMember('EndpointId', `expected 1 to ${maxIdLength} characters`);
    }
  }
  const { endpointsPerUser, endpointLimits: limits } = ctx.services;
  // No sign of life: that the endpoint's user did something, only its events say.
  const options: UpsertOptions = {
    now: ctx.clock.now(),
    endpointsPerUser,
    limits,
    ...(guard ? { guard } : {}),
  };
  await repeatableTransaction(ctx.database, async (tx) => {
    // A deletion of the application waits, or is seen: nothing is written that its erasure would miss.
    await holdApplication(tx, applicationId);
    await upsertEndpoints(tx, applicationId, items, options, pathOf);
  });
}

async function requireApplication(ctx: OperationContext, id: string): Promise<void> {
  if (!(await applicationExists(ctx.database, id))) throw notFound('Application', id);
}
