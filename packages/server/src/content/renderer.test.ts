import type { Worker } from 'node:worker_threads';
import { afterAll, describe, expect, test } from 'vitest';
import { silentLog } from '../platform/log.ts';
import { createRenderer, type Renderer, type RendererOptions } from './renderer.ts';

const clock = { now: () => Date.UTC(2026, 0, 2, 3, 4, 5) };
const open: Renderer[] = [];

function renderer(options: Partial<RendererOptions> = {}): Renderer {
  const made = createRenderer({ clock, log: silentLog, ...options });
  open.push(made);
  return made;
}

afterAll(() => Promise.all(open.map((item) => item.close())));

const people = (count: number) =>
  Array.from({ length: count }, (_, index) => ({
    endpoint: {
      Id: `e${index}`,
      User: { UserId: `u${index}`, UserAttributes: { FirstName: [`Name${index}`] } },
    },
  }));

// With so many steps the time limit has to end it: a list of 15 in a list of 15 …
const endless = (levels: number) => `${'{{#each big}}'.repeat(levels)}${'{{/each}}'.repeat(levels)}`;
const big = Array.from({ length: 15 }, (_, index) => `v${index}`);

describe('renders', () => {
  const shared = renderer({ threads: 2 });

  test('batches in order, each person with their own values', async () => {
    const template = {
      key: 'order',
      parts: { subject: 'Hi {{User.UserAttributes.FirstName}}', body: '{{User.UserId}} {{now "yyyy"}}' },
    };
    const batches = await Promise.all(Array.from({ length: 20 }, () => shared.render(template, people(100))));
    for (const results of batches) {
      expect(results).toHaveLength(100);
      expect(results[57]).toEqual({ parts: { subject: 'Hi Name57', body: 'u57 2026' } });
    }
    expect(await shared.render(template, [])).toEqual([]);
  });

  test('a message with a missing variable or an error leaves the others alone', async () => {
    const inputs = [
      { endpoint: { Attributes: { n: ['1'] } } },
      { endpoint: {} },
      { endpoint: { Attributes: { n: ['x'] } } },
      { endpoint: {}, substitutions: { 'Attributes.n': ['5'] } },
    ];
    expect(await shared.render({ key: 'mixed', parts: { body: '{{add Attributes.n 1}}' } }, inputs)).toEqual([
      { parts: { body: '2' } },
      { missing: ['Attributes.n'] },
      { error: 'body: add: "x" is not a number' },
      { parts: { body: '6' } },
    ]);
  });

  test('a key with other parts is another template', async () => {
    const once = (body: string) => shared.render({ key: 'same', parts: { body } }, people(1));
    expect(await once('one')).toEqual([{ parts: { body: 'one' } }]);
    expect(await once('two {{Id}}')).toEqual([{ parts: { body: 'two e0' } }]);
    expect(await once('one')).toEqual([{ parts: { body: 'one' } }]);
  });

  test('defaults may differ from call to call', async () => {
    const with_ = (x: string) =>
      shared.render({ key: 'defaults', parts: { body: '{{x}}' }, defaults: { x } }, people(1));
    expect([await with_('a'), await with_('b')]).toEqual([
      [{ parts: { body: 'a' } }],
      [{ parts: { body: 'b' } }],
    ]);
  });

  test('more templates than are kept', async () => {
    const calls = Array.from({ length: 450 }, (_, index) =>
      shared.render({ key: `many${index}`, parts: { body: `${index} {{Id}}` } }, people(1)),
    );
    const results = await Promise.all(calls);
    expect(results[449]).toEqual([{ parts: { body: '449 e0' } }]);
    expect(results[3]).toEqual([{ parts: { body: '3 e0' } }]);
  });

  test('names like __proto__ cross into the thread', async () => {
    const endpoint = { Attributes: JSON.parse('{"__proto__":["p"],"constructor":["c"]}') };
    const parts = { body: '{{#each Attributes}}{{@key}}={{this}} {{/each}}{{Attributes.__proto__}}' };
    expect(await shared.render({ key: 'proto', parts }, [{ endpoint }])).toEqual([
      { parts: { body: '__proto__=p constructor=c p' } },
    ]);
  });

  test('a template that does not compile is the error of its messages', async () => {
    expect(await shared.render({ key: 'broken', parts: { body: '{{#if' } }, people(2))).toEqual([
      { error: expect.stringMatching(/^body: line 1: /) },
      { error: expect.stringMatching(/^body: line 1: /) },
    ]);
  });

  test('preview shows the holes and names them', async () => {
    const parts = { subject: 'Hi {{Attributes.a}}!', html: '<p>{{Id}}</p>' };
    expect(await shared.preview({ key: 'preview', parts }, people(1)[0]!)).toEqual({
      parts: { subject: 'Hi !', html: '<p>e0</p>', text: 'e0' },
      missing: ['Attributes.a'],
    });
    expect(await shared.preview({ key: 'x', parts: { body: '{{' } }, people(1)[0]!)).toEqual({
      error: expect.stringMatching(/^body: line 1: /),
    });
  });

  test('check names the part', async () => {
    expect(await shared.check({ subject: 'fine {{x}}', html: '\n{{/if}}' })).toEqual({
      part: 'html',
      message: expect.stringMatching(/^line 2: /),
    });
    expect(await shared.check({ subject: 'fine {{x}}' })).toBeUndefined();
  });
});

