import { createRenderer } from '../content/index.ts';
import { systemClock } from '../platform/clock.ts';
import { silentLog } from '../platform/log.ts';
import './api.ts';
import './run.ts';
import './worker.ts';

/**
 * Runs in a process of its own, once after an installation or update and while the database starts: loads what the roles
 * load, and a render thread, so that all of it is in the compile cache.
 */
export async function warm(): Promise<void> {
  const renderer = createRenderer({ clock: systemClock, log: silentLog });
  await renderer.check({ body: '' });
  await renderer.close();
  // The channel to the process that waits for this one would keep it alive.
  process.disconnect?.();
}
