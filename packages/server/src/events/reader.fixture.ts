// A process that subscribes to the log and notes what it sees; subscriber.test.ts starts several and kills them.
import { openDatabase } from '../platform/database.ts';
import { silentLog } from '../platform/log.ts';
import { createNumberer, createSubscriber } from './index.ts';

const [url] = process.argv.slice(2);
const database = openDatabase({ url: url!, maxConnections: 4, applicationName: 'reader' });
createNumberer({ database, log: silentLog }).start();
createSubscriber({
  database,
  log: silentLog,
  name: 'reader',
  maxFacts: 50,
  handle: async (tx, facts) => {
    await tx.query('insert into seen (pid, batch_id, seq) select $1, * from unnest($2::uuid[], $3::int[])', [
      process.pid,
      facts.map((fact) => fact.batchId),
      facts.map((fact) => fact.seq),
    ]);
  },
}).start();
process.stdout.write('reading\n');
