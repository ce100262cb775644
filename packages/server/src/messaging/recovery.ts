import sql from 'sql-template-tag';
import { appendFacts, type Fact } from '../events/index.ts';
import type { Database, Queryable, Transaction } from '../platform/database.ts';
import { finishDispatches } from './dispatch.sql.ts';
import type { DispatchClass, Lane } from './dispatch.ts';
import type { OutgoingMessage } from './provider.ts';
import { insertRetries } from './window.sql.ts';

const windowsPerRound = 100;

interface DoubtfulMessage {
  windowId: string;
  applicationId: string;
  dispatchId: string;
  class: DispatchClass;
  lane: Lane;
  expiresAt: Date;
  id: string;
  attempt: number;
  endpointId: string | null;
  treatmentId: string | null;
  message: Omit<OutgoingMessage, 'attempt'> | null;
}

/**
 * Takes over what dead workers left: their chunks may be claimed again, and of their windows each message without an
 * outcome is in doubt: it may or may not have reached the provider. The transactional class is sent again (with the
 * same Message-ID), the promotional one is listed. A worker is dead when its row in `workers` is gone: the heartbeat of
 * the others removes it. Returns how many messages were in doubt.
 */
export async function recoverDeadWorkers(database: Database): Promise<number> {
  let total = 0;
  for (let round = 0; round < 1_000; round++) {
    const found = await database.transaction((tx) => recoverSome(tx));
    total += found.inDoubt;
    if (found.windows < windowsPerRound) break;
  }
  return total;
}

async function recoverSome(tx: Transaction): Promise<{ windows: number; inDoubt: number }> {
  const alive = sql`select id from workers`;
  const { rows: windows } = await tx.query<{ id: string }>(sql`
    select id from send_windows where worker_id not in (${alive})
    order by id limit ${windowsPerRound} for update skip locked`);
  const doubtful = await withoutOutcome(
    tx,
    windows.map(({ id }) => id),
  );
  const again = doubtful.filter((message) => message.class === 'transactional' && message.message);
  await insertRetries(
    tx,
    again.map(({ id, windowId: _, message, ...rest }) => ({
      ...rest,
      messageId: id,
      dueAt: new Date(),
      attempt: rest.attempt + 1,
      message: message!,
    })),
  );
  if (doubtful.length > 0) await appendFacts(tx, doubtful.map(doubtFact));
  await tx.query(sql`delete from send_windows where id = any(${windows.map(({ id }) => id)}::uuid[])`);
  await tx.query(sql`
    update dispatch_chunks set worker_id = null where worker_id is not null and worker_id not in (${alive})`);
  return { windows: windows.length, inDoubt: doubtful.length };
}

async function withoutOutcome(tx: Queryable, windowIds: string[]): Promise<DoubtfulMessage[]> {
  if (windowIds.length === 0) return [];
  const { rows } = await tx.query<DoubtfulMessage>(sql`
    select w.id as "windowId", w.application_id as "applicationId", w.dispatch_id as "dispatchId", w.class, w.lane,
           w.expires_at as "expiresAt", m.id, m.attempt, m."endpointId", m."treatmentId", m.message
    from send_windows w
    cross join jsonb_to_recordset(w.messages)
      as m(id uuid, attempt int, "endpointId" text, "treatmentId" text, message jsonb)
    where w.id = any(${windowIds}::uuid[])
      and not exists (
        select from events e where e.message_id = m.id and e.type like 'message.%' and (e.payload->>'attempt')::int >= m.attempt
      )`);
  return rows;
}

function doubtFact(message: DoubtfulMessage): Fact {
  const again = message.class === 'transactional' && message.message !== null;
  return {
    type: 'message.in_doubt',
    applicationId: message.applicationId,
    endpointId: message.endpointId,
    messageId: message.id,
    dispatchId: message.dispatchId,
    payload: {
      attempt: message.attempt,
      treatmentId: message.treatmentId ?? undefined,
      response: again
        ? 'The process ended before the outcome was known; sent again with the same Message-ID'
        : 'The process ended before the outcome was known; not sent again by itself',
      sentAgain: again,
    },
  };
}

/** Closes finished dispatches and says so in the log; what engagement's states are made of. */
export async function closeDispatches(database: Database): Promise<number> {
  return await database.transaction(async (tx) => {
    const closed = await finishDispatches(tx);
    if (closed.length === 0) return 0;
    await appendFacts(
      tx,
      closed.map(({ id, applicationId, campaignId, state }) => ({
        type: 'dispatch.done',
        applicationId,
        dispatchId: id,
        payload: { campaignId: campaignId ?? undefined, state },
      })),
    );
    return closed.length;
  });
}
