import sql from 'sql-template-tag';
import { disabledChannels } from '../accounts/index.ts';
import { loadRecipients, suppressedAmong } from '../audience/index.ts';
import type { Database } from '../platform/database.ts';
import { CallerError } from '../platform/errors.ts';
import { uuidv7 } from '../platform/ids.ts';
import type { Addressee, Composed, Composer, Overrides } from './compose.ts';
import type { ContentByChannel, DispatchPlan, Lane } from './dispatch.ts';
import type { Flow } from './flow.ts';
import type { InFlight, OutcomeType } from './outcome.ts';
import { type Decision, decide, type PolicySubject, type Verdict } from './policy.ts';
import type { RoutedResult } from './session.ts';
import { insertMessages, insertWindow, type MessageRow } from './window.sql.ts';

/** How long a direct message is tried: long enough for a provider's bad hour, short enough to still be news. */
const timeToLiveMs = 48 * 3_600_000;
const maxRecipients = 1_000;

export interface DirectRecipient {
  /** Either an address with its channel, or an endpoint of the application. */
  address?: string;
  channel?: string;
  endpointId?: string;
  overrides?: Overrides;
}

export interface DirectMessage {
  applicationId: string;
  recipients: DirectRecipient[];
  content: ContentByChannel;
  lane?: Lane;
  /** Kept with the dispatch and shown in the message log. */
  context?: Record<string, string>;
  traceId?: string;
  timeToLiveMs?: number;
  /** How long to wait for the first attempts; messages that are not done by then go on without the caller. */
  waitMs: number;
}

export interface DirectResult {
  messageId: string;
  address: string;
  decision: Decision;
  detail?: string;
  /** Absent when nothing was attempted, or not within `waitMs`. */
  outcome?: OutcomeType;
  result?: RoutedResult;
}

export interface DirectOptions {
  database: Database;
  composer: Composer;
  flow: Flow;
  workerId: string;
}

interface Target {
  recipient: Addressee | undefined;
  endpointId: string | null;
  verdict: Verdict;
  composed?: Composed;
  row: MessageRow;
}

/**
 * Sends to up to 1,000 named recipients at once, from this process: the messages are committed first, then handed
 * over, and the answer has each provider's verdict as far as it came within `waitMs`. What was refused for now is
 * tried again by the workers; after a crash it is sent again (class transactional).
 * One result for each recipient, in order.
 */
export async function sendDirect(options: DirectOptions, direct: DirectMessage): Promise<DirectResult[]> {
  if (direct.recipients.length > maxRecipients) {
    throw new CallerError('bad_request', `At most ${maxRecipients} recipients in one call`);
  }
  const targets = await decideAll(options, direct);
  await composeTargets(options.composer, direct, targets);
  const lane = direct.lane ?? 'transactional';
  const dispatchId = uuidv7();
  const window = {
    id: uuidv7(),
    workerId: options.workerId,
    applicationId: direct.applicationId,
    dispatchId,
    class: 'transactional' as const,
    lane,
    expiresAt: new Date(Date.now() + (direct.timeToLiveMs ?? timeToLiveMs)),
  };
  const sending = targets.filter(({ row }) => row.decision === 'sending');
  const inFlight = sending.map((target) => inFlightOf(target, window, direct.applicationId));
  const committed = await options.flow.commitWindow(window.id, async (tx) => {
    const plan = { context: direct.context, traceId: direct.traceId };
    await tx.query(sql`
      insert into dispatches (id, application_id, kind, class, lane, state, plan, audience_size, expires_at, finished_at)
      values (${dispatchId}, ${direct.applicationId}, 'direct', 'transactional', ${lane}, 'done', ${JSON.stringify(plan)},
              ${targets.length}, ${window.expiresAt}, now())`);
    const dispatch = { id: dispatchId, applicationId: direct.applicationId, campaignId: null };
    await insertMessages(
      tx,
      dispatch,
      targets.map(({ row }) => row),
    );
    if (inFlight.length === 0) return true;
    const messages = inFlight.map(({ message: { attempt, ...message }, endpointId, treatmentId }) => ({
      id: message.id,
      attempt,
      endpointId,
      treatmentId,
      message,
    }));
    await insertWindow(tx, { ...window, messages });
    return true;
  });
  if (!committed)
    throw new CallerError('unavailable', 'The message could not be stored; nothing was sent. Try again.');
  const outcomes = new Map(
    options.flow.send(window, inFlight).map((done, index) => [inFlight[index]!.message.id, done]),
  );
  return await gather(targets, outcomes, direct.waitMs);
}

