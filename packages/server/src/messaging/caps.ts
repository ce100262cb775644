import type { Transaction } from '../platform/database.ts';
import { releaseTotal, reserveDaily, reserveTotal } from './caps.sql.ts';
import type { Dispatch } from './dispatch.ts';
import type { Prepared } from './prepare.ts';

/**
 * Counts the members of a window against the caps of their campaign, in the window's transaction. Who has reached one
 * gets that decision instead of its own.
 */
export async function applyCaps(
  tx: Transaction,
  dispatch: Dispatch,
  members: Prepared[],
  capsCount: 'targeted' | 'sent',
): Promise<void> {
  const { daily, total } = dispatch.plan.limits;
  if (!daily && !(total && dispatch.campaignId)) return;
  const counts = (member: Prepared) =>
    capsCount === 'targeted' ? member.targeted : member.row.decision === 'sending';
  let left = members.filter((member) => counts(member) && member.row.endpointId);
  // Events may make an endpoint a member several times: each round reserves for one message of each endpoint. Who was
  // refused is refused for the rest as well, so there are at most as many rounds as a cap allows messages, and one.
  while (left.length > 0) {
    const { round, rest } = firstOfEach(left);
    const refused = await applyRound(tx, dispatch, round);
    for (const member of rest) {
      const decision = refused.get(member.row.endpointId!);
      if (decision) Object.assign(member.row, decision);
    }
    left = rest.filter(({ row }) => !refused.has(row.endpointId!));
  }
}

/** The first member of each endpoint, and the others. */
function firstOfEach(members: Prepared[]): { round: Prepared[]; rest: Prepared[] } {
  const seen = new Set<string>();
  const round: Prepared[] = [];
  const rest: Prepared[] = [];
  for (const member of members) {
    const endpointId = member.row.endpointId!;
    if (seen.has(endpointId)) rest.push(member);
    else round.push(member);
    seen.add(endpointId);
  }
  return { round, rest };
}

type Refusal = Pick<Prepared['row'], 'decision' | 'detail'>;

/** Reserves for members of different endpoints. Returns those that got nothing, by endpoint. */
async function applyRound(
  tx: Transaction,
  dispatch: Dispatch,
  members: Prepared[],
): Promise<Map<string, Refusal>> {
  const { daily, total } = dispatch.plan.limits;
  const { campaignId, applicationId } = dispatch;
  const refused = new Map<string, Refusal>();
  let candidates = members;
  const refuse = (granted: Set<string>, decision: 'daily_cap' | 'campaign_cap', limit: number) => {
    const refusal = { decision, detail: `The limit is ${limit}` };
    for (const { row } of candidates) {
      if (granted.has(row.endpointId!)) continue;
      Object.assign(row, refusal);
      refused.set(row.endpointId!, refusal);
    }
    candidates = candidates.filter(({ row }) => granted.has(row.endpointId!));
  };
  const ids = () => candidates.map(({ row }) => row.endpointId!);
  if (total && campaignId) refuse(await reserveTotal(tx, campaignId, ids(), total), 'campaign_cap', total);
  if (!daily) return refused;
  const asked = ids();
  const granted = await reserveDaily(tx, applicationId, asked, daily);
  refuse(granted, 'daily_cap', daily);
  const over = asked.filter((id) => !granted.has(id));
  if (total && campaignId && over.length > 0) await releaseTotal(tx, campaignId, over);
  return refused;
}
