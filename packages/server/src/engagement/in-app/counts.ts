import sql from 'sql-template-tag';
import { type EventPayload, eventFactType } from '../../audience/index.ts';
import type { StoredFact } from '../../events/index.ts';
import type { Transaction } from '../../platform/database.ts';

const displayed = eventFactType('_inapp.message_displayed');
const clicked = eventFactType('_inapp.message_clicked');
const dismissed = eventFactType('_inapp.message_dismissed');

/** Displays of an endpoint whose times are kept; Limits.Daily is at most 100. */
const maxRecent = 100;
const maxIdLength = 100;

interface Increment {
  applicationId: string;
  endpointId: string;
  campaignId: string;
  displayed: number;
  clicked: number;
  dismissed: number;
  recent: number[];
  sessionId: string | null;
  sessionDisplayed: number;
}

/**
 * The log's subscriber that counts what clients report of in-app messages, by endpoint and campaign: what caps are
 * evaluated by on the server. Campaigns that are none of the application's do not count, so that nobody can fill the
 * table with made-up ids; counts go with their endpoint. It runs in the transaction that moves the cursor, so each event counts once.
 */
export const inAppCounts = {
  name: 'in-app-counts',
  types: [displayed, clicked, dismissed],
  async handle(tx: Transaction, facts: StoredFact[]): Promise<void> {
    const increments = sumUp(facts);
    if (increments.length > 0) await moveCounts(tx, increments);
  },
};

/** In the order of the keys, so that two transactions lock rows in the same order. */
function sumUp(facts: StoredFact[]): Increment[] {
  const sums = new Map<string, Increment>();
  for (const fact of facts) {
    const { applicationId, endpointId } = fact;
    const { attributes = {}, session, source } = fact.payload as EventPayload;
    const campaignId = Object.hasOwn(attributes, 'campaign_id') ? attributes.campaign_id : undefined;
    if (endpointId === null || !campaignId || campaignId.length > maxIdLength || source === 'archive')
      continue;
    const key = `${applicationId} ${campaignId} ${endpointId}`;
    const sum = sums.get(key) ?? emptySum(applicationId, endpointId, campaignId);
    sums.set(key, sum);
    if (fact.type === clicked) sum.clicked += 1;
    if (fact.type === dismissed) sum.dismissed += 1;
    if (fact.type !== displayed) continue;
    sum.displayed += 1;
    sum.recent.push(fact.occurredAt);
    if (!session?.id) continue;
    sum.sessionDisplayed = session.id === sum.sessionId ? sum.sessionDisplayed + 1 : 1;
    sum.sessionId = session.id;
  }
  return [...sums].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, sum]) => sum);
}

function emptySum(applicationId: string, endpointId: string, campaignId: string): Increment {
  const counts = { displayed: 0, clicked: 0, dismissed: 0, recent: [], sessionDisplayed: 0 };
  return { applicationId, endpointId, campaignId, ...counts, sessionId: null };
}

async function moveCounts(tx: Transaction, increments: Increment[]): Promise<void> {
  await tx.query(sql`
    insert into in_app_counts as c (application_id, endpoint_id, campaign_id, displayed, clicked, dismissed, recent,
                                    session_id, session_displayed)
    select i."applicationId", i."endpointId", i."campaignId", i.displayed, i.clicked, i.dismissed,
      array(select to_timestamp(at / 1000.0) from unnest(i.recent) as at
            where to_timestamp(at / 1000.0) > now() - interval '24 hours' order by at desc limit ${maxRecent}),
      i."sessionId", i."sessionDisplayed"
    from jsonb_to_recordset(${JSON.stringify(increments)}::jsonb)
      as i("applicationId" text, "endpointId" text, "campaignId" text, displayed bigint, clicked bigint,
           dismissed bigint, recent bigint[], "sessionId" text, "sessionDisplayed" int)
    where exists (select from campaigns k where k.application_id = i."applicationId" and k.id = i."campaignId")
      and exists (select from endpoints e where e.application_id = i."applicationId" and e.id = i."endpointId")
    on conflict (application_id, endpoint_id, campaign_id) do update set
      displayed = c.displayed + excluded.displayed,
      clicked = c.clicked + excluded.clicked,
      dismissed = c.dismissed + excluded.dismissed,
      recent = array(select at from unnest(c.recent || excluded.recent) as at
                     where at > now() - interval '24 hours' order by at desc limit ${maxRecent}),
      session_id = coalesce(excluded.session_id, c.session_id),
      session_displayed = case
        when excluded.session_id is null then c.session_displayed
        when excluded.session_id = c.session_id then c.session_displayed + excluded.session_displayed
        else excluded.session_displayed end`);
}
