import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import Ajv from 'ajv';
import fastify, { type FastifyInstance } from 'fastify';
import { badMember, CallerError } from '../../platform/errors.ts';
import { uuidv7 } from '../../platform/ids.ts';
import { analyticsRoutes } from './analytics.ts';
import { analyticsEventRoutes } from './analytics-events.ts';
import { createGate } from './authenticate.ts';
import { campaignRoutes } from './campaigns.ts';
import type { ApiContext } from './context.ts';
import { addDocument, createDocumentPages } from './docs.ts';
import { endpointRoutes } from './endpoints.ts';
import { eventImportRoutes } from './event-imports.ts';
import { exportRoutes } from './exports.ts';
import { addIdempotency } from './idempotency.ts';
import { importRoutes } from './imports.ts';
import { inAppRoutes } from './in-app.ts';
import { inboxRoutes } from './inbox.ts';
import { inboxPage } from './inbox-page.ts';
import { keyRoutes } from './keys.ts';
import { messageRoutes } from './messages.ts';
import { objectRoutes } from './objects.ts';
import { createProblemHandler, problemSchema, unstorableMember } from './problem.ts';
import { accountRoutes } from './provider-accounts.ts';
import { publishableKeyRoutes } from './publishable-keys.ts';
import { segmentRoutes, segmentWritingRoutes } from './segments.ts';
import { streamRoutes } from './streams.ts';
import { suppressionRoutes } from './suppressions.ts';
import { webhookSecretRoutes } from './webhook-secrets.ts';

/** JSON bodies; attachments travel in them as base64. */
const maxBodyBytes = 16 * 1024 * 1024;
const requestTimeoutMs = 60_000;

export interface Api {
  handle(request: IncomingMessage, response: ServerResponse): void;
  /** The OpenAPI 3.1 document. */
  document(): object;
  close(): Promise<void>;
}

/** Our own API under `/api`, its document and its rendered pages, and the inbox page. */
export async function createApi(context: ApiContext): Promise<Api> {
  const api = fastify({
    logger: false,
    bodyLimit: maxBodyBytes,
    requestTimeout: requestTimeoutMs,
    genReqId: () => uuidv7(),
    // Only what a signature or a proxy of ours vouched for may say who the client is.
    trustProxy: false,
    routerOptions: { maxParamLength: 2_000 },
  }) as unknown as FastifyInstance;
  api.setValidatorCompiler(createValidators());
  const sendProblem = createProblemHandler(context.log);
  api.setErrorHandler(sendProblem);
  api.setNotFoundHandler((request, reply) => {
    const path = `${request.method} ${request.url.split('?')[0]}`;
    sendProblem(
      new CallerError('not_found', `${path} is not there; /api/docs lists what is`),
      request,
      reply,
    );
  });
  api.addSchema(problemSchema);
  api.decorateRequest('principal');
  api.addHook('onRequest', createGate(context));
  api.addHook('preValidation', async (request) => {
    const body = request.body instanceof Readable ? undefined : request.body;
    const member =
      unstorableMember(body) ?? unstorableMember(request.query) ?? unstorableMember(request.params);
    if (member) throw badMember(member, 'expected text without U+0000 and without half surrogate pairs');
  });
  api.addHook('onSend', async (request, reply) => {
    reply.header('x-request-id', request.id).header('x-content-type-options', 'nosniff');
  });
  addIdempotency(api, context.database);
  await addDocument(api);
  const routes = [
    keyRoutes,
    publishableKeyRoutes,
    accountRoutes,
    endpointRoutes,
    segmentRoutes,
    segmentWritingRoutes,
    importRoutes,
    exportRoutes,
    eventImportRoutes,
    messageRoutes,
    campaignRoutes,
    analyticsRoutes,
    analyticsEventRoutes,
    objectRoutes,
    inAppRoutes,
    inboxRoutes,
    suppressionRoutes,
    streamRoutes,
    webhookSecretRoutes,
    inboxPage,
  ];
  for (const route of routes) await api.register(async (scope) => route(scope, context));
  await api.ready();
  const pages = createDocumentPages(
    () => api.swagger(),
    (error) => context.log.error({ err: error }, 'the pages of /api/docs could not be opened'),
  );
  return {
    handle(request, response) {
      if (!pages.handle(request, response)) api.routing(request, response);
    },
    document: () => api.swagger(),
    close: async () => {
      await Promise.all([pages.close(), api.close()]);
    },
  };
}

/** Bodies are taken as they are; what arrives as text (path and query) is read as the type that the schema names. */
function createValidators() {
  const options = {
    allErrors: false,
    removeAdditional: false,
    useDefaults: true,
    allowUnionTypes: true,
  } as const;
  const strict = new Ajv.default({ ...options, coerceTypes: false });
  const lenient = new Ajv.default({ ...options, coerceTypes: true });
  return ({ schema, httpPart }: { schema: object; httpPart?: string }) =>
    (httpPart === 'body' ? strict : lenient).compile(schema);
}
