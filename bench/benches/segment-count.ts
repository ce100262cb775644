import type { SegmentDimensions } from '@aws-sdk/client-pinpoint';
import {
  createSegment,
  isMember,
  type SegmentRequest,
  saveImportedSegment,
} from '../../packages/server/src/audience/index.ts';
import type { Database } from '../../packages/server/src/platform/database.ts';
import { hexId } from '../../packages/server/src/platform/ids.ts';
import { type Bench, type Measure, scaled } from '../bench.ts';
import { countInTurns } from '../support/count-in-turns.ts';
import { median, rounded, timed } from '../support/figures.ts';

const rounds = 7;

/** Endpoints of about 420 bytes with the usual members, half as many users, and activity of four in five. */
async function load(database: Database, app: string, count: number): Promise<void> {
  await database.query(
    `insert into endpoints (application_id, id, channel, address, opt_out, cohort, user_id, attributes, metrics, demographic, location, effective_at)
    select $1, md5(i::text), (array['EMAIL', 'SMS', 'GCM'])[1 + i % 3], 'user' || i || '@example.com',
      case when i % 50 = 0 then 'ALL' else 'NONE' end, i % 100, 'user-' || i / 2,
      jsonb_build_object(
        'plan', jsonb_build_array((array['free', 'basic', 'pro', 'enterprise'])[1 + (hashint4(i) & 3)]),
        'interest', jsonb_build_array('interest-' || (hashint4(i + 7) & 31), 'interest-' || (hashint4(i + 99) & 31)),
        'signup', jsonb_build_array(to_char(timestamp '2020-01-01' + (hashint4(i + 3) & 1023) * interval '1 day' + i % 86400 * interval '1 s', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')),
        'city', jsonb_build_array('City ' || (hashint4(i + 5) & 255))),
      jsonb_build_object('orders', hashint4(i + 11) & 63, 'spend', (hashint4(i + 13) & 65535) / 100.0),
      jsonb_build_object('AppVersion', '1.' || i % 10, 'Make', 'Apple', 'Model', 'iPhone', 'Platform', (array['iOS', 'Android'])[1 + i % 2],
        'Locale', 'en_US', 'Timezone', 'Europe/Berlin'),
      jsonb_build_object('Country', (array['DE', 'FR', 'US', 'GB', 'IT', 'ES', 'NL', 'PL'])[1 + (hashint4(i + 17) & 7)], 'City', 'Springfield',
        'Latitude', (hashint4(i + 19) & 1023) / 1023.0 * 180 - 90, 'Longitude', (hashint4(i + 23) & 1023) / 1023.0 * 360 - 180),
      now()
    from generate_series(1, $2::int) i`,
    [app, count],
  );
  await database.query(
    `insert into users select $1, 'user-' || i, jsonb_build_object('tier', jsonb_build_array((array['gold', 'silver', 'none'])[1 + i % 3]))
      from generate_series(0, $2::int / 2) i`,
    [app, count],
  );
  await database.query(
    `insert into endpoint_activity select $1, md5(i::text), now() - (hashint4(i + 29) & 63) * interval '1 day'
      from generate_series(1, $2::int) i where i % 5 <> 0`,
    [app, count],
  );
  await database.query('vacuum analyze');
}

/** What one look at every row costs, which no index may spare. */
async function bareCount(database: Database): Promise<void> {
  await database.transaction(async (tx) => {
    await tx.query('set local enable_indexscan = off');
    await tx.query('set local enable_indexonlyscan = off');
    await tx.query('set local enable_bitmapscan = off');
    await tx.query('select count(*) from endpoints');
  });
}

const plan: SegmentDimensions['Attributes'] = { plan: { AttributeType: 'INCLUSIVE', Values: ['pro'] } };
const common: SegmentDimensions = {
  Metrics: { orders: { ComparisonOperator: 'GREATER_THAN', Value: 10 } },
  Location: { Country: { DimensionType: 'INCLUSIVE', Values: ['DE', 'FR', 'US'] } },
  Behavior: { Recency: { Duration: 'DAY_30', RecencyType: 'ACTIVE' } },
};
const interest: SegmentDimensions['Attributes'] = {
  interest: { AttributeType: 'INCLUSIVE', Values: ['interest-1', 'interest-2'] },
};

