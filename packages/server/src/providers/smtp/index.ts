import type {
  AttemptResult,
  OutgoingMessage,
  Provider,
  ProviderAccount,
  ProviderContext,
  ProviderSession,
  SettingField,
} from '../../messaging/provider.ts';
import { type ComposedMail, composeMail } from './compose.ts';
import { Connections } from './connections.ts';
import { ComposeError } from './headers.ts';
import { openSession, type SessionOptions } from './session.ts';
import { resultOf, unsendable } from './verdict.ts';

const fields: readonly SettingField[] = [
  {
    name: 'host',
    label: 'Host',
    type: 'string',
    required: true,
    pattern: '[A-Za-z0-9_.:\\-]{1,253}',
    description: 'Name or address of the SMTP server (smarthost).',
  },
  {
    name: 'port',
    label: 'Port',
    type: 'number',
    default: 587,
    minimum: 1,
    maximum: 65_535,
    description: '587 for submission, 465 for TLS from the start, 25 for a relay.',
  },
  {
    name: 'tls',
    label: 'Encryption',
    type: 'enum',
    options: ['starttls', 'implicit', 'opportunistic', 'none'],
    default: 'starttls',
    description:
      'starttls: required before anything is sent. implicit: TLS from the first byte. opportunistic: STARTTLS when the server offers it; a password is then sent unencrypted to this machine only. none: never.',
  },
  {
    name: 'verifyCertificate',
    label: 'Check the certificate',
    type: 'boolean',
    default: true,
    description:
      "Off accepts a self-signed certificate or another host's, and with it whoever is on the way.",
  },
  { name: 'user', label: 'User', type: 'string', description: 'Login; none is tried without it.' },
  { name: 'password', label: 'Password', type: 'string', secret: true, description: 'Password of the user.' },
  {
    name: 'authMethod',
    label: 'Login method',
    type: 'enum',
    options: ['auto', 'PLAIN', 'LOGIN', 'CRAM-MD5'],
    default: 'auto',
    description: 'auto takes the first of PLAIN, LOGIN, CRAM-MD5 that the server offers.',
  },
  {
    name: 'returnPath',
    label: 'Return path',
    type: 'string',
    pattern: "[A-Za-z0-9.!#$%&'*+\\/=?^_`\\{\\|\\}~\\-]{1,64}@[A-Za-z0-9.\\-]{1,253}",
    description: 'Envelope sender, to which bounces go. Without it: the address in From.',
  },
  {
    name: 'ehloName',
    label: 'EHLO name',
    type: 'string',
    pattern: '[A-Za-z0-9_.:\\-\\[\\]]{1,253}',
    description: "How this sender names itself; without it the machine's host name.",
  },
  {
    name: 'maxConnections',
    label: 'Connections',
    type: 'number',
    minimum: 1,
    maximum: 1000,
    description:
      'At most this many connections for each lane of each process; the lane has its own bound as well.',
  },
  {
    name: 'maxMessages',
    label: 'Messages on one connection',
    type: 'number',
    minimum: 1,
    maximum: 1_000_000,
    description: 'A connection is replaced after this many messages. Without it: never.',
  },
  {
    name: 'connectTimeoutMs',
    label: 'Connect timeout (ms)',
    type: 'number',
    default: 30_000,
    minimum: 100,
    maximum: 600_000,
    description: 'For resolving the name and connecting.',
  },
  {
    name: 'greetingTimeoutMs',
    label: 'Greeting timeout (ms)',
    type: 'number',
    default: 30_000,
    minimum: 100,
    maximum: 600_000,
    description: "For the server's greeting and the TLS handshake.",
  },
  {
    name: 'replyTimeoutMs',
    label: 'Reply timeout (ms)',
    type: 'number',
    default: 300_000,
    minimum: 100,
    maximum: 1_800_000,
    description:
      'For the reply to a command or to the content. Short times leave messages in doubt that the server was about to accept (RFC 5321 asks for 10 minutes).',
  },
  {
    name: 'idleTimeoutMs',
    label: 'Idle timeout (ms)',
    type: 'number',
    default: 20_000,
    minimum: 100,
    maximum: 600_000,
    description: 'An unused connection is closed after this.',
  },
];

const checkTimeoutMs = 60_000;

/** E-mail through any SMTP server. */
export const smtp: Provider = { name: 'smtp', channels: ['EMAIL'], fields, open };

interface Settings {
  host: string;
  port?: number;
  tls?: SessionOptions['tls'];
  verifyCertificate?: boolean;
  user?: string;
  authMethod?: NonNullable<SessionOptions['login']>['method'];
  returnPath?: string;
  ehloName?: string;
  maxConnections?: number;
  maxMessages?: number;
  connectTimeoutMs?: number;
  greetingTimeoutMs?: number;
  replyTimeoutMs?: number;
  idleTimeoutMs?: number;
}

function open(
  account: ProviderAccount,
  context: ProviderContext,
  options: { maxConnections: number },
): ProviderSession {
  // Validated against `fields` when the account was stored.
  const settings = account.settings as unknown as Settings;
  const sessionOptions = sessionOptionsOf(settings, account, context);
  const max = Math.max(
    1,
    Math.min(options.maxConnections, settings.maxConnections ?? options.maxConnections),
  );
  const connections = new Connections({
    max,
    maxMessages: settings.maxMessages,
    idleTimeoutMs: settings.idleTimeoutMs ?? 20_000,
    open: (signal) => openSession(sessionOptions, signal),
  });
  return {
    // A message goes with the next free connection whatever call it came in, so one call needs to hold no more than one.
    limits: { concurrency: max, batch: 1 },
    send: (messages, signal) =>
      Promise.all(messages.map((message) => sendOne(connections, message, settings.returnPath, signal))),
    async check() {
      const session = await openSession(sessionOptions, AbortSignal.timeout(checkTimeoutMs));
      await session.quit();
    },
    close: () => connections.close(),
  };
}

function sessionOptionsOf(
  settings: Settings,
  account: ProviderAccount,
  context: ProviderContext,
): SessionOptions {
  const tls = settings.tls ?? 'starttls';
  return {
    host: settings.host,
    port: settings.port ?? (tls === 'implicit' ? 465 : 587),
    tls,
    verifyCertificate: settings.verifyCertificate ?? true,
    login: settings.user
      ? {
          user: settings.user,
          password: account.secrets.password ?? '',
          method: settings.authMethod ?? 'auto',
        }
      : undefined,
    name: settings.ehloName,
    allowPrivateHosts: context.allowPrivateHosts || account.fromEnvironment === true,
    connectTimeoutMs: settings.connectTimeoutMs ?? 30_000,
    greetingTimeoutMs: settings.greetingTimeoutMs ?? 30_000,
    replyTimeoutMs: settings.replyTimeoutMs ?? 300_000,
  };
}

async function sendOne(
  connections: Connections,
  message: OutgoingMessage,
  returnPath: string | undefined,
  signal: AbortSignal,
): Promise<AttemptResult> {
  let mail: ComposedMail;
  try {
    if (message.content.kind !== 'email')
      throw new ComposeError(`An SMTP server takes e-mail, not ${message.content.kind}`);
    mail = composeMail(message, message.content, returnPath);
  } catch (error) {
    if (error instanceof ComposeError) return unsendable(message.id, error.message);
    throw error;
  }
  return resultOf(message.id, await connections.send(mail, signal));
}
