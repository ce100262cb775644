import { type ApplicationEraser, createAccessKeys, createTokens } from '../accounts/index.ts';
import { eraseAudience } from '../audience/index.ts';
import { templateExists } from '../content/index.ts';
import type { Services } from '../edge/index.ts';
import { eraseMessaging } from '../messaging/index.ts';
import type { ProcessContext } from './process.ts';

/** What each room does when an application is deleted. */
export const erasers: readonly ApplicationEraser[] = [
  { room: 'messaging', erase: eraseMessaging },
  { room: 'audience', erase: eraseAudience },
];

/** What can have tags beside applications. */
export const taggable: Services['taggable'] = {
  templates: (db, { id, templateType = '' }) => templateExists(db, templateType, id),
};

/** Keys and tokens of a process. */
export function createCredentials(context: ProcessContext) {
  return { accessKeys: createAccessKeys(context), tokens: createTokens(context) };
}
