import { expect, test } from 'vitest';
import { forPeople } from './log.ts';

test('a log line for people has time, role, words and what belongs to them', () => {
  const line = {
    level: 30,
    time: '2026-11-21T23:55:18.769Z',
    role: 'worker',
    pid: 1,
    size: 2,
    id: 'a',
    msg: 'Begun',
  };
  expect(forPeople(JSON.stringify(line))).toBe('23:55:18 worker Begun (size 2, id a)\n');
  expect(forPeople(JSON.stringify({ ...line, level: 50, size: undefined, id: undefined }))).toBe(
    '23:55:18 worker ERROR Begun\n',
  );
});

test('a log line for people shows where an error came from', () => {
  const line = {
    level: 40,
    time: '2026-11-21T23:55:18.769Z',
    role: 'api',
    pid: 1,
    msg: 'Lost',
    err: { stack: 'Error: x\n  at y' },
  };
  expect(forPeople(JSON.stringify(line))).toBe('23:55:18 api WARN Lost\nError: x\n  at y\n');
});
