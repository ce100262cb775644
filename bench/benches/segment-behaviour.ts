import {
  createSegment,
  isMember,
  membersAmong,
  type SegmentRequest,
} from '../../packages/server/src/audience/index.ts';
import type { Database } from '../../packages/server/src/platform/database.ts';
import { hexId, uuidv7 } from '../../packages/server/src/platform/ids.ts';
import { type Bench, type Measure, scaled } from '../bench.ts';
import { fillEndpoints } from '../support/audience.ts';
import { countInTurns } from '../support/count-in-turns.ts';
import { median, rounded, timed } from '../support/figures.ts';

const rounds = 5;
const days = 30;
const dayMs = 86_400_000;
const campaignId = 'c'.repeat(32);
/** Endpoints whose membership is asked for at once, as triggers do. */
const asked = 500;

/**
 * Thirty days of facts, a tenth of them about a campaign's messages: what every endpoint was sent on the first day, and
 * opens of a fifth of them. The rest is what apps report, of types of very different frequency.
 */
async function loadLog(database: Database, app: string, facts: number, endpoints: number): Promise<void> {
  const dispatchId = uuidv7();
  await database.query(
    `insert into dispatches (id, application_id, kind, class, lane, state, campaign_id, plan, expires_at)
     values ($1, $2, 'campaign', 'promotional', 'bulk', 'done', $3, '{}', now())`,
    [dispatchId, app, campaignId],
  );
  const today = Math.floor(Date.now() / dayMs);
  const perDay = Math.round(facts / days);
  const sentPerDay = Math.round((perDay * 5) / 60);
  const work = Array.from({ length: days }, (_, index) => index);
  const lane = async () => {
    for (let index = work.pop(); index !== undefined; index = work.pop()) {
      const at = (today - days + index) * dayMs;
      const [day, next] = [at, at + dayMs].map((ms) => new Date(ms).toISOString().slice(0, 10)) as [
        string,
        string,
      ];
      const table = `events_${day.replaceAll('-', '')}`;
      // Filled before it gets its indexes, which is much faster.
      await database.query(`create table ${table} (like events including defaults)`);
      await database.query(factsOfDay(table), [
        day,
        at,
        perDay,
        app,
        endpoints,
        index,
        sentPerDay,
        dispatchId,
      ]);
      await database.query(
        `alter table events attach partition ${table} for values from ('${day}') to ('${next}')`,
      );
    }
  };
  await Promise.all([lane(), lane()]);
  await database.query('vacuum analyze');
}

/** $1 day, $2 its first millisecond, $3 facts, $4 application, $5 endpoints, $6 number of the day, $7 messages, $8 dispatch. */
function factsOfDay(table: string): string {
  return `insert into ${table} (day, batch_id, seq, occurred_at, application_id, type, endpoint_id, message_id, dispatch_id, payload)
    select $1::date, (lpad(to_hex($2::int8 + n / 1000), 12, '0') || '70008000000000000000')::uuid, n % 1000,
      to_timestamp(($2::int8 + n::int8 * 86400000 / $3::int) / 1000.0), $4,
      case when n < 2 * $7::int then case when n % 2 = 0 or n % 5 = 3 then 'message.sent' else 'message.opened' end
        else 'event.' || (array['look', 'look', 'look', 'search', 'search', '_session.start', '_session.stop',
          'add_to_cart', 'purchase', 'share'])[1 + (hashint4(n) & 65535) % 10] end,
      'endpoint-' || case when n < 2 * $7::int then (n / 2 + $6::int * $7::int) % $5::int
        else (hashint8(n::int8 * 31 + $6::int) & 2147483647) % $5::int end,
      case when n < 2 * $7::int then (lpad(to_hex($6::int * $7::int + n / 2), 12, '0') || '70008000000000000001')::uuid end,
      case when n < 2 * $7::int then $8::uuid end,
      case when n < 2 * $7::int then jsonb_build_object('machine', n % 10 = 1, 'attempt', 1)
        else jsonb_build_object('id', 'event-' || $6 || '-' || n,
          'attributes', jsonb_build_object('category', (array['shoes', 'hats', 'coats', 'bags'])[1 + (hashint4(n + 3) & 3)],
            'screen', 'screen-' || n % 50),
          'metrics', jsonb_build_object('price', (hashint4(n + 5) & 16383) / 100),
          'session', jsonb_build_object('id', md5((n / 7)::text), 'startedAt', $2::int8)) end
    from generate_series(0, $3::int - 1) n`;
}

