import { afterAll } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import { createApplication } from '../../accounts/index.ts';
import { ensurePartitions } from '../../events/index.ts';
import { silentLog } from '../../platform/log.ts';
import { createIngest, type IngestOptions } from './ingest.ts';
import type { IngestEvent, IngestItem } from './prepare.ts';

// Support of the tests of the ingest: items as the doors put them, and what the log and the endpoints have of them.
export const database = await testDatabase();
await ensurePartitions(database);
const drains: (() => Promise<void>)[] = [];
afterAll(() => Promise.all(drains.map((drain) => drain())));

export function ingestOf(options: Partial<IngestOptions> = {}) {
  const ingest = createIngest({ database, log: silentLog, ...options });
  drains.push(() => ingest.drain());
  return ingest;
}

export const ingest = ingestOf();
export const newApp = async () => (await createApplication(database, 'events')).id;
export const event = (id: string, more: Partial<IngestEvent> = {}): IngestEvent => ({
  id,
  type: 'opened',
  at: Date.now(),
  ...more,
});
export const item = (endpointId: string, ids: string[], more: Partial<IngestItem> = {}): IngestItem => ({
  endpointId,
  events: ids.map((id) => event(id)),
  ...more,
});

interface Row {
  endpoint: string;
  type: string;
  occurredAt: number;
  payload: Record<string, unknown>;
}

export async function factsOf(app: string): Promise<Row[]> {
  const { rows } = await database.query<Row>(
    `select endpoint_id as endpoint, type, (extract(epoch from occurred_at) * 1000)::int8 as "occurredAt", payload
     from events where application_id = $1 order by batch_id, seq`,
    [app],
  );
  return rows;
}

export const idsOf = async (app: string) => (await factsOf(app)).map(({ payload }) => payload.id);

export async function endpointOf(app: string, id: string) {
  const { rows } = await database.query(
    'select *, xmin::text as version from endpoints where application_id = $1 and id = $2',
    [app, id],
  );
  return rows[0];
}

export const accepted = { status: 202, message: 'Accepted' };
