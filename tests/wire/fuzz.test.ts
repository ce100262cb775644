import { expect, test } from 'vitest';
import { operationModels } from '../../packages/server/src/edge/aws/model.ts';
import type { OperationName } from '../../packages/server/src/edge/aws/operation.ts';
import { operations } from '../../packages/server/src/edge/pinpoint/operations.ts';
import { testDatabase } from '../support/database.ts';
import { testServices } from '../support/services.ts';
import { wireServer } from '../support/wire.ts';
import { fuzzOperation, knownIds } from './fuzz.ts';

const database = await testDatabase();
const services = await testServices(database);
const server = await wireServer({ database, services });
const seed = Number(process.env.FUZZ_SEED ?? 20261121);
const runs = Number(process.env.FUZZ_RUNS ?? 60);
const ids = await knownIds(server);
// Campaigns need a segment, also where creating one by chance failed.
await database.query(
  `insert into segments (application_id, id, type, name, definition) values ($1, 'fuzz', 'DIMENSIONAL', 'fuzz', '{}')`,
  [ids.get('ApplicationId')![0]],
);
ids.set('SegmentId', ['fuzz']);

/** What makes things comes first and what deletes them last, so that the others find some. */
const phases = [
  /^Create/,
  /^(Update|Put|Tag|Send)/,
  /^(Get|List)/,
  /^(?!Delete)/,
  /^Delete(?!App$)/,
  /^DeleteApp$/,
];
const phaseOf = (name: string) => phases.findIndex((phase) => phase.test(name));
const built = (Object.keys(operations) as OperationName[]).sort((a, b) => phaseOf(a) - phaseOf(b));

test.each(built)(`%s answers right and wrong requests as modelled (seed ${seed})`, async (name) => {
  // Both take away what the other one needs.
  if (/^Delete(Endpoint|UserEndpoints)$/.test(name))
    await fuzzOperation(server, 'UpdateEndpoint', { runs, seed, ids });
  const statuses = await fuzzOperation(server, name, { runs, seed, ids });
  expect(statuses.has(501) && statuses.size === 1, 'it is in the table but answers 501 throughout').toBe(
    false,
  );
  // Requests of which none is right prove little: samples.ts shows right ones.
  expect(statuses.get(operationModels.get(name)!.status) ?? 0).toBeGreaterThan(0);
});

test('an operation that is not built says so', async () => {
  const unbuilt = [...operationModels.keys()].filter((name) => !operations[name]);
  for (const name of unbuilt) {
    const statuses = await fuzzOperation(server, name, { runs: 2, seed, ids });
    expect([...statuses.keys()].every((status) => status === 501 || status === 404)).toBe(true);
  }
});

test('the fuzzing itself finds a handler that fails, or answers less than it must', async () => {
  const failing = await wireServer({
    database,
    handlers: {
      CreateApp: operations.CreateApp!,
      GetApps: async () => {
        throw new Error('a fault');
      },
      GetApp: async () => ({ ApplicationResponse: { Id: 'x', Name: undefined, Arn: 'a' } }),
    },
  });
  await expect(fuzzOperation(failing, 'GetApps', { runs: 5, seed, ids })).rejects.toThrow('500');
  await expect(fuzzOperation(failing, 'GetApp', { runs: 5, seed, ids })).rejects.toThrow('$.Name');
});