/** What one look at every row costs, which no index may spare. */
async function bareScan(database: Database): Promise<void> {
  await database.transaction(async (tx) => {
    await tx.query('set local enable_indexscan = off');
    await tx.query('set local enable_indexonlyscan = off');
    await tx.query('set local enable_bitmapscan = off');
    await tx.query('select count(*) from events');
  });
}

type Behaviour = NonNullable<NonNullable<SegmentRequest['Dimensions']>['Behavior']>;

const month = { Last: days, Unit: 'DAYS' } as const;

const shoesAbove20: Pick<NonNullable<Behaviour['Events']>[number], 'Attributes' | 'Metrics'> = {
  Attributes: { category: { Values: ['shoes', 'hats'] } },
  Metrics: { price: { ComparisonOperator: 'GREATER_THAN', Value: 20 } },
};

const cases: { name: string; behaviour: Behaviour; country?: string }[] = [
  {
    name: 'bought twice in 30 days',
    behaviour: {
      Events: [
        {
          EventType: { Values: ['purchase'] },
          Count: { ComparisonOperator: 'GREATER_THAN_OR_EQUAL', Value: 2 },
          Window: month,
        },
      ],
    },
  },
  {
    name: 'bought shoes or hats above 20, by attribute and metric',
    behaviour: { Events: [{ EventType: { Values: ['purchase'] }, ...shoesAbove20, Window: month }] },
  },
  {
    name: 'never looked at them, of three in ten events',
    behaviour: {
      Events: [
        { DimensionType: 'EXCLUSIVE', EventType: { Values: ['look'] }, ...shoesAbove20, Window: month },
      ],
    },
  },
  {
    name: 'was sent the campaign and did not open it',
    behaviour: {
      Campaigns: [
        { CampaignId: campaignId, Interaction: 'SENT' },
        { CampaignId: campaignId, Interaction: 'OPENED', DimensionType: 'EXCLUSIVE' },
      ],
    },
  },
  {
    name: 'whose user shared something in the last 7 days, in Germany',
    behaviour: {
      Events: [{ EventType: { Values: ['share'] }, Scope: 'USER', Window: { Last: 7, Unit: 'DAYS' } }],
    },
    country: 'DE',
  },
];

export const segmentBehaviour: Bench = {
  name: 'segment-behaviour',
  description:
    'counts of segments by behaviour, 1,000,000 endpoints and 10,000,000 events, against a bare scan of those events',
  async run(context) {
    const database = await context.database();
    const app = hexId();
    const endpoints = scaled(context, 1_000_000, 10_000);
    const facts = endpoints * 10;
    context.note(`loading ${rounded(endpoints)} endpoints and ${rounded(facts)} facts`);
    await fillEndpoints(database, app, { count: endpoints, channel: 'EMAIL' });
    await loadLog(database, app, facts, endpoints);
    const measures: Measure[] = [];
    for (const { name, behaviour, country } of cases) {
      const request: SegmentRequest = {
        Dimensions: { Behavior: behaviour, ...(country && { Location: { Country: { Values: [country] } } }) },
      };
      const { id: segmentId } = await database.transaction((tx) =>
        createSegment(tx, app, request, Date.now()),
      );
      await context.quiet();
      const { subject, baseline, total } = await countInTurns(database, app, segmentId, {
        rounds,
        bare: bareScan,
      });
      measures.push({
        name: `segment-behaviour ${name}`,
        ratio: baseline / subject,
        // Three bare scans.
        floor: 1 / 3,
        subject: `${rounded(subject)} ms, ${rounded(total)} members`,
        baseline: `${rounded(baseline)} ms`,
        detail: await detail(database, app, segmentId, endpoints),
      });
    }
    return measures;
  },
};

/** What it costs to ask about one endpoint, and about as many as a slice of triggers has. */
async function detail(
  database: Database,
  app: string,
  segmentId: string,
  endpoints: number,
): Promise<string> {
  const one: number[] = [];
  const many: number[] = [];
  for (let round = 0; round < 20; round++) {
    const endpointId = `endpoint-${(round * 7919) % endpoints}`;
    one.push(await timed(() => isMember(database, app, segmentId, { endpointId })));
  }
  for (let round = 0; round < 5; round++) {
    const ids = Array.from({ length: asked }, (_, index) => `endpoint-${(round + index * 7919) % endpoints}`);
    many.push(await timed(() => membersAmong(database, app, { segmentId }, ids)));
  }
  return `one endpoint asked for: ${rounded(median(one))} ms; ${asked} at once: ${rounded(median(many))} ms`;
}
