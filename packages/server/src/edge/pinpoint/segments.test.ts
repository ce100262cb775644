import {
  type AttributeDimension,
  CreateAppCommand,
  CreateSegmentCommand,
  DeleteSegmentCommand,
  GetSegmentCommand,
  GetSegmentsCommand,
  GetSegmentVersionCommand,
  GetSegmentVersionsCommand,
  NotFoundException,
  type SegmentDimensions,
  type SegmentGroup,
  UpdateSegmentCommand,
  type WriteSegmentRequest,
} from '@aws-sdk/client-pinpoint';
import { beforeAll, describe, expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import { wireServer } from '../../../../../tests/support/wire.ts';
import { saveImportedSegment, sweepDeletedSegments } from '../../audience/index.ts';

const database = await testDatabase();
const server = await wireServer({ database });
const client = server.client();
let app: string;
let otherApp: string;

async function createApp(): Promise<string> {
  const { ApplicationResponse } = await client.send(
    new CreateAppCommand({ CreateApplicationRequest: { Name: 'segments' } }),
  );
  return ApplicationResponse!.Id!;
}

async function create(request: WriteSegmentRequest, applicationId = app) {
  const { SegmentResponse } = await client.send(
    new CreateSegmentCommand({ ApplicationId: applicationId, WriteSegmentRequest: request }),
  );
  return SegmentResponse!;
}

async function update(id: string, request: WriteSegmentRequest) {
  const { SegmentResponse } = await client.send(
    new UpdateSegmentCommand({ ApplicationId: app, SegmentId: id, WriteSegmentRequest: request }),
  );
  return SegmentResponse!;
}

async function get(id: string, applicationId = app) {
  const { SegmentResponse } = await client.send(
    new GetSegmentCommand({ ApplicationId: applicationId, SegmentId: id }),
  );
  return SegmentResponse!;
}

const groups = (...list: SegmentGroup[]): WriteSegmentRequest => ({ SegmentGroups: { Groups: list } });
const on = (...ids: string[]) => groups({ SourceSegments: ids.map((Id) => ({ Id })) });

beforeAll(async () => {
  app = await createApp();
  otherApp = await createApp();
});

const everything: SegmentDimensions = {
  Attributes: {
    plan: { AttributeType: 'INCLUSIVE', Values: ['gold', "o'hara", '100%'] },
    ['constructor' as string]: { AttributeType: 'CONTAINS', Values: ['\\"'] },
    'signed up': { AttributeType: 'BETWEEN', Values: ['2024-01-01', '2024-12-31T23:59:59Z'] },
  },
  UserAttributes: { tier: { AttributeType: 'EXCLUSIVE', Values: ['none'] } },
  Metrics: { orders: { ComparisonOperator: 'GREATER_THAN_OR_EQUAL', Value: 2.5 } },
  Demographic: {
    Channel: { DimensionType: 'INCLUSIVE', Values: ['EMAIL'] },
    Platform: { DimensionType: 'EXCLUSIVE', Values: ['iOS'] },
  },
  Location: {
    Country: { DimensionType: 'INCLUSIVE', Values: ['DE'] },
    GPSPoint: { Coordinates: { Latitude: 52.5, Longitude: 13.4 }, RangeInKilometers: 50 },
  },
  Behavior: { Recency: { Duration: 'DAY_7', RecencyType: 'ACTIVE' } },
};

describe('segments of the Pinpoint API', () => {
  test('what was written is read back, in the same form', async () => {
    const made = await create({ Name: 'ünï 🛒', Dimensions: everything, tags: { team: 'growth' } });
    expect(made).toMatchObject({
      ApplicationId: app,
      Arn: `arn:aws:mobiletargeting:us-east-1:000000000000:apps/${app}/segments/${made.Id}`,
      Name: 'ünï 🛒',
      SegmentType: 'DIMENSIONAL',
      Version: 1,
      tags: { team: 'growth' },
    });
    expect(made.Id).toMatch(/^[0-9a-f]{32}$/);
    expect(made.CreationDate).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    const read = await get(made.Id!);
    expect(read).toEqual(made);
    expect(read.Dimensions).toEqual(everything);
  });

  test('a dimension may be called __proto__', async () => {
    const dimension: AttributeDimension = { AttributeType: 'INCLUSIVE', Values: ['x'] };
    const made = await create({ Dimensions: { Attributes: { ['__proto__']: dimension } } });
    // The SDK loses this name in what it reads, so the row is looked at.
    const { rows } = await database.query(
      "select definition #> '{Dimensions,Attributes,__proto__}' as dimension from segments where id = $1",
      [made.Id],
    );
    expect(rows[0].dimension).toEqual(dimension);
  });

  test('an update makes a version; earlier ones stay readable', async () => {
    const made = await create({ Name: 'first', Dimensions: {} });
    const renamed = await update(made.Id!, { Name: 'second' });
    expect(renamed).toMatchObject({ Version: 2, Name: 'second', CreationDate: made.CreationDate });
    const regrouped = await update(made.Id!, groups({ Dimensions: [everything], Type: 'NONE' }));
    expect(regrouped).toMatchObject({ Version: 3, Name: 'second' });
    expect(regrouped.Dimensions).toBeUndefined();
    expect(await get(made.Id!)).toEqual(regrouped);
    const version = async (Version: string) =>
      (await client.send(new GetSegmentVersionCommand({ ApplicationId: app, SegmentId: made.Id!, Version })))
        .SegmentResponse!;
    expect(await version('1')).toEqual(made);
    expect(await version('3')).toEqual(regrouped);
    for (const none of ['0', '4', '-1', '99999999999', 'x']) {
      await expect(version(none), none).rejects.toThrow(NotFoundException);
    }
    const listed: (number | undefined)[] = [];
    let Token: string | undefined;
    do {
      const { SegmentsResponse } = await client.send(
        new GetSegmentVersionsCommand({ ApplicationId: app, SegmentId: made.Id!, PageSize: '2', Token }),
      );
      listed.push(...SegmentsResponse!.Item!.map((item) => item.Version));
      Token = SegmentsResponse!.NextToken;
    } while (Token);
    expect(listed).toEqual([3, 2, 1]);
  });

  test('lists page through every segment once, the newest first', async () => {
    const own = await createApp();
    const ids: string[] = [];
    for (let index = 0; index < 5; index++) ids.push((await create({ Name: `s${index}` }, own)).Id!);
    const listed: { Id: string; CreationDate: string }[] = [];
    let Token: string | undefined;
    do {
      const { SegmentsResponse } = await client.send(
        new GetSegmentsCommand({ ApplicationId: own, PageSize: '2', Token }),
      );
      expect(SegmentsResponse!.Item!.length).toBeLessThanOrEqual(2);
      for (const { Id, CreationDate } of SegmentsResponse!.Item!)
        listed.push({ Id: Id!, CreationDate: CreationDate! });
      Token = SegmentsResponse!.NextToken;
    } while (Token);
    expect(listed.map(({ Id }) => Id).sort()).toEqual(ids.sort());
    const dates = listed.map(({ CreationDate }) => CreationDate);
    expect(dates).toEqual([...dates].sort().reverse());
  });

  test('a deleted segment is gone at once, and what only it saw with the sweep', async () => {
    const importDefinition = {
      Format: 'CSV',
      S3Url: 's3://a/b',
      RoleArn: 'r',
      ExternalId: '',
      Size: 1,
      ChannelCounts: { EMAIL: 1 },
    } as const;
    const { id } = await database.transaction((tx) =>
      saveImportedSegment(tx, app, { name: 'file', importDefinition }, Date.now()),
    );
    expect(await get(id)).toMatchObject({ SegmentType: 'IMPORT', ImportDefinition: importDefinition });
    await expect(update(id, { Dimensions: {} })).rejects.toThrow('$.Dimensions: an imported segment');
    expect(await update(id, { Name: 'renamed' })).toMatchObject({ Name: 'renamed', Version: 2 });
    await database.query(
      `insert into endpoints (application_id, id, segment_id, cohort, effective_at, user_id)
        values ($1, $2 || '.own', $2, 0, now(), $2 || '.user'), ($1, 'registered', null, 0, now(), null)`,
      [app, id],
    );
    await database.query(
      `insert into users (application_id, id) values ($1, $2 || '.user'), ($1, $2 || '/other')`,
      [app, id],
    );
    await database.query(
      `insert into segment_endpoints values ($1, $2, $2 || '.own'), ($1, $2, 'registered'), ($1, 'other', 'registered')`,
      [app, id],
    );
    await database.query(`insert into segment_users values ($1, $2, 'u')`, [app, id]);
    const { SegmentResponse } = await client.send(
      new DeleteSegmentCommand({ ApplicationId: app, SegmentId: id }),
    );
    expect(SegmentResponse).toMatchObject({ Id: id, Name: 'renamed' });
    await expect(get(id)).rejects.toThrow(NotFoundException);
    await expect(update(id, { Name: 'x' })).rejects.toThrow(NotFoundException);
    await expect(create(on(id))).rejects.toThrow('$.SegmentGroups.Groups[0].SourceSegments[0]');
    // One statement at a time: a sweep that is cut short goes on where it was.
    let sweeps = 0;
    while (!(await sweepDeletedSegments(database, 1))) expect(++sweeps).toBeLessThan(10);
    expect(sweeps).toBeGreaterThan(0);
    const { rows } = await database.query(
      `select (select array_agg(id) from endpoints where application_id = $1) as endpoints,
        (select array_agg(id) from users where application_id = $1) as users,
        (select array_agg(segment_id) from segment_endpoints where application_id = $1) as members,
        (select count(*) from segment_users where application_id = $1) as "userMembers",
        (select count(*) from segments where application_id = $1 and id = $2) as segments,
        (select count(*) from segment_versions where application_id = $1 and segment_id = $2) as versions`,
      [app, id],
    );
    expect(rows[0]).toEqual({
      endpoints: ['registered'],
      users: [`${id}/other`],
      members: ['other'],
      userMembers: 0,
      segments: 0,
      versions: 0,
    });
  });

  test('unknown applications and segments of others are not found', async () => {
    const foreign = await create({ Name: 'theirs' }, otherApp);
    await expect(get(foreign.Id!)).rejects.toThrow(NotFoundException);
    await expect(create({ Name: 'x' }, 'f'.repeat(32))).rejects.toThrow(NotFoundException);
    await expect(create(on(foreign.Id!))).rejects.toThrow(
      `$.SegmentGroups.Groups[0].SourceSegments[0]: this application has no segment ${foreign.Id}`,
    );
    const list = new GetSegmentsCommand({ ApplicationId: 'f'.repeat(32) });
    await expect(client.send(list)).rejects.toThrow(NotFoundException);
    const versions = new GetSegmentVersionsCommand({ ApplicationId: app, SegmentId: foreign.Id! });
    await expect(client.send(versions)).rejects.toThrow(NotFoundException);
  });

  test('cycles are refused, also between two updates at the same time', async () => {
    const a = (await create({ Name: 'a' })).Id!;
    const b = (await create(on(a))).Id!;
    await expect(update(a, on(b))).rejects.toThrow('expected no cycle');
    await expect(update(a, on(a))).rejects.toThrow('expected no cycle');
    // A version that exists cannot depend on what is written now.
    await update(a, groups({ SourceSegments: [{ Id: a, Version: 1 }] }));
    const c = (await create({ Name: 'c' })).Id!;
    const d = (await create({ Name: 'd' })).Id!;
    const both = await Promise.allSettled([update(c, on(d)), update(d, on(c))]);
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  });

  test('source segments nest up to ten levels', async () => {
    let last = (await create({ Name: 'level 0' })).Id!;
    for (let level = 1; level <= 10; level++) last = (await create(on(last))).Id!;
    await expect(create(on(last))).rejects.toThrow('expected at most 10 levels');
  });

  test('a hundred source segments, each of which has a hundred, are refused', async () => {
    const leaf = (await create({ Name: 'leaf' })).Id!;
    const wide = (await create(on(...Array.from({ length: 100 }, () => leaf)))).Id!;
    await expect(create(on(wide, wide))).rejects.toThrow('expected at most 200 source segments');
  });
});

const attribute = (AttributeType: 'ON' | 'BETWEEN' | 'CONTAINS' | 'INCLUSIVE', ...Values: string[]) => ({
  Dimensions: { Attributes: { 'a b': { AttributeType, Values } } },
});
const at = '$.Dimensions.Attributes["a b"].Values';

test.each<[string, WriteSegmentRequest]>([
  ['$.SegmentGroups: expected either', { Dimensions: {}, SegmentGroups: {} }],
  [`${at}: expected at least one value`, attribute('INCLUSIVE')],
  [`${at}: expected at most 100 elements`, attribute('INCLUSIVE', ...Array.from({ length: 101 }, () => 'x'))],
  [`${at}[1]: expected at most 100 characters`, attribute('INCLUSIVE', '🛒'.repeat(100), 'x'.repeat(101))],
  [`${at}[0]: expected at least one character`, attribute('CONTAINS', '')],
  [`${at}: expected exactly one value`, attribute('ON', '2024-01-01', '2024-01-02')],
  [`${at}: expected exactly two values`, attribute('BETWEEN', '2024-01-01')],
  [`${at}: expected the start before the end`, attribute('BETWEEN', '2024-01-02', '2024-01-01')],
  [`${at}[0]: expected a date`, attribute('ON', '2023-02-29')],
  [
    '$.Dimensions.Metrics.m.ComparisonOperator: expected one of',
    { Dimensions: { Metrics: { m: { ComparisonOperator: 'NEARLY', Value: 1 } } } },
  ],
  [
    '$.Dimensions.Location.GPSPoint.Coordinates.Latitude: expected a number from -90 to 90',
    { Dimensions: { Location: { GPSPoint: { Coordinates: { Latitude: 91, Longitude: 0 } } } } },
  ],
  [
    '$.Dimensions.Location.GPSPoint.RangeInKilometers: expected more than 0',
    {
      Dimensions: {
        Location: { GPSPoint: { Coordinates: { Latitude: 9, Longitude: 0 }, RangeInKilometers: 0 } },
      },
    },
  ],
  [
    '$.SegmentGroups.Groups[0].SourceSegments[0].Version',
    groups({ SourceSegments: [{ Id: 'a', Version: 0 }] }),
  ],
  ['$.SegmentGroups.Groups[1].Dimensions[0]: expected at most 100 dimensions', groups({}, manyDimensions())],
  ['$.Name: expected at most 1000 characters', { Name: 'x'.repeat(1_000_000) }],
])('refuses %s', async (message, request) => {
  const before = await database.query('select count(*) as count from segments');
  await expect(create(request)).rejects.toMatchObject({
    name: 'BadRequestException',
    message: expect.stringContaining(message),
  });
  const after = await database.query('select count(*) as count from segments');
  expect(after.rows).toEqual(before.rows);
});

function manyDimensions(): SegmentGroup {
  const metric = (index: number) => [`m${index}`, { ComparisonOperator: 'EQUAL', Value: 1 }] as const;
  return { Dimensions: [{ Metrics: Object.fromEntries(Array.from({ length: 101 }, (_, i) => metric(i))) }] };
}
