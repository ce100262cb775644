import { resolve } from 'node:path';

/** One setting: an environment variable, its type and what it does. `docs/settings.md` is made of these. */
export interface Setting {
  /** Name of the environment variable. */
  key: string;
  type: 'string' | 'integer' | 'switch' | 'choice' | 'url' | 'path';
  /** Used when the variable is absent or empty; undefined means that the setting is then not set. */
  default?: string | number | boolean;
  description: string;
  /** For `integer`. */
  min?: number;
  max?: number;
  /** For `choice`. */
  options?: readonly string[];
  /** For `url`: the protocols that are accepted, with the colon. */
  protocols?: readonly string[];
  /** For `string`. */
  pattern?: { matches: RegExp; expected: string };
  /** Never shown, not even in an error message. */
  secret?: boolean;
  /** The part of Postrider that reads this setting is not built yet; a start with it set says so. */
  reserved?: boolean;
}

const settings = {
  host: {
    key: 'POSTRIDER_HOST',
    type: 'string',
    description:
      'Address that the API listens on, for example `127.0.0.1`. When absent: every address of the machine.',
  },
  port: {
    key: 'POSTRIDER_PORT',
    type: 'integer',
    default: 8080,
    min: 0,
    max: 65535,
    description: 'Port of the HTTP API. `0` takes a free one, which is printed.',
  },
  relayPort: {
    key: 'POSTRIDER_RELAY_PORT',
    type: 'integer',
    default: 2525,
    min: 0,
    max: 65535,
    description: 'Port of the SMTP relay.',
    reserved: true,
  },
  metricsPort: {
    key: 'POSTRIDER_METRICS_PORT',
    type: 'integer',
    min: 0,
    max: 65535,
    description:
      'For `start --role worker`: port of `/metrics` and `/health` of this process, on every address. When absent: a free port on 127.0.0.1. The worker of a plain `start` is shown by the `/metrics` of the API.',
  },
  dataDir: {
    key: 'POSTRIDER_DATA_DIR',
    type: 'path',
    default: './data',
    description: 'Folder of the embedded database, the object store and the master key.',
  },
  databaseUrl: {
    key: 'POSTRIDER_DATABASE_URL',
    type: 'url',
    protocols: ['postgres:', 'postgresql:'],
    secret: true,
    description:
      'An external PostgreSQL (15 or newer, UTF8; connected to directly or through a pooler in session mode). When absent, Postrider runs its own PostgreSQL in the data directory.',
  },
  databaseConnections: {
    key: 'POSTRIDER_DATABASE_CONNECTIONS',
    type: 'integer',
    default: 15,
    min: 4,
    max: 1000,
    description: 'Most connections to the database that one process opens.',
  },
  region: {
    key: 'POSTRIDER_REGION',
    type: 'string',
    default: 'us-east-1',
    pattern: { matches: /^[a-z0-9-]{1,32}$/, expected: 'a region name such as us-east-1' },
    description: 'The region in ARNs. Clients may sign for any region.',
  },
  accountId: {
    key: 'POSTRIDER_ACCOUNT_ID',
    type: 'string',
    default: '000000000000',
    pattern: { matches: /^\d{12}$/, expected: '12 digits' },
    description: 'The account number in ARNs.',
  },
  accessKeyId: {
    key: 'POSTRIDER_ACCESS_KEY_ID',
    type: 'string',
    pattern: {
      matches: /^[A-Za-z0-9_-]{4,128}$/,
      expected: '4 to 128 letters, digits, hyphens or underscores',
    },
    description:
      'Id of the first access key. When absent, one is made at the first start and printed once; needs POSTRIDER_SECRET_ACCESS_KEY.',
  },
  secretAccessKey: {
    key: 'POSTRIDER_SECRET_ACCESS_KEY',
    type: 'string',
    pattern: { matches: /^[\x21-\x7e]{8,256}$/, expected: '8 to 256 visible ASCII characters' },
    secret: true,
    description: 'Secret of the first access key; needs POSTRIDER_ACCESS_KEY_ID.',
  },
  adminEmail: {
    key: 'POSTRIDER_ADMIN_EMAIL',
    type: 'string',
    description: 'Login of the first operator of the console.',
    reserved: true,
  },
  adminPassword: {
    key: 'POSTRIDER_ADMIN_PASSWORD',
    type: 'string',
    secret: true,
    description: 'Password of the first operator of the console.',
    reserved: true,
  },
  masterKey: {
    key: 'POSTRIDER_MASTER_KEY',
    type: 'string',
    secret: true,
    description:
      'Encrypts stored secrets: 32 bytes as 64 hexadecimal digits or base64. When absent, one is made in the data directory (`master.key`); required with POSTRIDER_DATABASE_URL. Keep a copy: without it, stored secrets cannot be read.',
  },
  smtpUrl: {
    key: 'POSTRIDER_SMTP_URL',
    type: 'url',
    protocols: ['smtp:', 'smtps:'],
    secret: true,
    description:
      'E-mail goes to this server, for example `smtp://user:password@mail.example.com:587`, instead of into the sandbox.',
  },
  s3Endpoint: {
    key: 'POSTRIDER_S3_ENDPOINT',
    type: 'url',
    protocols: ['http:', 'https:'],
    description:
      'S3 service in which `s3://bucket/key` lies. When absent: the folder `objects/<bucket>/<key>` of the data directory.',
    reserved: true,
  },
  s3AccessKeyId: {
    key: 'POSTRIDER_S3_ACCESS_KEY_ID',
    type: 'string',
    description: 'Access key of the S3 service.',
    reserved: true,
  },
  s3SecretAccessKey: {
    key: 'POSTRIDER_S3_SECRET_ACCESS_KEY',
    type: 'string',
    secret: true,
    description: 'Secret of the access key of the S3 service.',
    reserved: true,
  },
  awsAccessKeyId: {
    key: 'POSTRIDER_AWS_ACCESS_KEY_ID',
    type: 'string',
    description:
      'Access key of your own AWS account, with which Lambda functions that campaigns name, and Kinesis and Firehose streams, are called. When absent, they are not. Needs POSTRIDER_AWS_SECRET_ACCESS_KEY.',
  },
  awsSecretAccessKey: {
    key: 'POSTRIDER_AWS_SECRET_ACCESS_KEY',
    type: 'string',
    secret: true,
    description: 'Secret of the access key of AWS.',
  },
  awsSessionToken: {
    key: 'POSTRIDER_AWS_SESSION_TOKEN',
    type: 'string',
    secret: true,
    description: 'Session token, when the access key of AWS is a temporary one.',
  },
  awsEndpointUrl: {
    key: 'POSTRIDER_AWS_ENDPOINT_URL',
    type: 'url',
    protocols: ['http:', 'https:'],
    description:
      'Where Lambda, Kinesis and Firehose are, for services that are compatible with them. When absent: `https://<service>.<region>.amazonaws.com`, by the ARN.',
  },
  allowPrivateHosts: {
    key: 'POSTRIDER_ALLOW_PRIVATE_HOSTS',
    type: 'switch',
    default: false,
    description:
      'Outbound connections (SMTP servers, webhooks) may go to private, loopback and link-local addresses. Addresses of cloud metadata services stay refused.',
  },
  webhookAccountCheck: {
    key: 'POSTRIDER_WEBHOOK_ACCOUNT_CHECK',
    type: 'switch',
    default: false,
    description:
      "Writing a campaign with custom delivery to a URL asks that URL first, as Pinpoint did: `HEAD` has to answer with the header `X-Amz-Pinpoint-AccountId` and this installation's POSTRIDER_ACCOUNT_ID.",
  },
  retryFirstDelayMs: {
    key: 'POSTRIDER_RETRY_FIRST_DELAY_MS',
    type: 'integer',
    default: 60_000,
    min: 1,
    max: 3_600_000,
    description:
      'Wait before the first repeat of a message that was refused for now, in milliseconds; later ones wait longer.',
  },
  retentionDays: {
    key: 'POSTRIDER_RETENTION_DAYS',
    type: 'integer',
    default: 90,
    min: 0,
    max: 36_500,
    description:
      'Days for which events, messages and the sandbox inbox are kept; `0` keeps them for ever. What a subscriber of the log has not read yet is kept in any case.',
  },
  endpointsPerUser: {
    key: 'POSTRIDER_ENDPOINTS_PER_USER',
    type: 'integer',
    default: 15,
    min: 1,
    max: 1000,
    description:
      "Endpoints that one user may have; a further one replaces the one that was inactive longest. Pinpoint's documents contradict each other: 15 (newest) or 10.",
  },
  pinpointQuotas: {
    key: 'POSTRIDER_PINPOINT_QUOTAS',
    type: 'switch',
    default: false,
    description:
      "Holds endpoints and events to the documented quotas of Pinpoint (docs/events.md lists both) instead of to Postrider's own wider ones.",
  },
  trustedProxies: {
    key: 'POSTRIDER_TRUSTED_PROXIES',
    type: 'integer',
    default: 0,
    min: 0,
    max: 10,
    description:
      'How many proxies of yours stand in front of the API and add the address of their client to `X-Forwarded-For`. Rates of publishable keys are counted by the address that the outermost of them saw. `0`: the header is not believed.',
  },
  capsCount: {
    key: 'POSTRIDER_CAPS_COUNT',
    type: 'choice',
    options: ['targeted', 'sent'],
    default: 'targeted',
    description:
      "What the limits of a campaign (Daily, Total) count: each time an endpoint was `targeted`, or only messages that were `sent`. Pinpoint's documents contradict each other; the newest says targeted.",
  },
  campaignMaxLatenessMs: {
    key: 'POSTRIDER_CAMPAIGN_MAX_LATENESS_MS',
    type: 'integer',
    default: 86_400_000,
    min: 1_000,
    max: 31_536_000_000,
    description:
      'A campaign that could not start within this time after it was due, in milliseconds, is not run any more: a server that comes back, or a backup that is restored, must not send what was meant for long ago.',
  },
  campaignLifetimeMs: {
    key: 'POSTRIDER_CAMPAIGN_LIFETIME_MS',
    type: 'integer',
    default: 259_200_000,
    min: 60_000,
    max: 31_536_000_000,
    description:
      'How long a run of a campaign tries to reach its audience, repeats included, in milliseconds, when it sets neither MaximumDuration nor EndTime.',
  },
  eventCampaignMinLeadMs: {
    key: 'POSTRIDER_EVENT_CAMPAIGN_MIN_LEAD_MS',
    type: 'integer',
    default: 0,
    min: 0,
    max: 86_400_000,
    description:
      'How far ahead the start of an event-triggered campaign has to lie, in milliseconds (Pinpoint asked 15 minutes). 0 allows IMMEDIATE.',
  },
  eventCampaignMaxAgeMs: {
    key: 'POSTRIDER_EVENT_CAMPAIGN_MAX_AGE_MS',
    type: 'integer',
    default: 300_000,
    min: 1_000,
    max: 604_800_000,
    description:
      'What an event-triggered campaign says about an event is sent within this time after it, in milliseconds, or not at all (Pinpoint gave five minutes).',
  },
  demo: {
    key: 'POSTRIDER_DEMO',
    type: 'switch',
    default: true,
    description:
      'The first start on an empty embedded data directory sends a demo campaign through the sandbox. Never on an external database.',
  },
  jobConcurrency: {
    key: 'POSTRIDER_JOB_CONCURRENCY',
    type: 'integer',
    default: 4,
    min: 1,
    max: 64,
    description: 'Background jobs (imports, exports, housekeeping) that one worker runs at once.',
  },
  logLevel: {
    key: 'POSTRIDER_LOG_LEVEL',
    type: 'choice',
    options: ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
    default: 'info',
    description:
      'Least severe log line that is written: to stdout, as JSON, or as plain lines where that is a terminal.',
  },
} as const satisfies Record<string, Setting>;

