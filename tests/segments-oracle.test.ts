import { beforeAll, describe, expect, test } from 'vitest';
import {
  compileSegment,
  countSegment,
  createSegment,
  type Explanation,
  eventFactType,
  explainEndpoints,
  isMember,
  saveImportedSegment,
  updateSegment,
} from '../packages/server/src/audience/index.ts';
import { appendFacts, type Fact } from '../packages/server/src/events/index.ts';
import { uuidv7 } from '../packages/server/src/platform/ids.ts';
import { members, type OracleDefinition, type OracleEndpoint, type OracleWorld } from './segments-oracle.ts';
import { randomDefinition, randomWorld, seeded } from './segments-random.ts';
import { testDatabase } from './support/database.ts';

const seed = Number(process.env.SEGMENTS_SEED ?? Math.floor(Math.random() * 2 ** 31));
const random = seeded(seed);
const now = Date.UTC(2026, 10, 21, 12);
const application = 'oracle';
/** Seconds on a quiet machine; a busy one may take its time. */
const limitMs = 300_000;
const database = await testDatabase();
const world = randomWorld(random, 5_000, now);
/** Id in the database of each imported segment of the world. */
const importIds = new Map<string, string>();

function rows(endpoints: OracleEndpoint[], ownId: (segmentId: string) => string): string {
  return JSON.stringify(
    endpoints.map((endpoint) => ({
      id: endpoint.id,
      segment_id: endpoint.segmentId && ownId(endpoint.segmentId),
      channel: endpoint.channel,
      address: `${endpoint.id}@example.com`,
      user_id: endpoint.userId,
      attributes: Object.fromEntries(endpoint.attributes),
      metrics: Object.fromEntries(endpoint.metrics),
      demographic: Object.fromEntries(endpoint.demographic),
      location: Object.fromEntries(endpoint.location),
      active_at: endpoint.activeAt === null ? null : new Date(endpoint.activeAt).toISOString(),
    })),
  );
}

async function store(): Promise<void> {
  for (const [name, { endpoints, users }] of world.imports) {
    const importDefinition = {
      Format: 'CSV',
      S3Url: 's3://b/k',
      RoleArn: 'r',
      ExternalId: '',
      Size: 1,
    } as const;
    const { id } = await database.transaction((tx) =>
      saveImportedSegment(tx, application, { name, importDefinition }, now),
    );
    importIds.set(name, id);
    await database.query('insert into segment_endpoints select $1, $2, unnest($3::text[])', [
      application,
      id,
      [...endpoints],
    ]);
    await database.query('insert into segment_users select $1, $2, unnest($3::text[])', [
      application,
      id,
      [...users],
    ]);
  }
  await database.query(
    `with given as (
      select * from jsonb_to_recordset($2::jsonb) as g(id text, segment_id text, channel text, address text, user_id text,
        attributes jsonb, metrics jsonb, demographic jsonb, location jsonb, active_at timestamptz)
    ), activity as (
      insert into endpoint_activity select $1, id, active_at from given where active_at is not null
    )
    insert into endpoints (application_id, id, segment_id, channel, address, cohort, user_id, attributes, metrics, demographic, location, effective_at)
      select $1, id, segment_id, channel, address, 0, user_id, attributes, metrics, demographic, location, now() from given`,
    [application, rows(world.endpoints, (name) => importIds.get(name)!)],
  );
  // Another application has the same ids and must not be seen.
  await database.query(
    `insert into endpoints (application_id, id, cohort, effective_at) select 'other', id, 0, now() from endpoints`,
  );
  const users = [...world.users].map(([id, map]) => ({ id, attributes: Object.fromEntries(map) }));
  await database.query(
    'insert into users select $1, id, attributes from jsonb_to_recordset($2::jsonb) as g(id text, attributes jsonb)',
    [application, JSON.stringify(users)],
  );
  await storeLog(application);
  await storeLog('other');
  await database.query('analyze');
}

