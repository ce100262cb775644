import { parseAwsArn } from '../platform/aws-request.ts';
import { badMember } from '../platform/errors.ts';

export const streamKinds = ['kinesis', 'firehose', 'webhook', 'nats', 'files'] as const;
export type StreamKind = (typeof streamKinds)[number];

/** What a DestinationStreamArn says. */
export interface Destination {
  kind: StreamKind;
  /** As it was given. */
  text: string;
}

const maxLength = 2048;
const subjectPattern = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/;

/**
 * Reads a destination: an ARN of Kinesis or Firehose, an https URL, `nats://host:4222/subject` (`tls://` with TLS), or
 * a prefix in the object store (`s3://bucket/prefix`, `file:bucket/prefix`).
 * @throws CallerError bad_request naming `path`
 */
export function parseDestination(text: string, path: string, options: { allowHttp: boolean }): Destination {
  const expected = () =>
    badMember(
      path,
      'expected arn:aws:kinesis:<region>:<account>:stream/<name>, arn:aws:firehose:<region>:<account>:deliverystream/<name>, https://…, nats://<host>:<port>/<subject>, tls://<host>:<port>/<subject>, s3://<bucket>/<prefix> or file:<bucket>/<prefix>',
    );
  if (text.length > maxLength || !text.isWellFormed() || text.includes('\0')) throw expected();
  if (text.startsWith('arn:')) {
    const arn = parseAwsArn(text);
    if (arn?.service === 'kinesis' && /^stream\/[A-Za-z0-9_.-]{1,128}$/.test(arn.resource))
      return { kind: 'kinesis', text };
    if (arn?.service === 'firehose' && /^deliverystream\/[A-Za-z0-9_.-]{1,64}$/.test(arn.resource))
      return { kind: 'firehose', text };
    throw expected();
  }
  if (/^(s3:\/\/|file:)/.test(text)) {
    if (!parseFilesPrefix(text)) throw expected();
    return { kind: 'files', text };
  }
  const url = URL.parse(text);
  if (!url) throw expected();
  if (url.username || url.password) {
    throw badMember(
      path,
      'expected no user name or password in it; PUT /api/apps/{app}/streams/{name} takes secrets',
    );
  }
  if (url.protocol === 'https:' || (url.protocol === 'http:' && options.allowHttp))
    return { kind: 'webhook', text };
  if (url.protocol === 'nats:' || url.protocol === 'tls:') {
    if (!parseNatsUrl(text)) throw expected();
    return { kind: 'nats', text };
  }
  throw expected();
}

/** `tls` speaks TLS from the upgrade on, checked for the host. */
export function parseNatsUrl(
  text: string,
): { host: string; port: number; subject: string; tls: boolean } | undefined {
  const url = URL.parse(text);
  if (!url || !['nats:', 'tls:'].includes(url.protocol) || !url.hostname) return undefined;
  const subject = url.pathname.slice(1);
  if (subject.length > 255 || !subjectPattern.test(subject)) return undefined;
  const tls = url.protocol === 'tls:';
  return { host: url.hostname, port: Number(url.port || 4222), subject, tls };
}

/** Bucket and prefix; the prefix is empty or ends in a slash. */
export function parseFilesPrefix(text: string): { bucket: string; prefix: string } | undefined {
  const match = /^(?:s3:\/\/|file:(?:\/\/)?)([A-Za-z0-9][A-Za-z0-9._-]{1,62})(?:\/(.*))?$/s.exec(text);
  if (!match) return undefined;
  const segments = (match[2] ?? '').replace(/\/$/, '').split('/');
  const prefix = segments.join('/');
  if (prefix === '') return { bucket: match[1]!, prefix: '' };
  const usable = segments.every(
    (segment) => segment !== '' && segment !== '.' && segment !== '..' && segment.length <= 200,
  );
  if (!usable || prefix.length > 700 || /[\\\0]/.test(prefix)) return undefined;
  return { bucket: match[1]!, prefix: `${prefix}/` };
}