type ValueOf<S> = S extends { type: 'integer' }
  ? number
  : S extends { type: 'switch' }
    ? boolean
    : S extends { type: 'choice'; options: readonly (infer O)[] }
      ? O
      : string;

type Settings = typeof settings;

/** The settings of a process, read once at its start. A setting without a default is undefined when absent. */
export type Config = {
  readonly [K in keyof Settings]: Settings[K] extends { default: unknown }
    ? ValueOf<Settings[K]>
    : ValueOf<Settings[K]> | undefined;
};

/** Every setting in the order of the reference page. */
export const settingList: readonly Setting[] = Object.values(settings);

/** One or more variables hold something that cannot be used; the message has one line for each. */
export class ConfigError extends Error {}

/**
 * Reads the settings from environment variables; empty counts as absent.
 * @throws ConfigError that names every variable at fault and what was expected.
 */
export function readConfig(env: Record<string, string | undefined>): Config {
  const faults: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, setting] of Object.entries<Setting>(settings)) {
    const text = env[setting.key]?.trim();
    try {
      const fallback = setting.type === 'path' ? resolve(String(setting.default)) : setting.default;
      values[name] = text ? parseSetting(setting, text) : fallback;
    } catch (error) {
      faults.push((error as Error).message);
    }
  }
  const config = values as Config;
  if ((config.accessKeyId === undefined) !== (config.secretAccessKey === undefined)) {
    faults.push(
      'POSTRIDER_ACCESS_KEY_ID and POSTRIDER_SECRET_ACCESS_KEY belong together: set both or neither',
    );
  }
  if ((config.awsAccessKeyId === undefined) !== (config.awsSecretAccessKey === undefined)) {
    faults.push(
      'POSTRIDER_AWS_ACCESS_KEY_ID and POSTRIDER_AWS_SECRET_ACCESS_KEY belong together: set both or neither',
    );
  }
  if (faults.length > 0) throw new ConfigError(faults.join('\n'));
  return config;
}

