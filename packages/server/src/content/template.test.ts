import { afterAll, describe, expect, test } from 'vitest';
import { testDatabase } from '../../../../tests/support/database.ts';
import { systemClock } from '../platform/clock.ts';
import { silentLog } from '../platform/log.ts';
import { previewTemplate } from './preview.ts';
import { createRenderer } from './renderer.ts';
import {
  createTemplate,
  deleteTemplate,
  getTemplate,
  listTemplates,
  listTemplateVersions,
  loadTemplate,
  setActiveVersion,
  type TemplateContent,
  updateTemplate,
} from './template.ts';

const database = await testDatabase();

const create = (name: string, content: TemplateContent = { Subject: 'v1' }) =>
  database.transaction((tx) => createTemplate(tx, 'EMAIL', name, content));
const update = (name: string, content: TemplateContent, change?: Parameters<typeof updateTemplate>[4]) =>
  database.transaction((tx) => updateTemplate(tx, 'EMAIL', name, content, change));
const activate = (name: string, version: number | 'latest') =>
  database.transaction((tx) => setActiveVersion(tx, 'EMAIL', name, version));
const remove = (name: string, version?: number) =>
  database.transaction((tx) => deleteTemplate(tx, 'EMAIL', name, version));
const subject = async (name: string, version?: number | 'latest') =>
  (await getTemplate(database, 'EMAIL', name, version)).content.Subject;
const versions = async (name: string) =>
  (await listTemplateVersions(database, 'EMAIL', name, { limit: 100 })).map(({ version }) => version);

describe('versions', () => {
  test('a new one is not active by itself, unless the active version follows the latest', async () => {
    await create('active');
    expect(await update('active', { Subject: 'v2' }, { createNewVersion: true })).toBe(2);
    expect([await subject('active'), await subject('active', 'latest'), await subject('active', 2)]).toEqual([
      'v1',
      'v2',
      'v2',
    ]);
    await activate('active', 'latest');
    expect(await subject('active')).toBe('v2');
    await update('active', { Subject: 'v3' }, { createNewVersion: true });
    expect(await subject('active')).toBe('v3');
    await activate('active', 2);
    await update('active', { Subject: 'v4' }, { createNewVersion: true });
    expect(await subject('active')).toBe('v2');
  });

  test('an update without a new version overwrites the latest, and only that', async () => {
    await create('overwrite');
    await update('overwrite', { Subject: 'v2' }, { createNewVersion: true });
    expect(await update('overwrite', { HtmlPart: 'new' })).toBe(2);
    expect((await getTemplate(database, 'EMAIL', 'overwrite', 2)).content).toEqual({ HtmlPart: 'new' });
    expect(await update('overwrite', { Subject: 'again' }, { version: 2 })).toBe(2);
    await expect(update('overwrite', { Subject: 'x' }, { version: 1 })).rejects.toThrow(
      'version: expected the latest version, which is 2',
    );
    await expect(
      update('overwrite', { Subject: 'x' }, { version: 2, createNewVersion: true }),
    ).rejects.toThrow('version: not allowed together with create-new-version');
    expect([await subject('overwrite', 1), await subject('overwrite', 2)]).toEqual(['v1', 'again']);
  });

  test('numbers are not used again', async () => {
    await create('numbers');
    await update('numbers', { Subject: 'v2' }, { createNewVersion: true });
    await update('numbers', { Subject: 'v3' }, { createNewVersion: true });
    expect(await remove('numbers', 3)).toBe(false);
    expect(await update('numbers', { Subject: 'v2b' })).toBe(2);
    expect(await update('numbers', { Subject: 'v4' }, { createNewVersion: true })).toBe(4);
    expect(await versions('numbers')).toEqual([4, 2, 1]);
  });

  test('concurrent changes get numbers of their own', async () => {
    await create('concurrent');
    const numbers = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        update('concurrent', { Subject: `${index}` }, { createNewVersion: true }),
      ),
    );
    expect(numbers.toSorted((a, b) => a - b)).toEqual([2, 3, 4, 5, 6, 7, 8, 9]);
  });
});

describe('deleting', () => {
  test('the active version stays while there are others; the last one takes the template with it', async () => {
    await create('delete');
    await update('delete', { Subject: 'v2' }, { createNewVersion: true });
    await expect(remove('delete', 1)).rejects.toThrow(
      'version: version 1 is the active one; make another version active first',
    );
    await activate('delete', 'latest');
    expect(await remove('delete', 2)).toBe(false);
    expect(await subject('delete')).toBe('v1');
    expect(await remove('delete', 1)).toBe(true);
    await expect(subject('delete')).rejects.toThrow('EMAIL template delete not found');
  });

  test('the whole template, after which the name is free', async () => {
    await create('gone');
    await update('gone', { Subject: 'v2' }, { createNewVersion: true });
    expect(await remove('gone')).toBe(true);
    const { rows } = await database.query("select 1 from template_versions where name = 'gone'");
    expect(rows).toEqual([]);
    await create('gone', { Subject: 'other' });
    expect(await versions('gone')).toEqual([1]);
  });
});

