import { createHash, createHmac } from 'node:crypto';
import { Agent, request as httpRequest } from 'node:http';

/** A request that no SDK would send: path, query, headers and body are taken as they are. */
export interface RawRequest {
  method: string;
  /** With the query, percent codes and all. */
  path: string;
  body?: string | Uint8Array;
  headers?: Record<string, string>;
}

export interface RawReply {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  text: string;
}

export interface SignOptions {
  key: { id: string; secret: string };
  port: number;
  /** When it claims to have been signed. */
  at?: Date;
  region?: string;
  service?: string;
  /** Left out of SignedHeaders, although the server asks for them. */
  unsigned?: string[];
  /** Value of x-amz-content-sha256, or null for none (as botocore). */
  contentHash?: string | null;
}

const sha256 = (data: string | Uint8Array) => createHash('sha256').update(data).digest('hex');
const hmac = (key: string | Buffer, data: string) => createHmac('sha256', key).update(data).digest();
const encode = (text: string) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

/** Headers of `request` with a Signature Version 4, written apart from the server's own code. */
export function sign(request: RawRequest, options: SignOptions): Record<string, string> {
  const { key, region = 'us-east-1', service = 'mobiletargeting', unsigned = [] } = options;
  const time = (options.at ?? new Date()).toISOString().replace(/[-:]|\.\d+/g, '');
  const bodyHash = sha256(request.body ?? '');
  const contentHash = options.contentHash === undefined ? bodyHash : options.contentHash;
  const headers: Record<string, string> = {
    ...request.headers,
    host: `127.0.0.1:${options.port}`,
    'x-amz-date': time,
    ...(contentHash === null ? {} : { 'x-amz-content-sha256': contentHash }),
  };
  const names = Object.keys(headers)
    .map((name) => name.toLowerCase())
    .filter((name) => !unsigned.includes(name))
    .sort();
  const [path, query = ''] = request.path.split('?');
  const canonicalQuery = query
    .split('&')
    .filter((pair) => pair !== '')
    .map((pair) => (pair.includes('=') ? pair : `${pair}=`))
    .sort()
    .join('&');
  const canonical = [
    request.method,
    encode(path!).replaceAll('%2F', '/'),
    canonicalQuery,
    ...names.map((name) => `${name}:${headers[name]!.trim().replace(/ +/g, ' ')}`),
    '',
    names.join(';'),
    contentHash ?? bodyHash,
  ].join('\n');
  const scope = `${time.slice(0, 8)}/${region}/${service}/aws4_request`;
  const signingKey = scope.split('/').reduce<string | Buffer>(hmac, `AWS4${key.secret}`);
  const signature = hmac(
    signingKey as Buffer,
    ['AWS4-HMAC-SHA256', time, scope, sha256(canonical)].join('\n'),
  ).toString('hex');
  headers.authorization = `AWS4-HMAC-SHA256 Credential=${key.id}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`;
  return headers;
}

const agent = new Agent({ keepAlive: true, maxSockets: 8 });

/** Sends a request as it is and reads the whole reply. */
export function send(port: number, request: RawRequest): Promise<RawReply> {
  return new Promise((resolve, reject) => {
    const { method, path, headers, body } = request;
    const outgoing = httpRequest({ host: '127.0.0.1', port, method, path, headers, agent }, (reply) => {
      const chunks: Buffer[] = [];
      reply.on('data', (chunk: Buffer) => chunks.push(chunk));
      reply.on('error', reject);
      reply.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        resolve({ status: reply.statusCode ?? 0, headers: reply.headers, text });
      });
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** Signs and sends. */
export function sendSigned(request: RawRequest, options: SignOptions): Promise<RawReply> {
  return send(options.port, { ...request, headers: sign(request, options) });
}
