import { authorizeBucket, type Principal, principalName, recordAudit } from '../accounts/index.ts';
import type { Database, Queryable } from '../platform/database.ts';
import { badMember, CallerError, notFound } from '../platform/errors.ts';
import { hexId } from '../platform/ids.ts';
import type { Secrets } from '../platform/secrets.ts';
import {
  type Destination,
  parseDestination,
  parseFilesPrefix,
  parseNatsUrl,
  type StreamKind,
} from './destination.ts';
import { mergeSettings, type SecretValues, type SettingValues } from './settings.ts';
import {
  countStreams,
  deleteStreamRow,
  lockApplication,
  lockStream,
  selectHoldOfDay,
  selectStream,
  selectStreams,
  upsertStream,
} from './stream.sql.ts';

/** An outlet of the log: where what happens in an application is delivered. */
export interface Stream {
  id: string;
  applicationId: string;
  name: string;
  kind: StreamKind;
  /** ARN or URL, as it was given. */
  destination: string;
  roleArn: string | null;
  settings: SettingValues;
  /** Names of the secrets that are stored. */
  secretNames: string[];
  /** `disabled`: the receiver said that it is gone; a PUT makes it active again. */
  state: 'active' | 'paused' | 'disabled';
  stateReason: string | null;
  failingSince: Date | null;
  failures: number;
  nextAttemptAt: Date | null;
  lastError: string | null;
  lastErrorAt: Date | null;
  /** Records, since the stream was made. */
  delivered: number;
  deliveredAt: Date | null;
  createdAt: Date;
  modifiedAt: Date;
  modifiedBy: string | null;
  /** Facts that wait; of more than 10,000 batches the first ones are counted. */
  waitingFacts: number;
  /** When the oldest of them arrived. */
  oldestWaiting: Date | null;
  /** Facts that were put aside, as `waitingFacts` counts. */
  deadLetters: number;
}

export interface StreamRow extends Omit<Stream, 'secretNames'> {
  secrets: Buffer | null;
}

/** The stream that PutEventStream makes; the others have names of their own. */
export const eventStreamName = 'default';

const maxStreams = 10;
const namePattern = /^[a-z0-9][a-z0-9-]{0,63}$/;

export interface StreamDefinition {
  destination: string;
  roleArn?: string | undefined;
  settings?: Record<string, unknown> | undefined;
  state?: 'active' | 'paused' | undefined;
}

export interface StreamsOptions {
  database: Database;
  secrets: Secrets;
  /** POSTRIDER_ALLOW_PRIVATE_HOSTS; webhooks may then be plain http. */
  allowPrivateHosts: boolean;
}

/** Makes, reads and deletes streams. */
export interface Streams {
  list(applicationId: string): Promise<Stream[]>;
  /** @throws CallerError not_found */
  get(applicationId: string, name: string): Promise<Stream>;
  /**
   * Makes or changes a stream. A new one begins with what arrives from now on; of a changed one, what waits goes to
   * where it says now. Settings that are not named stay, as long as the kind does, and for NATS the server.
   * `path` is how the caller calls the destination. A principal needs the bucket of files in its scope.
   */
  put(
    applicationId: string,
    name: string,
    definition: StreamDefinition,
    by: { principal: Principal; action: string; path: string },
  ): Promise<Stream>;
  /** With all that waits or was put aside. Answers what it was. @throws CallerError not_found */
  remove(applicationId: string, name: string, by: { principal: Principal; action: string }): Promise<Stream>;
  /** The secret of a webhook, for its receiver. @throws CallerError not_found */
  webhookSecret(applicationId: string, name: string, principal: Principal): Promise<string>;
}

