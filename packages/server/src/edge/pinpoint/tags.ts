import { addTags, applicationExists, deleteTagKeys, getTags } from '../../accounts/index.ts';
import { CallerError } from '../../platform/errors.ts';
import { type ArnResource, parseArn } from '../aws/index.ts';
import type { OperationContext, OperationHandlers } from '../aws/operation.ts';

export const tags = {
  ListTagsForResource: async ({ ResourceArn }, ctx) => {
    await requireResource(ctx, ResourceArn);
    return { TagsModel: { tags: await getTags(ctx.database, ResourceArn) } };
  },

  TagResource: async ({ ResourceArn, TagsModel }, ctx) => {
    const resource = await requireResource(ctx, ResourceArn);
    await ctx.database.transaction((tx) =>
      addTags(tx, ResourceArn, resource.applicationId ?? null, TagsModel.tags),
    );
    return {};
  },

  UntagResource: async ({ ResourceArn, TagKeys }, ctx) => {
    await requireResource(ctx, ResourceArn);
    await deleteTagKeys(ctx.database, ResourceArn, TagKeys);
    return {};
  },
} satisfies OperationHandlers;

/** @throws CallerError not_found unless the ARN names something of this server that exists and can be tagged. */
async function requireResource(ctx: OperationContext, resourceArn: string): Promise<ArnResource> {
  const resource = parseArn(ctx, resourceArn);
  if (!resource || !(await exists(ctx, resource))) {
    throw new CallerError('not_found', `Resource ${resourceArn} not found`);
  }
  return resource;
}

async function exists({ database, services }: OperationContext, resource: ArnResource): Promise<boolean> {
  if (resource.kind === 'apps') return applicationExists(database, resource.id);
  return (await services.taggable[resource.kind]?.(database, resource)) ?? false;
}
