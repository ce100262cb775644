import sql, { type Sql } from 'sql-template-tag';
import { appendFacts, type Fact } from '../events/index.ts';
import type { Database, Queryable, Transaction } from '../platform/database.ts';
import { finishDispatches } from './dispatch.sql.ts';
import type { DispatchClass, Lane } from './dispatch.ts';
import type { OutgoingMessage } from './provider.ts';
import { deleteWindows, insertRetries } from './window.sql.ts';

const windowsPerRound = 100;
const maxRounds = 1_000;

/** A message of a window without an outcome. */
interface Unsettled {
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
  /** Its provider has reported something about it, so it had been accepted. */
  receipt: boolean;
  expired: boolean;
}

/**
 * Takes over what dead workers left: their chunks may be claimed again, and of their windows each message without an
 * outcome is in doubt: it may or may not have reached the provider. The transactional class is sent again (with the
 * same Message-ID), the promotional one is listed. A worker is dead when its row in `workers` is gone: its supervisor or
 * the heartbeat of the others removes it. Returns how many messages were in doubt.
 */
export async function recoverDeadWorkers(database: Database): Promise<number> {
  const alive = sql`select id from workers`;
  let total = 0;
  for (let round = 0; round < maxRounds; round++) {
    const found = await database.transaction(async (tx) => {
      const settled = await settleWindows(tx, sql`worker_id not in (${alive})`);
      await tx.query(sql`
        update dispatch_chunks set worker_id = null where worker_id is not null and worker_id not in (${alive})`);
      return settled;
    });
    total += found.inDoubt;
    if (found.windows < windowsPerRound) break;
  }
  return total;
}

/** The same for one window of this process that was committed, but that nobody handed over. */
export async function recoverWindow(database: Database, id: string): Promise<void> {
  await database.transaction((tx) => settleWindows(tx, sql`id = ${id}`));
}

/** Gives each message of these windows what follows from not knowing about it, and deletes the windows. */
async function settleWindows(tx: Transaction, which: Sql): Promise<{ windows: number; inDoubt: number }> {
  // Its writer may be about to end a window after all (a process that was only slow); that one is left to it.
  const { rows: windows } = await tx.query<{ id: string }>(sql`
    select id from send_windows where ${which} order by id limit ${windowsPerRound} for update skip locked`);
  const ids = windows.map(({ id }) => id);
  const unsettled = await withoutOutcome(tx, ids);
  await insertRetries(
    tx,
    unsettled
      .filter(isSentAgain)
      .map(({ id, windowId: _, message, receipt: _receipt, expired: _expired, ...rest }) => ({
        ...rest,
        messageId: id,
        dueAt: new Date(),
        attempt: rest.attempt + 1,
        message: message!,
      })),
  );
  if (unsettled.length > 0) await appendFacts(tx, unsettled.map(factOf));
  await deleteWindows(tx, ids);
  return { windows: windows.length, inDoubt: unsettled.filter(({ receipt }) => !receipt).length };
}

async function withoutOutcome(tx: Queryable, windowIds: string[]): Promise<Unsettled[]> {
  if (windowIds.length === 0) return [];
  const { rows } = await tx.query<Unsettled>(sql`
    select w.id as "windowId", w.application_id as "applicationId", w.dispatch_id as "dispatchId", w.class, w.lane,
           w.expires_at as "expiresAt", w.expires_at <= now() as expired,
           m.id, m.attempt, m."endpointId", m."treatmentId", m.message,
           exists (
             select from events e where e.message_id = m.id
               and e.type in ('message.delivered', 'message.bounced', 'message.complained')
           ) as receipt
    from send_windows w
    cross join jsonb_to_recordset(w.messages)
      as m(id uuid, attempt int, "endpointId" text, "treatmentId" text, message jsonb)
    where w.id = any(${windowIds}::uuid[])
      and not exists (
        select from events e where e.message_id = m.id and e.type like 'message.%' and (e.payload->>'attempt')::int >= m.attempt
      )`);
  return rows;
}

function isSentAgain({ class: dispatchClass, message, receipt, expired }: Unsettled): boolean {
  return dispatchClass === 'transactional' && message !== null && !receipt && !expired;
}

function factOf(unsettled: Unsettled): Fact {
  const again = isSentAgain(unsettled);
  const { applicationId, endpointId, id, dispatchId, attempt, treatmentId, receipt } = unsettled;
  const why = 'The process ended before the outcome was known';
  return {
    type: receipt ? 'message.sent' : 'message.in_doubt',
    applicationId,
    endpointId,
    messageId: id,
    dispatchId,
    payload: {
      attempt,
      treatmentId: treatmentId ?? undefined,
      response: receipt
        ? `${why}; its provider reported about it, so it was accepted`
        : `${why}; ${again ? 'sent again with the same Message-ID' : 'not sent again by itself'}`,
      ...(receipt ? {} : { sentAgain: again }),
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
