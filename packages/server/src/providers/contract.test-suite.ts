import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type {
  OutgoingMessage,
  Provider,
  ProviderAccount,
  ProviderContext,
  Receipt,
} from '../messaging/provider.ts';
import { uuidv7 } from '../platform/ids.ts';
import { silentLog } from '../platform/log.ts';

/** What a provider needs to be put through the contract: a counterpart that behaves by the address. */
export interface ContractHarness {
  provider: Provider;
  /** Started before the first test; the account points to it. */
  start(): Promise<Pick<ProviderAccount, 'channel' | 'settings' | 'secrets'>>;
  stop(): Promise<void>;
  /** A message to `address`, as the provider's channel has it. */
  message(address: string): Pick<OutgoingMessage, 'channel' | 'address' | 'content'>;
  /** Addresses by what the counterpart does with them. `slow` answers after some time; `attempt` is the first. */
  addresses: Record<'accept' | 'defer' | 'reject' | 'unknown' | 'slow', string>;
  /** Ids of the messages that the counterpart has taken over. */
  taken(): string[];
  /** The connections that the counterpart has, and the most that it had since `reset`. */
  connections?: { open(): number; most(): number; reset(): void };
  /** Settings with which the account does not work, and the words that `check` says then. */
  broken?: { settings: Record<string, unknown>; words: RegExp };
}

/** The receipts and inbox messages that a provider handed over during a test. */
export interface ContractContext extends ProviderContext {
  receipts: Receipt[];
  inbox: OutgoingMessage[];
}

export function contractContext(): ContractContext {
  const receipts: Receipt[] = [];
  const inbox: OutgoingMessage[] = [];
  return {
    log: silentLog,
    allowPrivateHosts: true,
    receipts,
    inbox,
    async receive(more) {
      receipts.push(...more);
    },
    async storeInInbox(messages) {
      inbox.push(...messages);
    },
  };
}

const maxConnections = 4;

