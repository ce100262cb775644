import { describe, expect, test } from 'vitest';
import { nameMap } from '../endpoints/item.ts';
import { EndpointMemory, type KnownRow, rowOf } from './endpoint-memory.ts';

const row = (id: string, version = '1'): KnownRow => ({
  id,
  version,
  activeAt: 2,
  segmentId: null,
  channel: 'EMAIL',
  address: `${id}@example.com`,
  optOut: 'NONE',
  status: 'ACTIVE',
  cohort: 1,
  userId: 'u',
  attributes: nameMap({ __proto__: ['1'] }),
  metrics: nameMap(),
  demographic: nameMap(),
  location: nameMap(),
  requestId: null,
  effectiveAt: 1,
  createdAt: 1,
});

describe('memory of endpoints', () => {
  test('gives back the row as it was, by application and id', () => {
    const memory = new EndpointMemory();
    memory.remember('app', row('e'));
    const { version, activeAt, ...stored } = row('e');
    expect(memory.get('app', 'e')).toMatchObject({
      version,
      activeAt,
      userId: 'u',
      changesNothing: undefined,
    });
    expect(rowOf(memory.get('app', 'e')!)).toEqual(stored);
    expect(memory.get('other', 'e')).toBeUndefined();
    expect(memory.get('app', 'f')).toBeUndefined();
  });

  test('keeps within its bound, and longest what is used', () => {
    const bound = 20_000;
    const memory = new EndpointMemory(bound);
    memory.remember('app', row('used'));
    for (let n = 0; n < 1_000; n++) {
      const entry = memory.remember('app', row(`e${n}`));
      memory.noteNoChange('app', `e${n}`, entry, '{"OptOut":"NONE"}');
      expect(memory.get('app', 'used')).toBeDefined();
      expect(memory.bytes()).toBeLessThanOrEqual(bound);
    }
    expect(memory.get('app', 'e0')).toBeUndefined();
    expect(memory.get('app', 'e999')).toBeDefined();
    expect(memory.bytes()).toBeGreaterThan(bound / 2);
  });

  test('counts each entry once, however often it is written, and nothing of what is forgotten', () => {
    const memory = new EndpointMemory();
    for (let n = 0; n < 10; n++) memory.remember('app', row('e', String(n)));
    memory.remember('app', row('f'));
    memory.forget('app', ['f', 'never known']);
    const one = new EndpointMemory();
    one.remember('app', row('e', '9'));
    expect(memory.bytes()).toBe(one.bytes());
    memory.forget('app', ['e']);
    expect(memory.bytes()).toBe(0);
    memory.remember('app', row('e'));
    memory.clear();
    expect(memory.get('app', 'e')).toBeUndefined();
    expect(memory.bytes()).toBe(0);
  });

  test('notes what changes nothing only of the row that it was found out with', () => {
    const memory = new EndpointMemory();
    const first = memory.remember('app', row('e', '1'));
    const second = memory.remember('app', row('e', '2'));
    memory.noteNoChange('app', 'e', first, '{}');
    expect(memory.get('app', 'e')).toMatchObject({ version: '2', changesNothing: undefined });
    memory.noteNoChange('app', 'e', second, '{}');
    expect(memory.get('app', 'e')).toMatchObject({ version: '2', changesNothing: '{}' });
  });

  test('is not trusted for a while after it was wrong', () => {
    const memory = new EndpointMemory();
    expect(memory.trustNext()).toBe(true);
    memory.distrust();
    const answers = Array.from({ length: 21 }, () => memory.trustNext());
    expect(answers.slice(0, 20)).not.toContain(true);
    expect(answers[20]).toBe(true);
  });
});
