import type { SegmentResponse } from '@aws-sdk/client-pinpoint';
import {
  addTags,
  deleteTags,
  getApplication,
  getTags,
  getTagsOf,
  recordAudit,
  type Tags,
} from '../../accounts/index.ts';
import {
  createSegment,
  deleteSegment,
  getSegment,
  getSegmentVersion,
  listSegments,
  listSegmentVersions,
  type Segment,
  updateSegment,
} from '../../audience/index.ts';
import { markSegmentDeleted } from '../../engagement/index.ts';
import { isoTime } from '../../platform/clock.ts';
import type { Transaction } from '../../platform/database.ts';
import { notFound } from '../../platform/errors.ts';
import {
  arn,
  decodeToken,
  type OperationContext,
  type OperationHandlers,
  page,
  pageLimit,
} from '../aws/index.ts';

/** Segments: reference section 3; what they mean is in docs/segments.md. */
export const segments = {
  async CreateSegment({ ApplicationId, WriteSegmentRequest: { tags = {}, ...request } }, ctx) {
    const segment = await ctx.database.transaction(async (tx) => {
      await getApplication(tx, ApplicationId);
      const created = await createSegment(tx, ApplicationId, request, ctx.clock.now(), ctx.services);
      await addTags(tx, segmentArn(ctx, ApplicationId, created.id), ApplicationId, tags);
      await audit(tx, ctx, 'CreateSegment', ApplicationId, created);
      return created;
    });
    return { SegmentResponse: toResponse(ctx, ApplicationId, segment, tags) };
  },

  /** As in Pinpoint, `tags` are not changed by an update; TagResource and UntagResource do that. */
  async UpdateSegment({ ApplicationId, SegmentId, WriteSegmentRequest: { tags: _, ...request } }, ctx) {
    const segment = await ctx.database.transaction(async (tx) => {
      const updated = await updateSegment(
        tx,
        ApplicationId,
        SegmentId,
        request,
        ctx.clock.now(),
        ctx.services,
      );
      await audit(tx, ctx, 'UpdateSegment', ApplicationId, updated);
      return updated;
    });
    return { SegmentResponse: await withTags(ctx, ApplicationId, segment) };
  },

  async GetSegment({ ApplicationId, SegmentId }, ctx) {
    const segment = await getSegment(ctx.database, ApplicationId, SegmentId);
    return { SegmentResponse: await withTags(ctx, ApplicationId, segment) };
  },

  async GetSegmentVersion({ ApplicationId, SegmentId, Version }, ctx) {
    if (!/^[1-9]\d{0,9}$/.test(Version)) throw notFound(`Version ${Version} of segment`, SegmentId);
    const segment = await getSegmentVersion(ctx.database, ApplicationId, SegmentId, Number(Version));
    return { SegmentResponse: await withTags(ctx, ApplicationId, segment) };
  },

  /** The newest first. */
  async GetSegments({ ApplicationId, PageSize, Token }, ctx) {
    await getApplication(ctx.database, ApplicationId);
    const limit = pageLimit(PageSize);
    const position = Token === undefined ? undefined : decodeToken(Token, [0, '']);
    const found = await listSegments(ctx.database, ApplicationId, {
      after: position && { createdAt: new Date(position[0]), id: position[1] },
      limit: limit + 1,
    });
    const { items, nextToken } = page(found, limit, ({ createdAt, id }) => [createdAt.getTime(), id]);
    const arns = items.map(({ id }) => segmentArn(ctx, ApplicationId, id));
    const tags = await getTagsOf(ctx.database, arns);
    const Item = items.map((segment, index) =>
      toResponse(ctx, ApplicationId, segment, tags.get(arns[index]!)),
    );
    return { SegmentsResponse: { Item, NextToken: nextToken } };
  },

  /** The newest first. */
  async GetSegmentVersions({ ApplicationId, SegmentId, PageSize, Token }, ctx) {
    const limit = pageLimit(PageSize);
    const below = Token === undefined ? undefined : decodeToken(Token, [0])[0];
    const found = await listSegmentVersions(ctx.database, ApplicationId, SegmentId, {
      below,
      limit: limit + 1,
    });
    const { items, nextToken } = page(found, limit, ({ version }) => [version]);
    const tags = await getTags(ctx.database, segmentArn(ctx, ApplicationId, SegmentId));
    const Item = items.map((segment) => toResponse(ctx, ApplicationId, segment, tags));
    return { SegmentsResponse: { Item, NextToken: nextToken } };
  },

  /** Campaigns that send to it end as DELETED. Its members are removed by the regular job. */
  async DeleteSegment({ ApplicationId, SegmentId }, ctx) {
    return ctx.database.transaction(async (tx) => {
      const segment = await deleteSegment(tx, ApplicationId, SegmentId, ctx.clock.now());
      await markSegmentDeleted(tx, ApplicationId, SegmentId);
      const tags = await getTags(tx, segmentArn(ctx, ApplicationId, SegmentId));
      await deleteTags(tx, segmentArn(ctx, ApplicationId, SegmentId));
      await audit(tx, ctx, 'DeleteSegment', ApplicationId, segment);
      return { SegmentResponse: toResponse(ctx, ApplicationId, segment, tags) };
    });
  },
} satisfies OperationHandlers;

async function audit(
  tx: Transaction,
  ctx: OperationContext,
  operation: string,
  applicationId: string,
  segment: Segment,
): Promise<void> {
  await recordAudit(tx, {
    principal: ctx.principal,
    action: `mobiletargeting:${operation}`,
    applicationId,
    detail: { segmentId: segment.id, version: segment.version },
  });
}

function segmentArn(ctx: OperationContext, applicationId: string, id: string): string {
  return arn(ctx, `apps/${applicationId}/segments/${id}`);
}

async function withTags(
  ctx: OperationContext,
  applicationId: string,
  segment: Segment,
): Promise<SegmentResponse> {
  const tags = await getTags(ctx.database, segmentArn(ctx, applicationId, segment.id));
  return toResponse(ctx, applicationId, segment, tags);
}

function toResponse(
  ctx: OperationContext,
  applicationId: string,
  segment: Segment,
  tags: Tags | undefined,
): SegmentResponse {
  return {
    ApplicationId: applicationId,
    Arn: segmentArn(ctx, applicationId, segment.id),
    CreationDate: isoTime(segment.createdAt),
    ...segment.definition,
    Id: segment.id,
    ...(segment.importDefinition && { ImportDefinition: segment.importDefinition }),
    LastModifiedDate: isoTime(segment.modifiedAt),
    ...(segment.name !== null && { Name: segment.name }),
    SegmentType: segment.type,
    tags: tags && Object.keys(tags).length > 0 ? tags : undefined,
    Version: segment.version,
  };
}
