import type { Bench } from '../bench.ts';
import { logAppend } from './log-append.ts';
import { logRead } from './log-read.ts';

/** In the order in which they run. */
export const benches: readonly Bench[] = [logAppend, logRead];
