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

test('a port that is taken is an error of the start', async () => {
  const server = startHttpServer({ ...options, handlers: [] });
  const port = await server.listening;
  await expect(startHttpServer({ ...options, port, handlers: [] }).listening).rejects.toThrow('EADDRINUSE');
  await server.drain();
});
