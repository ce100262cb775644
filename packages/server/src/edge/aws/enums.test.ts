import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { enumValues } from './enums.ts';
import { operationModels } from './model.ts';

const types = join(
  dirname(createRequire(import.meta.url).resolve('@aws-sdk/client-pinpoint')),
  '../dist-types/models',
);

/** `Structure.Member` of every member whose declared type names an enumeration. */
function declaredMembers(): string[] {
  const declared = readFileSync(join(types, 'enums.d.ts'), 'utf8').matchAll(/^export type (\w+) =/gm);
  const enumerations = new Set([...declared].map((match) => match[1]!));
  const members: string[] = [];
  for (const file of ['models_0.d.ts', 'models_1.d.ts']) {
    let structure = '';
    for (const line of readFileSync(join(types, file), 'utf8').split('\n')) {
      structure = /^export interface (\w+)/.exec(line)?.[1] ?? structure;
      const [, member, type] = /^\s+(\w+)\??: (.*);/.exec(line) ?? [];
      if (member && type!.match(/\w+/g)!.some((word) => enumerations.has(word))) {
        members.push(`${structure}.${member}`);
      }
    }
  }
  return members;
}

test('the table of enumerations names exactly the members that the SDK declares so', () => {
  expect([...enumValues.keys()].sort()).toEqual(declaredMembers().sort());
  expect(enumValues.get('Schedule.Frequency')).toContain('IN_APP_EVENT');
});

test('all 122 operations are compiled', () => {
  expect(operationModels.size).toBe(122);
  expect(operationModels.get('CreateExportJob')).toMatchObject({
    method: 'POST',
    path: '/v1/apps/{ApplicationId}/jobs/export',
    status: 202,
  });
  expect(operationModels.get('UntagResource')!.outputPayload).toBeUndefined();
  const required = operationModels.get('UpdateEmailChannel')!.inputPayload!.shape;
  if (required.kind !== 'structure') throw new Error('a payload is a structure');
  expect(required.members.filter((member) => member.required).map((member) => member.name)).toEqual([
    'FromAddress',
    'Identity',
  ]);
});
