import type { IncomingMessage, ServerResponse } from 'node:http';
import swagger, { type StaticDocumentSpec } from '@fastify/swagger';
import fastify, { type FastifyInstance } from 'fastify';

const pages = '/api/docs';

/** Collects the OpenAPI 3.1 document from the routes that are registered after this; `GET /api/openapi.json`. */
export async function addDocument(api: FastifyInstance): Promise<void> {
  await api.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Postrider API',
        version: '1',
        description:
          'What Postrider offers beyond the Pinpoint API (which is served below /v1). Errors are RFC 9457 problems, lists are paged by cursor, and POST takes an Idempotency-Key.',
        license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
      },
      components: {
        securitySchemes: {
          token: { type: 'http', scheme: 'bearer', description: 'A token made by POST /api/tokens.' },
          key: {
            type: 'http',
            scheme: 'basic',
            description: 'An access key: its id is the user name, its secret the password.',
          },
        },
      },
      security: [{ token: [] }, { key: [] }],
    },
    transform: ({ schema, url, route }) => {
      const problem = {
        description: 'A problem',
        content: { 'application/problem+json': { schema: { $ref: 'Problem#' } } },
      };
      const answers = { ...(schema?.response as object), default: problem };
      return { schema: { ...schema, response: answers, hide: route.config?.action === undefined }, url };
    },
  });
  api.get('/api/openapi.json', { schema: { hide: true } }, async () => api.swagger());
}

/** The document as pages to read and try, at `/api/docs`. */
export interface DocumentPages {
  /** Answers a request for one of the pages; false when it is for something else. */
  handle(request: IncomingMessage, response: ServerResponse): boolean;
  close(): Promise<void>;
}

/** Few processes are ever asked for these pages, so what serves them is loaded by the first request. */
export function createDocumentPages(
  document: () => object,
  onError: (error: unknown) => void,
): DocumentPages {
  let opening: Promise<FastifyInstance> | undefined;
  return {
    handle(request, response) {
      if (!isPage(request.url)) return false;
      opening ??= openPages(document());
      opening.then(
        (server) => server.routing(request, response),
        (error: unknown) => {
          // The next request tries again.
          opening = undefined;
          onError(error);
          response.writeHead(500, { 'content-type': 'text/plain' }).end('The pages cannot be shown.\n');
        },
      );
      return true;
    },
    async close() {
      await (await opening?.catch(() => undefined))?.close();
    },
  };
}

function isPage(url = ''): boolean {
  return url.startsWith(pages) && /^[/?]?$/.test(url.charAt(pages.length));
}

async function openPages(document: object): Promise<FastifyInstance> {
  const { default: swaggerUi } = await import('@fastify/swagger-ui');
  const server = fastify({ logger: false, trustProxy: false }) as unknown as FastifyInstance;
  await server.register(swagger, {
    mode: 'static', // Its types know the document's version 3.0 only.
    specification: { document } as StaticDocumentSpec,
  });
  await server.register(swaggerUi, {
    routePrefix: pages,
    uiConfig: { deepLinking: true, defaultModelsExpandDepth: -1, layout: 'BaseLayout' },
    theme: { title: 'Postrider API' },
  });
  await server.ready();
  return server;
}
