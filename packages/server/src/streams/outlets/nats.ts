import { type JetStreamClient, jetstream } from '@nats-io/jetstream';
import {
  connect,
  credsAuthenticator,
  headers,
  type NatsConnection,
  type TlsOptions,
} from '@nats-io/transport-node';
import { OutboundError, type OutboundPolicy, resolvePinned } from '../../platform/outbound.ts';
import { parseNatsUrl } from '../destination.ts';
import type { SecretValues, SettingValues } from '../settings.ts';
import { type Outlet, OutletError, type PutResult } from './outlet.ts';

const connectTimeoutMs = 10_000;
const ackTimeoutMs = 10_000;

/** JetStream: the message is larger than the stream takes. */
const tooLargeCode = 10054;

/**
 * NATS JetStream: one message for each record, published to one subject, acknowledged by the JetStream stream that
 * listens there. `Nats-Msg-Id` is the record's id, so repeats within the stream's duplicate window are dropped by the
 * server; `Postrider-Key` is the endpoint.
 */
export function createNatsOutlet(options: {
  url: string;
  settings: SettingValues;
  secrets: SecretValues;
  order: 'key' | 'none';
  outbound: OutboundPolicy;
}): Outlet {
  const target = parseNatsUrl(options.url);
  if (!target) throw new OutletError('unavailable', `${options.url} is no address of NATS`);
  let opened: { connection: NatsConnection; js: JetStreamClient } | undefined;

  async function open(): Promise<{ connection: NatsConnection; js: JetStreamClient }> {
    if (opened && !opened.connection.isClosed()) return opened;
    const connection = await connectPinned(target!, options);
    opened = { connection, js: jetstream(connection, { timeout: ackTimeoutMs }) };
    return opened;
  }

  return {
    limits: {
      records: 250,
      bytes: 4_000_000,
      recordBytes: 8_000_000,
      overheadBytes: 256,
      concurrency: 1,
      order: options.order,
    },
    async put(records) {
      const { connection, js } = await open();
      const maxPayload = connection.info?.max_payload ?? 1_048_576;
      const publish = async (record: (typeof records)[number]): Promise<PutResult> => {
        const payload = Buffer.from(record.json);
        if (payload.length + 512 > maxPayload)
          return {
            refused: `${payload.length} bytes are more than the server takes (${maxPayload})`,
            tooLong: true,
          };
        const head = headers();
        head.set('Postrider-Key', encodeURIComponent(record.key.toWellFormed()));
        try {
          // Without retries of its own: they would go past the order that the caller keeps.
          await js.publish(target.subject, payload, { msgID: record.id, headers: head, retries: 1 });
          return 'accepted';
        } catch (error) {
          const words = wordsOf(error, target.subject);
          return (error as { code?: number }).code === tooLargeCode
            ? { refused: words, tooLong: true }
            : { failed: words };
        }
      };
      const results = await Promise.all(records.map(publish));
      const failure = results.find((result) => typeof result === 'object' && 'failed' in result);
      if (failure && results.every((result) => typeof result === 'object' && 'failed' in result)) {
        // Nothing was taken: the next attempt begins with a new connection.
        await closeConnection();
        throw new OutletError('unavailable', (failure as { failed: string }).failed);
      }
      return results;
    },
    close: closeConnection,
  };

  async function closeConnection(): Promise<void> {
    const { connection } = opened ?? {};
    opened = undefined;
    await connection?.close();
  }
}

/** Connects to a checked address only, and follows no other address that the server names. */
async function connectPinned(
  target: NonNullable<ReturnType<typeof parseNatsUrl>>,
  options: { settings: SettingValues; secrets: SecretValues; outbound: OutboundPolicy },
): Promise<NatsConnection> {
  const { settings, secrets } = options;
  try {
    const pinned = await resolvePinned(target.host, { ...options.outbound, timeoutMs: connectTimeoutMs });
    // The transport hands these to tls.connect; the address is pinned, so the name has to be said.
    const tls: (TlsOptions & { servername: string }) | null = target.tls ? { servername: pinned.host } : null;
    return await connect({
      servers: pinned.addresses.map(({ address, family }) =>
        family === 6 ? `[${address}]:${target.port}` : `${address}:${target.port}`,
      ),
      tls,
      ...(settings.user === undefined ? {} : { user: String(settings.user), pass: secrets.password ?? '' }),
      ...(secrets.token === undefined ? {} : { token: secrets.token }),
      ...(secrets.credentials === undefined
        ? {}
        : { authenticator: credsAuthenticator(new TextEncoder().encode(secrets.credentials)) }),
      name: 'postrider',
      timeout: connectTimeoutMs,
      resolve: false,
      reconnect: false,
      ignoreClusterUpdates: true,
      noRandomize: true,
    });
  } catch (error) {
    if (error instanceof OutboundError) throw new OutletError('unavailable', error.message);
    throw new OutletError(
      'unavailable',
      `NATS at ${target.host}:${target.port}: ${(error as Error).message}`,
    );
  }
}

function wordsOf(error: unknown, subject: string): string {
  const message = error instanceof Error ? error.message : String(error);
  // The client takes a subject to which nobody listens for a server without JetStream.
  return /no responders|jetstream is not enabled/i.test(message)
    ? `no JetStream stream listens on ${subject}`
    : `JetStream: ${message}`.slice(0, 300);
}
