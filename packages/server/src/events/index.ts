export { appendFacts } from './append.ts';
export { type Appender, createAppender } from './appender.ts';
export { eraseFacts } from './erase.ts';
export { type Fact, maxBatchFacts, type StoredFact } from './fact.ts';
export { factsByType, messageFacts } from './facts.ts';
export { type LogLag, logLag } from './lag.ts';
export { createNumberer, type Numberer } from './numberer.ts';
export { dropOldPartitions, ensurePartitions } from './partitions.ts';
export { createSubscriber, type FactHandler, type Subscriber } from './subscriber.ts';
