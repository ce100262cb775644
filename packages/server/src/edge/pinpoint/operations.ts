import type { OperationHandlers } from '../aws/operation.ts';
import { apps } from './apps.ts';
import { channels } from './channels.ts';
import { settings } from './settings.ts';
import { tags } from './tags.ts';

/** Every Pinpoint operation that works. A new family is one line here. */
export const operations: OperationHandlers = {
  ...apps,
  ...channels,
  ...settings,
  ...tags,
};
