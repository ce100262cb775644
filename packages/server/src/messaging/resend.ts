import sql from 'sql-template-tag';
import { loadRecipients } from '../audience/index.ts';
import { appendFacts } from '../events/index.ts';
import type { Database, Queryable } from '../platform/database.ts';
import { CallerError } from '../platform/errors.ts';
import { uuidDay } from '../platform/ids.ts';
import { type ComposerOptions, createComposer } from './compose.ts';
import { withDelivery } from './customer-functions.ts';
import { loadDispatch } from './dispatch.sql.ts';
import type { Dispatch } from './dispatch.ts';
import type { DeliveryChannel, MessageContent } from './provider.ts';
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
 * came of it), with the same Message-ID. Only messages are taken that are in doubt now and are not sent again by
 * themselves, and whose words can be composed again; returns their ids.
 */
export async function resendInDoubt(
  database: Database,
  composer: ComposerOptions,
  applicationId: string,
  messageIds: string[],
): Promise<string[]> {
  if (messageIds.length > maxMessages)
    throw new CallerError('bad_request', `At most ${maxMessages} messages at once`);
  const found = await selectInDoubt(database, applicationId, messageIds);
  const retries = new Map<string, Retry>();
  for (const [dispatchId, messages] of Map.groupBy(found, (message) => message.dispatchId)) {
    const dispatch = await loadDispatch(database, dispatchId);
    // What was sent to named recipients has no plan to compose from.
    if (!dispatch || dispatch.kind === 'direct') continue;
    for (const retry of await composeAgain(database, composer, dispatch, messages))
      retries.set(retry.messageId, retry);
  }
  if (retries.size === 0) return [];
  return await database.transaction(async (tx) => {
    // Locked first and read again then, so that two callers do not send the same message.
    await tx.query(sql`
      select from messages where application_id = ${applicationId} and id = any(${[...retries.keys()]}::uuid[])
        and day = any(${daysOf([...retries.keys()])}::date[]) order by id for update`);
    const still = await selectInDoubt(tx, applicationId, [...retries.keys()]);
    const again = still.map(({ id, attempt }) => ({ ...retries.get(id)!, attempt: attempt + 1 }));
    await insertRetries(tx, again);
    await appendFacts(
      tx,
      again.map((retry) => ({
        type: 'message.resent',
        applicationId,
        endpointId: retry.endpointId,
        messageId: retry.messageId,
        dispatchId: retry.dispatchId,
        payload: { attempt: retry.attempt - 1, response: 'Sent again by hand after it was in doubt' },
      })),
    );
    return again.map(({ messageId }) => messageId);
  });
}

const daysOf = (ids: string[]) => [...new Set(ids.map(uuidDay))];

/** Those of the messages whose last word is a doubt that nothing will settle by itself. */
async function selectInDoubt(db: Queryable, applicationId: string, ids: string[]): Promise<InDoubt[]> {
  const { rows } = await db.query<InDoubt>(sql`
    select m.id, m.dispatch_id as "dispatchId", m.endpoint_id as "endpointId", m.treatment_id as "treatmentId",
           m.channel, m.address, f.attempt
    from messages m
    join lateral (
      select max((e.payload->>'attempt')::int) as attempt,
             (array_agg(e.type order by e.occurred_at desc, e.batch_id desc, e.seq desc))[1] as type,
             (array_agg(e.payload order by e.occurred_at desc, e.batch_id desc, e.seq desc))[1] as payload,
             bool_or(e.type in ('message.sent', 'message.failed', 'message.delivered', 'message.bounced',
                                'message.complained', 'message.expired', 'message.opened', 'message.clicked')) as settled
      from events e where e.message_id = m.id and e.day >= m.day and e.type like 'message.%'
    ) f on f.type = 'message.in_doubt' and not f.settled
       and not coalesce((f.payload->>'sentAgain')::boolean, false) and f.payload->>'retryAt' is null
    where m.application_id = ${applicationId} and m.id = any(${ids}::uuid[])
      and m.day = any(${daysOf(ids)}::date[]) and m.endpoint_id is not null
      and not exists (select from retries r where r.message_id = m.id)`);
  return rows;
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
  const composer = createComposer(options);
  const retries: Retry[] = [];
  const groups = Map.groupBy(
    messages.filter(({ endpointId }) => byId.has(endpointId)),
    ({ treatmentId, channel }) => `${channel} ${treatmentId}`,
  );
  for (const members of groups.values()) {
    const { treatmentId, channel } = members[0]!;
    const treatment = plan.treatments.find(({ id }) => id === treatmentId);
    const source = treatment?.content[channel];
    if (!treatment || !source) continue;
    const composed = await composer.compose(
      { applicationId, channel, source, class: dispatch.class },
      members.map(({ endpointId }) => ({ recipient: byId.get(endpointId)! })),
    );
    members.forEach((message, index) => {
      const words = composed[index]!;
      if (!('content' in words)) return;
      const content = withDelivery(words.content, dispatch, treatment, byId.get(message.endpointId)!);
      retries.push(retryOf(dispatch, message, content));
    });
  }
  return retries;
}

function retryOf(dispatch: Dispatch, message: InDoubt, content: MessageContent): Retry {
  const { id, channel, address, endpointId, treatmentId, attempt } = message;
  const { applicationId } = dispatch;
  return {
    messageId: id,
    applicationId,
    dispatchId: dispatch.id,
    endpointId,
    treatmentId,
    class: dispatch.class,
    lane: dispatch.lane,
    dueAt: new Date(),
    expiresAt: new Date(Date.now() + timeToLiveMs),
    attempt: attempt + 1,
    message: { id, applicationId, channel, address, content },
  };
}
