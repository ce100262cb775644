import type { Recipient } from '../audience/index.ts';
import { callId, functionBatch, functionBatches } from '../platform/remote-function.ts';
import type { Overrides } from './compose.ts';
import { functionEndpoint } from './customer-functions.ts';
import type { Dispatch, Treatment } from './dispatch.ts';
import type { CustomerFunctions, DeliveryChannel } from './provider.ts';

/** A member that is to get a message, for the hook to judge. */
export interface HookSubject {
  recipient: Recipient;
  channel: DeliveryChannel;
  treatmentId: string;
  /** The event that the message is about. */
  eventId?: string;
}

/** What the hook makes of a member. */
export type HookVerdict =
  | { recipient: Recipient; overrides?: Overrides }
  | { decision: 'hook_filtered' | 'hook_failure'; detail: string };

/** Calls of one chunk at once. */
const concurrency = 5;
/** Most values and names that a hook may give an endpoint; what is more is its failure. */
const maxNames = 1_000;
const maxValues = 1_000;

/** The process is stopping: nothing was decided. */
export class HookInterrupted extends Error {}

/**
 * Asks the plan's hook about members, in calls of at most 50 with the payload of Pinpoint (reference 4.7). It answers
 * with the endpoints that are to get the message: those that it leaves out are `hook_filtered`; attributes, metrics and
 * user attributes that it changes are what the message is composed with; TitleOverride and BodyOverride replace the
 * words of push and SMS. Address and channel stay what they are. When it fails, nobody of that call gets a message.
 * Nothing is written before the answer, so that after a crash the same members are asked about again, with the same
 * webhook-id. One verdict for each subject, in order.
 * @throws HookInterrupted when `signal` is aborted
 */
export async function askHook(
  functions: CustomerFunctions,
  dispatch: Dispatch,
  subjects: readonly HookSubject[],
  signal: AbortSignal | undefined,
): Promise<HookVerdict[]> {
  const verdicts = new Map<HookSubject, HookVerdict>();
  const batches = [...Map.groupBy(subjects, ({ treatmentId }) => treatmentId).values()].flatMap((members) =>
    functionBatches(members, ({ recipient }) => functionEndpoint(dispatch.applicationId, recipient).id),
  );
  for (let from = 0; from < batches.length; from += concurrency) {
    await Promise.all(
      batches.slice(from, from + concurrency).map(async (batch) => {
        const results = await askBatch(functions, dispatch, batch, signal);
        batch.forEach((subject, index) => {
          verdicts.set(subject, results[index]!);
        });
      }),
    );
    if (signal?.aborted) throw new HookInterrupted('Stopped before the hook was asked');
  }
  return subjects.map((subject) => verdicts.get(subject)!);
}

async function askBatch(
  functions: CustomerFunctions,
  dispatch: Dispatch,
  batch: HookSubject[],
  signal: AbortSignal | undefined,
): Promise<HookVerdict[]> {
  const { applicationId, plan } = dispatch;
  const treatment = plan.treatments.find(({ id }) => id === batch[0]!.treatmentId)!;
  const endpoints = batch.map(({ recipient }) => functionEndpoint(applicationId, recipient));
  const id = callId('hook', [
    dispatch.id,
    treatment.id,
    ...batch.flatMap(({ recipient, eventId }) => [recipient.id, eventId ?? '']),
  ]);
  const body = hookPayload(dispatch, treatment, endpoints);
  const answer = await functions.call(applicationId, plan.hook!, { id, body, signal });
  const fail = (words: string): HookVerdict[] =>
    batch.map(() => ({ decision: 'hook_failure', detail: `The hook ${words}`.slice(0, 500) }));
  if (!answer.ok) return fail(`failed after ${answer.tries} tries: ${answer.words}`);
  const read = readAnswer(answer.body);
  if ('fault' in read) return fail(read.fault);
  const { returned } = read;
  const known = endpoints.filter((endpoint) => Object.hasOwn(returned, endpoint.id));
  // An answer about others is a mistake, which must not pass for the wish to write to nobody.
  if (known.length === 0 && Object.keys(returned).length > 0)
    return fail('answered with none of the endpoints that it was asked about');
  return batch.map((subject, index) => {
    const { id: endpointId } = endpoints[index]!;
    const endpoint = Object.hasOwn(returned, endpointId) ? returned[endpointId] : undefined;
    if (endpoint === undefined || endpoint === null)
      return { decision: 'hook_filtered', detail: 'The hook left it out' };
    return applyEndpoint(subject, endpoint) ?? fail(`answered for ${endpointId} with something else`)[0]!;
  });
}

