import { disabledChannels } from '../accounts/index.ts';
import { loadRecipients, type Recipient, suppressedAmong } from '../audience/index.ts';
import type { Database } from '../platform/database.ts';
import { uuidv7 } from '../platform/ids.ts';
import type { Composer, Overrides } from './compose.ts';
import { withDelivery } from './customer-functions.ts';
import type { Dispatch, Occasion } from './dispatch.ts';
import { askHook } from './hook.ts';
import { takenAddresses } from './message.sql.ts';
import {
  addressKey,
  channelIn,
  decide,
  deliverableAddress,
  deliveryChannel,
  type PolicySubject,
  type Verdict,
} from './policy.ts';
import type { CustomerFunctions, DeliveryChannel, MessageContent } from './provider.ts';
import type { MessageRow } from './window.sql.ts';

/** One member of a chunk, decided and, when it is to be sent, composed. */
export interface Prepared {
  row: MessageRow;
  content?: MessageContent;
  /** Asked for a message: counts towards the caps. */
  targeted: boolean;
  /** When it is too late for this member, where that is not when the dispatch expires; in milliseconds. */
  expiresAt?: number;
}

/** A member of a chunk; the same endpoint may be one for several events. */
export interface Member {
  endpointId: string;
  occasion?: Occasion;
}

export interface PrepareOptions {
  database: Database;
  composer: Composer;
  functions: CustomerFunctions;
}

/**
 * Addresses that the chunks which this process works on are about to write to, by dispatch. What is committed is found in
 * the message log; this closes the gap for two chunks that are prepared at the same moment.
 */
export class AddressClaims {
  readonly #byChunk = new Map<string, { dispatchId: string; keys: Set<string> }>();

