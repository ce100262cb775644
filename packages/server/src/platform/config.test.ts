import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { ConfigError, configWarnings, readConfig, settingList, settingsReference } from './config.ts';

test('without a variable every setting has its default', () => {
  const config = readConfig({});
  expect(config.port).toBe(8080);
  expect(config.dataDir).toBe(resolve('data'));
  expect(config.allowPrivateHosts).toBe(false);
  expect(config.capsCount).toBe('targeted');
  expect(config.databaseUrl).toBeUndefined();
});

test('an empty variable counts as absent, and each type is parsed', () => {
  const config = readConfig({
    POSTRIDER_PORT: '',
    POSTRIDER_DEMO: 'off',
    POSTRIDER_ENDPOINTS_PER_USER: '10',
    POSTRIDER_CAPS_COUNT: 'sent',
    POSTRIDER_DATABASE_URL: 'postgresql://u:p@h/db',
  });
  expect(config).toMatchObject({
    port: 8080,
    demo: false,
    endpointsPerUser: 10,
    capsCount: 'sent',
    databaseUrl: 'postgresql://u:p@h/db',
  });
});

test('all faults are reported at once, each with its variable, and secrets are not shown', () => {
  const read = () =>
    readConfig({
      POSTRIDER_PORT: '80a',
      POSTRIDER_CAPS_COUNT: 'both',
      POSTRIDER_DATABASE_URL: 'mysql://root:hunter2@h/db',
      POSTRIDER_ACCESS_KEY_ID: 'AKIAEXAMPLE',
    });
  expect(read).toThrow(ConfigError);
  expect(read).toThrow('POSTRIDER_PORT: expected a whole number from 0 to 65535, not "80a"');
  expect(read).toThrow('POSTRIDER_CAPS_COUNT: expected one of targeted, sent, not "both"');
  expect(read).toThrow('POSTRIDER_DATABASE_URL: expected a URL that begins with postgres://');
  expect(read).toThrow('set both or neither');
  expect(read).not.toThrow('hunter2');
});

test.each(['65536', '-1', '1e3', '0x50', '8080.5'])('%s is not a port', (text) => {
  expect(() => readConfig({ POSTRIDER_PORT: text })).toThrow('POSTRIDER_PORT');
});

test('unknown variables and settings without effect are warned of', () => {
  expect(configWarnings({ POSTRIDER_PROT: '1', POSTRIDER_RELAY_PORT: '25', POSTRIDER_PORT: '1' })).toEqual([
    'POSTRIDER_PROT is not a setting of Postrider (docs/settings.md lists them)',
    'POSTRIDER_RELAY_PORT has no effect yet: the part that reads it is not built',
  ]);
});

test('docs/settings.md is up to date (node scripts/generate-docs.ts writes it)', async () => {
  const page = await readFile(new URL('../../../../docs/settings.md', import.meta.url), 'utf8');
  expect(page).toBe(settingsReference());
  for (const setting of settingList) expect(page).toContain(`\`${setting.key}\``);
});