function hookPayload(
  dispatch: Dispatch,
  treatment: Treatment,
  endpoints: { id: string; endpoint: Record<string, unknown> }[],
): string {
  return JSON.stringify({
    MessageConfiguration: treatment.messageConfiguration ?? {},
    ApplicationId: dispatch.applicationId,
    CampaignId: dispatch.campaignId,
    TreatmentId: treatment.id,
    ActivityId: treatment.activityId,
    ScheduledTime: dispatch.plan.scheduledTime,
    Endpoints: mapOf(endpoints.map(({ id, endpoint }) => [id, endpoint])),
  });
}

function readAnswer(body: Buffer): { returned: Record<string, unknown> } | { fault: string } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString('utf8'));
  } catch {
    return { fault: `answered with no JSON: ${body.subarray(0, 100).toString('utf8').toWellFormed()}` };
  }
  return isObject(parsed)
    ? { returned: parsed }
    : { fault: 'answered with JSON that is no map of endpoints by their ids' };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The member with what the hook changed; undefined when that is not an endpoint. */
function applyEndpoint({ recipient, channel }: HookSubject, endpoint: unknown): HookVerdict | undefined {
  if (!isObject(endpoint)) return undefined;
  const user = endpoint.User ?? {};
  if (!isObject(user)) return undefined;
  const attributes = lists(endpoint.Attributes, recipient.attributes);
  const userAttributes = lists(user.UserAttributes, recipient.userAttributes);
  const metrics = numbers(endpoint.Metrics, recipient.metrics);
  if (!attributes || !userAttributes || !metrics) return undefined;
  const changed = { ...recipient, attributes, userAttributes, metrics };
  const overrides: Overrides = {};
  if (channel === 'PUSH' || channel === 'SMS') {
    if (typeof endpoint.BodyOverride === 'string') overrides.body = endpoint.BodyOverride;
    if (typeof endpoint.TitleOverride === 'string') overrides.title = endpoint.TitleOverride;
  }
  return Object.keys(overrides).length > 0 ? { recipient: changed, overrides } : { recipient: changed };
}

/** What is given wins name by name; what is not given stays, since the answer may leave out what it does not change. */
function lists(given: unknown, present: Record<string, string[]>): Record<string, string[]> | undefined {
  if (given === undefined || given === null) return present;
  if (!isObject(given)) return undefined;
  const merged = mapOf(Object.entries(present));
  for (const [name, value] of Object.entries(given)) {
    const values = Array.isArray(value) ? value : [value];
    const plain = values.every((one) => ['string', 'number', 'boolean'].includes(typeof one));
    if (!plain || values.length > maxValues) return undefined;
    merged[name] = values.map(String);
  }
  return Object.keys(merged).length <= maxNames ? merged : undefined;
}

function numbers(given: unknown, present: Record<string, number>): Record<string, number> | undefined {
  if (given === undefined || given === null) return present;
  if (!isObject(given)) return undefined;
  const merged = mapOf(Object.entries(present));
  for (const [name, value] of Object.entries(given)) {
    if (typeof value !== 'number') return undefined;
    merged[name] = value;
  }
  return Object.keys(merged).length <= maxNames ? merged : undefined;
}

/** An object without a prototype, so that `__proto__` is a name like any other. */
function mapOf<Value>(entries: [string, Value][]): Record<string, Value> {
  const map: Record<string, Value> = Object.create(null);
  for (const [name, value] of entries) map[name] = value;
  return map;
}

/** Members that should be prepared together, so that calls are full though a dispatch is slow. */
export const hookPreparation = functionBatch;
