import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { ensurePartitions } from '../../packages/server/src/events/index.ts';
import { openDatabase } from '../../packages/server/src/platform/database.ts';
import { migrate } from '../../packages/server/src/platform/migrate.ts';
import { ensureDatabase, startPostgres } from '../../packages/server/src/platform/postgres.ts';
import { startMailServer } from '../support/mail-server.ts';
import { waitFor } from '../support/processes.ts';
import { startProduct } from '../support/product.ts';
import { accountingOf, createAudience, startCampaign, sumOf, untilCompleted } from './campaign.ts';

const recipients = 2_000;

// A server of this file's own, which may be stopped and killed. What it has acknowledged survives that without fsync.
const folder = await mkdtemp('/tmp/postrider-faults-');
// The server may run as another user, which must get through.
await chmod(folder, 0o755);
const server = await startPostgres({
  directory: join(folder, 'postgres'),
  settings: { fsync: 'off', full_page_writes: 'off' },
});
await ensureDatabase(server, 'faults');
const url = server.url('faults');
const database = { ...openDatabase({ url, maxConnections: 5, applicationName: 'judge' }), url };
await migrate(database);
await ensurePartitions(database);
const mail = await startMailServer();
afterAll(async () => {
  await database.close();
  await server.stop();
  await rm(folder, { recursive: true, force: true });
});
const { client, json } = await startProduct(
  { POSTRIDER_SMTP_URL: `smtp://127.0.0.1:${mail.port}?tls=none`, POSTRIDER_RETRY_FIRST_DELAY_MS: '200' },
  database,
);

/** Ends all connections but the judge's own. */
async function terminateAll(): Promise<void> {
  await database.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where datname = 'faults' and application_name <> 'judge' and backend_type = 'client backend'`,
  );
}

/** Stops or kills the server, which is started again by its supervisor, and waits until it answers. */
async function restart(signal: NodeJS.Signals): Promise<void> {
  const before = server.pid;
  process.kill(before, signal);
  await waitFor('PostgreSQL to be back', async () => {
    if (server.pid === before) return false;
    const answer = await database.query('select 1').catch(() => undefined);
    return answer !== undefined;
  });
}

const faults = [
  terminateAll,
  () => restart('SIGINT'),
  terminateAll,
  () => restart('SIGKILL'),
  terminateAll,
  terminateAll,
];

test('PostgreSQL goes away again and again under two campaigns: nobody is lost and nobody gets two', async () => {
  const pinpoint = client();
  // One goes to the mail server, the other, with its own account, into the sandbox.
  const viaSmtp = await createAudience(pinpoint, database, recipients);
  const viaSandbox = await createAudience(pinpoint, database, recipients);
  await database.query(
    `insert into provider_accounts (id, application_id, channel, provider, name, state)
     values ('sandbox', $1, 'EMAIL', 'sandbox', 'sandbox', 'active')`,
    [viaSandbox],
  );
  const campaigns = [
    await startCampaign(pinpoint, viaSmtp, 400),
    await startCampaign(pinpoint, viaSandbox, 400),
  ];
  let faulted = 0;
  for (const fault of faults) {
    await new Promise((resolve) => setTimeout(resolve, 300));
    const states = await Promise.all(
      campaigns.map((campaign) => accountingOf(json, campaign).catch(() => null)),
    );
    if (states.every((state) => state?.state === 'COMPLETED')) break;
    await fault();
    faulted += 1;
  }
  expect(faulted).toBeGreaterThanOrEqual(4);
  for (const campaign of campaigns) {
    const accounting = await untilCompleted(json, campaign, 60_000);
    expect(accounting).toMatchObject({ audience: recipients, pending: 0 });
    expect(sumOf(accounting)).toBe(recipients);
    const { sent = 0, delivered = 0, in_doubt: inDoubt = 0 } = accounting.outcomes;
    expect(sent + delivered + inDoubt).toBe(recipients);
    // No process ended, so what was handed over has its outcome.
    expect(inDoubt).toBe(0);
  }
  const arrived = mail.received.flatMap(({ to }) => to);
  expect(arrived).toHaveLength(recipients);
  expect(new Set(arrived).size).toBe(recipients);
  const { rows } = await database.query(
    'select count(*) as mails, count(distinct address) as people from inbox where application_id = $1',
    [viaSandbox],
  );
  expect(rows).toEqual([{ mails: recipients, people: recipients }]);
  const counted = await database.query(
    `select sum(successful)::int as successful, sum(total)::int as total
     from campaign_activities where application_id = any($1)`,
    [[viaSmtp, viaSandbox]],
  );
  expect(counted.rows).toEqual([{ successful: 2 * recipients, total: 2 * recipients }]);
});
