import { createHmac, createSecretKey, hash, type KeyObject, timingSafeEqual } from 'node:crypto';
import type { ActivePublishableKey, Principal } from '../../accounts/index.ts';
import type { Clock } from '../../platform/clock.ts';
import { CallerError } from '../../platform/errors.ts';

/** An access key that may sign. */
export interface AccessKey {
  principal: Principal;
  secret: string;
  /** When it is a publishable key, whose secret is as public as its id. */
  publishable?: ActivePublishableKey;
  /** Called for each right signature. */
  used(): void;
}

/** The access key with this id; undefined when there is none or it was revoked. */
export type FindAccessKey = (id: string) => Promise<AccessKey | undefined>;

/** The parts of a request that a signature covers, beside the body. */
export interface SignedRequest {
  method: string;
  /** As it came over the wire, percent codes and all. */
  rawPath: string;
  /** Decoded. */
  query: readonly (readonly [string, string])[];
  /** By lower-case name; several headers of one name are several values. */
  header(name: string): string | readonly string[] | undefined;
}

/** Its headers are in order; whether the signature is right shows when the hash of the body is known. */
export interface PendingSignature {
  /** When a publishable key claims to have signed. */
  publishable: ActivePublishableKey | undefined;
  /** @throws CallerError unauthenticated @returns who signed. */
  verify(bodyHash: string): Principal;
}

interface Authorization {
  accessKeyId: string;
  /** `20261121` */
  date: string;
  region: string;
  service: string;
  signedHeaders: string[];
  signature: string;
  /** `20261121T080000Z` */
  signedAt: string;
  /** Milliseconds for which it holds. */
  lifetimeMs: number;
}

const algorithm = 'AWS4-HMAC-SHA256';
const maxSkewMs = 5 * 60_000;
/** Beacons are sent as soon as they are signed; AWS lets presigned URLs live for a week. */
const maxPresignedMs = 60 * 60_000;
const maxCachedKeys = 1000;

/**
 * AWS Signature Version 4 in the Authorization header, as all SDKs make it for rest-json services: the path encoded
 * twice, every region accepted, the body always covered (no UNSIGNED-PAYLOAD, no streaming). In the query (a
 * presigned URL) only where the caller of `begin` says so.
 */
export class SignatureVerifier {
  readonly #findAccessKey: FindAccessKey;
  readonly #service: string;
  readonly #clock: Clock;
  readonly #signingKeys = new Map<string, { secret: string; key: KeyObject }>();

  /** @param options.service the signing name: `mobiletargeting`. */
  constructor(options: { findAccessKey: FindAccessKey; service: string; clock: Clock }) {
    this.#findAccessKey = options.findAccessKey;
    this.#service = options.service;
    this.#clock = options.clock;
  }

  /**
   * Checks everything that does not need the body, so that the body of a stranger is not even read.
   * @param options.mayBePresigned the signature may stand in the query: for beacons, which cannot set a header.
   * @throws CallerError unauthenticated, with what to do about it.
   */
  async begin(request: SignedRequest, options: { mayBePresigned?: boolean } = {}): Promise<PendingSignature> {
    const header = (name: string) => {
      const value = request.header(name) ?? '';
      return (typeof value === 'string' ? value : value.join(',')).trim();
    };
    const presigned =
      options.mayBePresigned && header('authorization') === '' ? parsePresigned(request.query) : undefined;
    const authorization =
      presigned ?? parseAuthorization(request, header('authorization'), header('x-amz-date'));
    if (
      header('x-amz-security-token') !== '' ||
      request.query.some(([name]) => name === 'X-Amz-Security-Token')
    ) {
      throw foreignToken(authorization.accessKeyId);
    }
    this.#checkScope(authorization, presigned ? ['host'] : ['host', 'x-amz-date']);
    const claimedHash = header('x-amz-content-sha256');
    if (claimedHash !== '' && !/^[0-9a-f]{64}$/.test(claimedHash)) {
      throw refused(
        `x-amz-content-sha256 is ${claimedHash.slice(0, 40)}: unsigned and streamed bodies are not accepted; sign the SHA-256 of the body`,
      );
    }
    const accessKey = await this.#findAccessKey(authorization.accessKeyId);
    if (!accessKey) throw unknownKey(authorization.accessKeyId);
    return {
      publishable: accessKey.publishable,
      verify: (bodyHash) => this.#verify(request, authorization, accessKey, claimedHash, bodyHash),
    };
  }

