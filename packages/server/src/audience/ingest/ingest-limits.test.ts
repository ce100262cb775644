import { describe, expect, test } from 'vitest';
import { accepted, event, idsOf, ingestOf, item, newApp } from './ingest.fixture.ts';
import { pinpointEventLimits, protectiveEventLimits } from './limits.ts';
import type { IngestEvent } from './prepare.ts';

describe('limits', () => {
  const reasons = async (limits = protectiveEventLimits, ...events: IngestEvent[]) => {
    const app = await newApp();
    const [result] = await ingestOf({ eventLimits: limits }).put(app, [{ endpointId: 'e', events }]);
    expect((await idsOf(app)).length).toBe(result!.events.filter(({ status }) => status === 202).length);
    return result!.events.map(({ status, message }) => (status === 202 ? 'ok' : message));
  };
  const many = (count: number, value: string | number) =>
    Object.fromEntries(Array.from({ length: count }, (_, n) => [`n${n}`, value]));

  test("Pinpoint's, at and over", async () => {
    expect(
      await reasons(
        pinpointEventLimits,
        event('1', { attributes: { ['x'.repeat(50)]: 'y'.repeat(200) } }),
        event('2', { attributes: { ['x'.repeat(51)]: '' } }),
        event('3', { attributes: { plan: 'y'.repeat(201) } }),
        event('4', {
          attributes: many(20, 'v') as Record<string, string>,
          metrics: many(20, 1) as Record<string, number>,
        }),
        event('5', {
          attributes: many(21, 'v') as Record<string, string>,
          metrics: many(20, 1) as Record<string, number>,
        }),
      ),
    ).toEqual([
      'ok',
      `Attributes.${'x'.repeat(51)}: expected a name of at most 50 characters, got 51`,
      'Attributes.plan: expected at most 200 characters, got 201',
      'ok',
      'Attributes, Metrics: expected at most 40 names together, got 41',
    ]);
  });

  test('what protects the server holds for everybody', async () => {
    const value = 'y'.repeat(8_000);
    expect(
      await reasons(
        protectiveEventLimits,
        event('1', { attributes: { a: 'y'.repeat(8_193) } }),
        event('2', { attributes: many(128, value) as Record<string, string> }),
        event('3', { type: 't'.repeat(257) }),
        event('4', { type: '' }),
        event('x'.repeat(257)),
        event('5', { metrics: { a: Number.NaN } }),
        event('6', { metrics: { a: Number.POSITIVE_INFINITY } }),
        event('7', { attributes: { 'a\0b': 'c' } }),
        event('8', { attributes: { a: '\ud800' } }),
        event('9', { attributes: { '': 'x' } }),
        event('10', { session: { id: 's', durationMs: -1 } }),
        event('11\0'),
        event('12', { attributes: { ok: '\u0001 "\\ 😀' } }),
      ),
    ).toEqual([
      'Attributes.a: expected at most 8192 characters, got 8193',
      expect.stringMatching(/^expected an event of at most 1024000 bytes, got 10\d{5}$/),
      'EventType: expected at most 256 characters, got 257',
      'EventType: expected a name that is not empty',
      'EventId: expected at most 256 characters, got 257',
      'Metrics.a: expected a number of ordinary size',
      'Metrics.a: expected a number of ordinary size',
      expect.stringContaining('without U+0000'),
      'Attributes.a: expected text without U+0000 and without half surrogate pairs',
      'Attributes: expected names that are not empty',
      'Session.Duration: expected milliseconds from 0 on',
      expect.stringContaining('EventId: expected text without U+0000'),
      'ok',
    ]);
  });

  test('distinct names of an application: its own types, attributes, metrics', async () => {
    const app = await newApp();
    const limits = { ...pinpointEventLimits, customTypes: 3, attributeNames: 2, metricNames: 1 };
    const [one, two] = [ingestOf({ eventLimits: limits }), ingestOf({ eventLimits: limits })];
    const put = async (ingest: typeof one, ...types: string[]) => {
      const events = types.map((type) => event(`${Math.random()}`, { type }));
      return (await ingest.put(app, [{ endpointId: 'e', events }]))[0]!.events.map(({ status }) => status);
    };
    expect(await put(one, 'a', 'b', '_session.start')).toEqual([202, 202, 202]);
    expect(await put(two, 'c', 'd', '_session.stop', 'a', 'd')).toEqual([202, 400, 202, 202, 400]);
    expect(await put(one, 'd', 'c', 'b')).toEqual([400, 202, 202]);
    const [result] = await one.put(app, [
      {
        endpointId: 'e',
        events: [
          event('1', { type: 'a', attributes: { x: '', y: '' }, metrics: { m: 1 } }),
          event('2', { type: 'a', attributes: { z: '' } }),
          event('3', { type: 'a', metrics: { n: 1 } }),
        ],
      },
    ]);
    expect(result!.events).toEqual([
      accepted,
      { status: 400, message: 'the application has its most of 2 attribute names already' },
      { status: 400, message: 'the application has its most of 1 metric names already' },
    ]);
  });

  test('a queue that is full says so, and what was taken is written', async () => {
    const app = await newApp();
    const small = ingestOf({ maxQueuedEvents: 40, writers: 1 });
    const answers = await Promise.allSettled(
      Array.from({ length: 30 }, (_, n) =>
        small.put(app, [
          item(
            'e',
            Array.from({ length: 10 }, (_, k) => `${n} ${k}`),
          ),
        ]),
      ),
    );
    const done = answers.filter(({ status }) => status === 'fulfilled').length;
    expect(done).toBe(4);
    for (const answer of answers.slice(4)) {
      expect(answer).toMatchObject({ reason: { code: 'too_many_requests' } });
    }
    expect((await idsOf(app)).length).toBe(done * 10);
    expect(small.queued()).toEqual({ events: 0, bytes: 0 });
  });
});
