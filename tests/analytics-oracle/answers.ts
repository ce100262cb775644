import {
  activeInRange,
  attribution,
  demographics,
  eventCounts,
  exploreEvents,
  heatMap,
  kpiNames,
  queryEngagement,
  queryFunnel,
  queryKpi,
  retention,
  revenue,
  usage,
  usageByMonth,
  weeklyCohorts,
} from '../../packages/server/src/analytics/index.ts';
import type { Database } from '../../packages/server/src/platform/database.ts';
import type { Questions } from './questions.ts';

/** Answers by name of the figure; the oracle makes an object of the same shape. */
export type Answers = Record<string, unknown>;

/** What the product says. */
export async function ask(database: Database, app: string, questions: Questions): Promise<Answers> {
  const { range, part, now, kpis } = questions;
  const answers: Answers = {
    usage: await usage(database, app, range),
    usageByMonth: await usageByMonth(database, app, range),
    activeInRange: await activeInRange(database, app, part),
    heatMap: await heatMap(database, app, part),
    eventCounts: await eventCounts(database, app, range),
    retention: await retention(database, app, range, now),
    weeklyCohorts: await weeklyCohorts(database, app, range, now),
    revenue: await revenue(database, app, range),
    revenueOfPart: await revenue(database, app, part),
    demographics: await platforms(database, app),
  };
  for (const [index, question] of questions.attributions.entries())
    answers[`attribution ${index}`] = await attribution(database, app, question);
  for (const [index, question] of questions.funnels.entries())
    answers[`funnel ${index}`] = await queryFunnel(database, app, question);
  for (const [index, question] of questions.explorers.entries())
    answers[`explorer ${index}`] = await exploreEvents(database, app, question);
  const scopes = [undefined, ...questions.campaigns];
  for (const campaignId of scopes) {
    const about = { applicationId: app, ...kpis, ...(campaignId !== undefined && { campaignId }) };
    for (const name of kpiNames[campaignId === undefined ? 'application' : 'campaign'].keys()) {
      const { key, rows } = await queryKpi(database, { ...about, name }, now);
      answers[`kpi ${campaignId ?? ''} ${name}`] = { key, rows };
    }
    for (const kind of ['campaign', 'direct'] as const) {
      const { from: _, to: __, ...figures } = await queryEngagement(database, { ...about, kind }, now);
      answers[`engagement ${campaignId ?? ''} ${kind}`] = figures;
    }
  }
  return answers;
}

/** Values as frequent as each other come in any order. */
async function platforms(database: Database, app: string): Promise<object> {
  const { values, ...rest } = await demographics(database, app, { dimension: 'platform' });
  return { ...rest, values: values.toSorted((a, b) => (String(a.value) < String(b.value) ? -1 : 1)) };
}