export function createStreams({ database, secrets, allowPrivateHosts }: StreamsOptions): Streams {
  async function read(db: Queryable, applicationId: string, name: string): Promise<StreamRow> {
    const { rows } = await db.query<StreamRow>(selectStream(applicationId, name));
    if (!rows[0]) throw notFound('Stream', name);
    return rows[0];
  }

  const shown = (row: StreamRow): Stream => {
    const { secrets: sealed, ...stream } = row;
    return { ...stream, secretNames: Object.keys(openSecrets(secrets, row)) };
  };

  return {
    async list(applicationId) {
      const { rows } = await database.query<StreamRow>(selectStreams(applicationId));
      return rows.map(shown);
    },
    async get(applicationId, name) {
      return shown(await read(database, applicationId, name));
    },
    async put(applicationId, name, definition, by) {
      if (!namePattern.test(name))
        throw badMember('name', 'expected 1 to 64 lower-case letters, digits and hyphens');
      const destination = parseDestination(definition.destination, by.path, { allowHttp: allowPrivateHosts });
      if (destination.kind === 'files')
        authorizeBucket(by.principal, parseFilesPrefix(destination.text)!.bucket);
      return await database.transaction(async (tx) => {
        const application = await tx.query(lockApplication(applicationId));
        if (application.rowCount === 0) throw notFound('Application', applicationId);
        const { rows } = await tx.query<StreamRow>(lockStream(applicationId, name));
        if (!rows[0]) await refuseTooMany(tx, applicationId);
        await tx.query(upsertStream(valuesOf(definition, destination, rows[0])));
        await recordAudit(tx, {
          ...by,
          applicationId,
          detail: { stream: name, destination: destination.text },
        });
        return shown(await read(tx, applicationId, name));
      });

      function valuesOf(given: StreamDefinition, { kind, text }: Destination, old: StreamRow | undefined) {
        const id = old?.id ?? hexId();
        const stored =
          old?.kind === kind && mayKeepSecrets(kind, old.destination, text)
            ? { settings: old.settings, secrets: openSecrets(secrets, old) }
            : { settings: {}, secrets: {} };
        const merged = mergeSettings(kind, given.settings ?? {}, stored);
        return {
          id,
          applicationId,
          name,
          kind,
          destination: text,
          roleArn: given.roleArn ?? null,
          settings: JSON.stringify(merged.settings),
          secrets: secrets.encrypt(JSON.stringify(merged.secrets), secretContext(id)),
          state: given.state ?? 'active',
          principal: principalName(by.principal),
        };
      }
    },
    async remove(applicationId, name, by) {
      return await database.transaction(async (tx) => {
        const stream = shown(await read(tx, applicationId, name));
        await tx.query(deleteStreamRow(applicationId, name));
        await recordAudit(tx, { ...by, applicationId, detail: { stream: name } });
        return stream;
      });
    },
    async webhookSecret(applicationId, name, principal) {
      const row = await read(database, applicationId, name);
      const { secret } = openSecrets(secrets, row);
      if (row.kind !== 'webhook' || !secret) throw notFound('Secret of stream', name);
      const action = 'postrider:GetStreamSecret';
      await recordAudit(database, { principal, action, applicationId, detail: { stream: name } });
      return secret;
    },
  };
}

/** A password and a token are shown to the server as they are, so they are not for another one than they were given for. */
function mayKeepSecrets(kind: StreamKind, before: string, now: string): boolean {
  if (kind !== 'nats') return true;
  const [old, target] = [parseNatsUrl(before), parseNatsUrl(now)];
  return old?.host === target?.host && old?.port === target?.port && (!old?.tls || target?.tls === true);
}

async function refuseTooMany(db: Queryable, applicationId: string): Promise<void> {
  const { rows } = await db.query<{ count: number }>(countStreams(applicationId));
  if (rows[0]!.count >= maxStreams)
    throw new CallerError('conflict', `The application has ${maxStreams} streams already`);
}

function secretContext(id: string): string {
  return `streams/${id}`;
}

/** The secrets of a stream by their names. */
export function openSecrets(secrets: Secrets, row: Pick<StreamRow, 'id' | 'secrets'>): SecretValues {
  if (!row.secrets) return {};
  return JSON.parse(secrets.decrypt(row.secrets, secretContext(row.id)).toString()) as SecretValues;
}

/** Why a day of the log has to stay: a stream has not delivered it. */
export async function streamHold(db: Queryable, day: string): Promise<string | undefined> {
  const { rows } = await db.query<{ applicationId: string; name: string }>(selectHoldOfDay(day));
  return (
    rows[0] && `stream ${rows[0].name} of application ${rows[0].applicationId} has not delivered the day`
  );
}
