import { createHash, createHmac } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

interface Expected {
  accessKeyId: string;
  secretAccessKey: string;
  service: string;
  region: string;
}

/**
 * What is wrong with the AWS Signature Version 4 of a request; undefined when it is right. Written from the published
 * algorithm, apart from the code that signs, for the services of the tests.
 */
export function signatureFault(
  request: IncomingMessage,
  body: Uint8Array,
  expected: Expected,
): string | undefined {
  const match =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/.exec(
      request.headers.authorization ?? '',
    );
  if (!match) return `no signature: ${request.headers.authorization}`;
  const [, keyId, date, region, service, signed, signature] = match as unknown as string[];
  if (keyId !== expected.accessKeyId) return `signed by ${keyId}`;
  if (region !== expected.region || service !== expected.service) return `signed for ${service} in ${region}`;
  const names = signed!.split(';');
  for (const name of ['host', 'x-amz-date']) if (!names.includes(name)) return `${name} is not signed`;
  const amzDate = String(request.headers['x-amz-date']);
  if (!amzDate.startsWith(date!)) return `the date ${amzDate} is not that of the scope`;
  const bodyHash = sha256(body);
  const claimed = request.headers['x-amz-content-sha256'];
  if (claimed !== undefined && claimed !== bodyHash) return 'the body is not the one that was signed';
  const canonical = [
    request.method,
    request.url!.split('?')[0]!.split('/').map(encodeURIComponent).join('/'),
    '',
    ...names.map((name) => `${name}:${String(request.headers[name]).trim().replace(/ +/g, ' ')}`),
    '',
    signed,
    bodyHash,
  ].join('\n');
  const scope = `${date}/${region}/${service}/aws4_request`;
  const text = ['AWS4-HMAC-SHA256', amzDate, scope, sha256(canonical)].join('\n');
  let key: Uint8Array = Buffer.from(`AWS4${expected.secretAccessKey}`);
  for (const part of [date!, region!, service!, 'aws4_request'])
    key = createHmac('sha256', key).update(part).digest();
  const right = createHmac('sha256', key).update(text).digest('hex');
  return right === signature ? undefined : `the signature does not match; canonical request:\n${canonical}`;
}

function sha256(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}
