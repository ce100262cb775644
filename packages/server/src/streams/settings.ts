import { randomBytes } from 'node:crypto';
import { badMember } from '../platform/errors.ts';
import type { StreamKind } from './destination.ts';

/** A setting of a stream; which ones there are depends on its kind. */
interface Field {
  type: 'string' | 'boolean' | 'number' | 'choice';
  description: string;
  secret?: boolean;
  options?: readonly string[];
  minimum?: number;
  maximum?: number;
  pattern?: RegExp;
}

const order: Field = {
  type: 'choice',
  options: ['endpoint', 'none'],
  description:
    '`endpoint` (default): a request holds one record of an endpoint at most, so that a refused one is never overtaken. `none`: requests are always full.',
};

const aws = {
  endpoint: {
    type: 'string',
    pattern: /^https?:\/\/[^\s@]{1,500}$/,
    description:
      'Where the service is, instead of POSTRIDER_AWS_ENDPOINT_URL or AWS. Needs a key of its own.',
  },
  accessKeyId: {
    type: 'string',
    pattern: /^[\x21-\x7e]{1,256}$/,
    description: 'Access key instead of POSTRIDER_AWS_ACCESS_KEY_ID.',
  },
  secretAccessKey: { type: 'string', secret: true, description: 'Its secret.' },
  order,
} as const satisfies Record<string, Field>;

/** The settings of each kind of stream: validates what callers give, and is in the API's document. */
export const streamFields = {
  kinesis: aws,
  firehose: aws,
  webhook: {
    secret: {
      type: 'string',
      secret: true,
      pattern: /^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/,
      description: 'With which requests are signed (`whsec_…`, 24 to 64 bytes); made when absent.',
    },
    previousSecret: {
      type: 'string',
      secret: true,
      pattern: /^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/,
      description: 'Signs as well, while receivers change from one secret to the next.',
    },
    batchRecords: {
      type: 'number',
      minimum: 1,
      maximum: 1000,
      description: 'Most records of one request; 500 when absent.',
    },
    timeoutMs: {
      type: 'number',
      minimum: 100,
      maximum: 30_000,
      description: 'Time that a request may take; 15,000 when absent.',
    },
  },
  nats: {
    user: { type: 'string', description: 'User name.' },
    password: { type: 'string', secret: true, description: 'Its password.' },
    token: { type: 'string', secret: true, description: 'Token, instead of user and password.' },
    credentials: {
      type: 'string',
      secret: true,
      description: 'Text of a credentials file (`.creds`), instead of both.',
    },
    order,
  },
  files: {
    gzip: { type: 'boolean', description: 'Compressed files, named `.jsonl.gz`.' },
    flushSeconds: {
      type: 'number',
      minimum: 1,
      maximum: 900,
      description: 'A file is written when its oldest record waits for so long; 60 when absent.',
    },
  },
} as const satisfies Record<StreamKind, Record<string, Field>>;

export type SettingValues = Record<string, string | number | boolean>;
export type SecretValues = Record<string, string>;

const maxSecretLength = 8192;

/**
 * Sorts given settings into plain and secret ones, over those that are there already. `null` takes one away.
 * @throws CallerError bad_request naming the member
 */
export function mergeSettings(
  kind: StreamKind,
  given: Readonly<Record<string, unknown>>,
  stored: { settings: SettingValues; secrets: SecretValues },
): { settings: SettingValues; secrets: SecretValues } {
  const fields: Record<string, Field> = streamFields[kind];
  const known = (values: Readonly<Record<string, unknown>>) =>
    Object.entries(values).filter(([name]) => Object.hasOwn(fields, name));
  const settings = Object.fromEntries(known(stored.settings)) as SettingValues;
  const secrets = Object.fromEntries(known(stored.secrets)) as SecretValues;
  for (const [name, value] of Object.entries(given)) {
    const path = `$.settings.${name}`;
    const field = Object.hasOwn(fields, name) ? fields[name] : undefined;
    if (!field) throw badMember(path, `expected one of ${Object.keys(fields).join(', ')}`);
    const into: SettingValues = field.secret ? secrets : settings;
    if (value === null) delete into[name];
    else into[name] = checkValue(path, field, value);
  }
  if (kind === 'webhook' && secrets.secret === undefined)
    secrets.secret = `whsec_${randomBytes(32).toString('base64')}`;
  const own = settings.accessKeyId !== undefined;
  if ((kind === 'kinesis' || kind === 'firehose') && own !== (secrets.secretAccessKey !== undefined))
    throw badMember('$.settings.secretAccessKey', 'expected together with accessKeyId, or neither');
  if (settings.endpoint !== undefined && !own)
    throw badMember('$.settings.endpoint', 'expected together with accessKeyId and secretAccessKey');
  return { settings, secrets };
}

function checkValue(path: string, field: Field, value: unknown): string | number | boolean {
  if (field.type === 'boolean') {
    if (typeof value !== 'boolean') throw badMember(path, 'expected true or false');
    return value;
  }
  if (field.type === 'number') {
    const { minimum = 0, maximum = Number.MAX_SAFE_INTEGER } = field;
    if (!Number.isInteger(value) || (value as number) < minimum || (value as number) > maximum)
      throw badMember(path, `expected a whole number from ${minimum} to ${maximum}`);
    return value as number;
  }
  if (typeof value !== 'string' || value === '' || value.length > maxSecretLength)
    throw badMember(path, `expected text of 1 to ${maxSecretLength} characters`);
  if (field.options && !field.options.includes(value))
    throw badMember(path, `expected one of ${field.options.join(', ')}`);
  if (field.pattern && !field.pattern.test(value))
    throw badMember(path, `expected text that matches ${field.pattern.source}`);
  return value;
}
