import fc from 'fast-check';
import { expect } from 'vitest';
import { type OperationModel, operationModels } from '../../packages/server/src/edge/aws/model.ts';
import type { OperationName } from '../../packages/server/src/edge/aws/operation.ts';
import { parseValue } from '../../packages/server/src/edge/aws/parse.ts';
import { type RawReply, type RawRequest, sendSigned } from '../support/signed-request.ts';
import type { WireServer } from '../support/wire.ts';
import { type KnownIds, requestsTo } from './requests.ts';

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
  return { applicationId: JSON.parse(created.text).Id, others: [] };
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
      if (reply.status < 300) rememberIds(reply.text, ids.others);
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
    else parseValue(model.outputPayload.shape, JSON.parse(reply.text), '$');
    return;
  }
  expect(reply.headers['x-amzn-errortype'], shown).toBe(errorTypes[reply.status]);
  const body = JSON.parse(reply.text) as { Message: string; RequestID: string };
  expect(body.Message, shown).toBeTruthy();
  expect(body.RequestID).toBe(reply.headers['x-amzn-requestid']);
}

const maxKnown = 100;

/** Ids in replies become labels of later requests, so that these reach behind "not found". */
function rememberIds(text: string, others: string[]): void {
  for (const [, id] of text.matchAll(/"(?:Id|CampaignId|SegmentId|JobId)":"([^"\\]{1,100})"/g)) {
    if (!others.includes(id!)) others.push(id!);
  }
  if (others.length > maxKnown) others.splice(0, others.length - maxKnown);
}
