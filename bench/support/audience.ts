import { mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Database } from '../../packages/server/src/platform/database.ts';

/**
 * `count` endpoints of an application, made by the database itself on two connections: where endpoints are what a bench
 * begins with, not what it measures.
 */
export async function fillEndpoints(
  database: Database,
  applicationId: string,
  options: { count: number; channel: 'EMAIL' | 'SMS' },
): Promise<void> {
  const { count, channel } = options;
  const address = channel === 'EMAIL' ? `'person' || n || '@example.com'` : `'+4917' || (10000000 + n)::text`;
  const half = Math.ceil(count / 2);
  const ranges = [
    [0, half - 1],
    [half, count - 1],
  ];
  await Promise.all(
    ranges.map(([first, last]) =>
      database.query(
        `insert into endpoints (application_id, id, channel, address, cohort, user_id, attributes, metrics,
           demographic, location, effective_at)
         select $1, 'endpoint-' || n, $2, ${address}, n % 100, 'user-' || n,
           jsonb_build_object(
             'FirstName', jsonb_build_array((array['Ada','Grace','Linus','Mary','Alan','Barbara'])[1 + n % 6]),
             'Interests', jsonb_build_array((array['hiking','cooking','chess','music','films'])[1 + n % 5],
                                            (array['sea','hills','towns'])[1 + n % 3]),
             'Plan', jsonb_build_array((array['free','silver','gold','team'])[1 + (n / 7) % 4])),
           jsonb_build_object('Orders', n % 50, 'Spent', (n::bigint * 7919) % 10000 / 10.0),
           jsonb_build_object('Platform', (array['ios','android','web'])[1 + n % 3], 'AppVersion', '3.' || n % 9,
             'Locale', 'de-DE', 'Timezone', 'Europe/Berlin'),
           jsonb_build_object('Country', (array['DE','FR','GB','US','JP','BR','IN','ES'])[1 + (n / 3) % 8],
             'City', 'City ' || n % 400, 'PostalCode', (10000 + n % 80000)::text),
           now() - make_interval(days => n % 365)
         from generate_series($3::int, $4::int) n`,
        [applicationId, channel, first, last],
      ),
    ),
  );
  await database.query(
    `insert into endpoint_activity (application_id, endpoint_id, active_at)
     select $1, 'endpoint-' || n, now() - make_interval(days => n % 90) from generate_series(0, $2::int - 1) n`,
    [applicationId, count],
  );
  await database.query('vacuum analyze endpoints');
  await database.query('vacuum analyze endpoint_activity');
}

const header = [
  'ChannelType',
  'Address',
  'Id',
  'Attributes.FirstName',
  'Attributes.Interests',
  'Attributes.Interests',
  'Attributes.Plan',
  'Metrics.Orders',
  'Metrics.Spent',
  'Demographic.Platform',
  'Demographic.AppVersion',
  'Demographic.Timezone',
  'Location.Country',
  'Location.City',
  'User.UserId',
].join(',');

/** Writes a CSV of `count` endpoints, in the columns of a Pinpoint import. */
export async function writeAudienceCsv(file: string, count: number): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const handle = await open(file, 'w');
  try {
    let piece = `${header}\n`;
    for (let n = 0; n < count; n++) {
      piece += [
        'EMAIL',
        `person${n}@example.com`,
        `endpoint-${n}`,
        ['Ada', 'Grace', 'Linus', 'Mary', 'Alan', 'Barbara'][n % 6],
        ['hiking', 'cooking', 'chess', 'music', 'films'][n % 5],
        ['sea', 'hills', 'towns'][n % 3],
        ['free', 'silver', 'gold', 'team'][n % 4],
        n % 50,
        ((n * 7919) % 10_000) / 10,
        ['ios', 'android', 'web'][n % 3],
        `3.${n % 9}`,
        'Europe/Berlin',
        ['DE', 'FR', 'GB', 'US', 'JP', 'BR', 'IN', 'ES'][n % 8],
        `City ${n % 400}`,
        `user-${n}`,
      ].join(',');
      piece += '\n';
      if (piece.length > 1_000_000) {
        await handle.write(piece);
        piece = '';
      }
    }
    await handle.write(piece);
  } finally {
    await handle.close();
  }
}