/** The log and the dispatches of an application: the world's, or of another one. */
async function storeLog(applicationId: string): Promise<void> {
  const dispatchOf = new Map<string, string>();
  const facts: Fact[] = world.events.map(({ endpointId, type, at, attributes, metrics, userId }, index) => ({
    type: eventFactType(type),
    applicationId,
    occurredAt: at,
    endpointId,
    payload: {
      id: `event-${index}`,
      ...(attributes.size > 0 && { attributes: Object.fromEntries(attributes) }),
      ...(metrics.size > 0 && { metrics: Object.fromEntries(metrics) }),
      ...(userId !== null && { userId }),
    },
  }));
  for (const { endpointId, campaignId, isTest, facts: outcomes } of world.messages) {
    const key = JSON.stringify([campaignId, isTest]);
    const dispatchId = dispatchOf.get(key) ?? uuidv7();
    dispatchOf.set(key, dispatchId);
    const messageId = uuidv7();
    for (const { type, at, bounce, machine } of outcomes) {
      const payload = { ...(bounce && { bounce }), ...(machine !== undefined && { machine }) };
      const about = { endpointId, messageId, dispatchId, payload };
      facts.push({ type: `message.${type}`, applicationId, occurredAt: at, ...about });
    }
  }
  await database.transaction((tx) => appendFacts(tx, facts));
  for (const [key, id] of dispatchOf) {
    const [campaignId, isTest] = JSON.parse(key) as [string | null, boolean];
    const kind = isTest ? 'test' : campaignId === null ? 'direct' : 'campaign';
    await database.query(
      `insert into dispatches (id, application_id, kind, class, lane, state, campaign_id, plan, expires_at)
        values ($1, $2, $3, 'promotional', 'bulk', 'done', $4, '{}', now())`,
      [id, applicationId, kind, campaignId],
    );
  }
}

/** The definition with the ids of the database instead of the world's names. */
function stored(definition: OracleDefinition): OracleDefinition {
  const names = [...importIds];
  return JSON.parse(
    names.reduce((text, [name, id]) => text.replaceAll(`"${name}"`, `"${id}"`), JSON.stringify(definition)),
  );
}

interface Made {
  id: string;
  name: string;
  version: number;
  definition: OracleDefinition;
  /** Its members by the oracle. */
  expected: Set<string>;
  /** Levels of source segments below it. */
  depth: number;
}

async function makeSegment(made: Made[], index: number): Promise<Made> {
  const sources: [string, number][] = [
    ...[...world.imports.keys()].map((name): [string, number] => [name, 1]),
    ...made
      .filter(({ depth }) => depth < 4)
      .map(({ name }): [string, number] => [name, world.segments.get(name)!.length]),
  ];
  const definition = randomDefinition(random, sources);
  const groups = definition.SegmentGroups?.Groups ?? [];
  const used = groups.flatMap(({ SourceSegments }) => SourceSegments!.map(({ Id }) => Id));
  const depth = Math.max(0, ...made.filter(({ name }) => used.includes(name)).map((one) => one.depth + 1));
  // Every fifth is a new version of an earlier leaf, so that references with and without version differ.
  const again =
    index % 5 === 4 && depth === 0
      ? made.find((one) => one.depth === 0 && world.segments.get(one.name)!.length === 1)
      : undefined;
  const { id } = await database.transaction((tx) =>
    again
      ? updateSegment(tx, application, again.id, stored(definition), now)
      : createSegment(tx, application, { Name: `s${index}`, ...stored(definition) }, now),
  );
  importIds.set(again?.name ?? `s${index}`, id);
  const name = again?.name ?? `s${index}`;
  world.segments.set(name, [...(world.segments.get(name) ?? []), definition]);
  const version = world.segments.get(name)!.length;
  return { id, name, version, definition, expected: new Set(), depth };
}

const made: Made[] = [];

beforeAll(async () => {
  console.info(`seed ${seed} (repeat with SEGMENTS_SEED=${seed})`);
  await store();
  for (let index = 0; index < 200; index++) made.push(await makeSegment(made, index));
  for (const one of made) one.expected = members(world, one.definition);
}, limitMs);

