import { appendFacts, type Fact } from '../events/index.ts';
import { uuidv7 } from '../platform/ids.ts';
import { applyCaps } from './caps.ts';
import { type ClaimedChunk, moveChunk } from './dispatch.sql.ts';
import type { Dispatch, DispatchState, Lane } from './dispatch.ts';
import type { Flow } from './flow.ts';
import type { InFlight } from './outcome.ts';
import type { Places } from './places.ts';
import type { Prepared } from './prepare.ts';
import { insertMessages, insertWindow, type SendWindow } from './window.sql.ts';

/** Members of one chunk with a message that go into one window at most. */
export const maxWindow = 250;

export interface WindowSenderOptions {
  lane: Lane;
  workerId: string;
  flow: Flow;
  capsCount: 'targeted' | 'sent';
}

/** What goes into one window: the next members of a claimed chunk. */
export interface NextMembers {
  dispatch: Dispatch;
  chunk: ClaimedChunk;
  members: Prepared[];
  /** The dispatch must still be in this state. */
  state: DispatchState;
  /** What bounds the messages that are in flight. */
  places: Places;
  /** Asked once there are places: true gives up. */
  stopping(): boolean;
}

/** Writes the rows of a window, with the chunk's cursor in one transaction, and hands its messages over. */
export class WindowSender {
  readonly #options: WindowSenderOptions;
  readonly #inFlight = new Set<Promise<unknown>>();

  constructor(options: WindowSenderOptions) {
    this.#options = options;
  }

  /**
   * Waits for places, then commits the rows of `next.members`, moves the chunk on, and hands over what is to be sent.
   * False when the dispatch is not in `state` any more, the chunk was lost or the process is stopping; then nothing was
   * written. Counts the members against their caps on the way, so some of them may get another decision.
   */
  async send(next: NextMembers): Promise<boolean> {
    const { dispatch, chunk, members, places } = next;
    const wanted = members.filter(({ content }) => content).length;
    await places.take(wanted);
    let kept = 0;
    try {
      if (next.stopping()) return false;
      const window = this.#windowOf(dispatch);
      const sending = await this.#commit(next, window);
      if (!sending) return false;
      chunk.next += members.length;
      kept = sending.length;
      this.#handOver(dispatch, window, sending, places);
      return true;
    } finally {
      places.give(wanted - kept);
    }
  }

  /** Resolves when everything that was handed over has its outcome. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#inFlight);
  }

  #windowOf(dispatch: Dispatch): Omit<SendWindow, 'messages'> {
    return {
      id: uuidv7(),
      workerId: this.#options.workerId,
      applicationId: dispatch.applicationId,
      dispatchId: dispatch.id,
      class: dispatch.class,
      lane: this.#options.lane,
      expiresAt: dispatch.expiresAt,
    };
  }

  /** Returns the members to send; undefined when nothing was committed. */
  async #commit(
    { dispatch, chunk, members, state }: NextMembers,
    window: Omit<SendWindow, 'messages'>,
  ): Promise<Prepared[] | undefined> {
    const { flow, workerId } = this.#options;
    let sending: Prepared[] = [];
    const committed = await flow.commitWindow(window.id, async (tx) => {
      const to = chunk.next + members.length;
      const cursor = {
        dispatchId: dispatch.id,
        number: chunk.number,
        workerId,
        from: chunk.next,
        to,
        ends: to >= chunk.endpointIds.length,
        state,
      };
      if (!(await moveChunk(tx, cursor))) return false;
      await applyCaps(tx, dispatch, members, this.#options.capsCount);
      sending = members.filter(({ row, content }) => row.decision === 'sending' && content);
      await insertMessages(
        tx,
        dispatch,
        members.map(({ row }) => row),
      );
      if (sending.length > 0)
        await insertWindow(tx, { ...window, messages: sending.map(windowMessage(dispatch)) });
      await appendFacts(tx, [windowFact(dispatch, members)]);
      return true;
    });
    return committed ? sending : undefined;
  }

  #handOver(
    dispatch: Dispatch,
    window: Omit<SendWindow, 'messages'>,
    sending: Prepared[],
    places: Places,
  ): void {
    if (sending.length === 0) return;
    const inFlight = sending.map((member) => inFlightOf(dispatch, window, member));
    for (const outcome of this.#options.flow.send(window, inFlight)) {
      this.#inFlight.add(outcome);
      void outcome.finally(() => {
        this.#inFlight.delete(outcome);
        places.give(1);
      });
    }
  }
}

function inFlightOf(
  dispatch: Dispatch,
  window: Omit<SendWindow, 'messages'>,
  { row, content, expiresAt }: Prepared,
): InFlight {
  return {
    windowId: window.id,
    dispatchId: dispatch.id,
    campaignId: dispatch.campaignId,
    endpointId: row.endpointId,
    treatmentId: row.treatmentId,
    class: dispatch.class,
    lane: window.lane,
    expiresAt: expiresAt === undefined ? dispatch.expiresAt : new Date(expiresAt),
    message: {
      id: row.id,
      applicationId: dispatch.applicationId,
      channel: row.channel as InFlight['message']['channel'],
      address: row.address,
      attempt: 1,
      content: content!,
    },
  };
}

/** The next members with at most `size` messages to send among them; what is held back travels along. */
export function takeWindow(prepared: Prepared[], from: number, size: number): Prepared[] {
  let sending = 0;
  let to = from;
  while (to < prepared.length && to - from < maxWindow * 2) {
    if (prepared[to]!.content) {
      if (sending === size) break;
      sending += 1;
    }
    to += 1;
  }
  return prepared.slice(from, to);
}

function windowMessage(dispatch: Dispatch): (member: Prepared) => SendWindow['messages'][number] {
  return ({ row, content }) => ({
    id: row.id,
    attempt: 1,
    endpointId: row.endpointId,
    treatmentId: row.treatmentId,
    message:
      dispatch.class === 'transactional'
        ? {
            id: row.id,
            applicationId: dispatch.applicationId,
            channel: row.channel as InFlight['message']['channel'],
            address: row.address,
            content: content!,
          }
        : undefined,
  });
}

/** First and last id of the window's message rows: where readers of the fact find them. */
function idRange(members: Prepared[]): { firstMessageId?: string; lastMessageId?: string } {
  const ids = members.map(({ row }) => row.id).sort();
  return { firstMessageId: ids[0], lastMessageId: ids.at(-1) };
}

/** What was decided in a window, by treatment: the campaign's counters are made of these. */
function windowFact(dispatch: Dispatch, members: Prepared[]): Fact {
  const decisions: Record<string, Record<string, number>> = {};
  for (const { row } of members) {
    const treatmentId = row.treatmentId ?? '0';
    const counts = decisions[treatmentId] ?? {};
    counts[row.decision] = (counts[row.decision] ?? 0) + 1;
    decisions[treatmentId] = counts;
  }
  return {
    type: 'dispatch.window',
    applicationId: dispatch.applicationId,
    dispatchId: dispatch.id,
    payload: { campaignId: dispatch.campaignId ?? undefined, decisions, ...idRange(members) },
  };
}
