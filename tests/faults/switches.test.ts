import { expect, test } from 'vitest';
import { startMailServer } from '../support/mail-server.ts';
import { startProduct } from '../support/product.ts';
import {
  accountingOf,
  createAudience,
  type FaultCampaign,
  startCampaign,
  sumOf,
  untilCompleted,
} from './campaign.ts';

const recipients = 1_200;
const mail = await startMailServer();
const { client, json, request, database } = await startProduct({
  POSTRIDER_SMTP_URL: `smtp://127.0.0.1:${mail.port}?tls=none`,
});
const pinpoint = client();

/** Presses a switch, and returns the status of the answer. */
async function press(campaign: FaultCampaign, word: string): Promise<number> {
  const { ApplicationId, CampaignId } = campaign;
  const response = await request(`/api/apps/${ApplicationId}/campaigns/${CampaignId}/${word}`, {
    method: 'POST',
  });
  await response.text();
  return response.status;
}

/** Five people press switches at once, as fast as they are answered, for as long as `until` says. */
async function storm(
  campaign: FaultCampaign,
  words: string[],
  until: () => Promise<boolean>,
): Promise<number[]> {
  const statuses: number[] = [];
  let over = false;
  const people = Array.from({ length: 5 }, async (_, person) => {
    for (let turn = person; !over; turn++) {
      statuses.push(await press(campaign, words[turn % words.length]!));
      await new Promise((resolve) => setTimeout(resolve, (person * 37 + turn * 13) % 60));
    }
  });
  while (!(await until())) await new Promise((resolve) => setTimeout(resolve, 50));
  over = true;
  await Promise.all(people);
  return statuses;
}

test('pauses and resumes from all sides repeat nobody and lose nobody', async () => {
  const campaign = await startCampaign(pinpoint, await createAudience(pinpoint, database, recipients), 400);
  const statuses = await storm(campaign, ['pause', 'resume', 'resume'], async () => {
    const { audience, pending } = await accountingOf(json, campaign);
    return audience === recipients && pending < recipients / 4;
  });
  expect(statuses.length).toBeGreaterThan(20);
  expect(statuses.filter((status) => status >= 500)).toEqual([]);
  await press(campaign, 'resume');
  const accounting = await untilCompleted(json, campaign, 60_000);
  expect(accounting).toMatchObject({ audience: recipients, pending: 0, outcomes: { sent: recipients } });
  expect(sumOf(accounting)).toBe(recipients);
  const arrived = mail.received.flatMap(({ to }) => to);
  expect(arrived).toHaveLength(recipients);
  expect(new Set(arrived).size).toBe(recipients);
});

test('a stop in the middle of pauses and resumes ends it once, with a reason for everybody else', async () => {
  const before = mail.received.length;
  const campaign = await startCampaign(pinpoint, await createAudience(pinpoint, database, recipients), 400);
  const statuses = await storm(campaign, ['pause', 'resume', 'resume'], async () => {
    const { outcomes } = await accountingOf(json, campaign);
    return (outcomes.sent ?? 0) > 100;
  });
  const stops = await storm(campaign, ['stop', 'pause', 'resume', 'stop', 'resume'], async () => {
    return (await accountingOf(json, campaign)).state === 'COMPLETED';
  });
  expect([...statuses, ...stops].filter((status) => status >= 500)).toEqual([]);
  const accounting = await untilCompleted(json, campaign, 60_000);
  expect(accounting).toMatchObject({ audience: recipients, pending: 0 });
  expect(sumOf(accounting)).toBe(recipients);
  const { sent = 0 } = accounting.outcomes;
  expect(accounting.reasons).toEqual({ stopped: recipients - sent });
  const arrived = mail.received.slice(before).flatMap(({ to }) => to);
  expect(arrived).toHaveLength(sent);
  expect(new Set(arrived).size).toBe(sent);
  const { rows } = await database.query(
    `select count(*)::int as ends from events where application_id = $1 and type = 'dispatch.done'`,
    [campaign.ApplicationId],
  );
  expect(rows).toEqual([{ ends: 1 }]);
});
