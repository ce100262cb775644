import { join } from 'node:path';
import type { Config } from '../platform/config.ts';
import { createFolderObjects } from '../platform/objects.ts';
import { examples } from './examples.ts';
import { runDemo } from './run.ts';

export { demoBucket, demoName, demoTemplate } from './run.ts';

/**
 * Runs the demo against the server that has just started and prints what to try next. A failure leaves the server
 * running; when it is because the server `isStopping`, only that is said.
 */
export async function showDemo(
  config: Config,
  port: number,
  key: { id: string; secret: string },
  isStopping: () => boolean,
): Promise<void> {
  const anyAddress = config.host === undefined || config.host === '0.0.0.0' || config.host === '::';
  const url = `http://${anyAddress ? 'localhost' : config.host}:${port}`;
  const options = { url, region: config.region, key };
  const { isTTY } = process.stdout;
  const print = (line: string) => {
    if (isTTY) process.stdout.write('\r\u001b[K');
    console.log(line);
  };
  console.log('\nThe main job, once, for you to see (POSTRIDER_DEMO=off skips it):');
  try {
    const result = await runDemo({
      ...options,
      objects: createFolderObjects(join(config.dataDir, 'objects')),
      print,
      redraw: isTTY ? (line) => process.stdout.write(`\r\u001b[K${line}`) : undefined,
    });
    console.log(`\nRead the mails: ${url}/inbox (user name: the key's id, password: its secret)\n`);
    console.log(examples({ ...options, ...result }).join('\n'));
    console.log('\nRemove the demo: npm run postrider -- demo remove');
  } catch (error) {
    const reason = isStopping() ? 'stopped' : error instanceof Error ? error.message : error;
    print(`The demo was not finished: ${reason}. To remove what it made: npm run postrider -- demo remove`);
  }
}
