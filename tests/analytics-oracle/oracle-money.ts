import type { Raw, RawEvent } from './facts.ts';
import { active, days, share, type Usage } from './oracle-use.ts';
import type { AttributionQuestion, Range } from './questions.ts';
import { dateOf } from './zone.ts';

interface Purchase {
  event: RawEvent;
  day: number;
  currency: string;
  /** Millionths, or units when money is not rounded. */
  amount: number;
  units: number;
}

const millionths = 1e6;

function purchases(usage: Usage): Purchase[] {
  return usage.uses
    .filter(({ event }) => event.type === '_monetization.purchase')
    .flatMap(({ event, day }) => {
      const price = event.metrics.get('_item_price') ?? 0;
      const quantity = event.metrics.get('_quantity') ?? 1;
      if ([price, quantity, price * quantity].some((figure) => Math.abs(figure) > 1e12)) return [];
      const named = event.attributes.get('_currency') ?? '';
      const currency = /^[a-z]{3}$/i.test(named) ? named.toUpperCase() : 'XXX';
      const round = (figure: number) =>
        usage.rules.roundsMoney ? Math.floor(figure * millionths + 0.5) : figure * millionths;
      return [{ event, day, currency, amount: round(price * quantity), units: round(quantity) }];
    });
}

/** Sums of whole millionths are exact in any order as bigints. */
function sum(figures: readonly number[]): number {
  if (figures.some((figure) => !Number.isInteger(figure))) {
    return figures.reduce((total, figure) => total + figure, 0) / millionths;
  }
  const total = figures.reduce((before, figure) => before + BigInt(figure), 0n);
  const digits = String(total < 0n ? -total : total).padStart(7, '0');
  return Number(`${total < 0n ? '-' : ''}${digits.slice(0, -6)}.${digits.slice(-6)}`);
}

const distinct = (names: (string | undefined)[]) => new Set(names.filter((name) => name !== undefined)).size;

function figures(usage: Usage, currency: string, bought: Purchase[], first: number, last: number) {
  const revenue = sum(bought.map(({ amount }) => amount));
  const units = sum(bought.map((purchase) => purchase.units));
  const endpoints = active(usage, 'endpoints', first, last);
  const payingUsers = distinct(bought.map(({ event }) => event.user));
  return {
    currency,
    revenue,
    purchases: bought.length,
    units,
    payingEndpoints: distinct(bought.map(({ event }) => event.endpoint)),
    payingUsers,
    revenuePerEndpoint: share(revenue, endpoints),
    revenuePerUser: share(revenue, active(usage, 'users', first, last)),
    revenuePerPayingUser: share(revenue, payingUsers),
    unitsPerEndpoint: share(units, endpoints),
    purchasesPerEndpoint: share(bought.length, endpoints),
  };
}

function byCurrency(bought: Purchase[]): [string, Purchase[]][] {
  return [...Map.groupBy(bought, ({ currency }) => currency)].sort(([a], [b]) => (a < b ? -1 : 1));
}

export function revenueOf(usage: Usage, range: Range): object {
  const all = days(range);
  const [first, last] = [all[0]!, all.at(-1)!];
  const bought = purchases(usage).filter(({ day }) => day >= first && day <= last);
  return {
    days: all.flatMap((day) =>
      byCurrency(bought.filter((purchase) => purchase.day === day)).map(([currency, own]) => ({
        day: dateOf(day),
        ...figures(usage, currency, own, day, day),
      })),
    ),
    totals: byCurrency(bought).map(([currency, own]) => figures(usage, currency, own, first, last)),
    payingEndpoints: distinct(bought.map(({ event }) => event.endpoint)),
    payingUsers: distinct(bought.map(({ event }) => event.user)),
  };
}

export function attributionOf(usage: Usage, raw: Raw, question: AttributionQuestion): object {
  const { rules, zone } = usage;
  const all = days(question);
  const [from, until] = [zone.startOf(all[0]!), zone.startOf(all.at(-1)! + 1)];
  const touches = raw.messages
    .filter(({ campaign, kind }) => campaign === question.campaignId && (rules.testsCount || kind !== 'test'))
    .flatMap(({ endpoint, facts }) =>
      facts
        .filter(
          ({ type, at, machine }) =>
            type === question.after && at >= from && at < until && (rules.machinesCount || !machine),
        )
        .flatMap(({ at }) => (endpoint === undefined ? [] : [{ endpoint, at }])),
    );
  const windowMs = question.windowHours * 3_600_000;
  const times = (endpoint: string, at: number) => {
    const found = touches.filter(
      (touch) =>
        touch.endpoint === endpoint &&
        at >= touch.at &&
        (rules.windowIncluded ? at <= touch.at + windowMs : at < touch.at + windowMs),
    ).length;
    return rules.countsEachTouch ? found : Math.min(found, 1);
  };
  const sessions = usage.sessions.flatMap((session) =>
    session.counts ? Array.from({ length: times(session.endpoint, session.begin) }, () => session) : [],
  );
  const bought = purchases(usage).filter(({ event }) => times(event.endpoint, event.at) > 0);
  return {
    messages: touches.length,
    endpoints: distinct(touches.map(({ endpoint }) => endpoint)),
    sessions: sessions.length,
    endpointsWithSession: distinct(sessions.map(({ endpoint }) => endpoint)),
    purchases: byCurrency(bought).map(([currency, own]) => ({
      currency,
      purchases: own.length,
      revenue: sum(own.map(({ amount }) => amount)),
      units: sum(own.map(({ units }) => units)),
      payingEndpoints: distinct(own.map(({ event }) => event.endpoint)),
    })),
  };
}
