import type { Readable } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { authorize, authorizeBucket } from '../../accounts/index.ts';
import { importErrorBucket } from '../../audience/index.ts';
import { CallerError } from '../../platform/errors.ts';
import type { ApiContext } from './context.ts';

/** A gigabyte: Pinpoint's limit of an import. */
const maxObjectBytes = 1024 ** 3;

interface ObjectPath {
  bucket: string;
  '*': string;
}

const params = {
  type: 'object',
  required: ['bucket', '*'],
  properties: {
    bucket: { type: 'string' },
    '*': { type: 'string', description: 'Key of the object; may contain slashes.' },
  },
} as const;

/** Files for imports, and those that exports made. */
export function objectRoutes(api: FastifyInstance, { objects }: ApiContext): void {
  const tags = ['Objects'];
  api.removeAllContentTypeParsers();
  // The body is a file of any type; it is streamed, never held.
  api.addContentTypeParser('*', { bodyLimit: maxObjectBytes }, (_request, payload, done) =>
    done(null, payload),
  );
  api.put<{ Params: ObjectPath; Body: Readable }>(
    '/api/objects/:bucket/*',
    {
      config: { action: 'postrider:PutObject' },
      bodyLimit: maxObjectBytes,
      schema: { tags, summary: 'Upload a file', description: 'The body is the file, up to 1 GiB.', params },
    },
    async (request, reply) => {
      const { bucket, '*': key } = request.params;
      authorizeBucket(request.principal, bucket);
      if (!request.body) throw new CallerError('bad_request', 'expected the file as the body');
      await objects.put(bucket, key, limited(request.body));
      return reply.code(201).send({ url: `s3://${bucket}/${key}` });
    },
  );
  api.get<{ Params: ObjectPath }>(
    '/api/objects/:bucket/*',
    { config: { action: 'postrider:GetObject' }, schema: { tags, summary: 'Download a file', params } },
    async (request, reply) => {
      const { bucket, '*': key } = request.params;
      authorizeBucket(request.principal, bucket);
      // It has the failed records of every application, and each has a route of its own.
      if (bucket === importErrorBucket) authorize(request.principal, 'postrider:PutObject');
      return reply.type('application/octet-stream').send(await objects.open(bucket, key));
    },
  );
}

/** A body without a length is only known to be too long when it is. */
async function* limited(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > maxObjectBytes)
      throw new CallerError('payload_too_large', `A file may have at most ${maxObjectBytes} bytes`);
    yield chunk;
  }
}
