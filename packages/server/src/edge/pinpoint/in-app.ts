import type { InAppRequest } from '../../engagement/index.ts';
import { badMember } from '../../platform/errors.ts';
import type { OperationHandlers } from '../aws/operation.ts';

export const inApp = {
  /** With members of our own in the query: see `readInAppQuery`. */
  async GetInAppMessages({ ApplicationId, EndpointId }, ctx) {
    await ctx.publishable?.requireToken(EndpointId);
    const asked = readInAppQuery(ctx.query);
    const InAppMessageCampaigns = await ctx.services.inApp.get(ApplicationId, EndpointId, asked);
    return { InAppMessagesResponse: { InAppMessageCampaigns } };
  },
} satisfies OperationHandlers;

const maxPairs = 40;
const maxLength = 200;

/**
 * What a client asks the server to decide in its place (docs/in-app.md):
 * `evaluate=server|client`, `event-type=purchase`, `attribute=name=value`, `metric=name=12` (both any number of times),
 * `session-id=…`.
 * @throws CallerError bad_request
 */
export function readInAppQuery(query: ReadonlyMap<string, readonly string[]>): InAppRequest {
  const single = (name: string): string | undefined => {
    const values = query.get(name);
    if (values === undefined) return undefined;
    if (values.length > 1 || values[0]!.length > maxLength || !isStorable(values[0]!))
      throw badMember(name, `expected once, at most ${maxLength} characters`);
    return values[0];
  };
  const evaluation = single('evaluate');
  if (evaluation !== undefined && evaluation !== 'server' && evaluation !== 'client')
    throw badMember('evaluate', 'expected server or client');
  const type = single('event-type');
  const sessionId = single('session-id');
  const attributes = pairs(query, 'attribute');
  const metrics: Record<string, number> = Object.create(null);
  for (const [name, text] of Object.entries(pairs(query, 'metric'))) {
    const value = /^-?\d+(\.\d+)?([eE][-+]?\d+)?$/.test(text) ? Number(text) : Number.NaN;
    if (!Number.isFinite(value)) throw badMember('metric', 'expected name=number');
    metrics[name] = value;
  }
  if (type === undefined && Object.keys(attributes).length + Object.keys(metrics).length > 0)
    throw badMember('event-type', 'expected with attribute and metric: they belong to an event');
  return {
    ...(evaluation && { evaluation }),
    ...(type === undefined ? {} : { event: { type, attributes, metrics } }),
    ...(sessionId === undefined ? {} : { sessionId }),
  };
}

function isStorable(text: string): boolean {
  return text.isWellFormed() && !text.includes('\0');
}

function pairs(query: ReadonlyMap<string, readonly string[]>, name: string): Record<string, string> {
  const found: Record<string, string> = Object.create(null);
  const values = query.get(name) ?? [];
  if (values.length > maxPairs) throw badMember(name, `expected at most ${maxPairs} times`);
  for (const value of values) {
    const at = value.indexOf('=');
    if (at < 1 || value.length > 2 * maxLength || !isStorable(value))
      throw badMember(name, 'expected name=value');
    found[value.slice(0, at)] = value.slice(at + 1);
  }
  return found;
}
