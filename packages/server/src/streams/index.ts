/** Outlets of the log: what happens in an application, delivered elsewhere in the shapes of Pinpoint's event stream. */
export {
  type DeadLetter,
  listDeadLetters,
  removeDeadLetters,
  replayDeadLetters,
  trimDeadLetters,
} from './dead-letter.ts';
export { eraseStreams } from './erase.ts';
export { createStreamRunner, type StreamRunner } from './runner.ts';
export { streamFields } from './settings.ts';
export {
  createStreams,
  eventStreamName,
  type Stream,
  type StreamDefinition,
  type Streams,
  streamHold,
} from './stream.ts';
