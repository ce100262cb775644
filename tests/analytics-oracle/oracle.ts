import type { Answers } from './answers.ts';
import type { Raw } from './facts.ts';
import { explorerOf, funnelOf } from './oracle-log.ts';
import { kpisOf } from './oracle-messages.ts';
import { attributionOf, revenueOf } from './oracle-money.ts';
import {
  active,
  cohortsByWeek,
  countsByType,
  dailyUsage,
  days,
  monthlyUsage,
  retentionOf,
  share,
  usageOf,
  weekByHour,
} from './oracle-use.ts';
import type { Questions } from './questions.ts';
import type { Rules } from './rules.ts';
import { Zone } from './zone.ts';

/** What docs/analytics.md says that the answers are, from the raw facts alone. */
export function expected(raw: Raw, questions: Questions, rules: Rules): Answers {
  const facts = mistaken(raw, rules);
  const { range, part, now } = questions;
  const usage = usageOf(facts.events, new Zone(rules.inUtc ? 'UTC' : questions.timeZone), rules);
  const partDays = days(part);
  const [first, last] = [partDays[0]!, partDays.at(-1)!];
  const answers: Answers = {
    usage: dailyUsage(usage, range),
    usageByMonth: monthlyUsage(usage, range),
    activeInRange: {
      endpoints: active(usage, 'endpoints', first, last),
      users: active(usage, 'users', first, last),
    },
    heatMap: weekByHour(usage, part),
    eventCounts: countsByType(usage, range),
    retention: retentionOf(usage, range, now),
    weeklyCohorts: cohortsByWeek(usage, range, now),
    revenue: revenueOf(usage, range),
    revenueOfPart: revenueOf(usage, part),
    demographics: platforms(facts),
    ...kpisOf(facts, questions, rules),
  };
  for (const [index, question] of questions.attributions.entries())
    answers[`attribution ${index}`] = attributionOf(usage, facts, question);
  for (const [index, question] of questions.funnels.entries())
    answers[`funnel ${index}`] = funnelOf(facts, question, rules);
  for (const [index, question] of questions.explorers.entries())
    answers[`explorer ${index}`] = explorerOf(facts, question, rules);
  return answers;
}

/** The facts as somebody reads them who gets a rule wrong. */
function mistaken(raw: Raw, rules: Rules): Raw {
  let { events } = raw;
  if (rules.forgetsDeleted) events = events.filter(({ endpoint }) => raw.endpoints.has(endpoint));
  if (rules.currentUsers) {
    events = events.map((event) => ({
      ...event,
      user: raw.endpoints.get(event.endpoint)?.user ?? event.user,
    }));
  }
  return { ...raw, events };
}

function platforms({ endpoints }: Raw): object {
  const all = [...endpoints.values()];
  const users = (of: typeof all) => new Set(of.flatMap(({ user }) => user ?? [])).size;
  const values = [...Map.groupBy(all, ({ platform }) => platform ?? null)].map(([value, own]) => ({
    value,
    endpoints: own.length,
    users: users(own),
    endpointShare: share(own.length, all.length),
    userShare: share(users(own), users(all)),
  }));
  values.sort((a, b) => (String(a.value) < String(b.value) ? -1 : 1));
  return { endpoints: all.length, users: users(all), different: values.length, values };
}
