import { countSegment } from '../../packages/server/src/audience/index.ts';
import type { Database } from '../../packages/server/src/platform/database.ts';
import { median, timed } from './figures.ts';

/**
 * Counts a segment and runs the bare statement, `rounds` times each, after a round that warms up. The sides take turns,
 * so that what else runs meets both. Medians, in milliseconds, and how many members there are.
 */
export async function countInTurns(
  database: Database,
  applicationId: string,
  segmentId: string,
  { rounds, bare }: { rounds: number; bare: (database: Database) => Promise<void> },
): Promise<{ subject: number; baseline: number; total: number }> {
  const subject: number[] = [];
  const baseline: number[] = [];
  let total = 0;
  for (let round = 0; round <= rounds; round++) {
    const bareMs = await timed(() => bare(database));
    const ours = await timed(async () => {
      total = (await countSegment(database, applicationId, { segmentId })).total;
    });
    if (round === 0) continue;
    subject.push(ours);
    baseline.push(bareMs);
  }
  return { subject: median(subject), baseline: median(baseline), total };
}
