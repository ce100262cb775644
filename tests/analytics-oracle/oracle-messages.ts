import type { Raw, RawMessage } from './facts.ts';
import type { Questions } from './questions.ts';
import type { Rules } from './rules.ts';
import { Zone } from './zone.ts';

type Measure = (messages: Seen[]) => number | undefined;

/** A message with what docs/analytics.md says of it. */
interface Seen {
  message: RawMessage;
  sent: boolean;
  hard: boolean;
  soft: boolean;
  delivered: boolean;
  complained: boolean;
  opens: number;
  clicks: number;
  machineOpens: number;
  machineClicks: number;
  code: number | undefined;
}

function look(message: RawMessage, rules: Rules): Seen {
  const has = (...types: string[]) => message.facts.some(({ type }) => types.includes(type));
  const times = (type: string, machine: boolean) =>
    message.facts.filter((fact) => fact.type === type && fact.machine === machine).length;
  const bounces = message.facts.filter(({ type }) => type === 'bounced');
  const hard = bounces.some(({ bounce }) => bounce === 'hard');
  const sent = has('sent', 'delivered', 'bounced', 'complained');
  const softUndoes = message.kind === 'direct' || rules.softBouncesCount;
  const codes = message.facts.flatMap(({ type, code }) =>
    ['bounced', 'failed'].includes(type) && typeof code === 'number' ? [code] : [],
  );
  const [machineOpens, machineClicks] = [times('opened', true), times('clicked', true)];
  return {
    message,
    sent,
    hard,
    soft: bounces.length > 0 && !hard,
    delivered: sent && !hard && !(softUndoes && bounces.length > 0),
    complained: has('complained'),
    opens: times('opened', false) + (rules.machinesCount ? machineOpens : 0),
    clicks: times('clicked', false) + (rules.machinesCount ? machineClicks : 0),
    machineOpens,
    machineClicks,
    code: codes.length === 0 ? undefined : Math.max(...codes),
  };
}

const number = (test: (seen: Seen) => boolean) => (messages: Seen[]) => messages.filter(test).length;
const total = (of: (seen: Seen) => number) => (messages: Seen[]) =>
  messages.reduce((sum, seen) => sum + of(seen), 0);
const recipients = (test: (seen: Seen) => boolean) => (messages: Seen[]) =>
  new Set(messages.filter(test).map(({ message }) => message.recipient)).size;
const percent =
  (part: (messages: Seen[]) => number, whole: (messages: Seen[]) => number): Measure =>
  (messages) =>
    whole(messages) === 0 ? undefined : (100 * part(messages)) / whole(messages);

const sent = number((seen) => seen.sent);
const delivered = number((seen) => seen.delivered);
const deliveryRate = percent(delivered, sent);
const openRate = percent(
  number((seen) => seen.delivered && seen.opens > 0),
  delivered,
);
const uniqueDeliveries = recipients((seen) => seen.delivered);

type Group = '' | 'date' | 'campaign' | 'campaign-activity' | 'code';
type Whose = 'campaign' | 'campaign EMAIL' | 'direct EMAIL' | 'direct SMS';

/** Of reference 4.9: what each name measures, of which messages, and how it may be grouped. */
type Definition = [base: string, Measure, Whose, groups: Group[]];

const application: Definition[] = [
  ['successful-delivery-rate', deliveryRate, 'campaign', ['', 'date']],
  ['successful-deliveries', delivered, 'campaign', ['campaign']],
  ['email-open-rate', openRate, 'campaign EMAIL', ['', 'campaign']],
  ['unique-deliveries', uniqueDeliveries, 'campaign', ['', 'campaign', 'date']],
  ['txn-emails-sent', sent, 'direct EMAIL', ['', 'date']],
  ['txn-emails-delivered', delivered, 'direct EMAIL', ['', 'date']],
  ['txn-emails-delivery-rate', deliveryRate, 'direct EMAIL', ['', 'date']],
  ['txn-emails-hard-bounced', number((seen) => seen.hard), 'direct EMAIL', ['', 'date']],
  ['txn-emails-soft-bounced', number((seen) => seen.soft), 'direct EMAIL', ['', 'date']],
  ['txn-emails-opened', total((seen) => seen.opens), 'direct EMAIL', ['', 'date']],
  ['txn-emails-unique-opens', recipients((seen) => seen.opens > 0), 'direct EMAIL', ['', 'date']],
  ['txn-emails-clicked', total((seen) => seen.clicks), 'direct EMAIL', ['', 'date']],
  ['txn-emails-unique-clicks', recipients((seen) => seen.clicks > 0), 'direct EMAIL', ['', 'date']],
  ['txn-emails-with-complaints', number((seen) => seen.complained), 'direct EMAIL', ['', 'date']],
  [
    'txn-emails-complaint-rate',
    percent(
      number((seen) => seen.complained),
      sent,
    ),
    'direct EMAIL',
    ['', 'date'],
  ],
  ['txn-sms-sent', sent, 'direct SMS', ['', 'date']],
  ['txn-sms-delivered', delivered, 'direct SMS', ['', 'date']],
  ['txn-sms-delivery-rate', deliveryRate, 'direct SMS', ['', 'date']],
  ['txn-sms-error-distribution', (messages) => messages.length, 'direct SMS', ['code']],
];
const campaign: Definition[] = [
  [
    'hard-bounce-rate',
    percent(
      number((seen) => seen.hard),
      sent,
    ),
    'campaign EMAIL',
    ['', 'campaign-activity'],
  ],
  ['successful-delivery-rate', deliveryRate, 'campaign', ['', 'campaign-activity', 'date']],
  ['successful-deliveries', delivered, 'campaign', ['campaign-activity']],
  ['attempted-deliveries', (messages) => messages.length, 'campaign', ['campaign-activity']],
  ['email-open-rate', openRate, 'campaign EMAIL', ['', 'campaign-activity']],
  ['direct-email-opens', total((seen) => seen.opens), 'campaign EMAIL', ['campaign-activity']],
  ['clicks', total((seen) => seen.clicks), 'campaign EMAIL', ['campaign-activity']],
  ['unique-deliveries', uniqueDeliveries, 'campaign', ['', 'campaign-activity', 'date']],
];

