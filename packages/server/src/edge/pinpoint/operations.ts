import type { OperationHandlers } from '../aws/operation.ts';

/** Every Pinpoint operation that works. A new family is one line here. */
export const operations: OperationHandlers = {};
