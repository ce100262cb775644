import sql from 'sql-template-tag';
import { loadRecipients } from '../audience/index.ts';
import { appendFacts } from '../events/index.ts';
import type { Database } from '../platform/database.ts';
import { CallerError } from '../platform/errors.ts';
import { uuidDay } from '../platform/ids.ts';
import { type ComposerOptions, createComposer } from './compose.ts';
import { loadDispatch } from './dispatch.sql.ts';
import type { Dispatch } from './dispatch.ts';
import type { DeliveryChannel } from './provider.ts';
import { insertRetries, type Retry } from './window.sql.ts';

const maxMessages = 1_000;
const timeToLiveMs = 24 * 3_600_000;

interface InDoubt {
  id: string;
  dispatchId: string;
  endpointId: string;
  treatmentId: string | null;
  channel: DeliveryChannel;
  address: string;
  attempt: number;
}

/**
 * Sends campaign messages again that were left in doubt (the process died between handing them over and hearing what
 * came of it), with the same Message-ID. Only messages that are in doubt now are taken; returns their ids.
 */
export async function resendInDoubt(
  database: Database,
  composer: ComposerOptions,
  applicationId: string,
  messageIds: string[],
): Promise<string[]> {
  if (messageIds.length > maxMessages)
    throw new CallerError('bad_request', `At most ${maxMessages} messages at once`);
  return await database.transaction(async (tx) => {
    const { rows } = await tx.query<InDoubt>(sql`
      select m.id, m.dispatch_id as "dispatchId", m.endpoint_id as "endpointId", m.treatment_id as "treatmentId",
             m.channel, m.address, (f.payload->>'attempt')::int as attempt
      from messages m
      join lateral (
        select e.type, e.payload from events e where e.message_id = m.id and e.type like 'message.%'
        order by e.occurred_at desc limit 1
      ) f on f.type = 'message.in_doubt' and not coalesce((f.payload->>'sentAgain')::boolean, false)
      where m.application_id = ${applicationId} and m.id = any(${messageIds}::uuid[])
        and m.day = any(${[...new Set(messageIds.map(uuidDay))]}::date[]) and m.endpoint_id is not null
        and not exists (select from retries r where r.message_id = m.id)
      for update of m`);
    const retries: Retry[] = [];
    for (const [dispatchId, messages] of Map.groupBy(rows, (row) => row.dispatchId)) {
      const dispatch = await loadDispatch(tx, dispatchId);
      if (dispatch) retries.push(...(await composeAgain(database, composer, dispatch, messages)));
    }
    await insertRetries(tx, retries);
    await appendFacts(
      tx,
      retries.map((retry) => ({
        type: 'message.resent',
        applicationId,
        endpointId: retry.endpointId,
        messageId: retry.messageId,
        dispatchId: retry.dispatchId,
        payload: { attempt: retry.attempt - 1, response: 'Sent again by hand after it was in doubt' },
      })),
    );
    return retries.map(({ messageId }) => messageId);
  });
}

async function composeAgain(
  database: Database,
  options: ComposerOptions,
  dispatch: Dispatch,
  messages: InDoubt[],
): Promise<Retry[]> {
  const { applicationId, plan } = dispatch;
  const recipients = await loadRecipients(
    database,
    applicationId,
    messages.map(({ endpointId }) => endpointId),
  );
  const byId = new Map(recipients.map((recipient) => [recipient.id, recipient]));
  const retries: Retry[] = [];
  for (const message of messages) {
    const recipient = byId.get(message.endpointId);
    const source = plan.treatments.find(({ id }) => id === message.treatmentId)?.content[message.channel];
    if (!recipient || !source) continue;
    const context = { applicationId, channel: message.channel, source, class: dispatch.class };
    const [composed] = await createComposer(options).compose(context, [{ recipient }]);
    if (!composed || !('content' in composed)) continue;
    retries.push({
      messageId: message.id,
      applicationId,
      dispatchId: dispatch.id,
      endpointId: message.endpointId,
      treatmentId: message.treatmentId,
      class: dispatch.class,
      lane: dispatch.lane,
      dueAt: new Date(),
      expiresAt: new Date(Date.now() + timeToLiveMs),
      attempt: message.attempt + 1,
      message: {
        id: message.id,
        applicationId,
        channel: message.channel,
        address: message.address,
        content: composed.content,
      },
    });
  }
  return retries;
}
