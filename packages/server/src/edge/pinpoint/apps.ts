import type { ApplicationResponse } from '@aws-sdk/client-pinpoint';
import {
  type Application,
  addTags,
  createApplication,
  deleteApplication,
  eraseDeletedApplications,
  getApplication,
  getTags,
  getTagsOf,
  listApplications,
  recordAudit,
  type Tags,
  visibleApplications,
} from '../../accounts/index.ts';
import { isoTime } from '../../platform/clock.ts';
import { arn, decodeToken, page, pageLimit } from '../aws/index.ts';
import type { OperationContext, OperationHandlers } from '../aws/operation.ts';
import { checkLength } from './check.ts';

/** How long DeleteApp waits for the erasure of what other rooms hold; what takes longer goes on after the answer. */
const erasureWaitMs = 2_000;

export const apps = {
  CreateApp: async ({ CreateApplicationRequest: request }, ctx) => {
    checkLength('$.Name', request.Name, 1, 256);
    const application = await ctx.database.transaction(async (tx) => {
      const created = await createApplication(tx, request.Name);
      await addTags(tx, applicationArn(ctx, created.id), created.id, request.tags ?? {});
      await recordAudit(tx, {
        principal: ctx.principal,
        action: 'mobiletargeting:CreateApp',
        applicationId: created.id,
        detail: { name: created.name },
      });
      return created;
    });
    return { ApplicationResponse: toResponse(ctx, application, request.tags) };
  },

  GetApp: async ({ ApplicationId }, ctx) => {
    const application = await getApplication(ctx.database, ApplicationId);
    const tags = await getTags(ctx.database, applicationArn(ctx, ApplicationId));
    return { ApplicationResponse: toResponse(ctx, application, tags) };
  },

  /** A principal that is bound to applications sees only those. */
  GetApps: async ({ PageSize, Token }, ctx) => {
    const limit = pageLimit(PageSize);
    const after = Token ? decodeToken(Token, [''])[0] : '';
    const ids = visibleApplications(ctx.principal);
    const found = await listApplications(ctx.database, { ids, after, limit: limit + 1 });
    const { items, nextToken } = page(found, limit, ({ id }) => [id]);
    const tags = await getTagsOf(
      ctx.database,
      items.map(({ id }) => applicationArn(ctx, id)),
    );
    const Item = items.map((application) =>
      toResponse(ctx, application, tags.get(applicationArn(ctx, application.id))),
    );
    return { ApplicationsResponse: { Item, NextToken: nextToken } };
  },

  DeleteApp: async ({ ApplicationId }, ctx) => {
    const { application, tags } = await ctx.database.transaction(async (tx) => {
      const tags = await getTags(tx, applicationArn(ctx, ApplicationId));
      const application = await deleteApplication(tx, ApplicationId);
      await recordAudit(tx, {
        principal: ctx.principal,
        action: 'mobiletargeting:DeleteApp',
        applicationId: ApplicationId,
        detail: { name: application.name },
      });
      return { application, tags };
    });
    await eraseSoon(ctx);
    return { ApplicationResponse: toResponse(ctx, application, tags) };
  },
} satisfies OperationHandlers;

/** Erasure is marked in the database, so one that fails or is cut off here is finished by the regular job. */
async function eraseSoon(ctx: OperationContext): Promise<void> {
  const { database } = ctx;
  const log = ctx.log();
  const erasure = eraseDeletedApplications({ database, erasers: ctx.services.erasers, log }).catch(
    (error: unknown) => log.error({ err: error }, 'erasing deleted applications failed; tried again later'),
  );
  let timer: NodeJS.Timeout | undefined;
  const wait = new Promise((resolve) => {
    timer = setTimeout(resolve, erasureWaitMs);
  });
  await Promise.race([erasure, wait]);
  clearTimeout(timer);
}

function applicationArn(ctx: OperationContext, id: string): string {
  return arn(ctx, `apps/${id}`);
}

function toResponse(
  ctx: OperationContext,
  application: Application,
  tags: Tags | undefined,
): ApplicationResponse {
  return {
    Arn: applicationArn(ctx, application.id),
    Id: application.id,
    Name: application.name,
    CreationDate: isoTime(application.createdAt),
    tags: tags && Object.keys(tags).length > 0 ? tags : undefined,
  };
}
