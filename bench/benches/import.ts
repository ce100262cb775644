import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CreateImportJobCommand, GetImportJobCommand } from '@aws-sdk/client-pinpoint';
import { type Bench, scaled } from '../bench.ts';
import { writeAudienceCsv } from '../support/audience.ts';
import { createApplication } from '../support/campaign.ts';
import { copyIn, copyOut } from '../support/copy.ts';
import { median, perSecond, rounded, timed } from '../support/figures.ts';
import { sampleMemory } from '../support/processes.ts';
import { type BenchServer, startServer } from '../support/server.ts';

const limitMs = 20 * 60_000;
const memoryLimitMb = 200;

/** Runs an import job to its end and answers the endpoints that it took. */
async function importCsv(server: BenchServer, ApplicationId: string, key: string): Promise<number> {
  const created = await server.client.send(
    new CreateImportJobCommand({
      ApplicationId,
      ImportJobRequest: {
        Format: 'CSV',
        S3Url: `s3://bench/${key}`,
        RoleArn: 'arn:aws:iam::000000000000:role/bench',
        RegisterEndpoints: true,
      },
    }),
  );
  const JobId = created.ImportJobResponse!.Id!;
  const until = performance.now() + limitMs;
  for (;;) {
    const { ImportJobResponse: job } = await server.client.send(
      new GetImportJobCommand({ ApplicationId, JobId }),
    );
    if (job?.JobStatus === 'COMPLETED') return job.TotalProcessed! - (job.TotalFailures ?? 0);
    if (job?.JobStatus === 'FAILED') throw new Error(`the import failed: ${JSON.stringify(job)}`);
    if (performance.now() > until) throw new Error(`the import is ${job?.JobStatus} after ${limitMs} ms`);
    await sleep(50);
  }
}

export const audienceImport: Bench = {
  name: 'import',
  description: '1,000,000 endpoints by a CSV import job, against COPY of the same rows on two connections',
  async run(context) {
    const count = scaled(context, 1_000_000, 10_000);
    const database = await context.database();
    const server = await startServer({ databaseUrl: database.url, directory: context.directory });
    try {
      const file = join(server.objects, 'bench', 'audience.csv');
      await writeAudienceCsv(file, count);
      await writeAudienceCsv(join(server.objects, 'bench', 'first.csv'), 1_000);
      const applicationId = await createApplication(server, 'EMAIL');
      const otherId = await createApplication(server, 'EMAIL');
      // A small one first: code that is loaded once is not growth.
      await importCsv(server, otherId, 'first.csv');
      await context.quiet();
      const memory = sampleMemory(await server.pid('worker'));
      const ms = await timed(async () => {
        const imported = await importCsv(server, applicationId, 'audience.csv');
        if (imported !== count) throw new Error(`${imported} of ${count} endpoints were imported`);
      });
      const { firstMb, highestMb } = await memory.stop();

      const clients = [await database.connect(), await database.connect()];
      const copies: number[] = [];
      try {
        const halves = await Promise.all(
          clients.map((client, half) =>
            copyOut(
              client,
              `select * from endpoints where application_id = '${applicationId}' and cohort % 2 = ${half}`,
            ),
          ),
        );
        await database.query('create table endpoints_copy (like endpoints including all)');
        for (let round = 0; round < 2; round++) {
          await database.query('truncate endpoints_copy');
          await context.quiet();
          copies.push(
            await timed(() =>
              Promise.all(clients.map((client, half) => copyIn(client, 'endpoints_copy', halves[half]!))),
            ),
          );
        }
      } finally {
        for (const client of clients) client.release();
      }
      const growth = Math.max(1, highestMb - firstMb);
      const size = (await stat(file)).size / 2 ** 20;
      return [
        {
          name: 'import',
          ratio: median(copies) / ms,
          floor: 0.3,
          subject: `${perSecond(count, ms)} endpoints by a CSV job`,
          baseline: `${perSecond(count, median(copies))} rows by COPY on two connections`,
          detail: `${rounded(size)} MB of CSV; the copy has the same indexes`,
        },
        {
          name: 'import memory',
          ratio: memoryLimitMb / growth,
          floor: 1,
          subject: `${rounded(growth)} MB more in the worker (${rounded(firstMb)} to ${rounded(highestMb)})`,
          baseline: `${memoryLimitMb} MB allowed`,
        },
      ];
    } finally {
      await server.stop();
    }
  },
};
