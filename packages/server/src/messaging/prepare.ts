import { disabledChannels } from '../accounts/index.ts';
import { loadRecipients, type Recipient, suppressedAmong } from '../audience/index.ts';
import type { Database } from '../platform/database.ts';
import { uuidv7 } from '../platform/ids.ts';
import type { Composer } from './compose.ts';
import type { Dispatch } from './dispatch.ts';
import { takenAddresses } from './message.sql.ts';
import { addressKey, decide, deliverableAddress, deliveryChannel, type Verdict } from './policy.ts';
import type { DeliveryChannel, MessageContent } from './provider.ts';
import type { MessageRow } from './window.sql.ts';

/** One member of a chunk, decided and, when it is to be sent, composed. */
export interface Prepared {
  row: MessageRow;
  content?: MessageContent;
  /** Asked for a message: counts towards the caps. */
  targeted: boolean;
}

export interface PrepareOptions {
  database: Database;
  composer: Composer;
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

/** Reads, decides and composes some members of a dispatch; in the order of `endpointIds`. */
export async function prepare(
  { database, composer }: PrepareOptions,
  dispatch: Dispatch,
  endpointIds: string[],
  claims: ChunkClaims,
): Promise<Prepared[]> {
  const { applicationId, plan } = dispatch;
  const [recipients, disabled] = await Promise.all([
    loadRecipients(database, applicationId, endpointIds),
    disabledChannels(database, applicationId),
  ]);
  const byId = new Map(recipients.map((recipient) => [recipient.id, recipient]));
  // Before and after the reading: what is committed meanwhile was claimed before.
  const claimed = claims.others();
  const [suppressed, taken] = await Promise.all([
    suppressedKeys(database, applicationId, recipients),
    takenAddresses(
      database,
      dispatch,
      recipients.flatMap(({ channel, address }) => sendableAddress(channel, address) ?? []),
    ),
  ]);
  for (const keys of [...claimed, ...claims.others()]) for (const key of keys) taken.add(key);
  const facts = { disabledChannels: disabled, suppressed, taken, now: Date.now() };
  const verdicts = endpointIds.map((id) => {
    const recipient = byId.get(id);
    return { id, recipient, verdict: recipient ? decide(plan, subjectOf(recipient), facts) : missing };
  });
  for (const { verdict } of verdicts)
    if (verdict.decision === 'sending') claims.keys.add(addressKey(verdict.channel, verdict.address));
  const contents = await composeAll(composer, dispatch, verdicts);
  return verdicts.map(({ id, recipient, verdict }) => {
    const composed = contents.get(id);
    const decision = composed && 'decision' in composed ? composed.decision : verdict.decision;
    const row: MessageRow = {
      id: uuidv7(),
      channel: verdict.channel,
      address: verdict.address,
      endpointId: id,
      userId: recipient?.userId ?? null,
      treatmentId: verdict.treatmentId ?? null,
      decision,
      detail: composed && 'decision' in composed ? composed.detail : (verdict.detail ?? null),
      summary: composed && 'content' in composed ? composed.summary : null,
    };
    const content = composed && 'content' in composed ? composed.content : undefined;
    return { row, content, targeted: verdict.targeted };
  });
}

function sendableAddress(channelType: string | null, address: string | null): string | undefined {
  const channel = deliveryChannel(channelType);
  return channel && address ? deliverableAddress(channel, address) : undefined;
}

const missing: Verdict = {
  decision: 'endpoint_missing',
  detail: 'Deleted after the audience was evaluated',
  channel: 'CUSTOM',
  address: '',
  targeted: false,
};

function subjectOf(recipient: Recipient) {
  const { channel, address, status, optOut, cohort } = recipient;
  return { channel, address, status, optOut, cohort, timezone: recipient.demographic.Timezone ?? null };
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

/** Composes the members that are to be sent, together for each treatment and channel. */
async function composeAll(
  composer: Composer,
  dispatch: Dispatch,
  verdicts: { id: string; recipient: Recipient | undefined; verdict: Verdict }[],
): Promise<Map<string, Composed>> {
  const groups = Map.groupBy(
    verdicts.filter(({ verdict }) => verdict.decision === 'sending'),
    ({ verdict }) => `${verdict.treatmentId} ${verdict.channel}`,
  );
  const contents = new Map<string, Composed>();
  for (const members of groups.values()) {
    const { treatmentId, channel } = members[0]!.verdict as { treatmentId: string; channel: DeliveryChannel };
    const source = dispatch.plan.treatments.find(({ id }) => id === treatmentId)!.content[channel]!;
    const composed = await composer.compose(
      { applicationId: dispatch.applicationId, channel, source, class: dispatch.class },
      members.map(({ recipient }) => ({ recipient: recipient! })),
    );
    members.forEach(({ id }, index) => {
      contents.set(id, composed[index]!);
    });
  }
  return contents;
}
