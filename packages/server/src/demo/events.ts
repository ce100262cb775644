import type { Event, EventsBatch } from '@aws-sdk/client-pinpoint';

const dayMs = 86_400_000;
const historyDays = 7;
/** People of the demo whose app reports events. */
const activePeople = 600;
/** As many as an application that is held to Pinpoint's quotas may put in one request. */
const eventsPerRequest = 100;
const products = [
  { product: 'tent', price: 89.9 },
  { product: 'pan', price: 34.5 },
  { product: 'chess clock', price: 24 },
  { product: 'guitar', price: 149 },
];

/** What one PutEvents request holds: endpoints and their events, by id. */
export type BatchItem = Record<string, EventsBatch>;

export interface DemoHistory {
  /** First and last day of the events, as dates (UTC): the seven days before today. */
  from: string;
  to: string;
  events: number;
  people: number;
  requests: BatchItem[];
}

/**
 * A week of sessions, looks at products and purchases. The same for the same day: what somebody does follows from
 * number and day, so that the figures that come of it can be known beforehand.
 */
export function demoHistory(now: number): DemoHistory {
  const today = Math.floor(now / dayMs) * dayMs;
  const requests: BatchItem[] = [{}];
  const people = new Set<number>();
  let [events, inRequest] = [0, 0];
  for (let ago = historyDays; ago >= 1; ago -= 1) {
    for (let person = 0; person < activePeople; person += 1) {
      if ((person + ago * ago) % (2 + (person % 5)) !== 0) continue;
      const visit = eventsOfVisit(person, ago, today - ago * dayMs);
      const count = Object.keys(visit).length;
      if (inRequest + count > eventsPerRequest) {
        requests.push({});
        inRequest = 0;
      }
      requests.at(-1)![`demo-${person}`] = { Endpoint: {}, Events: visit };
      people.add(person);
      inRequest += count;
      events += count;
    }
  }
  const [from, to] = [dateOf(today - historyDays * dayMs), dateOf(today - dayMs)];
  return { from, to, events, people: people.size, requests };
}

/** One session of somebody on a day that begins at `midnight`. */
function eventsOfVisit(person: number, ago: number, midnight: number): Record<string, Event> {
  const day = dateOf(midnight);
  const start = midnight + (8 + ((person * 5 + ago) % 12)) * 3_600_000 + (person % 60) * 60_000;
  const stop = start + 45_000 + (person % 20) * 15_000;
  const Session = { Id: `${day}-${person}`, StartTimestamp: timeOf(start) };
  const { product, price } = products[person % products.length]!;
  const visit: Record<string, Event> = {
    [`${day}-start`]: { EventType: '_session.start', Timestamp: timeOf(start), Session },
    [`${day}-stop`]: {
      EventType: '_session.stop',
      Timestamp: timeOf(stop),
      Session: { ...Session, StopTimestamp: timeOf(stop), Duration: stop - start },
    },
  };
  if ((person + ago) % 3 === 0) return visit;
  visit[`${day}-view`] = {
    ...{ EventType: 'product_view', Timestamp: timeOf(start + 20_000), Session },
    ...{ Attributes: { product }, Metrics: { price } },
  };
  if ((person + ago) % 4 === 0) visit[`${day}-purchase`] = { ...purchase(person, start + 40_000), Session };
  return visit;
}

/** 25 people who buy something now; among them who opted out, who is suppressed, and who is not in the segment. */
export function demoPurchases(now: number): BatchItem {
  const people = Array.from({ length: 25 }, (_, index) => index + 1);
  return Object.fromEntries(
    people.map((person) => [
      `demo-${person}`,
      { Endpoint: {}, Events: { 'purchase-today': purchase(person, now) } },
    ]),
  );
}

function purchase(person: number, at: number): Event {
  const { product, price } = products[person % products.length]!;
  return {
    EventType: '_monetization.purchase',
    Timestamp: timeOf(at),
    Attributes: { product, _currency: 'EUR' },
    Metrics: { _item_price: price, _quantity: 1 },
  };
}

function timeOf(at: number): string {
  return new Date(at).toISOString();
}

function dateOf(at: number): string {
  return timeOf(at).slice(0, 10);
}
