import {
  analyticsRollups,
  eventCounts,
  queryFunnel,
  retention,
  usage,
} from '../../packages/server/src/analytics/index.ts';
import { createSubscriber } from '../../packages/server/src/events/index.ts';
import type { Database } from '../../packages/server/src/platform/database.ts';
import { hexId } from '../../packages/server/src/platform/ids.ts';
import { silentLog } from '../../packages/server/src/platform/log.ts';
import { type Bench, scaled } from '../bench.ts';
import { median, perSecond, rounded, timed } from '../support/figures.ts';

const rounds = 5;
const days = 30;
const dayMs = 86_400_000;
const eventsOfSession = 10;
const batchFacts = 1_000;

/** The bound of usage and retention. */
const boundMs = 500;

/** Rows that a bare cursor reads for comparison, at most, and rows of each fetch. */
const readRows = 1_000_000;
const pageRows = 5_000;

/**
 * Thirty days of an app: sessions of ten events (start, looks, now and then a purchase, stop) at any time of the day, by
 * endpoints of which most have a user; about 300 bytes a payload.
 */
async function load(database: Database, app: string, events: number): Promise<{ from: number; to: number }> {
  const to = Math.floor(Date.now() / dayMs) * dayMs;
  const from = to - days * dayMs;
  const sessions = events / eventsOfSession;
  await database.query('insert into applications (id, name) values ($1, $1)', [app]);
  for (let day = 0; day < days; day++) {
    const at = from + day * dayMs;
    const [name, next] = [at, at + dayMs].map((ms) => new Date(ms).toISOString().slice(0, 10));
    await database.query(
      `create table events_${name!.replaceAll('-', '')} partition of events for values from ('${name}') to ('${next}')`,
    );
    const first = Math.round((sessions * day) / days);
    const last = Math.round((sessions * (day + 1)) / days);
    await database.query(sessionsOfDay, [app, name, at, first, last, Math.max(10, sessions / 5), batchFacts]);
  }
  await database.query(
    `insert into event_batches (position, batch_id, day, facts)
     select row_number() over (order by batch_id), batch_id, day, count(*) from events group by batch_id, day`,
  );
  await database.query('update log_head set position = (select max(position) from event_batches)');
  await database.query('vacuum analyze');
  return { from, to };
}

/** $1 application, $2 day, $3 its first millisecond, $4–$5 sessions, $6 endpoints, $7 facts of a batch. */
const sessionsOfDay = `
  insert into events (day, batch_id, seq, occurred_at, application_id, type, endpoint_id, payload)
  select $2::date,
    (lpad(to_hex($3::int8 + (n - 1) / $7::int8), 12, '0') || '7000800000000000' || lpad('', 4, '0'))::uuid,
    ((n - 1) % $7::int8)::int, to_timestamp(at_ms / 1000.0), $1, 'event.' || type,
    'endpoint-' || endpoint,
    jsonb_build_object('id', 'event-' || session || '-' || k,
      'session', jsonb_build_object('id', 'session-' || session, 'startedAt', started_ms),
      'attributes', jsonb_build_object('screen', 'screen-' || session % 17, 'campaign', 'none', '_currency', 'EUR', '_product_id', 'product-' || session % 101),
      'metrics', jsonb_build_object('_item_price', session % 5000 / 100.0, 'load', k * 13),
      'app', jsonb_build_object('packageName', 'com.example.shop', 'versionCode', '1.' || session % 10))
      || case when endpoint % 4 < 3 then jsonb_build_object('userId', 'user-' || endpoint / 2) else '{}' end
  from (
    select row_number() over () as n, session, k, endpoint, started_ms, started_ms + k * 20000 as at_ms,
      case k when 0 then '_session.start' when 9 then '_session.stop'
        else case when k = 8 and session % 20 = 0 then '_monetization.purchase'
          when k = 5 and session % 3 = 0 then 'add_to_cart'
          else (array['browse', 'search', 'look'])[1 + k % 3] end end as type
    from (
      select session, (hashint8(session) & 2147483647) % $6::int8 as endpoint,
        $3::int8 + (session - $4::int8) * 86000000 / greatest($5::int8 - $4::int8, 1) as started_ms
      from generate_series($4::int8, $5::int8 - 1) session
    ) begun cross join generate_series(0, 9) k
  ) happened`;

