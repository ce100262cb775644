import sql from 'sql-template-tag';
import { addSuppressions } from '../audience/index.ts';
import { appendFacts } from '../events/index.ts';
import type { Database } from '../platform/database.ts';
import { uuidDay } from '../platform/ids.ts';
import type { DeliveryChannel, DeliveryReceipt, EngagementReceipt, Receipt } from './provider.ts';

/** Longest texts of an engagement that are kept: what browsers and links have, not what an attacker can send. */
const maxUserAgent = 500;
const maxUrl = 2_000;
const maxIpAddress = 45;

interface Known {
  id: string;
  applicationId: string;
  channel: DeliveryChannel;
  address: string;
  endpointId: string | null;
  dispatchId: string;
  treatmentId: string | null;
}

/**
 * Writes what providers report about messages they had accepted: one fact each (also for each open and click), and a
 * suppression for hard bounces and complaints, in one transaction. Receipts for messages that do not exist are dropped and counted in the result.
 */
export async function receiveReceipts(database: Database, receipts: Receipt[]): Promise<{ unknown: number }> {
  if (receipts.length === 0) return { unknown: 0 };
  return await database.transaction(async (tx) => {
    const ids = receipts.map(({ messageId }) => messageId);
    const { rows } = await tx.query<Known>(sql`
      select m.id, m.application_id as "applicationId", m.channel, m.address, m.endpoint_id as "endpointId",
             m.dispatch_id as "dispatchId", m.treatment_id as "treatmentId"
      from unnest(${ids}::uuid[], ${ids.map(uuidDay)}::date[], ${receipts.map(({ applicationId }) => applicationId)}::text[])
        as reported(id, day, application_id)
      cross join lateral (
        select * from messages
        where application_id = reported.application_id and id = reported.id and day = reported.day limit 1
      ) m`);
    const known = new Map(rows.map((row) => [row.id, row]));
    const matched = receipts.flatMap((receipt) => {
      const message = known.get(receipt.messageId);
      return message ? [{ receipt, message }] : [];
    });
    await appendFacts(
      tx,
      matched.map(({ receipt, message }) => ({
        type: `message.${receipt.kind}`,
        applicationId: message.applicationId,
        occurredAt: receipt.at,
        endpointId: message.endpointId,
        messageId: message.id,
        dispatchId: message.dispatchId,
        payload: { treatmentId: message.treatmentId ?? undefined, ...payloadOf(receipt) },
      })),
    );
    const bad = matched.filter(
      ({ receipt }) => isDelivery(receipt) && (receipt.kind === 'complained' || receipt.bounce === 'hard'),
    );
    for (const [applicationId, found] of Map.groupBy(bad, ({ message }) => message.applicationId)) {
      await addSuppressions(
        tx,
        applicationId,
        found.map(({ receipt, message }) => ({
          channel: message.channel,
          address: message.address,
          reason: receipt.kind === 'complained' ? ('complaint' as const) : ('bounce' as const),
          messageId: message.id,
        })),
      );
    }
    return { unknown: receipts.length - matched.length };
  });
}

function isDelivery(receipt: Receipt): receipt is DeliveryReceipt {
  return receipt.kind !== 'opened' && receipt.kind !== 'clicked';
}

function payloadOf(receipt: Receipt): Record<string, unknown> {
  if (isDelivery(receipt)) {
    const { code, response, bounce } = receipt;
    return { code, response, bounce };
  }
  return engagementPayload(receipt);
}

function engagementPayload({ machine, url, userAgent, ipAddress }: EngagementReceipt) {
  return {
    machine,
    url: url?.slice(0, maxUrl),
    userAgent: userAgent?.slice(0, maxUserAgent),
    ipAddress: ipAddress?.slice(0, maxIpAddress),
  };
}
