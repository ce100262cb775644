import { beforeEach, describe, expect, test } from 'vitest';
import { testDatabase } from '../../../../../tests/support/database.ts';
import { hexId } from '../../platform/ids.ts';
import { addSuppressions } from '../suppression.ts';
import { compileSegment } from './compile.ts';
import { explainSegment } from './explain.ts';
import { countSegment, sampleSegment } from './membership.ts';
import { isMember } from './memberships.ts';
import {
  createSegment,
  deleteSegment,
  type SegmentRequest,
  saveImportedSegment,
  updateSegment,
} from './segment.ts';

const database = await testDatabase();
const now = Date.UTC(2026, 10, 21);
let app: string;

beforeEach(() => {
  app = hexId();
});

const create = async (request: SegmentRequest) =>
  (await database.transaction((tx) => createSegment(tx, app, request, now))).id;
const update = (id: string, request: SegmentRequest) =>
  database.transaction((tx) => updateSegment(tx, app, id, request, now));

async function importSegment(): Promise<string> {
  const importDefinition = {
    Format: 'CSV',
    S3Url: 's3://a/b',
    RoleArn: 'r',
    ExternalId: '',
    Size: 0,
  } as const;
  return (await database.transaction((tx) => saveImportedSegment(tx, app, { importDefinition }, now))).id;
}

async function addEndpoint(id: string, columns: Record<string, unknown> = {}): Promise<void> {
  const row = {
    application_id: app,
    id,
    cohort: 0,
    effective_at: new Date(now),
    channel: 'EMAIL',
    address: `${id}@example.com`,
    ...columns,
  };
  const names = Object.keys(row);
  await database.query(
    `insert into endpoints (${names.join(', ')}) values (${names.map((_, index) => `$${index + 1}`).join(', ')})`,
    Object.values(row),
  );
}

const gold: SegmentRequest = { Dimensions: { Attributes: { plan: { Values: ['gold'] } } } };
const silver: SegmentRequest = { Dimensions: { Attributes: { plan: { Values: ['silver'] } } } };
const built = (Id: string): SegmentRequest => ({ SegmentGroups: { Groups: [{ SourceSegments: [{ Id }] }] } });

test('a count tells channels apart, and those to whom a message could go', async () => {
  await addEndpoint('fine');
  await addEndpoint('Upper.Case', { address: 'Upper@Example.com' });
  await addEndpoint('out', { opt_out: 'ALL' });
  await addEndpoint('inactive', { status: 'INACTIVE' });
  await addEndpoint('nowhere', { address: null });
  await addEndpoint('phone', { channel: 'SMS', address: '+49 (151) 234' });
  await addEndpoint('phone2', { channel: 'SMS', address: '+49151235' });
  await addEndpoint('bare', { channel: null, address: null });
  const id = await create({});
  const counted = await countSegment(database, app, { segmentId: id });
  expect(counted).toEqual({
    total: 8,
    messageable: 4,
    channels: [
      { channel: 'EMAIL', total: 5, messageable: 2 },
      { channel: 'SMS', total: 2, messageable: 2 },
      { channel: null, total: 1, messageable: 0 },
    ],
  });
  await addSuppressions(database, app, [
    { channel: 'EMAIL', address: 'upper@example.com', reason: 'bounce' },
    { channel: 'SMS', address: '+49151234', reason: 'manual' },
    { channel: 'SMS', address: 'fine@example.com', reason: 'manual' },
  ]);
  const { channels } = await countSegment(database, app, { definition: {} });
  expect(channels).toEqual([
    { channel: 'EMAIL', total: 5, messageable: 1 },
    { channel: 'SMS', total: 2, messageable: 1 },
    { channel: null, total: 1, messageable: 0 },
  ]);
});

test('a sample holds members only, as many as asked for', async () => {
  for (let index = 0; index < 10; index++) {
    await addEndpoint(`e${index}`, { attributes: { plan: [index < 7 ? 'gold' : 'silver'] } });
  }
  const id = await create(gold);
  const sample = await sampleSegment(database, app, { segmentId: id }, 5);
  expect(sample).toHaveLength(5);
  expect(sample.filter((one) => Number(one.slice(1)) >= 7)).toEqual([]);
  expect(await sampleSegment(database, app, { segmentId: id }, 100)).toHaveLength(7);
  for (const limit of [0, 101, 1.5]) {
    await expect(sampleSegment(database, app, { segmentId: id }, limit)).rejects.toThrow('limit: expected');
  }
});

