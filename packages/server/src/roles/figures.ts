import { Counter, Gauge, Histogram } from 'prom-client';
import { logLag } from '../events/index.ts';
import { countRetries, type Pipeline } from '../messaging/index.ts';
import type { ProcessContext } from './process.ts';

/** Figures of the whole installation, read from the database at each scrape; the worker role shows them. */
export function showInstallation({ metrics, database }: ProcessContext): void {
  const registers = [metrics.registry];
  const unnumbered = new Gauge({
    name: 'postrider_log_unnumbered_batches',
    help: 'Committed batches of facts that wait for their position in the log.',
    registers,
  });
  const lagSeconds = new Gauge({
    name: 'postrider_log_lag_seconds',
    help: 'Age of the oldest batch that a subscriber of the log has not finished.',
    labelNames: ['subscriber'],
    registers,
  });
  const parked = new Gauge({
    name: 'postrider_log_parked_facts',
    help: 'Facts that a subscriber refused and that lie aside.',
    labelNames: ['subscriber'],
    registers,
  });
  new Gauge({
    name: 'postrider_log_lag_batches',
    help: 'Batches of the log that a subscriber has not finished.',
    labelNames: ['subscriber'],
    registers,
    async collect() {
      const lag = await logLag(database);
      unnumbered.set(lag.unnumberedBatches);
      for (const { name, lagPositions, lagSeconds: seconds, parked: count } of lag.subscribers) {
        this.set({ subscriber: name }, lagPositions);
        lagSeconds.set({ subscriber: name }, seconds);
        parked.set({ subscriber: name }, count);
      }
    },
  });
  new Gauge({
    name: 'postrider_retries_waiting',
    help: 'Messages that wait for another attempt.',
    labelNames: ['lane'],
    registers,
    async collect() {
      this.reset();
      for (const { lane, count } of await countRetries(database)) this.set({ lane }, count);
    },
  });
}

/** Messages that this process has handed over and whose outcome is not written yet. */
export function showPipeline({ metrics }: ProcessContext, pipeline: Pipeline): void {
  new Gauge({
    name: 'postrider_messages_in_flight',
    help: 'Messages that were handed to a provider and have no outcome yet.',
    registers: [metrics.registry],
    collect() {
      this.set(pipeline.inFlight);
    },
  });
}

/** Counts and times the requests of the Pinpoint and the Segment API; give it to those who answer them. */
export function requestFigures({ metrics }: ProcessContext) {
  const registers = [metrics.registry];
  const labelNames = ['operation', 'status'] as const;
  const requests = new Counter({
    name: 'postrider_requests_total',
    help: 'Requests of the Pinpoint API and, as segment.…, of the Segment API.',
    labelNames,
    registers,
  });
  const seconds = new Histogram({
    name: 'postrider_request_duration_seconds',
    help: 'Time until the answer, by operation.',
    labelNames: ['operation'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers,
  });
  // Looked up by one name: by its labels each would be found by hashing them, for every request.
  const figures = new Map<string, { count: { inc(): void }; duration: { observe(seconds: number): void } }>();
  return ({
    operation = 'none',
    status,
    durationMs,
  }: {
    operation?: string;
    status: number;
    durationMs: number;
  }) => {
    const name = `${operation} ${status}`;
    let figure = figures.get(name);
    if (!figure) {
      figure = {
        count: requests.labels({ operation, status }),
        duration: seconds.labels({ operation }),
      };
      figures.set(name, figure);
    }
    figure.count.inc();
    figure.duration.observe(durationMs / 1000);
  };
}