describe('limits', () => {
  test('a message that takes too long is given up; the others of its batch are rendered', async () => {
    const slow = renderer({ timeMs: 300, maxSteps: 1e12, maxChars: 1e9 });
    const inputs = people(9).map((person, index) => ({
      ...person,
      substitutions: index === 4 ? { big } : { big: [] },
    }));
    const template = { key: 'slow', parts: { body: `{{Id}}${endless(9)}` } };
    const results = await slow.render(template, inputs);
    expect(results[4]).toEqual({ error: 'took longer than 300 ms' });
    expect(results.filter((result) => 'parts' in result)).toHaveLength(8);
    expect(results[8]).toEqual({ parts: { body: 'e8' } });
    // The thread that took its place serves what comes next.
    expect(await slow.render({ key: 'next', parts: { body: '{{Id}}' } }, people(1))).toEqual([
      { parts: { body: 'e0' } },
    ]);
  });

  test('a template that ends thread after thread is given up', async () => {
    const slow = renderer({ timeMs: 200, maxSteps: 1e12 });
    const template = { key: 'hopeless', parts: { body: endless(9) } };
    const inputs = people(50).map((person) => ({ ...person, substitutions: { big } }));
    const results = await slow.render(template, inputs);
    expect(results.every((result) => 'error' in result)).toBe(true);
    expect(results[0]).toEqual({ error: 'took longer than 200 ms' });
    expect(results[49]).toEqual({ error: 'the template ended 3 render threads' });
    expect(await slow.render(template, inputs.slice(0, 1))).toEqual([
      { error: 'the template ended 3 render threads' },
    ]);
    expect(await slow.render({ key: 'good', parts: { body: 'x' } }, people(1))).toEqual([
      { parts: { body: 'x' } },
    ]);
  });

  test('a thread that runs out of memory is replaced', async () => {
    const small = renderer({ memoryMb: 24, maxSteps: 1e12, maxChars: 1e12, timeMs: 20_000 });
    const bomb = `{{#each big}}{{#each @root.big}}{{#each @root.big}}${'{{upper (ljust "a" 300000 pad="bc")}}'.repeat(10)}{{/each}}{{/each}}{{/each}}`;
    const results = await small.render({ key: 'bomb', parts: { body: bomb } }, [
      { endpoint: {}, substitutions: { big: [] } },
      { endpoint: {}, substitutions: { big } },
    ]);
    expect(results[0]).toEqual({ parts: { body: '' } });
    expect(results[1]).toEqual({ error: expect.stringContaining('memory') });
    expect(await small.render({ key: 'good', parts: { body: 'x' } }, people(1))).toEqual([
      { parts: { body: 'x' } },
    ]);
  });

  test('what waits is bounded', async () => {
    const narrow = renderer({ maxQueued: 100 });
    const template = { key: 'queue', parts: { body: '{{Id}}' } };
    const calls = Array.from({ length: 5 }, () => narrow.render(template, people(40)));
    const outcomes = await Promise.allSettled(calls);
    expect(outcomes.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'rejected',
      'rejected',
      'rejected',
    ]);
    // More than fits is taken when nothing else waits.
    expect(await narrow.render(template, people(150))).toHaveLength(150);
  });

  test('urgent messages go first', async () => {
    const one = renderer();
    const done: string[] = [];
    const render = (key: string, urgent?: boolean) =>
      one.render({ key, parts: { body: key } }, people(200), { urgent }).then(() => done.push(key));
    await Promise.all([render('a'), render('b'), render('c'), render('urgent', true)]);
    expect(done).toEqual(['a', 'urgent', 'b', 'c']);
  });

  test('a template that is given up while it is read', async () => {
    const hasty = renderer({ compileTimeMs: 10 });
    const parts = { body: '{{a}}<p>'.repeat(9_999) };
    expect(await hasty.render({ key: 'long', parts }, people(2))).toEqual([
      { error: 'took longer than 10 ms' },
      { error: 'took longer than 10 ms' },
    ]);
    expect(await hasty.check(parts)).toEqual({ part: 'body', message: 'line 1: took longer than 10 ms' });
  });

  test('closing ends what waits', async () => {
    const closing = renderer({ timeMs: 60_000, maxSteps: 1e12 });
    const busy = closing.render({ key: 'busy', parts: { body: endless(9) } }, [
      { endpoint: {}, substitutions: { big } },
    ]);
    const waiting = closing.render({ key: 'w', parts: { body: 'x' } }, people(1));
    const outcome = Promise.allSettled([busy, waiting]);
    await closing.close();
    expect((await outcome).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await expect(closing.render({ key: 'w', parts: { body: 'x' } }, people(1))).rejects.toThrow(
      'The renderer is closed',
    );
  });

  test('a thread sees nothing of the process', async () => {
    process.env.POSTRIDER_RENDER_TEST = 'secret';
    const blind = renderer();
    const parts = {
      body: '{{lookup process "env"}}{{#with globalThis}}x{{/with}}{{process.env.POSTRIDER_RENDER_TEST}}',
    };
    expect(await blind.render({ key: 'blind', parts }, people(1))).toEqual([
      { missing: ['process.env', 'process.env.POSTRIDER_RENDER_TEST'] },
    ]);
  });
});

test('a thread without work ends and gives back its memory; the next message starts one', async () => {
  const ended: Promise<void>[] = [];
  const onWorker = (worker: Worker) => {
    ended.push(new Promise((resolve) => worker.once('exit', () => resolve())));
  };
  process.on('worker', onWorker);
  const shared = renderer({ threads: 1, idleMs: 20 });
  const template = { key: 'idle', parts: { body: 'Hi {{User.UserId}}' } };
  const hi = [{ parts: { body: 'Hi u0' } }];
  expect(await shared.render(template, people(1))).toEqual(hi);
  expect(ended).toHaveLength(1);
  await ended[0];
  expect(await shared.render(template, people(1))).toEqual(hi);
  expect(ended).toHaveLength(2);
  process.off('worker', onWorker);
});