/** What reading every row once costs, which a question to the log cannot spare. */
async function bareScan(database: Database): Promise<void> {
  await database.transaction(async (tx) => {
    await tx.query('set local enable_indexscan = off');
    await tx.query('set local enable_indexonlyscan = off');
    await tx.query('set local enable_bitmapscan = off');
    await tx.query('select count(*) from events');
  });
}

/** Milliseconds for each event that a client spends which only reads them. */
async function bareRead(database: Database): Promise<number> {
  let read = 0;
  const ms = await timed(() =>
    database.transaction(async (tx) => {
      await tx.query('declare page no scroll cursor for select * from events');
      for (let rows = -1; rows !== 0 && read < readRows; read += rows) {
        rows = (await tx.query(`fetch ${pageRows} from page`)).rowCount ?? 0;
      }
    }),
  );
  return ms / read;
}

async function medianOf(work: () => Promise<unknown>): Promise<number> {
  const samples: number[] = [];
  for (let round = 0; round < rounds; round++) samples.push(await timed(work));
  return median(samples);
}

export const analytics: Bench = {
  name: 'analytics',
  description: 'thirty days of events: keeping rollups, asking them, and a funnel from the log itself',
  async run(context) {
    const database = await context.database();
    const app = hexId();
    const events = Math.ceil(scaled(context, 10_000_000, 10_000) / eventsOfSession) * eventsOfSession;
    const { from, to } = await load(database, app, events);
    context.note(`${events.toLocaleString('en-US')} events are loaded`);
    await context.quiet();
    const readMs = await bareRead(database);
    const subscriber = createSubscriber({ database, log: silentLog, ...analyticsRollups });
    const keeping = await timed(() => subscriber.drain(3_600_000));
    context.note(`rollups: ${perSecond(events, keeping)} events`);
    await database.query('vacuum analyze');
    const range = {
      from: new Date(from).toISOString().slice(0, 10),
      to: new Date(to - 1).toISOString().slice(0, 10),
    };
    const counted = (await eventCounts(database, app, range)).reduce((sum, row) => sum + row.events, 0);
    if (counted !== events) throw new Error(`${counted} of ${events} events were counted`);
    const asking = await medianOf(async () => {
      await usage(database, app, range);
      await retention(database, app, range, to + dayMs);
    });
    const scan = await medianOf(() => bareScan(database));
    const steps = ['_session.start', 'add_to_cart', '_monetization.purchase'];
    const funnel = await medianOf(() =>
      queryFunnel(database, app, {
        from,
        to,
        steps: steps.map((eventType) => ({ eventType })),
        windowMs: dayMs,
        by: 'endpoint',
      }),
    );
    return [
      {
        name: 'analytics usage and retention',
        ratio: boundMs / asking,
        floor: 1,
        subject: `${rounded(asking)} ms`,
        baseline: `${boundMs} ms`,
        detail: `30 days of ${events.toLocaleString('en-US')} events, from rollups`,
      },
      {
        name: 'analytics keeping up',
        ratio: (readMs * events) / keeping,
        floor: 0.25,
        subject: `${perSecond(events, keeping)} events into rollups`,
        baseline: `${perSecond(1, readMs)} rows by a cursor`,
      },
      {
        name: 'analytics funnel',
        ratio: (5 * scan) / funnel,
        floor: 1,
        subject: `${rounded(funnel)} ms for three steps, from the log`,
        baseline: `five times a bare scan of ${rounded(scan)} ms`,
      },
    ];
  },
};
