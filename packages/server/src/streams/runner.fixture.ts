// A worker that delivers streams and nothing else; runner.test.ts kills it.
import { systemClock } from '../platform/clock.ts';
import { openDatabase } from '../platform/database.ts';
import { registerTestWorker, testRunner } from './runner.test-support.ts';

const [url, workerId, awsUrl] = process.argv.slice(2);
const database = openDatabase({ url: url!, maxConnections: 4, applicationName: 'streams' });
await registerTestWorker(database, workerId!);
testRunner({ database, clock: systemClock, workerId: workerId!, awsUrl: awsUrl! }).start();
process.stdout.write('running\n');
