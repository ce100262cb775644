import type {
  EmailTemplateRequest,
  EmailTemplateResponse,
  InAppTemplateRequest,
  InAppTemplateResponse,
  SMSTemplateRequest,
  SMSTemplateResponse,
} from '@aws-sdk/client-pinpoint';
import { addTags, deleteTags, getTags } from '../../accounts/index.ts';
import {
  checkInAppContent,
  checkTemplateContent,
  createTemplate,
  deleteTemplate,
  getTemplate,
  listTemplates,
  listTemplateVersions,
  readVersion,
  setActiveVersion,
  type Template,
  type TemplateContent,
  type TemplateType,
  templateTypes,
  updateTemplate,
} from '../../content/index.ts';
import { isoTime } from '../../platform/clock.ts';
import { badMember } from '../../platform/errors.ts';
import { arn, decodeToken, page, pageLimit } from '../aws/index.ts';
import type { OperationContext, OperationHandlers } from '../aws/operation.ts';
import { checkLength } from './check.ts';

const maxDescriptionLength = 10_000;

export const templates = {
  CreateEmailTemplate: async ({ TemplateName, EmailTemplateRequest: request }, ctx) => {
    return { CreateTemplateMessageBody: await create(ctx, 'EMAIL', TemplateName, request) };
  },

  GetEmailTemplate: async ({ TemplateName, Version }, ctx) => {
    const response: EmailTemplateResponse = await read(ctx, 'EMAIL', TemplateName, Version);
    return { EmailTemplateResponse: response };
  },

  UpdateEmailTemplate: async (input, ctx) => ({
    MessageBody: await change(ctx, 'EMAIL', input, input.EmailTemplateRequest),
  }),

  DeleteEmailTemplate: async (input, ctx) => ({ MessageBody: await remove(ctx, 'EMAIL', input) }),

  CreateSmsTemplate: async ({ TemplateName, SMSTemplateRequest: request }, ctx) => {
    return { CreateTemplateMessageBody: await create(ctx, 'SMS', TemplateName, request) };
  },

  GetSmsTemplate: async ({ TemplateName, Version }, ctx) => {
    const response: SMSTemplateResponse = await read(ctx, 'SMS', TemplateName, Version);
    return { SMSTemplateResponse: response };
  },

  UpdateSmsTemplate: async (input, ctx) => ({
    MessageBody: await change(ctx, 'SMS', input, input.SMSTemplateRequest),
  }),

  DeleteSmsTemplate: async (input, ctx) => ({ MessageBody: await remove(ctx, 'SMS', input) }),

  CreateInAppTemplate: async ({ TemplateName, InAppTemplateRequest: request }, ctx) => {
    return { TemplateCreateMessageBody: await create(ctx, 'INAPP', TemplateName, request) };
  },

  GetInAppTemplate: async ({ TemplateName, Version }, ctx) => ({
    InAppTemplateResponse: (await read(ctx, 'INAPP', TemplateName, Version)) as InAppTemplateResponse,
  }),

  UpdateInAppTemplate: async (input, ctx) => ({
    MessageBody: await change(ctx, 'INAPP', input, input.InAppTemplateRequest),
  }),

  DeleteInAppTemplate: async (input, ctx) => ({ MessageBody: await remove(ctx, 'INAPP', input) }),

  ListTemplates: async ({ NextToken, PageSize, Prefix, TemplateType }, ctx) => {
    const limit = pageLimit(PageSize);
    const [name, type] = NextToken ? decodeToken(NextToken, ['', '']) : ['', ''];
    const rows = await listTemplates(ctx.database, {
      type: TemplateType === undefined ? undefined : readType('template-type', TemplateType),
      prefix: Prefix,
      after: { name, type },
      limit: limit + 1,
    });
    const { items, nextToken } = page(rows, limit, (last) => [last.name, last.type]);
    const Item = items.map((item) => ({
      TemplateName: item.name,
      TemplateType: item.type,
      Version: String(item.version),
      CreationDate: isoTime(item.createdAt),
      LastModifiedDate: isoTime(item.modifiedAt),
    }));
    return { TemplatesResponse: { Item, NextToken: nextToken } };
  },

  ListTemplateVersions: async ({ NextToken, PageSize, TemplateName, TemplateType }, ctx) => {
    const type = readType('template-type', TemplateType);
    const limit = pageLimit(PageSize);
    const rows = await listTemplateVersions(ctx.database, type, TemplateName, {
      before: NextToken ? decodeToken(NextToken, [0])[0] : undefined,
      limit: limit + 1,
    });
    const { items, nextToken } = page(rows, limit, (last) => [last.version]);
    const Item = items.map((item) => ({
      TemplateName,
      TemplateType: type,
      Version: String(item.version),
      TemplateDescription: item.content.TemplateDescription,
      DefaultSubstitutions: item.content.DefaultSubstitutions,
      CreationDate: isoTime(item.createdAt),
      LastModifiedDate: isoTime(item.modifiedAt),
    }));
    return {
      TemplateVersionsResponse: { Item, NextToken: nextToken, RequestID: ctx.requestId, Message: 'Success' },
    };
  },

  UpdateTemplateActiveVersion: async ({ TemplateName, TemplateType, TemplateActiveVersionRequest }, ctx) => {
    const type = readType('template-type', TemplateType);
    const { Version } = TemplateActiveVersionRequest;
    const version = Version === 'latest' ? Version : readVersion('$.Version', Version);
    if (version === undefined) throw badMember('$.Version', 'expected latest or the number of a version');
    await ctx.database.transaction((tx) => setActiveVersion(tx, type, TemplateName, version));
    return { MessageBody: { Message: 'Success', RequestID: ctx.requestId } };
  },
} satisfies OperationHandlers;

