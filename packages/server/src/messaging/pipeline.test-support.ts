import sql from 'sql-template-tag';
import { afterAll, onTestFinished } from 'vitest';
import { testDatabase } from '../../../../tests/support/database.ts';
import { waitFor } from '../../../../tests/support/processes.ts';
import { createApplication } from '../accounts/index.ts';
import { upsertEndpoints } from '../audience/index.ts';
import { createRenderer } from '../content/index.ts';
import { ensurePartitions } from '../events/index.ts';
import { systemClock } from '../platform/clock.ts';
import type { Database } from '../platform/database.ts';
import { hexId, uuidv7 } from '../platform/ids.ts';
import { silentLog } from '../platform/log.ts';
import { createSecrets } from '../platform/secrets.ts';
import { providers } from '../providers/index.ts';
import { startDispatch } from './dispatch.sql.ts';
import type { DispatchPlan } from './dispatch.ts';
import { storeInInbox } from './inbox.ts';
import { Pipeline, type PipelineOptions } from './pipeline.ts';
import type {
  AttemptResult,
  OutgoingMessage,
  Provider,
  ProviderAccount,
  ProviderContext,
} from './provider.ts';
import { createAccountLimits } from './provider-account-limits.ts';
import { createRoutes } from './provider-account-route.ts';
import { receiveReceipts } from './receipt.ts';

/** An e-mail to `Attributes.Name`. */
export const emailPlan: DispatchPlan = {
  treatments: [
    {
      id: '0',
      sizePercent: 100,
      content: {
        EMAIL: { inline: { subject: 'Hi {{Attributes.Name}}', html: '<p>{{Attributes.Name}}</p>' } },
      },
    },
  ],
  holdoutPercent: 0,
  limits: {},
};

/** An endpoint with an e-mail address and a name. */
export const person = (index: number, change: object = {}) => ({
  Id: `p${index}`,
  ChannelType: 'EMAIL',
  Address: `person.${index}@example.com`,
  Attributes: { Name: [`N${index}`] },
  ...change,
});

export const people = (count: number) => Array.from({ length: count }, (_, index) => person(index));

/** A database with what pipelines need; everything ends after the calling file's last test. */
export async function pipelineTest() {
  const database = await testDatabase(20);
  await ensurePartitions(database);
  const renderer = createRenderer({ clock: systemClock, log: silentLog });
  const context: ProviderContext = {
    log: silentLog,
    allowPrivateHosts: true,
    receive: async (receipts) => void (await receiveReceipts(database, receipts)),
    storeInInbox: (messages) => storeInInbox(database, messages),
  };
  afterAll(() => renderer.close());

  /** A pipeline with its row in `workers`, as a process of its own would have. It ends with the calling test. */
  async function createPipeline(
    change: Partial<PipelineOptions> = {},
  ): Promise<Pipeline & { workerId: string }> {
    const workerId = uuidv7();
    await database.query(
      sql`insert into workers (id, role, host, pid) values (${workerId}, 'worker', 'test', 1)`,
    );
    const secrets = createSecrets(Buffer.alloc(32, 1));
    const pipeline = new Pipeline({
      database,
      log: silentLog,
      workerId,
      renderer,
      senderOf: async () => ({ from: 'sender@example.com' }),
      functions: { call: () => Promise.reject(new Error('No function is called here')) },
      providers,
      routeFor: createRoutes({ database, secrets, clock: systemClock }).routeFor,
      limits: createAccountLimits(database),
      context,
      retryFirstDelayMs: 50,
      capsCount: 'targeted',
      ...change,
    });
    onTestFinished(() => pipeline.drain(1_000));
    return Object.assign(pipeline, { workerId });
  }

  async function addEndpoints(applicationId: string, items: Record<string, unknown>[]): Promise<void> {
    await database.transaction(async (tx) => {
      await upsertEndpoints(tx, applicationId, items as never, { now: Date.now() });
    });
  }

  async function createApp(endpoints: Record<string, unknown>[] = []): Promise<string> {
    const { id } = await createApplication(database, 'test');
    if (endpoints.length > 0) await addEndpoints(id, endpoints);
    return id;
  }

  async function dispatchTo(
    applicationId: string,
    change: Partial<Parameters<typeof startDispatch>[1]> = {},
  ): Promise<string> {
    const id = uuidv7();
    await database.transaction((tx) =>
      startDispatch(tx, {
        id,
        applicationId,
        kind: 'campaign',
        class: 'promotional',
        lane: 'bulk',
        campaignId: hexId(),
        plan: emailPlan,
        members: sql`select id from endpoints where application_id = ${applicationId}`,
        expiresAt: new Date(Date.now() + 3_600_000),
        ...change,
      }),
    );
    return id;
  }

  function finished(id: string): Promise<void> {
    return waitFor(
      `dispatch ${id} to end`,
      async () => {
        const { rows } = await database.query(sql`select finished_at from dispatches where id = ${id}`);
        return rows[0].finished_at !== null;
      },
      40_000,
    );
  }

  return { database, createPipeline, createApp, addEndpoints, dispatchTo, finished };
}