/**
 * What an operator should know about the environment though it is usable: variables that look like settings and
 * are none, and settings whose part of Postrider is not built yet.
 */
export function configWarnings(env: Record<string, string | undefined>): string[] {
  const known = new Map(settingList.map((setting) => [setting.key, setting]));
  return Object.keys(env)
    .filter((key) => key.startsWith('POSTRIDER_') && env[key])
    .sort()
    .flatMap((key) => {
      const setting = known.get(key);
      if (!setting) return [`${key} is not a setting of Postrider (docs/settings.md lists them)`];
      if (setting.reserved) return [`${key} has no effect yet: the part that reads it is not built`];
      return [];
    });
}

function parseSetting(setting: Setting, text: string): string | number | boolean {
  const fail = (expected: string): never => {
    const shown = setting.secret ? '' : `, not "${text.slice(0, 100)}"`;
    throw new ConfigError(`${setting.key}: expected ${expected}${shown}`);
  };
  switch (setting.type) {
    case 'integer': {
      const { min = 0, max = Number.MAX_SAFE_INTEGER } = setting;
      const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
      return value >= min && value <= max ? value : fail(`a whole number from ${min} to ${max}`);
    }
    case 'switch':
      if (/^(on|true|yes|1)$/i.test(text)) return true;
      return /^(off|false|no|0)$/i.test(text) ? false : fail('on or off');
    case 'choice':
      return setting.options?.includes(text) ? text : fail(`one of ${setting.options?.join(', ')}`);
    case 'url': {
      const { protocols = [] } = setting;
      const protocol = /^([a-z][a-z0-9+.-]*:)\/\//i.exec(text)?.[1]?.toLowerCase() ?? '';
      return protocols.includes(protocol)
        ? text
        : fail(`a URL that begins with ${protocols.map((p) => `${p}//`).join(' or ')}`);
    }
    case 'path':
      return resolve(text);
    case 'string': {
      const { pattern } = setting;
      return !pattern || pattern.matches.test(text) ? text : fail(pattern.expected);
    }
  }
}

/** The reference page of all settings, in Markdown. */
export function settingsReference(): string {
  const rows = settingList.map((setting) => {
    const fallback = defaultText(setting);
    const notes = [
      setting.description,
      setting.secret ? 'Secret: not shown in logs or errors.' : '',
      setting.reserved ? '**No effect yet.**' : '',
    ];
    return `| \`${setting.key}\` | ${typeText(setting)} | ${fallback} | ${notes.filter(Boolean).join(' ')} |`;
  });
  return [
    '# Settings',
    '',
    '<!-- Made from packages/server/src/platform/config.ts by scripts/generate-docs.ts. Do not edit. -->',
    '',
    'Settings are environment variables, read at the start of a process. A file `postrider.env` in the working',
    'directory (lines `NAME=value`) is read as well; a variable of the environment goes before it.',
    '',
    '| Variable | Type | Default | What it does |',
    '|---|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}

function defaultText(setting: Setting): string {
  if (setting.default === undefined) return '';
  if (typeof setting.default === 'boolean') return setting.default ? '`on`' : '`off`';
  return `\`${setting.default}\``;
}

function typeText(setting: Setting): string {
  if (setting.type === 'choice') return setting.options?.map((option) => `\`${option}\``).join(', ') ?? '';
  if (setting.type === 'switch') return '`on`, `off`';
  if (setting.type === 'integer' && setting.max !== undefined)
    return `integer, ${setting.min ?? 0} to ${setting.max}`;
  return setting.type;
}