describe('the question whether somebody is a member', () => {
  const ask = (id: string, who: { endpointId: string } | { userId: string }) =>
    isMember(database, app, id, who, { now });

  test('sees every change of the segment and of what it is built upon', async () => {
    await addEndpoint('e', { attributes: { plan: ['gold'] }, user_id: 'u' });
    const base = await create(gold);
    const middle = await create(built(base));
    const top = await create(built(middle));
    expect(await ask(top, { endpointId: 'e' })).toBe(true);
    expect(await ask(top, { userId: 'u' })).toBe(true);
    expect(await ask(top, { userId: 'nobody' })).toBe(false);
    await update(base, silver);
    expect(await ask(top, { endpointId: 'e' })).toBe(false);
    await update(middle, { SegmentGroups: { Groups: [{ SourceSegments: [{ Id: base, Version: 1 }] }] } });
    expect(await ask(top, { endpointId: 'e' })).toBe(true);
    await database.transaction((tx) => deleteSegment(tx, app, base, now));
    await expect(ask(top, { endpointId: 'e' })).rejects.toThrow(`no segment ${base}`);
    await database.transaction((tx) => deleteSegment(tx, app, top, now));
    await expect(ask(top, { endpointId: 'e' })).rejects.toThrow(`Segment ${top} not found`);
  });

  test('sees members as an import adds them', async () => {
    await addEndpoint('e', { user_id: 'u' });
    await addEndpoint('f', { user_id: 'v' });
    const id = await importSegment();
    expect(await ask(id, { endpointId: 'e' })).toBe(false);
    await database.query('insert into segment_endpoints values ($1, $2, $3)', [app, id, 'e']);
    expect(await ask(id, { endpointId: 'e' })).toBe(true);
    expect(await ask(id, { userId: 'v' })).toBe(false);
    await database.query('insert into segment_users values ($1, $2, $3)', [app, id, 'v']);
    expect(await ask(id, { userId: 'v' })).toBe(true);
    expect(await ask(id, { endpointId: 'f' })).toBe(true);
  });
});

test('a segment of another application is not found', async () => {
  const id = await create(gold);
  const target = { segmentId: id };
  await expect(compileSegment(database, hexId(), target)).rejects.toMatchObject({ code: 'not_found' });
  await expect(compileSegment(database, app, { ...target, version: 2 })).rejects.toMatchObject({
    code: 'not_found',
  });
  await expect(compileSegment(database, app, { ...target, version: 0 })).rejects.toMatchObject({
    code: 'not_found',
  });
});

test('an explanation says what was seen and why it decides', async () => {
  await addEndpoint('e', {
    attributes: { plan: ['gold', 'old'] },
    metrics: { orders: 3 },
    location: { Country: 'DE' },
  });
  const id = await create({
    Name: 'big spenders',
    Dimensions: {
      Attributes: { plan: { Values: ['gold'] } },
      Metrics: { orders: { ComparisonOperator: 'GREATER_THAN', Value: 5 } },
      Location: { Country: { DimensionType: 'EXCLUSIVE', Values: ['FR'] } },
      Behavior: { Recency: { Duration: 'DAY_7', RecencyType: 'INACTIVE' } },
    },
  });
  const explanation = await explainSegment(database, app, { segmentId: id }, 'e', { now });
  expect(explanation).toMatchObject({
    kind: 'segment',
    matches: false,
    join: 'ALL',
    because: '3 of 4 criteria are met, and all must be met.',
    segment: { id, version: 1, name: 'big spenders' },
  });
  expect(explanation.parts.map(({ matches, seen, because }) => ({ matches, seen, because }))).toEqual([
    {
      matches: true,
      seen: ['gold', 'old'],
      because: 'The attribute "plan" is ["gold","old"], which equals one of ["gold"].',
    },
    { matches: false, seen: 3, because: 'The metric "orders" is 3, which is not greater than 5.' },
    { matches: true, seen: 'DE', because: 'The country is "DE", which equals none of ["FR"].' },
    { matches: true, seen: null, because: 'The endpoint was never seen active, which counts as inactive.' },
  ]);
  await expect(explainSegment(database, app, { segmentId: id }, 'nobody')).rejects.toThrow(
    'Endpoint nobody not found',
  );
});

test('an endpoint that only an import knows is explained as such', async () => {
  const id = await importSegment();
  const own = `${id}.x`;
  await addEndpoint(own, { segment_id: id, attributes: { plan: ['gold'] } });
  await database.query('insert into segment_endpoints values ($1, $2, $3)', [app, id, own]);
  const everybody = await create(gold);
  const explained = (segmentId: string) => explainSegment(database, app, { segmentId }, own, { now });
  const hidden = `The endpoint was imported without being registered: only the segment ${id} and those built upon it see it.`;
  expect(await explained(everybody)).toMatchObject({ matches: false, because: hidden });
  expect(await explained(id)).toMatchObject({ matches: true });
  expect(await explained(await create(built(id)))).toMatchObject({ matches: true });
  const none = await create({
    SegmentGroups: { Groups: [{ SourceSegments: [{ Id: everybody }], SourceType: 'NONE' }] },
  });
  expect(await explained(none)).toMatchObject({ matches: false });
  // Callers know it by the id that their file gave it.
  expect(await explainSegment(database, app, { segmentId: id }, 'x', { now })).toMatchObject({
    matches: true,
  });
  expect(await isMember(database, app, id, { endpointId: 'x' }, { now })).toBe(true);
  expect(await isMember(database, app, everybody, { endpointId: 'x' }, { now })).toBe(false);
  await expect(explainSegment(database, app, { segmentId: everybody }, 'x')).rejects.toThrow(
    'Endpoint x not found',
  );
});