/** A provider that answers what a test says, and its one account: `providers` and `routeFor` of a pipeline. */
export function scripted(
  answer: (message: OutgoingMessage, signal: AbortSignal) => AttemptResult | Promise<AttemptResult>,
  options: { concurrency?: number; account?: Partial<ProviderAccount>; close?: () => Promise<void> } = {},
) {
  const seen: OutgoingMessage[] = [];
  const provider: Provider = {
    name: 'scripted',
    channels: ['EMAIL'],
    fields: [],
    open: () => ({
      limits: { concurrency: options.concurrency ?? 4, batch: 1 },
      send: (messages, signal) =>
        Promise.all(
          messages.map((message) => {
            seen.push(message);
            return answer(message, signal);
          }),
        ),
      check: async () => undefined,
      close: options.close ?? (async () => undefined),
    }),
  };
  const account = { ...accountOf('scripted', 'scripted'), ...options.account };
  return { seen, providers: [provider], routeFor: async () => [account] };
}

export function accountOf(
  id: string,
  provider: string,
  settings: Record<string, unknown> = {},
): ProviderAccount {
  return {
    id,
    applicationId: null,
    channel: 'EMAIL',
    provider,
    name: id,
    settings,
    secrets: {},
    messagesPerSecond: null,
    dailyLimit: null,
  };
}

export const accepted = ({ id }: OutgoingMessage): AttemptResult => ({
  id,
  outcome: 'accepted',
  code: 250,
  response: '250 ok',
});

export const deferred = ({ id }: OutgoingMessage): AttemptResult => ({
  id,
  outcome: 'deferred',
  code: 451,
  response: '451 later',
});

export const unreachable = ({ id }: OutgoingMessage): AttemptResult => ({
  id,
  outcome: 'deferred',
  code: 0,
  response: 'connect ECONNREFUSED',
  accountUnusable: true,
});

/** The real database with faults in its transactions, as lost connections make them. */
export function faulty(
  database: Database,
  faultOf: () => 'none' | 'answer_lost' | 'late_commit' | 'refused',
): Database {
  const lost = () => new Error('Connection terminated unexpectedly');
  return {
    ...database,
    async transaction(work) {
      const fault = faultOf();
      if (fault === 'none') return database.transaction(work);
      if (fault === 'refused') throw lost();
      if (fault === 'answer_lost') {
        await database.transaction(work);
        throw lost();
      }
      const client = await database.connect();
      await client.query('begin');
      try {
        await work(client);
      } catch (error) {
        await client.query('rollback');
        client.release();
        throw error;
      }
      setTimeout(() => void client.query('commit').finally(() => client.release()), 300);
      throw lost();
    },
  };
}
