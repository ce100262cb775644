// node bench/support/noop-program.ts: a node:http server that reads a body and stores nothing; prints its port.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const reply = JSON.stringify({
  Results: {
    e: {
      EndpointItemResponse: { Message: 'Accepted', StatusCode: 202 },
      EventsItemResponse: { x: { Message: 'Accepted', StatusCode: 202 } },
    },
  },
});

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    response
      .writeHead(202, { 'content-type': 'application/json', 'content-length': reply.length })
      .end(reply);
  });
});
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));
