import { expect, test } from 'vitest';
import { demoHistory, demoPurchases } from './events.ts';

const now = Date.parse('2026-11-22T13:14:15Z');

test('the week before today is the same on every day, and fits into requests that Pinpoint would take', () => {
  const history = demoHistory(now);
  expect(history).toMatchObject({ from: '2026-11-15', to: '2026-11-21', events: 2880, people: 340 });
  expect(demoHistory(now)).toEqual(history);
  expect(demoHistory(now + 100 * 86_400_000)).toMatchObject({ events: 2880, people: 340 });
  const ids = new Set<string>();
  for (const items of history.requests) {
    let inRequest = 0;
    for (const [endpoint, { Events = {} }] of Object.entries(items)) {
      for (const [id, { Timestamp }] of Object.entries(Events)) {
        ids.add(`${endpoint} ${id}`);
        inRequest += 1;
        expect(Timestamp!.slice(0, 10) >= history.from && Timestamp!.slice(0, 10) <= history.to).toBe(true);
      }
    }
    expect(inRequest).toBeGreaterThan(0);
    expect(inRequest).toBeLessThanOrEqual(100);
  }
  expect(ids.size).toBe(history.events);
});

test('the purchases of today are of 25 people, now', () => {
  const purchases = Object.values(demoPurchases(now)).flatMap(({ Events = {} }) => Object.values(Events));
  expect(purchases).toHaveLength(25);
  for (const { Timestamp } of purchases) expect(Timestamp).toBe('2026-11-22T13:14:15.000Z');
});
