import sql from 'sql-template-tag';
import type { StoredFact } from '../../events/index.ts';
import type { Transaction } from '../../platform/database.ts';

/**
 * ExecutionMetrics key of each decision (reference 4.8). A decision for which Pinpoint has no key counts under its own
 * name in capitals (`DAILY_CAP`), so that the metrics of a run add up to ENDPOINT_PRODUCED minus those attempted.
 */
const metricOfDecision: Record<string, string> = {
  endpoint_missing: 'FILTERED_OUT_BY_SEGMENT',
  channel_disabled: 'ENDPOINT_CHANNEL_MISMATCH',
  channel_mismatch: 'ENDPOINT_CHANNEL_MISMATCH',
  address_missing: 'ENDPOINT_MISSING_ADDRESS',
  address_invalid: 'ENDPOINT_MISSING_ADDRESS',
  inactive: 'ENDPOINT_INACTIVE',
  opted_out: 'ENDPOINT_OPT_OUT',
  suppressed: 'ENDPOINT_OPT_OUT',
  duplicate_address: 'DUPLICATE_ENDPOINT',
  holdout: 'TREATMENT_HOLDOUT',
};

/** The key under which a decision is counted in ExecutionMetrics. */
export function executionMetric(decision: string): string {
  return Object.hasOwn(metricOfDecision, decision) ? metricOfDecision[decision]! : decision.toUpperCase();
}

interface Increments {
  dispatchId: string;
  treatmentId: string;
  total: number;
  successful: number;
  metrics: Map<string, number>;
}

/**
 * The log's subscriber that moves the counters of campaign activities and ends runs:
 * - `dispatch.window`: TotalEndpointCount grows by the decision `sending`, ENDPOINT_PRODUCED by all decisions, and
 *   each other decision by its key of ExecutionMetrics. What is decided before a treatment is chosen (opted out, held
 *   out …) counts in the default treatment's activity.
 * - `message.sent`: SuccessfulEndpointCount; a provider accepted the message. A bounce that is reported later does not
 *   take it back: the accounting shows it.
 * - `dispatch.done`: activities COMPLETED (CANCELLED when the run was stopped), the campaign COMPLETED.
 *
 * It runs in the transaction that moves the subscriber's cursor, so each fact counts once.
 */
export const campaignCounters = {
  name: 'campaign-counters',
  async handle(tx: Transaction, facts: StoredFact[]): Promise<void> {
    const done = facts.filter((fact) => fact.type === 'dispatch.done' && fact.dispatchId);
    // Campaigns are locked before their activities, here as everywhere.
    await lockCampaigns(tx, done);
    await moveCounters(tx, sumUp(facts));
    if (done.length > 0) await endRuns(tx, done);
  },
};

function sumUp(facts: StoredFact[]): Increments[] {
  const sums = new Map<string, Increments>();
  const of = (dispatchId: string, treatmentId: string): Increments => {
    const key = `${dispatchId} ${treatmentId}`;
    let sum = sums.get(key);
    if (!sum) {
      sum = { dispatchId, treatmentId, total: 0, successful: 0, metrics: new Map() };
      sums.set(key, sum);
    }
    return sum;
  };
  for (const { type, dispatchId, payload } of facts) {
    if (!dispatchId) continue;
    if (type === 'message.sent') of(dispatchId, treatmentName(payload.treatmentId)).successful += 1;
    if (type !== 'dispatch.window') continue;
    const decisions = (payload.decisions ?? {}) as Record<string, Record<string, number>>;
    for (const [treatmentId, counts] of Object.entries(decisions))
      addDecisions(of(dispatchId, treatmentId), counts);
  }
  // Sorted, so that two subscribers of a takeover lock rows in the same order.
  return [...sums.entries()].sort(([left], [right]) => (left < right ? -1 : 1)).map(([, sum]) => sum);
}

function treatmentName(value: unknown): string {
  return typeof value === 'string' ? value : '0';
}

function addDecisions(sum: Increments, counts: Record<string, number>): void {
  const add = (key: string, count: number) => sum.metrics.set(key, (sum.metrics.get(key) ?? 0) + count);
  for (const [decision, count] of Object.entries(counts)) {
    add('ENDPOINT_PRODUCED', count);
    if (decision === 'sending') sum.total += count;
    else add(executionMetric(decision), count);
  }
}

async function moveCounters(tx: Transaction, sums: Increments[]): Promise<void> {
  if (sums.length === 0) return;
  const metrics = sums.map((sum) => JSON.stringify(Object.fromEntries(sum.metrics)));
  await tx.query(sql`
    update campaign_activities a set
      total = a.total + i.total,
      successful = a.successful + i.successful,
      -- A message that was in doubt may be sent when the run is long over.
      result = case when a.result = 'FAIL' and a.successful + i.successful > 0 then 'SUCCESS' else a.result end,
      metrics = a.metrics || coalesce((
        select jsonb_object_agg(key, coalesce((a.metrics->>key)::bigint, 0) + value::bigint)
        from jsonb_each_text(i.metrics)), '{}')
    from unnest(
      ${sums.map((sum) => sum.dispatchId)}::uuid[], ${sums.map((sum) => sum.treatmentId)}::text[],
      ${sums.map((sum) => sum.total)}::bigint[], ${sums.map((sum) => sum.successful)}::bigint[], ${metrics}::jsonb[]
    ) as i(dispatch_id, treatment_id, total, successful, metrics)
    where a.dispatch_id = i.dispatch_id and a.treatment_id = i.treatment_id`);
}

async function lockCampaigns(tx: Transaction, done: StoredFact[]): Promise<void> {
  if (done.length === 0) return;
  await tx.query(sql`
    select from campaigns where dispatch_id = any(${done.map((fact) => fact.dispatchId)}::uuid[])
    order by application_id, id for update`);
}

/**
 * FAIL says that nobody was reached although somebody was to be. The campaign goes on when the dispatch is no longer its
 * own: an event-triggered one that was changed has another.
 */
async function endRuns(tx: Transaction, done: StoredFact[]): Promise<void> {
  const dispatchIds = done.map(({ dispatchId }) => dispatchId!);
  const stopped = done
    .filter(({ payload }) => payload.state === 'stopped')
    .map(({ dispatchId }) => dispatchId!);
  await tx.query(sql`
    update campaign_activities set
      state = case when dispatch_id = any(${stopped}::uuid[]) then 'CANCELLED' else 'COMPLETED' end,
      result = case
        when successful = 0 and (total > 0 or dispatch_id = any(${stopped}::uuid[])) then 'FAIL' else 'SUCCESS' end,
      ended_at = now()
    where dispatch_id = any(${dispatchIds}::uuid[])`);
  await tx.query(sql`
    update campaigns set state = 'COMPLETED', dispatch_id = null, run_ends_at = null
    where dispatch_id = any(${dispatchIds}::uuid[])`);
}
