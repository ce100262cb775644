import type { Provider } from '../messaging/provider.ts';
import { sandbox } from './sandbox/index.ts';
import { smtp } from './smtp/index.ts';

/** All vendors and protocols of this version. */
export const providers: readonly Provider[] = [sandbox, smtp];
