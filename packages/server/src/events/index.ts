export { appendBatch, appendFacts } from './append.ts';
export { type Appender, createAppender } from './appender.ts';
export {
  type BatchHandler,
  type BatchSubscriber,
  createBatchSubscriber,
} from './batch-subscriber.ts';
export { batchCtes } from './batches.sql.ts';
export { eraseFacts } from './erase.ts';
export { type Fact, maxBatchFacts, payloadText, type StoredFact } from './fact.ts';
export { factColumns } from './facts.sql.ts';
export { factsByType, messageFacts } from './facts.ts';
export { type LogLag, logLag } from './lag.ts';
export { createNumberer, type Numberer } from './numberer.ts';
export { dropOldPartitions, ensurePartitions } from './partitions.ts';
export { createPoller, type Poller, type PollMs } from './poller.ts';
export {
  forgetParkedFacts,
  holdSubscriber,
  oldestDay,
  replayFacts,
  subscriberCursor,
} from './replay.ts';
export type { Batch, Cursor } from './slice.ts';
export { createSubscriber, type FactHandler, type Subscriber } from './subscriber.ts';
