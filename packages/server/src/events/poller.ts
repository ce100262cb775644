/**
 * What a round of work says about the next one: `more` is waiting (go on at once), `some` was done (look again soon),
 * `none` (look ever more rarely), or a fixed wait that a wake does not cut short.
 */
export type RoundResult = 'more' | 'some' | 'none' | { waitMs: number };

export interface PollMs {
  /** Wait after a round that found something. */
  busy: number;
  /** Wait after a round that found something which no wake cuts short: what comes meanwhile is one round. 0 when absent. */
  rest?: number;
  /** Longest wait: the wait doubles up to it while nothing is found. */
  idle: number;
}

/** Runs rounds of work one after the other until stopped. */
export interface Poller {
  start(): void;
  /** Runs the next round now, when one is waited for. */
  wake(): void;
  /** Resolves when the round that runs has ended; none begins after it. */
  stop(): Promise<void>;
}

const longestErrorWaitMs = 5_000;

/** A round that rejects is reported and tried again after a wait that doubles up to five seconds. */
export function createPoller(options: {
  round: () => Promise<RoundResult>;
  pollMs: PollMs;
  onError: (error: unknown) => void;
}): Poller {
  const { pollMs } = options;
  let running: Promise<void> | undefined;
  let stopping = false;
  let woken = false;
  let endWait: (() => void) | undefined;
  let wakeable = false;

  function wait(ms: number, byWake: boolean): Promise<void> {
    if (stopping || (byWake && woken)) return Promise.resolve();
    wakeable = byWake;
    return new Promise((resolve) => {
      const timer = setTimeout(() => endWait?.(), ms);
      endWait = () => {
        clearTimeout(timer);
        endWait = undefined;
        resolve();
      };
    });
  }

  async function loop(): Promise<void> {
    let idleMs = pollMs.busy;
    let errorMs = pollMs.busy;
    while (!stopping) {
      woken = false;
      let result: RoundResult;
      try {
        result = await options.round();
        errorMs = pollMs.busy;
      } catch (error) {
        options.onError(error);
        errorMs = Math.min(errorMs * 2, longestErrorWaitMs);
        result = { waitMs: errorMs };
      }
      if (result === 'more') continue;
      if (typeof result === 'object') {
        await wait(result.waitMs, false);
        continue;
      }
      if (result === 'some' && pollMs.rest) {
        await wait(pollMs.rest, false);
        idleMs = pollMs.busy;
        continue;
      }
      idleMs = result === 'some' ? pollMs.busy : Math.min(idleMs * 2, pollMs.idle);
      await wait(idleMs, true);
    }
  }

  return {
    start() {
      if (running) return;
      stopping = false;
      running = loop();
    },
    wake() {
      woken = true;
      if (wakeable) endWait?.();
    },
    async stop() {
      stopping = true;
      endWait?.();
      await running;
      running = undefined;
    },
  };
}
