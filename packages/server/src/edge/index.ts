export { expireIdempotencyKeys } from './api/idempotency.ts';
export { type Api, createApi } from './api/server.ts';
export { createWireEngine, type Services, type WireEngine } from './aws/index.ts';
export { operations } from './pinpoint/operations.ts';
export { createPublishableDoor } from './publishable/door.ts';
export { createSegmentDoor } from './segment/server.ts';