  #checkScope(authorization: Authorization, mustBeSigned: readonly string[]): void {
    if (authorization.service !== this.#service) {
      throw refused(`The request is signed for the service ${authorization.service}, not ${this.#service}`);
    }
    for (const name of mustBeSigned) {
      if (!authorization.signedHeaders.includes(name)) throw refused(`The header ${name} must be signed`);
    }
    const signedAt = parseAmzDate(authorization.signedAt);
    if (signedAt === undefined || !authorization.signedAt.startsWith(authorization.date)) {
      throw refused('x-amz-date must be a time such as 20261121T080000Z, of the day in the credential scope');
    }
    const now = this.#clock.now();
    if (signedAt - now > maxSkewMs || now - signedAt > authorization.lifetimeMs) {
      throw refused(
        `The request was signed at ${new Date(signedAt).toISOString()}, this server's time is ${new Date(now).toISOString()}: more than 5 minutes apart. Set the clock of the one that is wrong`,
      );
    }
  }

  #verify(
    request: SignedRequest,
    authorization: Authorization,
    accessKey: AccessKey,
    claimedHash: string,
    bodyHash: string,
  ): Principal {
    if (claimedHash !== '' && claimedHash !== bodyHash) {
      throw refused('The body is not the one that was signed: its SHA-256 is not x-amz-content-sha256');
    }
    const { accessKeyId, date, region, service } = authorization;
    const scope = `${date}/${region}/${service}/aws4_request`;
    const requestHash = sha256(canonicalRequest(request, authorization.signedHeaders, bodyHash));
    const text = `${algorithm}\n${authorization.signedAt}\n${scope}\n${requestHash}`;
    const cacheId = `${accessKeyId}/${scope}`;
    const cached = this.#signingKeys.get(cacheId);
    const key =
      cached?.secret === accessKey.secret ? cached.key : signingKey(accessKey.secret, date, region, service);
    const expected = createHmac('sha256', key).update(text).digest();
    const given = Buffer.from(authorization.signature, 'hex');
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
      throw refused(
        `The signature does not match. Check the secret of access key ${accessKeyId}, and that no proxy changes method, path, query, Host or other signed headers`,
      );
    }
    if (key !== cached?.key) this.#remember(cacheId, accessKey.secret, key);
    accessKey.used();
    return accessKey.principal;
  }

  /** Only after a right signature, so that strangers cannot push out the keys in use. */
  #remember(cacheId: string, secret: string, key: KeyObject): void {
    if (this.#signingKeys.size >= maxCachedKeys) {
      this.#signingKeys.delete(this.#signingKeys.keys().next().value!);
    }
    this.#signingKeys.set(cacheId, { secret, key });
  }
}

/** The signature of a presigned URL; undefined when the query has none. */
function parsePresigned(query: SignedRequest['query']): Authorization | undefined {
  const values = new Map(query.filter(([name]) => name.startsWith('X-Amz-')));
  const signature = values.get('X-Amz-Signature');
  if (signature === undefined) return undefined;
  const [accessKeyId, date, region, service, end, more] = (values.get('X-Amz-Credential') ?? '').split('/');
  const isWhole = accessKeyId && date && region && service && end === 'aws4_request' && more === undefined;
  const expires = Number(values.get('X-Amz-Expires') ?? maxSkewMs / 1000);
  if (!isWhole || values.get('X-Amz-Algorithm') !== algorithm || !(expires > 0)) {
    throw refused(
      `The query is not of the form X-Amz-Algorithm=${algorithm}&X-Amz-Credential=…&X-Amz-Date=…&X-Amz-SignedHeaders=…&X-Amz-Signature=…`,
    );
  }
  return {
    accessKeyId,
    date,
    region,
    service,
    signedHeaders: (values.get('X-Amz-SignedHeaders') ?? '').toLowerCase().split(';'),
    signature: /^[0-9a-f]{64}$/.test(signature) ? signature : '',
    signedAt: values.get('X-Amz-Date') ?? '',
    lifetimeMs: Math.min(expires * 1000, maxPresignedMs),
  };
}

