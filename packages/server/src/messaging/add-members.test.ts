import { expect, test } from 'vitest';
import { testDatabase } from '../../../../tests/support/database.ts';
import { createApplication } from '../accounts/index.ts';
import { uuidv7 } from '../platform/ids.ts';
import { addMembers, openDispatch } from './index.ts';

const database = await testDatabase();

test('chunks end at their size, also when all events have the same id, but not within one event', async () => {
  const applicationId = (await createApplication(database, 'triggers')).id;
  const dispatchId = uuidv7();
  await openDispatch(database, {
    id: dispatchId,
    applicationId,
    kind: 'campaign',
    class: 'promotional',
    lane: 'triggered',
    campaignId: null,
    plan: { treatments: [], limits: {} } as never,
    expiresAt: new Date('9999-12-31'),
    paused: true,
  });
  const occasion = () => ({ id: '1', type: 'tick', at: 0, expiresAt: 0 });
  const strangers = Array.from({ length: 1_200 }, (_, n) => ({ endpointId: `e${n}`, occasion: occasion() }));
  const shared = occasion();
  const ofOneUser = Array.from({ length: 15 }, (_, n) => ({ endpointId: `u${n}`, occasion: shared }));
  await database.transaction((tx) => addMembers(tx, [{ dispatchId, members: [...strangers, ...ofOneUser] }]));
  const { rows } = await database.query<{ ids: string[] }>(
    'select endpoint_ids as ids from dispatch_chunks where dispatch_id = $1 order by number',
    [dispatchId],
  );
  expect(rows.flatMap(({ ids }) => ids)).toEqual(
    [...strangers, ...ofOneUser].map(({ endpointId }) => endpointId),
  );
  expect(Math.max(...rows.map(({ ids }) => ids.length))).toBeLessThanOrEqual(520);
  expect(rows.filter(({ ids }) => ids.some((id) => id.startsWith('u')))).toHaveLength(1);
});
