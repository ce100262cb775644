import type { CampaignEventFilter } from '@aws-sdk/client-pinpoint';
import { describe, expect, test } from 'vitest';
import { matchChange, matchEvent, readEventFilter, watchesOf } from './trigger-filter.ts';

const filterOf = (dimensions: object) =>
  readEventFilter({ FilterType: 'ENDPOINT', Dimensions: dimensions } as CampaignEventFilter, '$');

const types = (...Values: string[]) => ({ EventType: { DimensionType: 'INCLUSIVE', Values } });

describe('events', () => {
  test('legacy names of types mean the documented ones', () => {
    const filter = filterOf(types('_session_start'));
    expect(matchEvent(filter, '_session.start', {})).toBe('match');
    expect(matchEvent(filter, '_session.stop', {})).toBe('other');
  });

  test('an exclusive type takes all others, but no change of an attribute', () => {
    const filter = filterOf({ EventType: { DimensionType: 'EXCLUSIVE', Values: ['a'] } });
    expect(matchEvent(filter, 'a', {})).toBe('other');
    expect(matchEvent(filter, 'b', {})).toBe('match');
    expect(matchChange(filter, { attributes: { plan: { before: null, after: ['pro'] } } })).toBe('other');
  });

  test.each([
    ['INCLUSIVE', ['x', 'y'], 'y', true],
    ['INCLUSIVE', ['x'], 'X', false],
    ['INCLUSIVE', ['x'], undefined, false],
    ['EXCLUSIVE', ['x'], 'y', true],
    ['EXCLUSIVE', ['x'], 'x', false],
    ['EXCLUSIVE', ['x'], undefined, true],
    ['CONTAINS', ['ell'], 'hello', true],
    ['CONTAINS', ['ell'], 'help', false],
    ['BEFORE', ['2026-01-01'], '2025-12-31T23:59:59Z', true],
    ['BEFORE', ['2026-01-01'], 'soon', false],
    ['AFTER', ['2026-01-01T00:00:00Z'], '2026-01-01T00:00:00.001Z', true],
    ['ON', ['2026-01-01'], '2026-01-01T22:00:00Z', true],
    ['ON', ['2026-01-01'], '2026-01-02', false],
    ['BETWEEN', ['2026-01-01', '2026-02-01'], '2026-01-15', true],
    ['BETWEEN', ['2026-01-01', '2026-02-01'], '2026-02-01T00:00:01Z', false],
  ])('%s %j of %j is %j', (AttributeType, Values, value, holds) => {
    const filter = filterOf({ ...types('e'), Attributes: { a: { AttributeType, Values } } });
    const attributes: Record<string, string> = value === undefined ? {} : { a: value };
    expect(matchEvent(filter, 'e', { attributes })).toBe(holds ? 'match' : 'attribute_mismatch');
  });

  test.each([
    ['EQUAL', 0, 0, true],
    ['GREATER_THAN', 1, 1, false],
    ['GREATER_THAN_OR_EQUAL', 1, 1, true],
    ['LESS_THAN', 1, 0.5, true],
    ['LESS_THAN_OR_EQUAL', 1, 1.5, false],
    ['LESS_THAN', 1, undefined, false],
  ])('a metric %s %j of %j is %j', (ComparisonOperator, Value, value, holds) => {
    const filter = filterOf({ ...types('e'), Metrics: { m: { ComparisonOperator, Value } } });
    const metrics: Record<string, number> = value === undefined ? {} : { m: value };
    expect(matchEvent(filter, 'e', { metrics })).toBe(holds ? 'match' : 'metric_mismatch');
  });

  test('names that objects have by themselves are names like others', () => {
    const Attributes = JSON.parse('{"__proto__": {"Values": ["x"]}, "constructor": {"Values": ["y"]}}');
    const filter = filterOf({ ...types('e'), Attributes });
    expect(matchEvent(filter, 'e', { attributes: {} })).toBe('attribute_mismatch');
    const attributes = JSON.parse('{"__proto__": "x", "constructor": "y"}');
    expect(matchEvent(filter, 'e', { attributes })).toBe('match');
  });
});

describe('changes', () => {
  const filter = filterOf({
    ...types('_endpoint.changed'),
    Attributes: {
      'Attributes.plan': { AttributeType: 'INCLUSIVE', Values: ['pro'] },
      'User.UserAttributes.city': { AttributeType: 'EXCLUSIVE', Values: [] },
    },
  });

  test('are watched by name and place', () => {
    expect(watchesOf(filter)).toEqual([
      { kind: 'endpoint', name: 'plan' },
      { kind: 'user', name: 'city' },
    ]);
    expect(watchesOf(filterOf(types('purchase')))).toEqual([]);
  });

  test('match by what the attribute is now, in its own place', () => {
    const to = (after: string[] | null) => ({ plan: { before: ['free'], after } });
    expect(matchChange(filter, { attributes: to(['basic', 'pro']) })).toBe('match');
    expect(matchChange(filter, { attributes: to(['basic']) })).toBe('attribute_mismatch');
    expect(matchChange(filter, { attributes: to(null) })).toBe('attribute_mismatch');
    expect(matchChange(filter, { userAttributes: to(['pro']) })).toBe('other');
    expect(matchChange(filter, { userAttributes: { city: { before: ['Rome'], after: null } } })).toBe(
      'match',
    );
    expect(matchEvent(filter, '_endpoint.changed', { attributes: { 'Attributes.plan': 'pro' } })).toBe(
      'other',
    );
  });
});
