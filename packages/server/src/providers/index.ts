import type { Provider } from '../messaging/provider.ts';
import { sandbox } from './sandbox/index.ts';
import { smtp } from './smtp/index.ts';

export { createFunctionProvider } from './function/index.ts';

/** All vendors and protocols of this version that accounts can be made for. */
export const providers: readonly Provider[] = [sandbox, smtp];