/** The contract of messaging/provider.ts as tests: every provider passes them. */
export function describeProviderContract(harness: ContractHarness): void {
  describe(`${harness.provider.name} keeps the contract of providers`, () => {
    let account: ProviderAccount;
    let context: ContractContext;
    const never = new AbortController().signal;

    const message = (address: string): OutgoingMessage => ({
      id: uuidv7(),
      applicationId: 'app',
      attempt: 1,
      ...harness.message(address),
    });
    const open = (settings: Record<string, unknown> = {}) =>
      harness.provider.open({ ...account, settings: { ...account.settings, ...settings } }, context, {
        maxConnections,
      });

    beforeAll(async () => {
      account = {
        id: 'account',
        applicationId: null,
        provider: harness.provider.name,
        name: 'Contract',
        messagesPerSecond: null,
        dailyLimit: null,
        ...(await harness.start()),
      };
    });
    beforeEach(() => {
      context = contractContext();
    });
    afterAll(() => harness.stop());

    test('its fields are complete and their patterns and bounds valid', () => {
      const names = harness.provider.fields.map(({ name }) => name);
      expect(new Set(names).size).toBe(names.length);
      for (const field of harness.provider.fields) {
        expect(field.label, field.name).not.toBe('');
        expect(field.description, field.name).not.toBe('');
        if (field.type === 'enum')
          expect(field.options, field.name).toContain(field.default ?? field.options?.[0]);
        if (field.pattern !== undefined)
          expect(() => new RegExp(`^(?:${field.pattern})$`, 'v'), field.name).not.toThrow();
        if (field.type === 'number' && field.default !== undefined)
          expect(field.default).toBeGreaterThanOrEqual(field.minimum ?? Number.NEGATIVE_INFINITY);
      }
    });

    test('an accepted message is taken over once, with the words of the provider', async () => {
      const session = open();
      const sent = message(harness.addresses.accept);
      const results = await session.send([sent], never);
      expect(results).toEqual([expect.objectContaining({ id: sent.id, outcome: 'accepted' })]);
      expect(results[0]!.code).toBeGreaterThan(0);
      expect(results[0]!.response).not.toBe('');
      expect(harness.taken().filter((id) => id === sent.id)).toHaveLength(1);
      await session.close();
    });

    test('a refusal for now, for good, and an unclear end are told apart', async () => {
      const session = open();
      const { defer, reject, unknown } = harness.addresses;
      const [deferred] = await session.send([message(defer)], never);
      expect(deferred).toMatchObject({ outcome: 'deferred' });
      expect(deferred?.accountUnusable ?? false).toBe(false);
      const [rejected] = await session.send([message(reject)], never);
      expect(rejected).toMatchObject({ outcome: 'rejected', bounce: 'hard' });
      const [lost] = await session.send([message(unknown)], never);
      expect(lost).toMatchObject({ outcome: 'unknown' });
      for (const result of [deferred, rejected, lost]) {
        expect(result?.response).not.toBe('');
        expect(result?.response.length).toBeLessThanOrEqual(500);
        expect(result?.response.isWellFormed()).toBe(true);
      }
      await session.close();
    });

    test('results come in the order of the messages, also beyond the limits', async () => {
      const session = open();
      const { accept, defer, reject } = harness.addresses;
      const messages = Array.from({ length: 60 }, (_, i) => message([accept, defer, accept, reject][i % 4]!));
      const results = await session.send(messages, never);
      expect(results.map(({ id }) => id)).toEqual(messages.map(({ id }) => id));
      expect(results.map(({ outcome }) => outcome)).toEqual(
        messages.map((_, i) => ['accepted', 'deferred', 'accepted', 'rejected'][i % 4]),
      );
      expect(await session.send([], never)).toEqual([]);
      await session.close();
    });

    test('it keeps to its connections however many calls there are', async () => {
      await expect.poll(() => harness.connections?.open() ?? 0).toBe(0);
      harness.connections?.reset();
      const session = open();
      const { concurrency, batch } = session.limits;
      expect(concurrency).toBeGreaterThanOrEqual(1);
      expect(batch).toBeGreaterThanOrEqual(1);
      const calls = Array.from({ length: 50 }, () =>
        session.send([message(harness.addresses.accept)], never),
      );
      const results = (await Promise.all(calls)).flat();
      expect(results.map(({ outcome }) => outcome)).toEqual(Array(50).fill('accepted'));
      if (harness.connections) expect(harness.connections.most()).toBeLessThanOrEqual(maxConnections);
      await session.close();
    });

    test('what was not handed over when it is aborted is deferred, and was not taken', async () => {
      const session = open();
      const abort = new AbortController();
      const messages = Array.from({ length: 30 }, () => message(harness.addresses.slow));
      const sending = session.send(messages, abort.signal);
      setTimeout(() => abort.abort(), 100);
      const results = await sending;
      expect(results.map(({ id }) => id)).toEqual(messages.map(({ id }) => id));
      expect(results.some(({ outcome }) => outcome === 'deferred')).toBe(true);
      const taken = new Set(harness.taken());
      for (const { id, outcome } of results) if (outcome === 'deferred') expect(taken.has(id)).toBe(false);
      const late = message(harness.addresses.accept);
      expect(await session.send([late], abort.signal)).toEqual([
        expect.objectContaining({ id: late.id, outcome: 'deferred' }),
      ]);
      await session.close();
    });

    test('closing waits for what is under way', async () => {
      const session = open();
      const sent = [message(harness.addresses.slow), message(harness.addresses.accept)];
      let results: unknown;
      void session.send(sent, never).then((answered) => {
        results = answered.map(({ outcome }) => outcome);
      });
      await new Promise((resolve) => setTimeout(resolve, 50));
      await session.close();
      await new Promise((resolve) => setImmediate(resolve));
      expect(results).toEqual(['accepted', 'accepted']);
      expect(harness.taken()).toEqual(expect.arrayContaining(sent.map(({ id }) => id)));
    });

    test('check says whether the account works, in the words of the provider', async () => {
      const session = open();
      await expect(session.check()).resolves.toBeUndefined();
      await session.close();
      if (!harness.broken) return;
      const broken = open(harness.broken.settings);
      await expect(broken.check()).rejects.toThrow(harness.broken.words);
      const [result] = await broken.send([message(harness.addresses.accept)], never);
      expect(result).toMatchObject({ outcome: 'deferred', accountUnusable: true });
      expect(result!.response).toMatch(harness.broken.words);
      await broken.close();
    });
  });
}