test('what is not there', async () => {
  await create('exists');
  await expect(create('exists')).rejects.toThrow('A template exists of type EMAIL already exists');
  await database.transaction((tx) => createTemplate(tx, 'SMS', 'exists', { Body: 'another kind' }));
  await expect(update('nope', {})).rejects.toThrow('EMAIL template nope not found');
  await expect(remove('nope')).rejects.toThrow('EMAIL template nope not found');
  await expect(remove('exists', 7)).rejects.toThrow('Version 7 of EMAIL template exists not found');
  await expect(activate('exists', 7)).rejects.toThrow('Version 7 of EMAIL template exists not found');
  await expect(subject('exists', 7)).rejects.toThrow('Version 7 of EMAIL template exists not found');
  await expect(versions('nope')).rejects.toThrow('EMAIL template nope not found');
});

test('lists page by name and type, with the active version', async () => {
  for (const name of ['list-b', 'list-a', 'list-c', 'List-a']) await create(name);
  await database.transaction((tx) => createTemplate(tx, 'SMS', 'list-a', { Body: 'b' }));
  await update('list-b', { Subject: 'v2' }, { createNewVersion: true });
  const first = await listTemplates(database, { prefix: 'list-', limit: 2 });
  expect(first.map(({ name, type }) => `${name} ${type}`)).toEqual(['list-a EMAIL', 'list-a SMS']);
  const rest = await listTemplates(database, { prefix: 'list-', after: first[1], limit: 10 });
  expect(rest.map(({ name, version }) => `${name} ${version}`)).toEqual(['list-b 1', 'list-c 1']);
  expect(await listTemplates(database, { type: 'SMS', prefix: 'list-', limit: 10 })).toHaveLength(1);
  expect(await listTemplates(database, { prefix: 'list%', limit: 10 })).toEqual([]);
});

test('a template as messages use it', async () => {
  await create('load', {
    Subject: 'S',
    HtmlPart: '<p>H</p>',
    TextPart: 'T',
    Headers: [{ Name: 'List-Unsubscribe', Value: '<{{x}}>' }],
    DefaultSubstitutions: '{"a":"b","n":1,"l":["x"],"__proto__":"own"}',
  });
  const loaded = await loadTemplate(database, 'EMAIL', 'load');
  expect(loaded).toMatchObject({
    name: 'load',
    version: 1,
    parts: { subject: 'S', html: '<p>H</p>', text: 'T' },
    headers: [{ name: 'List-Unsubscribe', value: '<{{x}}>' }],
  });
  expect(Object.entries(loaded.defaults)).toEqual([
    ['a', 'b'],
    ['n', '1'],
    ['l', 'x'],
    ['__proto__', 'own'],
  ]);
  await update('load', { Subject: 'S2' }, { createNewVersion: true });
  expect((await loadTemplate(database, 'EMAIL', 'load', 'latest')).version).toBe(2);
  expect((await loadTemplate(database, 'EMAIL', 'load', '1')).parts.subject).toBe('S');
  for (const version of ['0', '01', '-1', 'x', '99999999999', '1 '])
    await expect(loadTemplate(database, 'EMAIL', 'load', version)).rejects.toThrow(
      'Version: expected the number of a version',
    );
});

test('a preview of a stored template', async () => {
  const renderer = createRenderer({ clock: systemClock, log: silentLog });
  afterAll(() => renderer.close());
  await create('preview', {
    Subject: 'Hi {{a}} {{b}}',
    HtmlPart: '<b>{{Id}}</b>',
    Headers: [{ Name: 'X-Id', Value: '{{Id}}' }],
    DefaultSubstitutions: '{"a":"A"}',
  });
  const preview = (version?: number) =>
    previewTemplate(
      database,
      renderer,
      { type: 'EMAIL', name: 'preview', version },
      { endpoint: { Id: 'e1' } },
    );
  const parts = { subject: 'Hi A ', html: '<b>e1</b>', text: 'e1', 'header:0': 'e1' };
  expect(await preview()).toEqual({ parts, missing: ['b'] });
  await update('preview', { Subject: '{{add "x" 1}}' }, { createNewVersion: true });
  await expect(preview(2)).rejects.toThrow('subject: add: "x" is not a number');
  // The same version with other words.
  await update('preview', { Subject: '{{Id}}' }, { version: 2 });
  expect(await preview(2)).toEqual({ parts: { subject: 'e1' }, missing: [] });
  await expect(preview(3)).rejects.toThrow('Version 3 of EMAIL template preview not found');
});