  /** The claims of one chunk, and what the others of its dispatch claim at the moment of asking. */
  of(chunk: string, dispatchId: string): ChunkClaims {
    const own = this.#byChunk.get(chunk) ?? { dispatchId, keys: new Set<string>() };
    this.#byChunk.set(chunk, own);
    return {
      keys: own.keys,
      others: () =>
        [...this.#byChunk.values()]
          .filter((claims) => claims !== own && claims.dispatchId === dispatchId)
          .map(({ keys }) => keys),
    };
  }

  /** The chunk is given back: what it has sent is in the message log by now, the rest is free. */
  release(chunk: string): void {
    this.#byChunk.delete(chunk);
  }
}

export interface ChunkClaims {
  keys: Set<string>;
  others(): ReadonlySet<string>[];
}

/**
 * Reads, decides and composes some members of a dispatch, in their order; asks its hook on the way, which takes time.
 * @throws HookInterrupted when `signal` is aborted meanwhile
 */
export async function prepare(
  { database, composer, functions }: PrepareOptions,
  dispatch: Dispatch,
  members: Member[],
  claims: ChunkClaims,
  signal?: AbortSignal,
): Promise<Prepared[]> {
  const { applicationId, plan } = dispatch;
  const [recipients, disabled] = await Promise.all([
    loadRecipients(database, applicationId, [...new Set(members.map(({ endpointId }) => endpointId))]),
    disabledChannels(database, applicationId),
  ]);
  const byId = new Map(recipients.map((recipient) => [recipient.id, recipient]));
  // Before and after the reading: what is committed meanwhile was claimed before.
  const claimed = claims.others();
  const [suppressed, taken] = await Promise.all([
    suppressedKeys(database, applicationId, recipients),
    // Of an event all members are in one chunk, and so among its claims.
    members.some(({ occasion }) => occasion)
      ? new Set(claims.keys)
      : takenAddresses(
          database,
          dispatch,
          recipients.flatMap((recipient) => sendableAddress(plan, recipient) ?? []),
        ),
  ]);
  for (const keys of [...claimed, ...claims.others()]) for (const key of keys) taken.add(key);
  const facts = { disabledChannels: disabled, suppressed, taken, now: Date.now() };
  const judged = members.map((member): Decided => {
    const recipient = byId.get(member.endpointId);
    const verdict = recipient ? decide(plan, subjectOf(recipient, member.occasion), facts) : missing;
    return { member, recipient, verdict };
  });
  const keyOf = ({ member, verdict }: Decided) =>
    addressKey(verdict.channel, verdict.address, member.occasion);
  for (const one of judged) if (one.verdict.decision === 'sending') claims.keys.add(keyOf(one));
  const decided = plan.hook ? await hooked(functions, dispatch, judged, signal) : judged;
  for (const one of decided) if (isHooks(one.verdict)) claims.keys.delete(keyOf(one));
  const contents = await composeAll(composer, dispatch, decided);
  return decided.map((one) => {
    const { member, recipient, verdict } = one;
    const composed = contents.get(one);
    const decision = composed && 'decision' in composed ? composed.decision : verdict.decision;
    const row: MessageRow = {
      id: uuidv7(),
      channel: verdict.channel,
      address: verdict.address,
      endpointId: member.endpointId,
      userId: recipient?.userId ?? null,
      eventId: member.occasion?.id ?? null,
      treatmentId: verdict.treatmentId ?? null,
      decision,
      detail: composed && 'decision' in composed ? composed.detail : (verdict.detail ?? null),
      summary: composed && 'content' in composed ? composed.summary : null,
    };
    const content = composed && 'content' in composed ? composed.content : undefined;
    const expiresAt = member.occasion?.expiresAt;
    return { row, content, targeted: verdict.targeted, expiresAt };
  });
}

function sendableAddress(plan: Dispatch['plan'], recipient: Recipient): string | undefined {
  const channel = channelIn(plan, recipient);
  return channel && recipient.address ? deliverableAddress(channel, recipient.address) : undefined;
}

/** Did the hook keep the member from getting a message? */
function isHooks({ decision }: Verdict): boolean {
  return decision === 'hook_filtered' || decision === 'hook_failure';
}

/** What the hook makes of those who are to get a message; the others stay as they are. */
async function hooked(
  functions: CustomerFunctions,
  dispatch: Dispatch,
  judged: Decided[],
  signal: AbortSignal | undefined,
): Promise<Decided[]> {
  const asked = judged.filter(({ verdict }) => verdict.decision === 'sending');
  const subjects = asked.map(({ member, recipient, verdict }) => ({
    recipient: recipient!,
    channel: verdict.channel,
    treatmentId: verdict.treatmentId!,
    eventId: member.occasion?.id,
  }));
  const answers = await askHook(functions, dispatch, subjects, signal);
  const verdictOf = new Map(asked.map((one, index) => [one, answers[index]!]));
  return judged.map((one) => {
    const answer = verdictOf.get(one);
    if (!answer) return one;
    if ('decision' in answer) return { ...one, verdict: { ...one.verdict, ...answer, targeted: false } };
    return { ...one, ...answer };
  });
}

const missing: Verdict = {
  decision: 'endpoint_missing',
  detail: 'Deleted after the audience was evaluated',
  channel: 'CUSTOM',
  address: '',
  targeted: false,
};

function subjectOf(recipient: Recipient, occasion: Occasion | undefined): PolicySubject {
  const { channel, address, status, optOut, cohort } = recipient;
  const timezone = recipient.demographic.Timezone ?? null;
  return { channel, address, status, optOut, cohort, timezone, occasion };
}

async function suppressedKeys(
  database: Database,
  applicationId: string,
  recipients: Recipient[],
): Promise<Set<string>> {
  const keys = new Set<string>();
  const byChannel = Map.groupBy(
    recipients.filter(({ address }) => address),
    ({ channel }) => deliveryChannel(channel),
  );
  for (const [channel, members] of byChannel) {
    if (!channel) continue;
    const addresses = members.map(({ address }) => address!);
    for (const key of await suppressedAmong(database, applicationId, channel, addresses)) keys.add(key);
  }
  return keys;
}

type Composed = Awaited<ReturnType<Composer['compose']>>[number];

interface Decided {
  member: Member;
  recipient: Recipient | undefined;
  verdict: Verdict;
  /** Words of its own, by the hook. */
  overrides?: Overrides;
}

/** Composes the members that are to be sent, together for each treatment and channel. */
async function composeAll(
  composer: Composer,
  dispatch: Dispatch,
  decided: Decided[],
): Promise<Map<Decided, Composed>> {
  const groups = Map.groupBy(
    decided.filter(({ verdict }) => verdict.decision === 'sending'),
    ({ verdict }) => `${verdict.treatmentId} ${verdict.channel}`,
  );
  const contents = new Map<Decided, Composed>();
  for (const members of groups.values()) {
    const { treatmentId, channel } = members[0]!.verdict as { treatmentId: string; channel: DeliveryChannel };
    const treatment = dispatch.plan.treatments.find(({ id }) => id === treatmentId)!;
    const source = treatment.content[channel]!;
    const composed = await composer.compose(
      { applicationId: dispatch.applicationId, channel, source, class: dispatch.class },
      members.map(({ recipient, member, overrides }) => ({
        recipient: recipient!,
        occasion: member.occasion,
        overrides,
      })),
    );
    members.forEach((one, index) => {
      const words = composed[index]!;
      if ('content' in words)
        words.content = withDelivery(words.content, dispatch, treatment, one.recipient!);
      contents.set(one, words);
    });
  }
  return contents;
}
