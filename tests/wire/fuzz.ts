import fc from 'fast-check';
import { expect } from 'vitest';
import { type OperationModel, operationModels } from '../../packages/server/src/edge/aws/model.ts';
import type { OperationName } from '../../packages/server/src/edge/aws/operation.ts';
import { parseValue } from '../../packages/server/src/edge/aws/parse.ts';
import { type RawReply, type RawRequest, sendSigned } from '../support/signed-request.ts';
import type { WireServer } from '../support/wire.ts';
import { requestsTo } from './requests.ts';
import { type KnownIds, labelOfReply } from './samples.ts';

const errorTypes: Record<number, string> = {
  400: 'BadRequestException',
  403: 'ForbiddenException',
  404: 'NotFoundException',
  405: 'MethodNotAllowedException',
  409: 'ConflictException',
  413: 'PayloadTooLargeException',
  429: 'TooManyRequestsException',
  501: 'NotImplementedException',
};

/** A new application to send requests to. */
export async function knownIds(server: WireServer): Promise<KnownIds> {
  const created = await sendSigned(
    { method: 'POST', path: '/v1/apps', body: '{"Name":"fuzz"}' },
    { key: server.key, port: server.port },
  );
  return new Map([['ApplicationId', [JSON.parse(created.text).Id]]]);
}

/**
 * Sends `runs` requests to an operation, derived from its schema, right ones and wrong ones, and asserts of each reply
 * that it is what the model promises: the status and shape of success, or a modelled error. Never a 500.
 * @returns how many were answered with each status.
 */
export async function fuzzOperation(
  server: WireServer,
  name: OperationName,
  options: { runs: number; seed: number; ids: KnownIds },
): Promise<Map<number, number>> {
  const model = operationModels.get(name)!;
  const signer = { key: server.key, port: server.port };
  const { ids } = options;
  const statuses = new Map<number, number>();
  await fc.assert(
    fc.asyncProperty(requestsTo(model, ids), async (request) => {
      const reply = await sendSigned(request, signer);
      statuses.set(reply.status, (statuses.get(reply.status) ?? 0) + 1);
      checkReply(model, request, reply);
      if (reply.status < 300) rememberId(name, reply.text, ids);
    }),
    { numRuns: options.runs, seed: options.seed, includeErrorInReport: true },
  );
  return statuses;
}

function checkReply(model: OperationModel, request: RawRequest, reply: RawReply): void {
  const shown = `${request.method} ${request.path} ${String(request.body).slice(0, 500)} -> ${reply.status} ${reply.text}`;
  expect(reply.headers['x-amzn-requestid'], shown).toBeTruthy();
  if (reply.status === model.status) {
    if (!model.outputPayload) expect(reply.text).toBe('');
    else parseValue(model.outputPayload.shape, JSON.parse(withoutUnstorable(reply.text)), '$');
    return;
  }
  expect(reply.headers['x-amzn-errortype'], shown).toBe(errorTypes[reply.status]);
  const body = JSON.parse(reply.text) as { Message: string; RequestID: string };
  expect(body.Message, shown).toBeTruthy();
  expect(body.RequestID).toBe(reply.headers['x-amzn-requestid']);
}

/** An item that is refused for its id is named by it, also where the parser takes no such text. */
function withoutUnstorable(json: string): string {
  return json.replace(/\\(u(?:0000|d[89a-f][0-9a-f]{2})|.)/gi, (escaped, code: string) =>
    code.length === 5 ? '?' : escaped,
  );
}

/** What one operation made is found by the next, so that requests reach behind "not found". */
function rememberId(name: OperationName, text: string, ids: KnownIds): void {
  const label = labelOfReply(name);
  if (!label) return;
  const known = ids.get(label) ?? [];
  const { Id } = JSON.parse(text) as { Id: string };
  if (!known.includes(Id)) ids.set(label, [...known, Id]);
}