/** Segments of five criteria each; the floor of the first is the goal, the others must not fall off a cliff. */
function cases(imported: string): { name: string; floor: number; request: SegmentRequest }[] {
  return [
    {
      name: 'segment-count five criteria',
      floor: 0.5,
      request: { Dimensions: { ...common, Attributes: { ...plan, ...interest } } },
    },
    {
      name: 'segment-count with a user attribute and a group of NONE',
      floor: 0.2,
      request: {
        SegmentGroups: {
          Include: 'ALL',
          Groups: [
            {
              Type: 'ALL',
              Dimensions: [
                { ...common, Attributes: interest, UserAttributes: { tier: { Values: ['gold', 'silver'] } } },
              ],
            },
            { Type: 'NONE', Dimensions: [{ Attributes: plan }] },
          ],
        },
      },
    },
    {
      name: 'segment-count without an index to help',
      floor: 0.06,
      request: {
        Dimensions: {
          Attributes: {
            plan: { AttributeType: 'EXCLUSIVE', Values: ['free'] },
            city: { AttributeType: 'CONTAINS', Values: ['ity 1'] },
            signup: { AttributeType: 'AFTER', Values: ['2021-06-01'] },
          },
          Metrics: { orders: { ComparisonOperator: 'LESS_THAN', Value: 40 } },
          Location: { GPSPoint: { Coordinates: { Latitude: 50, Longitude: 10 }, RangeInKilometers: 3_000 } },
        },
      },
    },
    {
      name: 'segment-count without a third that was imported',
      floor: 0.06,
      request: {
        SegmentGroups: {
          Groups: [
            {
              SourceSegments: [{ Id: imported }],
              SourceType: 'NONE',
              Dimensions: [{ Metrics: common.Metrics, Location: common.Location }],
            },
          ],
        },
      },
    },
  ];
}

async function importThird(database: Database, app: string, count: number): Promise<string> {
  const importDefinition = {
    Format: 'CSV',
    S3Url: 's3://a/b',
    RoleArn: '',
    ExternalId: '',
    Size: 1,
  } as const;
  const { id } = await database.transaction((tx) =>
    saveImportedSegment(tx, app, { importDefinition }, Date.now()),
  );
  await database.query(
    'insert into segment_endpoints select $1, $2, md5(i::text) from generate_series(1, $3::int / 3) i',
    [app, id, count],
  );
  await database.query('vacuum analyze segment_endpoints');
  return id;
}

export const segmentCount: Bench = {
  name: 'segment-count',
  description: 'counts of segments over 1,000,000 endpoints, against a bare count by sequential scan',
  async run(context) {
    const database = await context.database();
    const app = hexId();
    const count = scaled(context, 1_000_000, 10_000);
    context.note(`loading ${rounded(count)} endpoints`);
    await load(database, app, count);
    const imported = await importThird(database, app, count);
    const measures: Measure[] = [];
    for (const { name, floor, request } of cases(imported)) {
      const { id: segmentId } = await database.transaction((tx) =>
        createSegment(tx, app, request, Date.now()),
      );
      await context.quiet();
      const { subject, baseline, total } = await countInTurns(database, app, segmentId, {
        rounds,
        bare: bareCount,
      });
      measures.push({
        name,
        ratio: baseline / subject,
        floor,
        subject: `${rounded(subject)} ms, ${rounded(total)} members, by channel`,
        baseline: `${rounded(baseline)} ms`,
        detail: `one member asked for: ${rounded(await memberMs(database, app, segmentId))} ms`,
      });
    }
    return measures;
  },
};

/** The median of asking whether one endpoint is a member. */
async function memberMs(database: Database, app: string, segmentId: string): Promise<number> {
  const { rows } = await database.query<{ id: string }>('select id from endpoints limit 100');
  const times: number[] = [];
  for (const { id } of rows) {
    times.push(await timed(() => isMember(database, app, segmentId, { endpointId: id })));
  }
  return median(times);
}
