import { deleteApplication, eraseDeletedApplications } from '../../packages/server/src/accounts/index.ts';
import {
  analyticsRollups,
  kpiResults,
  runRebuilds,
  setTimeZone,
} from '../../packages/server/src/analytics/index.ts';
import { createIngest, createSegment, deleteEndpoint } from '../../packages/server/src/audience/index.ts';
import {
  appendFacts,
  createNumberer,
  createSubscriber,
  ensurePartitions,
  type Fact,
} from '../../packages/server/src/events/index.ts';
import type { Database } from '../../packages/server/src/platform/database.ts';
import { hexId, uuidDay, uuidv7 } from '../../packages/server/src/platform/ids.ts';
import { silentLog } from '../../packages/server/src/platform/log.ts';
import { erasers } from '../../packages/server/src/roles/rooms.ts';
import { type History, historyStart, sliceTimes } from './history.ts';

/** The clock of the histories. Never goes back, as ids are made by it. */
let now = historyStart;
const clock = { now: () => now };

/** An application whose history was played, with the segment that the questions use. */
export interface Played {
  history: History;
  segmentId: string;
}

/**
 * Plays histories through the product's own doors (ingest, the log, deletions, time zones), with its subscribers running
 * between the slices. Answers those whose application is still there.
 */
export async function play(database: Database, histories: readonly History[]): Promise<Played[]> {
  await ensurePartitions(database, { clock });
  const ingest = createIngest({ database, log: silentLog, clock, retentionDays: 90 });
  const numberer = createNumberer({ database, log: silentLog });
  const subscribers = [analyticsRollups, kpiResults].map((subscriber) =>
    // Few facts at once, so that a history is cut at many places.
    createSubscriber({ database, log: silentLog, ...subscriber, maxFacts: 500 }),
  );
  const catchUp = async () => {
    await numberer.drain();
    for (const subscriber of subscribers) await subscriber.drain(600_000);
  };
  const played = await prepare(database, histories);
  for (const [slice, time] of sliceTimes.entries()) {
    now = time;
    const living = histories.filter(
      ({ deletedSlice }) => deletedSlice === undefined || deletedSlice >= slice,
    );
    for (const { app, timeZone } of living.filter(({ zoneSlice }) => zoneSlice === slice)) {
      await setTimeZone(database, app, timeZone, { clock });
    }
    await runRebuilds({ database, log: silentLog });
    await Promise.all(
      living.map(async ({ app, puts }) => {
        for (const items of puts[slice]!) {
          const results = await ingest.put(app, items);
          const refused = results.flatMap(({ events }) => events.filter(({ status }) => status !== 202));
          if (refused.length > 0) throw new Error(`slice ${slice} of ${app}: ${refused[0]!.message}`);
        }
      }),
    );
    await sendMessages(database, living, slice);
    for (const { app, deletions } of living)
      for (const endpointId of deletions[slice]!) await deleteEndpoint(database, app, endpointId);
    if (slice % 3 === 0) await catchUp();
    for (const { app, deletedSlice } of living) {
      if (deletedSlice !== slice) continue;
      await deleteApplication(database, app);
      await eraseDeletedApplications({ database, erasers, log: silentLog });
    }
  }
  await catchUp();
  await ingest.drain();
  return played.filter(({ history }) => history.deletedSlice === undefined);
}

async function prepare(database: Database, histories: readonly History[]): Promise<Played[]> {
  const played: Played[] = [];
  for (const history of histories) {
    const { app, campaigns } = history;
    await database.query('insert into applications (id, name) values ($1, $1)', [app]);
    for (const campaign of campaigns) {
      await database.query(
        `insert into campaigns (application_id, id, definition, state, segment_version) values ($1, $2, '{}', 'COMPLETED', 1)`,
        [app, `${app}-${campaign}`],
      );
    }
    const gold = { Dimensions: { Attributes: { plan: { Values: ['gold'] } } } };
    const { id } = await database.transaction((tx) => createSegment(tx, app, gold, now));
    played.push({ history, segmentId: id });
  }
  return played;
}

const dispatchIds = new Map<string, string>();
const messageIds = new Map<string, string>();

/** What the pipeline writes: dispatches, activities, messages, and facts of what becomes of them. */
async function sendMessages(database: Database, living: readonly History[], slice: number): Promise<void> {
  const facts: Fact[] = [];
  for (const history of living) {
    const { app, dispatches, messages } = history;
    for (const [index, dispatch] of dispatches.entries()) {
      if (dispatch.slice === slice) await startDispatch(database, app, index, dispatch);
    }
    for (const [index, message] of messages.entries()) {
      const key = `${app} ${index}`;
      const dispatch = dispatches[message.dispatch]!;
      const dispatchId = dispatchIds.get(`${app} ${message.dispatch}`);
      if (dispatch.slice === slice) {
        const id = uuidv7(now);
        messageIds.set(key, id);
        const campaignId = dispatch.campaignId === undefined ? null : `${app}-${dispatch.campaignId}`;
        await database.query(
          `insert into messages (day, id, application_id, dispatch_id, campaign_id, channel, address, endpoint_id, treatment_id, decision)
           values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'sending')`,
          [
            ...[uuidDay(id), id, app, dispatchId, campaignId, message.channel, message.address],
            ...[message.endpointId ?? null, message.treatmentId ?? null],
          ],
        );
      }
      for (const { type, at, payload, slice: arrival } of message.facts) {
        if (arrival !== slice) continue;
        const about = { endpointId: message.endpointId, messageId: messageIds.get(key), dispatchId };
        facts.push({ type, applicationId: app, occurredAt: at, ...about, payload });
      }
    }
  }
  await database.transaction((tx) => appendFacts(tx, facts, clock));
}

async function startDispatch(
  database: Database,
  app: string,
  index: number,
  { kind, campaignId, activities }: History['dispatches'][number],
): Promise<void> {
  const id = uuidv7(now);
  dispatchIds.set(`${app} ${index}`, id);
  const campaign = campaignId === undefined ? null : `${app}-${campaignId}`;
  await database.query(
    `insert into dispatches (id, application_id, kind, class, lane, state, campaign_id, plan, expires_at)
     values ($1, $2, $3, 'promotional', 'bulk', 'done', $4, '{}', now())`,
    [id, app, kind, campaign],
  );
  if (kind !== 'campaign') return;
  for (const treatment of activities) {
    await database.query(
      `insert into campaign_activities (application_id, campaign_id, id, treatment_id, dispatch_id, state, scheduled_start)
       values ($1, $2, $3, $4, $5, 'COMPLETED', now())`,
      [app, campaign, hexId(), treatment, id],
    );
  }
}
