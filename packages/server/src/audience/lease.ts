import type { Log } from '../platform/log.ts';

/** What runs of import and export jobs come to. */
export type JobOutcome = 'completed' | 'failed' | 'paused' | 'busy';

/** The lease was lost (or the job is gone): whoever has it now goes on, so this run must not write any more. */
export class LeaseLostError extends Error {
  constructor() {
    super('another worker has taken over this job, or it was deleted');
  }
}

/** The hold of this process on a job. */
export interface Lease {
  /** @throws LeaseLostError */
  renew(): Promise<void>;
  release(): Promise<void>;
}

/**
 * Works on a job that was taken for `leaseMs`: the lease is renewed until the work ends, and given back then.
 * @param work gets a signal that says that the lease is lost
 * @returns what the work came to; `busy` when the lease was lost
 */
export async function whileLeased(
  lease: Lease,
  { leaseMs, log, job }: { leaseMs: number; log: Log; job: { kind: string; id: string } },
  work: (lost: AbortSignal) => Promise<JobOutcome>,
): Promise<JobOutcome> {
  const lost = new AbortController();
  const renewal = setInterval(() => {
    lease.renew().catch((error: unknown) => {
      if (error instanceof LeaseLostError) lost.abort(error);
      else log.warn({ err: error, job }, 'cannot renew the lease of a job');
    });
  }, leaseMs / 3);
  try {
    return await work(lost.signal);
  } catch (error) {
    if (error instanceof LeaseLostError) return 'busy';
    throw error;
  } finally {
    clearInterval(renewal);
    await lease
      .release()
      .catch((error: unknown) => log.warn({ err: error, job }, 'cannot release the lease of a job'));
  }
}

/**
 * Works off the waiting jobs one after the other, until none of them comes to an end any more; one that another worker
 * takes first is left to it.
 */
export async function workOff(jobs: {
  waiting(): Promise<{ applicationId: string; id: string }[]>;
  /** May one more be begun now? */
  mayBegin(): Promise<boolean>;
  run(applicationId: string, id: string): Promise<JobOutcome>;
}): Promise<void> {
  for (let ran = 1; ran > 0; ) {
    ran = 0;
    for (const { applicationId, id } of await jobs.waiting()) {
      if (!(await jobs.mayBegin())) return;
      const outcome = await jobs.run(applicationId, id);
      if (outcome === 'completed' || outcome === 'failed') ran += 1;
    }
  }
}