const groupKeys = {
  date: 'Date',
  campaign: 'CampaignId',
  'campaign-activity': 'CampaignActivityId',
  code: 'ErrorCode',
};

/** `['txn-emails-sent-grouped-by-date', …]`: the names that the oracle has an opinion about. */
function nameOf(base: string, group: Group): string {
  return group === '' || group === 'code' ? base : `${base}-grouped-by-${group}`;
}

export function kpisOf(raw: Raw, questions: Questions, rules: Rules): Record<string, unknown> {
  const answers: Record<string, unknown> = {};
  const { from, to, timeZone } = questions.kpis;
  const zone = new Zone(timeZone);
  const all = raw.messages
    .filter(({ at, facts }) => at >= from && at <= to && facts.length > 0)
    .map((message) => look(message, rules));
  const asked = (whose: Whose, campaignId: string | undefined) => {
    const [kind, channel] = whose.split(' ');
    return all.filter(
      ({ message }) =>
        (message.kind === kind || (rules.testsCount && kind === 'campaign' && message.kind === 'test')) &&
        (channel === undefined || message.channel === channel) &&
        (campaignId === undefined || message.campaign === campaignId),
    );
  };
  const groupOf = ({ message, code }: Seen, group: Group): string | undefined => {
    switch (group) {
      case '':
        return '';
      case 'date':
        return zone.at(message.at).date;
      case 'campaign':
        return message.campaign;
      case 'campaign-activity':
        return (
          raw.activities.get(`${message.dispatch} ${message.treatment}`) ??
          message.dispatch.replaceAll('-', '')
        );
      case 'code':
        return code === undefined ? undefined : String(code);
    }
  };
  for (const campaignId of [undefined, ...questions.campaigns]) {
    for (const [base, measure, whose, groups] of campaignId === undefined ? application : campaign) {
      for (const group of groups) {
        const grouped = Map.groupBy(asked(whose, campaignId), (seen) => groupOf(seen, group));
        grouped.delete(undefined);
        const rows = [...(grouped as Map<string, Seen[]>)]
          .sort(([a], [b]) => (a < b ? -1 : 1))
          .flatMap(([value, messages]) => {
            const figure = measure(messages);
            if (figure === undefined) return [];
            return [{ value: figure, ...(group !== '' && { group: { key: groupKeys[group], value } }) }];
          });
        const key = base.replaceAll(/(?:^|-)(.)/g, (_, letter: string) => letter.toUpperCase());
        answers[`kpi ${campaignId ?? ''} ${nameOf(base, group)}`] = { key, rows };
      }
    }
    for (const kind of ['campaign', 'direct'] as const) {
      const messages = asked(`${kind} EMAIL`, campaignId);
      answers[`engagement ${campaignId ?? ''} ${kind}`] = {
        sent: sent(messages),
        opens: total((seen) => seen.opens)(messages),
        opened: number((seen) => seen.delivered && seen.opens > 0)(messages),
        uniqueOpens: recipients((seen) => seen.opens > 0)(messages),
        clicks: total((seen) => seen.clicks)(messages),
        uniqueClicks: recipients((seen) => seen.clicks > 0)(messages),
        machineOpens: total((seen) => seen.machineOpens)(messages),
        machineClicks: total((seen) => seen.machineClicks)(messages),
      };
    }
  }
  return answers;
}
