import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  type CampaignResponse,
  CreateAppCommand,
  CreateCampaignCommand,
  CreateSegmentCommand,
  GetCampaignCommand,
  UpdateEndpointsBatchCommand,
  type WriteCampaignRequest,
} from '@aws-sdk/client-pinpoint';
import { Webhook } from 'standardwebhooks';
import { afterAll } from 'vitest';
import { signatureFault } from '../packages/server/src/platform/aws-request.test-support.ts';
import { waitFor } from './support/processes.ts';
import { startProduct, type TestProduct } from './support/product.ts';

export interface FunctionPayload {
  MessageConfiguration?: object;
  Message?: object;
  Data?: string;
  ApplicationId: string;
  CampaignId: string;
  TreatmentId: string;
  ActivityId: string;
  ScheduledTime: string;
  Endpoints: Record<string, Record<string, unknown>>;
}

export interface FunctionCallSeen {
  id: string;
  path: string;
  payload: FunctionPayload;
  /** What is wrong with the signature; undefined when it is right. */
  fault: string | undefined;
}

/** How a function answers a call; `number` counts the calls of its receiver from 1. */
export type FunctionBehaviour = (response: ServerResponse, call: FunctionCallSeen, number: number) => void;

const awsCredentials = { accessKeyId: 'AKIDOFTHETEAM', secretAccessKey: 'the secret of the team' };

/**
 * A receiver of hooks and deliveries that checks signatures as customers do: those of Standard Webhooks with the
 * application's secret, those of AWS where the path is Lambda's.
 */
export async function startReceiver(
  secretOf: (applicationId: string) => Promise<string>,
  answer: FunctionBehaviour,
): Promise<{ url: string; calls: FunctionCallSeen[] }> {
  const calls: FunctionCallSeen[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const payload = JSON.parse(body.toString()) as FunctionPayload;
    const isLambda = request.url!.startsWith('/2015-03-31/functions/');
    const context = String(request.headers['x-amz-client-context'] ?? '');
    const id = isLambda
      ? JSON.parse(Buffer.from(context, 'base64').toString()).custom['webhook-id']
      : String(request.headers['webhook-id']);
    let fault: string | undefined;
    if (isLambda)
      fault = signatureFault(request, body, { ...awsCredentials, service: 'lambda', region: 'eu-west-1' });
    else {
      try {
        const headers = request.headers as Record<string, string>;
        new Webhook(await secretOf(payload.ApplicationId)).verify(body.toString(), headers);
      } catch (error) {
        fault = String(error);
      }
    }
    const call = { id, path: request.url!, payload, fault };
    calls.push(call);
    answer(response, call, calls.length);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, calls };
}

/** A function of its own for a test. */
export interface TestFunction {
  /** In the paths of its calls: also what a Lambda function has to be called. */
  name: string;
  url: string;
  calls(): FunctionCallSeen[];
  /** From now on it answers so. */
  behave(behaviour: FunctionBehaviour): void;
}

/** A product in eu-west-1 with a receiver that is also its Lambda, and functions there that answer as the tests say. */
export async function startFunctions(): Promise<{
  product: TestProduct;
  start(prefix: string, behaviour: FunctionBehaviour): TestFunction;
}> {
  const behaviours = new Map<string, FunctionBehaviour>();
  const receiver = await startReceiver(
    (applicationId) => secretOf(product, applicationId),
    (response, call, number) => {
      const path = decodeURIComponent(call.path);
      const [, behaviour] = [...behaviours].find(([name]) => path.includes(name))!;
      behaviour(response, call, number);
    },
  );
  const product = await startProduct({
    POSTRIDER_AWS_ACCESS_KEY_ID: awsCredentials.accessKeyId,
    POSTRIDER_AWS_SECRET_ACCESS_KEY: awsCredentials.secretAccessKey,
    POSTRIDER_AWS_ENDPOINT_URL: receiver.url,
    POSTRIDER_REGION: 'eu-west-1',
  });
  const start = (prefix: string, behaviour: FunctionBehaviour): TestFunction => {
    const name = `${prefix}${behaviours.size + 1}x`;
    behaviours.set(name, behaviour);
    return {
      name,
      url: `${receiver.url}/${name}`,
      calls: () => receiver.calls.filter(({ path }) => decodeURIComponent(path).includes(name)),
      behave: (next) => void behaviours.set(name, next),
    };
  };
  return { product, start };
}

export interface Audience {
  ApplicationId: string;
  SegmentId: string;
}

/** An application with these endpoints and a segment of all of them. */
export async function createAudience(product: TestProduct, endpoints: object[]): Promise<Audience> {
  const client = product.client();
  const created = await client.send(
    new CreateAppCommand({ CreateApplicationRequest: { Name: 'functions' } }),
  );
  const ApplicationId = created.ApplicationResponse!.Id!;
  for (let from = 0; from < endpoints.length; from += 100) {
    const Item = endpoints.slice(from, from + 100);
    await client.send(
      new UpdateEndpointsBatchCommand({ ApplicationId, EndpointBatchRequest: { Item } as never }),
    );
  }
  const segment = await client.send(
    new CreateSegmentCommand({ ApplicationId, WriteSegmentRequest: { Name: 'all', Dimensions: {} } }),
  );
  return { ApplicationId, SegmentId: segment.SegmentResponse!.Id! };
}

export async function startCampaign(
  product: TestProduct,
  { ApplicationId, SegmentId }: Audience,
  change: WriteCampaignRequest,
): Promise<CampaignResponse> {
  const { CampaignResponse } = await product.client().send(
    new CreateCampaignCommand({
      ApplicationId,
      WriteCampaignRequest: { Name: 'c', SegmentId, Schedule: { StartTime: 'IMMEDIATE' }, ...change },
    }),
  );
  return CampaignResponse!;
}

/** Runs a campaign to its end; resolves with how many endpoints each status has. */
export async function runCampaign(
  product: TestProduct,
  audience: Audience,
  change: WriteCampaignRequest,
): Promise<{ campaign: CampaignResponse; statuses: Record<string, number> }> {
  const campaign = await startCampaign(product, audience, change);
  await untilOver(product, campaign);
  return { campaign, statuses: await statusesOf(product, campaign) };
}

export async function untilOver(product: TestProduct, campaign: CampaignResponse): Promise<void> {
  const { ApplicationId, Id: CampaignId } = campaign;
  await waitFor(
    'the campaign',
    async () => {
      const found = await product.client().send(new GetCampaignCommand({ ApplicationId, CampaignId }));
      return found.CampaignResponse!.State!.CampaignStatus === 'COMPLETED';
    },
    60_000,
  );
}

export async function statusesOf(
  product: TestProduct,
  { ApplicationId, Id }: CampaignResponse,
): Promise<Record<string, number>> {
  const { outcomes, reasons } = await product.json<{
    outcomes: Record<string, number>;
    reasons: Record<string, number>;
  }>(`/api/apps/${ApplicationId}/campaigns/${Id}/accounting`);
  const { sent = 0, delivered = 0, ...others } = outcomes;
  const all = { accepted: sent + delivered, ...others, ...reasons };
  return Object.fromEntries(Object.entries(all).filter(([, count]) => count > 0));
}

export async function secretOf(product: TestProduct, applicationId: string): Promise<string> {
  const path = `/api/apps/${applicationId}/webhook-secret`;
  return (await product.json<{ secret: string }>(path)).secret;
}