async function decideAll({ database }: DirectOptions, direct: DirectMessage): Promise<Target[]> {
  const { applicationId, recipients } = direct;
  const ids = recipients.flatMap(({ endpointId }) => endpointId ?? []);
  const [loaded, disabled] = await Promise.all([
    ids.length > 0 ? loadRecipients(database, applicationId, ids) : [],
    disabledChannels(database, applicationId),
  ]);
  const byId = new Map(loaded.map((recipient) => [recipient.id, recipient]));
  const plan: DispatchPlan = {
    treatments: [{ id: '0', sizePercent: 100, content: direct.content }],
    holdoutPercent: 0,
    limits: {},
  };
  const people = recipients.map(({ address, channel, endpointId }): Addressee | undefined =>
    endpointId === undefined ? { channel: channel ?? null, address: address ?? null } : byId.get(endpointId),
  );
  const suppressed = new Set<string>();
  for (const channel of ['EMAIL', 'SMS'] as const) {
    const addresses = people.flatMap((person) =>
      person?.channel === channel && person.address ? person.address : [],
    );
    if (addresses.length === 0) continue;
    for (const key of await suppressedAmong(database, applicationId, channel, addresses)) suppressed.add(key);
  }
  const facts = { disabledChannels: disabled, suppressed, taken: new Set<string>(), now: Date.now() };
  return people.map((recipient, index) => {
    const endpointId = recipients[index]!.endpointId ?? null;
    const verdict: Verdict = recipient
      ? decide(plan, subjectOf(recipient), facts)
      : {
          decision: 'endpoint_missing',
          detail: 'No such endpoint',
          channel: 'CUSTOM',
          address: '',
          targeted: false,
        };
    const row: MessageRow = {
      id: uuidv7(),
      channel: verdict.channel,
      address: verdict.address,
      endpointId,
      userId: recipient && 'id' in recipient ? recipient.userId : null,
      eventId: null,
      treatmentId: null,
      decision: verdict.decision,
      detail: verdict.detail ?? null,
      summary: null,
    };
    return { recipient, endpointId, verdict, row };
  });
}

/** A bare address has no opt-out and no cohort of its own. */
function subjectOf(recipient: Addressee): PolicySubject {
  const bare = { status: 'ACTIVE', optOut: 'NONE', cohort: 0, timezone: null };
  if (!('id' in recipient)) return { ...bare, ...recipient };
  return {
    ...bare,
    channel: recipient.channel,
    address: recipient.address,
    status: recipient.status,
    optOut: recipient.optOut,
  };
}

async function composeTargets(composer: Composer, direct: DirectMessage, targets: Target[]): Promise<void> {
  const byRecipient = new Map(targets.map((target, index) => [target, direct.recipients[index]!]));
  const groups = Map.groupBy(
    targets.filter(({ row }) => row.decision === 'sending'),
    ({ verdict }) => verdict.channel,
  );
  for (const [channel, members] of groups) {
    const source = direct.content[channel]!;
    const composed = await composer.compose(
      { applicationId: direct.applicationId, channel, source, class: 'transactional' },
      members.map((target) => ({
        recipient: target.recipient!,
        overrides: byRecipient.get(target)!.overrides,
      })),
    );
    members.forEach((target, index) => {
      const words = composed[index]!;
      target.composed = words;
      if ('content' in words) target.row.summary = words.summary;
      else Object.assign(target.row, { decision: words.decision, detail: words.detail });
    });
  }
}

function inFlightOf(
  { row, composed }: Target,
  window: { id: string; dispatchId: string; lane: Lane; expiresAt: Date },
  applicationId: string,
): InFlight {
  if (!composed || !('content' in composed)) throw new Error('A message without content cannot be sent');
  return {
    windowId: window.id,
    dispatchId: window.dispatchId,
    campaignId: null,
    endpointId: row.endpointId,
    treatmentId: null,
    class: 'transactional',
    lane: window.lane,
    expiresAt: window.expiresAt,
    message: {
      id: row.id,
      applicationId,
      channel: row.channel as InFlight['message']['channel'],
      address: row.address,
      attempt: 1,
      content: composed.content,
    },
  };
}

async function gather(
  targets: Target[],
  outcomes: Map<string, Promise<{ type: OutcomeType; result: RoutedResult }>>,
  waitMs: number,
): Promise<DirectResult[]> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), waitMs);
  });
  const results = await Promise.all(
    targets.map(async ({ row }): Promise<DirectResult> => {
      const base = {
        messageId: row.id,
        address: row.address,
        decision: row.decision as Decision,
        detail: row.detail ?? undefined,
      };
      const outcome = outcomes.get(row.id);
      if (!outcome) return base;
      const done = await Promise.race([outcome, late]);
      return done ? { ...base, outcome: done.type, result: done.result } : base;
    }),
  );
  clearTimeout(timer);
  return results;
}