function parseAuthorization(request: SignedRequest, header: string, signedAt: string): Authorization {
  if (header === '') {
    if (request.query.some(([name]) => name === 'X-Amz-Signature')) {
      throw refused('Presigned URLs are not accepted here: sign in the Authorization header');
    }
    throw refused(
      'The request is not signed: it needs an Authorization header with AWS Signature Version 4 by an access key of this server',
    );
  }
  const match =
    /^AWS4-HMAC-SHA256 +Credential=([^/,\s]{1,128})\/(\d{8})\/([\w-]{1,64})\/([\w.-]{1,64})\/aws4_request *, *SignedHeaders=([\w!#$%&'*+.^`|~;-]{1,4000}) *, *Signature=([0-9a-f]{64})$/.exec(
      header,
    );
  if (!match) {
    throw refused(
      `The Authorization header is not of the form ${algorithm} Credential=…, SignedHeaders=…, Signature=…`,
    );
  }
  const [, accessKeyId, date, region, service, signedHeaders, signature] = match as unknown as string[];
  return {
    accessKeyId: accessKeyId!,
    date: date!,
    region: region!,
    service: service!,
    signedHeaders: signedHeaders!.toLowerCase().split(';'),
    signature: signature!,
    signedAt,
    lifetimeMs: maxSkewMs,
  };
}

function canonicalRequest(request: SignedRequest, signedHeaders: string[], bodyHash: string): string {
  const query = request.query.length === 0 ? '' : canonicalQuery(request.query);
  let headers = '';
  for (const name of signedHeaders) {
    const value = request.header(name) ?? '';
    headers += `${name}:${typeof value === 'string' ? headerValue(value) : value.map(headerValue).join(',')}\n`;
  }
  const { rawPath } = request;
  const path = plainPath.test(rawPath) ? rawPath : percentEncode(rawPath).replaceAll('%2F', '/');
  return `${request.method}\n${path}\n${query}\n${headers}\n${signedHeaders.join(';')}\n${bodyHash}`;
}

/** Of characters that stay as they are. */
const plainPath = /^[A-Za-z0-9._~/-]*$/;

function canonicalQuery(query: SignedRequest['query']): string {
  return query
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]) => [percentEncode(name), percentEncode(value)] as const)
    .sort(([nameA, valueA], [nameB, valueB]) => compare(nameA, nameB) || compare(valueA, valueB))
    .map(([name, value]) => `${name}=${value}`)
    .join('&');
}

/** Without spaces around, and with one for several within; most values have none of these. */
function headerValue(value: string): string {
  const trimmed = value.trim();
  return severalSpaces.test(trimmed) ? trimmed.replace(/\s+/g, ' ') : trimmed;
}

const severalSpaces = /\s\s|[^\S ]/;

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** RFC 3986: all but letters, digits, `-`, `.`, `_`, `~`. */
function percentEncode(text: string): string {
  return encodeURIComponent(text.toWellFormed()).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}

/** As a key object: made of bytes anew for each signature it would cost five times as much. */
function signingKey(secret: string, date: string, region: string, service: string): KeyObject {
  let key: Buffer = Buffer.from(`AWS4${secret}`);
  for (const part of [date, region, service, 'aws4_request']) {
    key = createHmac('sha256', key).update(part).digest();
  }
  return createSecretKey(key);
}

/** Lower-case hex. */
export function sha256(data: string | Uint8Array): string {
  return hash('sha256', data);
}

/** The one that was parsed last: most requests are signed in the same second as the one before. */
let lastDate: { text: string; at: number | undefined } = { text: '', at: undefined };

/** `20261121T080000Z` as milliseconds. */
function parseAmzDate(text: string): number | undefined {
  if (text !== lastDate.text) lastDate = { text, at: readAmzDate(text) };
  return lastDate.at;
}

function readAmzDate(text: string): number | undefined {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  if (!match) return undefined;
  const [, year, month, day, hour, minute, second] = match;
  const at = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(at) ? undefined : at;
}

function refused(message: string): CallerError {
  return new CallerError('unauthenticated', message);
}

const whatToDo =
  'Use an access key that was made on this server (`npm run postrider -- keys`): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to it, and leave AWS_SESSION_TOKEN unset';

function foreignToken(accessKeyId: string): CallerError {
  return refused(
    `The request carries a session token (x-amz-security-token, access key ${accessKeyId}): temporary credentials of AWS mean nothing here. ${whatToDo}`,
  );
}

function unknownKey(accessKeyId: string): CallerError {
  return refused(`The access key ${accessKeyId} is unknown here or was revoked. ${whatToDo}`);
}
