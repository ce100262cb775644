import { expect, test } from 'vitest';
import { testDatabase } from '../../../../tests/support/database.ts';
import { silentLog } from '../platform/log.ts';
import {
  type ApplicationEraser,
  createApplication,
  deleteApplication,
  eraseDeletedApplications,
  getApplication,
} from './applications.ts';
import { putChannel } from './channels.ts';
import { addTags, getTags } from './tags.ts';

const database = await testDatabase();

test('what rooms hold of a deleted application is erased until all have succeeded', async () => {
  const { id } = await createApplication(database, 'doomed');
  await putChannel(database, id, 'SMS', { enabled: true, settings: {}, modifiedBy: 'test' });
  await database.transaction((tx) => addTags(tx, 'arn:doomed', id, { a: 'b' }));
  await deleteApplication(database, id);
  await expect(getApplication(database, id)).rejects.toThrow(`Application ${id} not found`);
  await expect(deleteApplication(database, id)).rejects.toThrow('not found');
  const { rows } = await database.query('select 1 from channels where application_id = $1', [id]);
  expect(rows).toEqual([]);
  expect(await getTags(database, 'arn:doomed')).toEqual({});

  const calls: string[] = [];
  let healthy = false;
  const eraser = (room: string, fails: () => boolean): ApplicationEraser => ({
    room,
    erase: async (_, applicationId) => {
      calls.push(`${room} ${applicationId}`);
      if (fails()) throw new Error(`${room} is not well`);
    },
  });
  const options = {
    database,
    erasers: [eraser('audience', () => !healthy), eraser('messaging', () => false)],
    log: silentLog,
  };
  expect(await eraseDeletedApplications(options)).toBe(0);
  // One room's failure does not keep the next from its work.
  expect(calls).toEqual([`audience ${id}`, `messaging ${id}`]);
  healthy = true;
  expect(await eraseDeletedApplications(options)).toBe(1);
  expect(await eraseDeletedApplications(options)).toBe(0);
  expect(calls).toHaveLength(4);
});

test('tags are not left behind for an application that is gone', async () => {
  const tagging = database.transaction((tx) => addTags(tx, 'arn:gone', 'gone', { a: 'b' }));
  await expect(tagging).rejects.toThrow('Application gone not found');
  const many = Object.fromEntries(Array.from({ length: 30 }, (_, index) => [`k${index}`, '']));
  const { id } = await createApplication(database, 'raced');
  const more = Object.fromEntries(Array.from({ length: 30 }, (_, index) => [`m${index}`, '']));
  // Two requests at once that are over the limit together: one of them fails.
  const results = await Promise.allSettled(
    [many, more].map((tags) => database.transaction((tx) => addTags(tx, 'arn:raced', id, tags))),
  );
  expect(results.map((result) => result.status).sort()).toEqual(['fulfilled', 'rejected']);
  expect(Object.keys(await getTags(database, 'arn:raced'))).toHaveLength(30);
});