type Request = EmailTemplateRequest & SMSTemplateRequest & InAppTemplateRequest;
/** The kinds that are built. */
type Kind = 'EMAIL' | 'SMS' | 'INAPP';

async function checkContent(ctx: OperationContext, type: Kind, content: TemplateContent): Promise<void> {
  const { renderer } = ctx.services;
  if (type !== 'INAPP') return checkTemplateContent(renderer, type, content);
  checkLength('$.TemplateDescription', content.TemplateDescription, 0, maxDescriptionLength);
  return checkInAppContent(renderer, content, '$');
}

/** In paths the kind stands in lower case (`/templates/x/email/versions`), in queries in upper case; both are taken. */
function readType(path: string, text: string): TemplateType {
  const type = templateTypes.find((known) => known === text.toUpperCase());
  if (!type) throw badMember(path, `expected one of ${templateTypes.join(', ')}`);
  return type;
}

function templateArn(ctx: OperationContext, type: TemplateType, name: string): string {
  return arn(ctx, `templates/${name}/${type}`);
}

function withoutTags({ tags: _tags, ...content }: Request): TemplateContent {
  return content;
}

async function create(ctx: OperationContext, type: Kind, name: string, request: Request) {
  const content = withoutTags(request);
  await checkContent(ctx, type, content);
  const Arn = templateArn(ctx, type, name);
  await ctx.database.transaction(async (tx) => {
    await createTemplate(tx, type, name, content);
    await addTags(tx, Arn, null, request.tags ?? {});
  });
  return { Arn, Message: 'Success', RequestID: ctx.requestId };
}

interface ChangeInput {
  TemplateName: string;
  Version?: string | undefined;
  CreateNewVersion?: boolean | undefined;
}

/** Tags in an update are ignored, as Pinpoint does since 2023: they belong to the template, not to a version. */
async function change(
  ctx: OperationContext,
  type: Kind,
  { TemplateName, Version, CreateNewVersion }: ChangeInput,
  request: Request,
) {
  const content = withoutTags(request);
  const version = readVersion('version', Version);
  await checkContent(ctx, type, content);
  const written = await ctx.database.transaction((tx) =>
    updateTemplate(tx, type, TemplateName, content, { version, createNewVersion: CreateNewVersion }),
  );
  return { Message: `Version ${written} of the template is saved`, RequestID: ctx.requestId };
}

async function remove(
  ctx: OperationContext,
  type: TemplateType,
  { TemplateName, Version }: { TemplateName: string; Version?: string | undefined },
) {
  const version = readVersion('version', Version);
  await ctx.database.transaction(async (tx) => {
    const gone = await deleteTemplate(tx, type, TemplateName, version);
    if (gone) await deleteTags(tx, templateArn(ctx, type, TemplateName));
  });
  return { Message: 'Success', RequestID: ctx.requestId };
}

async function read(
  ctx: OperationContext,
  type: TemplateType,
  name: string,
  version: string | undefined,
): Promise<EmailTemplateResponse & SMSTemplateResponse> {
  const template = await getTemplate(ctx.database, type, name, readVersion('version', version));
  const Arn = templateArn(ctx, type, name);
  const tags = await getTags(ctx.database, Arn);
  return toResponse(template, Arn, tags);
}

function toResponse(template: Template, Arn: string, tags: Record<string, string>) {
  return {
    ...template.content,
    Arn,
    TemplateName: template.name,
    TemplateType: template.type,
    Version: String(template.version),
    CreationDate: isoTime(template.createdAt),
    LastModifiedDate: isoTime(template.modifiedAt),
    tags: Object.keys(tags).length > 0 ? tags : undefined,
  };
}
