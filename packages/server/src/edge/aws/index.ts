export { type ArnResource, type ArnScope, arn, parseArn } from './arn.ts';
export { createWireEngine, type WireEngine, type WireEngineOptions } from './engine.ts';
export type { OperationContext, OperationHandler, OperationHandlers, OperationName } from './operation.ts';
export { jsonText } from './serialise.ts';
export type { ResourceCheck, Services } from './services.ts';
export { decodeToken, encodeToken, page, pageLimit } from './tokens.ts';