/** Every join in the tree follows from its parts, where nothing but the parts decides. */
function consistent(node: Explanation, registered: boolean): boolean {
  if (node.parts.length > 0) {
    const met = node.parts.filter(({ matches }) => matches).length;
    const decided = { ALL: met === node.parts.length, ANY: met > 0, NONE: met === 0 }[node.join!];
    if (node.matches !== decided && (registered || node.matches)) return false;
  }
  return node.because.length > 0 && node.parts.every((part) => consistent(part, registered));
}

describe(`200 random segments over 5,000 random endpoints (seed ${seed})`, { timeout: limitMs }, () => {
  test('select the same endpoints as the oracle', async () => {
    let populated = 0;
    let behavioural = 0;
    for (const { id, name, version, definition, expected } of made) {
      const compiled = await compileSegment(database, application, { segmentId: id, version }, { now });
      const { rows } = await database.query<{ id: string }>(compiled.members);
      const got = rows.map((row) => row.id);
      const context = `${name} version ${version}: ${JSON.stringify(definition)}`;
      expect(new Set(got).size, `members once, ${context}`).toBe(got.length);
      expect(got.sort(), context).toEqual([...expected].sort());
      const count = await countSegment(database, application, { segmentId: id, version }, { now });
      expect(count.total, context).toBe(expected.size);
      if (expected.size === 0 || expected.size >= 5_000) continue;
      populated++;
      if (/"(Events|Campaigns)":/.test(JSON.stringify(definition))) behavioural++;
    }
    // A generator that makes only empty or full segments would prove nothing.
    expect(populated).toBeGreaterThan(60);
    expect(behavioural).toBeGreaterThan(20);
  });

  test('parallel workers agree, which count large applications', async () => {
    for (const { id, version, definition, expected } of made.filter((_, index) => index % 8 === 0)) {
      const target = { segmentId: id, version };
      const { total } = await database.transaction(async (tx) => {
        await tx.query('set local parallel_setup_cost = 0');
        await tx.query('set local parallel_tuple_cost = 0');
        await tx.query('set local min_parallel_table_scan_size = 0');
        return countSegment(tx, application, target, { now });
      });
      expect(total, JSON.stringify(definition)).toBe(expected.size);
    }
  });

  test('explain agrees, part by part', async () => {
    for (const { id, version, definition, expected } of made) {
      const inside = sample(world, (one) => expected.has(one.id));
      const outside = sample(world, (one) => !expected.has(one.id));
      const ids = [...inside, ...outside];
      const explanations = await explainEndpoints(database, application, { segmentId: id, version }, ids, {
        now,
      });
      for (const endpointId of ids) {
        const explanation = explanations.get(endpointId)!;
        const context = `${endpointId} in ${JSON.stringify(definition)}: ${JSON.stringify(explanation)}`;
        expect(explanation.matches, context).toBe(expected.has(endpointId));
        const registered = !endpointId.startsWith('import-');
        expect(consistent(explanation, registered), context).toBe(true);
      }
    }
  });

  test('the fast question agrees, asked twice', async () => {
    for (const { id, expected } of made.filter(
      (one) => one.version === world.segments.get(one.name)!.length,
    )) {
      const { id: endpointId, userId } = random.pick(world.endpoints);
      const anyOfUser = world.endpoints.some((one) => one.userId === userId && expected.has(one.id));
      for (let time = 0; time < 2; time++) {
        expect(await isMember(database, application, id, { endpointId }, { now })).toBe(
          expected.has(endpointId),
        );
        if (userId === null) continue;
        expect(await isMember(database, application, id, { userId }, { now })).toBe(anyOfUser);
      }
    }
  });
});

/** Up to 20 endpoints, and those that only a segment sees more often than by chance. */
function sample({ endpoints }: OracleWorld, test: (endpoint: OracleEndpoint) => boolean): string[] {
  const fitting = endpoints.filter(test);
  const own = fitting.filter(({ segmentId }) => segmentId !== null).slice(0, 3);
  const picked = Array.from({ length: Math.min(20, fitting.length) }, () => random.pick(fitting));
  return [...new Set([...own, ...picked].map(({ id }) => id))];
}
