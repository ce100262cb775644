import type { OperationHandlers } from '../aws/operation.ts';
import { apps } from './apps.ts';
import { campaigns } from './campaigns.ts';
import { channels } from './channels.ts';
import { endpoints } from './endpoints.ts';
import { eventStreams } from './event-stream.ts';
import { events } from './events.ts';
import { inApp } from './in-app.ts';
import { jobs } from './jobs.ts';
import { kpis } from './kpis.ts';
import { messages } from './messages.ts';
import { segments } from './segments.ts';
import { settings } from './settings.ts';
import { tags } from './tags.ts';
import { templates } from './templates.ts';

/** Every Pinpoint operation that works. A new family is one line here. */
export const operations: OperationHandlers = {
  ...apps,
  ...campaigns,
  ...channels,
  ...endpoints,
  ...events,
  ...eventStreams,
  ...inApp,
  ...jobs,
  ...kpis,
  ...messages,
  ...segments,
  ...settings,
  ...tags,
  ...templates,
};
