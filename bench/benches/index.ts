import type { Bench } from '../bench.ts';
import { analytics } from './analytics.ts';
import { campaignSms } from './campaign-sms.ts';
import { campaignSmtp } from './campaign-smtp.ts';
import { audienceImport } from './import.ts';
import { lanes } from './lanes.ts';
import { logAppend } from './log-append.ts';
import { logRead } from './log-read.ts';
import { putEvents } from './put-events.ts';
import { segmentBehaviour } from './segment-behaviour.ts';
import { segmentCount } from './segment-count.ts';
import { start } from './start.ts';
import { together } from './together.ts';
import { triggerLatency } from './trigger-latency.ts';

/** In the order in which they run. */
export const benches: readonly Bench[] = [
  audienceImport,
  segmentCount,
  segmentBehaviour,
  campaignSmtp,
  campaignSms,
  lanes,
  triggerLatency,
  logAppend,
  logRead,
  analytics,
  putEvents,
  together,
  start,
];
