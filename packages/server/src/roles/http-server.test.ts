import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { silentLog } from '../platform/log.ts';
import { startHttpServer } from './http-server.ts';

const options = { port: 0, host: '127.0.0.1', log: silentLog };

test('a drain answers what had begun and takes nothing new', async () => {
  let begun = () => {};
  const arrived = new Promise<void>((resolve) => {
    begun = resolve;
  });
  let answer = () => {};
  const server = startHttpServer({
    ...options,
    handlers: [
      (_, response) => {
        answer = () => response.end('answered');
        begun();
        return true;
      },
    ],
  });
  const url = `http://127.0.0.1:${await server.listening}/`;
  const request = fetch(url);
  await arrived;
  let drained = false;
  const draining = server.drain().then(() => {
    drained = true;
  });
  await expect(fetch(url)).rejects.toThrow();
  expect(drained).toBe(false);
  answer();
  expect(await (await request).text()).toBe('answered');
  await draining;
});

test('the first handler that takes a request answers it; one that throws answers 500 and the server lives', async () => {
  const server = startHttpServer({
    ...options,
    handlers: [
      (request) => {
        if (request.url === '/broken') throw new Error('broken');
        return false;
      },
      (request, response) => {
        if (request.url !== '/second') return false;
        response.end('second');
        return true;
      },
    ],
  });
  const url = `http://127.0.0.1:${await server.listening}`;
  expect((await fetch(`${url}/broken`)).status).toBe(500);
  expect(await (await fetch(`${url}/second`)).text()).toBe('second');
  expect((await fetch(`${url}/third`)).status).toBe(404);
  await server.drain();
});

test('each of many requests at once is handled once', async () => {
  const handled: string[] = [];
  const server = startHttpServer({
    ...options,
    handlers: [
      (request, response) => {
        handled.push(request.url!);
        response.end(request.url);
        return true;
      },
    ],
  });
  const url = `http://127.0.0.1:${await server.listening}`;
  const paths = Array.from({ length: 200 }, (_, n) => `/${n}`);
  expect(await Promise.all(paths.map(async (path) => (await fetch(url + path)).text()))).toEqual(paths);
  expect(handled.toSorted()).toEqual(paths.toSorted());
  await server.drain();
});

test('callers that go away before their request is handled leave nothing that waits for them', async () => {
  let begun = 0;
  let ended = 0;
  const callers: Socket[] = [];
  const server = startHttpServer({
    ...options,
    handlers: [
      (request) => {
        begun += 1;
        request.on('close', () => {
          ended += 1;
        });
        // More have arrived than are handled in one turn; those that are left are gone in the next one.
        for (const caller of callers) caller.resetAndDestroy();
        return true;
      },
    ],
  });
  const port = await server.listening;
  for (let n = 0; n < 100; n++) {
    const caller = connect(port, '127.0.0.1').on('error', () => undefined);
    callers.push(caller);
    await once(caller, 'connect');
  }
  const gone = Promise.all(callers.map((caller) => once(caller, 'close')));
  for (const caller of callers) caller.write('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf');
  await gone;
  await server.drain();
  for (let turn = 0; turn < 20; turn++) await setImmediate();
  expect(begun).toBeGreaterThan(0);
  expect(begun - ended).toBe(0);
});

test('a port that is taken is an error of the start', async () => {
  const server = startHttpServer({ ...options, handlers: [] });
  const port = await server.listening;
  await expect(startHttpServer({ ...options, port, handlers: [] }).listening).rejects.toThrow('EADDRINUSE');
  await server.drain();
});
