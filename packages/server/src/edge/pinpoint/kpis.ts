import type { BaseKpiResult, ResultRow } from '@aws-sdk/client-pinpoint';
import { type Kpi, type KpiRow, queryKpi } from '../../analytics/index.ts';
import { getCampaign } from '../../engagement/index.ts';
import { badMember } from '../../platform/errors.ts';
import {
  decodeToken,
  encodeToken,
  type OperationContext,
  type OperationHandlers,
  pageLimit,
} from '../aws/index.ts';

/** Rows of a page when the caller does not say: Pinpoint did not page KPIs, so a client may not ask for a second one. */
const defaultRows = 10_000;

interface Asked {
  ApplicationId: string;
  KpiName: string;
  StartTime?: Date | undefined;
  EndTime?: Date | undefined;
  PageSize?: string | undefined;
  NextToken?: string | undefined;
}

/** KPIs: reference section 4.9; docs/analytics.md has the definition of each. */
export const kpis = {
  async GetApplicationDateRangeKpi(input, ctx) {
    return { ApplicationDateRangeKpiResponse: await answer(input, ctx) };
  },

  async GetCampaignDateRangeKpi(input, ctx) {
    const { ApplicationId, CampaignId } = input;
    await getCampaign(ctx.database, ApplicationId, CampaignId);
    return { CampaignDateRangeKpiResponse: { ...(await answer(input, ctx, CampaignId)), CampaignId } };
  },
} satisfies OperationHandlers;

async function answer(input: Asked, ctx: OperationContext, campaignId?: string) {
  const { ApplicationId, KpiName, StartTime, EndTime, PageSize, NextToken } = input;
  const kpi = await queryKpi(
    ctx.database,
    {
      applicationId: ApplicationId,
      name: KpiName,
      campaignId,
      from: StartTime?.getTime(),
      to: EndTime?.getTime(),
    },
    ctx.clock.now(),
  );
  const limit = PageSize === undefined ? defaultRows : pageLimit(PageSize);
  const from = firstRow(kpi.rows, NextToken);
  const rows = kpi.rows.slice(from, from + limit);
  const last = rows.at(-1)?.group?.value;
  const more = from + rows.length < kpi.rows.length && last !== undefined;
  const KpiResult: BaseKpiResult = { Rows: rows.map((row) => resultRow(kpi, row)) };
  return {
    ApplicationId,
    KpiName,
    StartTime: new Date(kpi.from),
    EndTime: new Date(kpi.to),
    KpiResult,
    ...(more && { NextToken: encodeToken([KpiName, last]) }),
  };
}

/** Rows are ordered by their group: a page begins after the group with which the one before ended. */
function firstRow(rows: readonly KpiRow[], token: string | undefined): number {
  if (token === undefined) return 0;
  const [, after] = decodeToken(token, ['', '']);
  const index = rows.findIndex(({ group }) => group !== undefined && group.value > after);
  if (rows.length > 0 && rows[0]!.group === undefined)
    throw badMember('next-token', 'expected the NextToken of an earlier answer to the same request');
  return index < 0 ? rows.length : index;
}

function resultRow({ key }: Kpi, { group, value }: KpiRow): ResultRow {
  return {
    GroupedBys: group ? [{ Key: group.key, Type: 'String', Value: group.value }] : [],
    Values: [{ Key: key, Type: 'Double', Value: double(value) }],
  };
}

/** A number as Pinpoint writes it: always with a point (`1368.0`). */
function double(value: number): string {
  return Number.isInteger(value) ? value.toFixed(1) : String(value);
}
