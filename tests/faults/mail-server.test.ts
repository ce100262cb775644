import net, { type AddressInfo, type Socket } from 'node:net';
import { afterAll, expect, test } from 'vitest';
import {
  type Script,
  type ScriptAnswer,
  startScriptedServer,
} from '../../packages/server/src/providers/smtp/scripted-server.test-support.ts';
import { waitFor } from '../support/processes.ts';
import { startProduct } from '../support/product.ts';
import { accountingOf, createAudience, startCampaign, sumOf, untilCompleted } from './campaign.ts';

let script: Script = () => undefined;
const server = await startScriptedServer((...event) => script(...event));
const gate = await startGate(server.port);
afterAll(async () => {
  await gate.close();
  await server.stop();
});
const timeouts = 'connectTimeoutMs=1000&greetingTimeoutMs=500&replyTimeoutMs=700';
const { client, json, database } = await startProduct({
  POSTRIDER_SMTP_URL: `smtp://127.0.0.1:${gate.port}?tls=none&${timeouts}`,
  POSTRIDER_RETRY_FIRST_DELAY_MS: '300',
});
const pinpoint = client();

/** A door before the server: closed, connections are refused as by a machine on which nothing listens. */
async function startGate(target: number) {
  const sockets = new Set<Socket>();
  const listener = net.createServer((socket) => {
    const inner = net.connect(target, '127.0.0.1');
    for (const [one, other] of [
      [socket, inner],
      [inner, socket],
    ] as const) {
      sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => {
        sockets.delete(one);
        other.end();
      });
      one.pipe(other);
    }
  });
  const open = (port: number) => new Promise<void>((resolve) => listener.listen(port, '127.0.0.1', resolve));
  await open(0);
  const { port } = listener.address() as AddressInfo;
  const close = () => {
    for (const socket of sockets) socket.destroy();
    return new Promise<void>((resolve) => listener.close(() => resolve()));
  };
  return { port, close, open: () => open(port) };
}

/** Recipients of all mails that the server took since `from`. */
const arrivedSince = (from: number) => server.mails.slice(from).flatMap(({ to }) => to);

const numberOf = (address: string) => Number(/^person\.(\d+)@/.exec(address)?.[1]);

/** What happens to a recipient's first attempt, by phase; after it the server behaves. */
const badDays: { phase: 'RCPT' | 'DATA' | 'content'; answer: ScriptAnswer; doubt?: true }[] = [
  { phase: 'RCPT', answer: { do: 'close' } },
  { phase: 'RCPT', answer: { do: 'hang' } },
  { phase: 'RCPT', answer: 'what? who are you?' },
  { phase: 'RCPT', answer: '451 4.7.1 later' },
  { phase: 'RCPT', answer: '421 4.3.2 closing' },
  { phase: 'DATA', answer: { do: 'close' } },
  { phase: 'DATA', answer: { do: 'hang' } },
  { phase: 'DATA', answer: '\u0000\u0001 garbage' },
  { phase: 'DATA', answer: { do: 'trickle', text: '3' } },
  { phase: 'content', answer: '451 4.3.0 disk full' },
  { phase: 'content', answer: { do: 'wait', ms: 100 } },
  // The whole content was handed over and nobody knows what became of it.
  { phase: 'content', answer: { do: 'close' }, doubt: true },
  { phase: 'content', answer: { do: 'hang' }, doubt: true },
  { phase: 'content', answer: 'garbage', doubt: true },
];

test('a server that hangs, closes and talks nonsense in every phase: everybody has one mail or a doubt', async () => {
  const recipients = 420;
  const tried = new Set<string>();
  script = (event, argument, connection) => {
    if (event === 'connect' && connection % 5 === 0) {
      const greetings: ScriptAnswer[] = [
        { do: 'close' },
        { do: 'hang' },
        'hello?',
        '554 no',
        { do: 'raw', text: '\r\n' },
      ];
      return greetings[(connection / 5) % greetings.length];
    }
    // One in ten recipients has a bad day.
    const number = numberOf(argument);
    if (!(number % 10 === 0)) return undefined;
    const day = badDays[(number / 10) % badDays.length]!;
    if (event !== day.phase || tried.has(argument)) return undefined;
    tried.add(argument);
    return day.answer;
  };
  const ApplicationId = await createAudience(pinpoint, database, recipients);
  const accounting = await untilCompleted(json, await startCampaign(pinpoint, ApplicationId), 60_000);
  expect(accounting).toMatchObject({ audience: recipients, pending: 0, reasons: {} });
  expect(sumOf(accounting)).toBe(recipients);
  const doubtful = Array.from({ length: recipients }, (_, index) => index + 1).filter(
    (number) => number % 10 === 0 && badDays[(number / 10) % badDays.length]!.doubt,
  );
  expect(accounting.outcomes.in_doubt).toBe(doubtful.length);
  expect(accounting.outcomes.sent).toBe(recipients - doubtful.length);
  const arrived = arrivedSince(0).map(numberOf);
  expect(arrived).toHaveLength(recipients - doubtful.length);
  expect(new Set(arrived).size).toBe(arrived.length);
  expect(arrived.filter((number) => doubtful.includes(number))).toEqual([]);
});

for (const [what, begin, end] of [
  ['refuses connections', gate.close, gate.open],
  [
    'answers 451 to everyone',
    async () => {
      script = (event) => (event === 'RCPT' ? '451 4.7.1 not now' : undefined);
    },
    async () => {
      script = () => undefined;
    },
  ],
] as const) {
  test(`a server that ${what} for a while: the campaign waits for it and does not burn its audience`, async () => {
    const recipients = 500;
    script = (event) => (event === 'content' ? { do: 'wait', ms: 20 } : undefined);
    const before = server.mails.length;
    const ApplicationId = await createAudience(pinpoint, database, recipients);
    const campaign = await startCampaign(pinpoint, ApplicationId);
    await waitFor('the first mails', () => server.mails.length > before + 20);
    await begin();
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    const during = await accountingOf(json, campaign);
    const deferred = await database.query(
      `select count(distinct message_id)::int as count from events where application_id = $1 and type = 'message.deferred'`,
      [ApplicationId],
    );
    await end();
    expect(during.pending).toBeGreaterThan(recipients / 3);
    // What was under way when it began, the limit of refusals, and a few that showed that it is not over.
    expect(deferred.rows[0].count).toBeLessThan(130);
    const accounting = await untilCompleted(json, campaign, 60_000);
    expect(sumOf(accounting)).toBe(recipients);
    const { sent = 0, in_doubt: inDoubt = 0 } = accounting.outcomes;
    expect(sent + inDoubt).toBe(recipients);
    // The gate breaks connections in the middle of messages; 20 of them at most.
    expect(inDoubt).toBeLessThanOrEqual(20);
    const arrived = arrivedSince(before);
    expect(new Set(arrived).size).toBe(arrived.length);
    expect(arrived.length).toBeGreaterThanOrEqual(sent);
  });
}
